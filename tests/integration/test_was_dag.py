"""The import of web applications under Airflow itself: its params, XComs and templates."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_tenable.staging.files import read_json
from airflow_provider_tenable.staging.layout import RunFolder
from tests.integration.dag_runs import ROOT, AirflowProcess, DagRuns
from tests.sandbox_driver import Sandbox

DAG_ID = "tenable_was_to_security_hub"


@pytest.fixture
def runs(sandbox: Sandbox, airflow_process: AirflowProcess, tmp_path: Path) -> DagRuns:
    sandbox.tenable("options", {"prepare_seconds": 0})
    settings = {
        "AIRFLOW__TENABLE__TRANSFORM_SHARDS": "1",
        "AIRFLOW__TENABLE__POLL_INTERVAL_SECONDS": "1",
        "AIRFLOW__TENABLE__MAX_UNSERVED_RATIO": "1",
    }
    return DagRuns(tmp_path, airflow_process, [ROOT / "dags" / f"{DAG_ID}.py"], settings)


def test_findings_of_web_applications_reach_the_hub_of_their_load_balancer(
    runs: DagRuns, sandbox: Sandbox, tmp_path: Path
) -> None:
    first, second = sandbox.accounts[:2]
    arn = f"arn:aws:elasticloadbalancing:us-east-1:{second}:loadbalancer/app/shop/0123456789abcdef"
    host = sorted(each["fqdn"] for each in sandbox.truth()["web_apps"])[0]
    params = {
        "severities": ["info", "low", "medium", "high", "critical"],
        "was_load_balancers": {host.upper(): arn},
        "destinations": [
            {
                "aws_conn_id": "aws_default",
                "accounts": [first, second],
                "role_name": "TenableSecurityHubImport",
                "region": None,
            }
        ],
    }
    (outcome,) = runs.run((DAG_ID, params), retries=0)
    assert outcome.state == "success", outcome.errors
    ledger = read_json(RunFolder(f"file://{tmp_path / 'staging'}", DAG_ID, outcome.run_id).ledger)
    assert ledger["findings"] == ledger["exported"] >= ledger["accepted"] > 0
    resources = {each["Resources"][0]["Id"]: each["AwsAccountId"] for each in sandbox.documents().values()}
    assert resources.pop(arn) == second
    assert resources
    assert set(resources.values()) == {first}
    assert f"https://{host}" not in resources
