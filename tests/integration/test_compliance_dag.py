"""The import of audits under Airflow itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_tenable.staging.files import read_json
from airflow_provider_tenable.staging.layout import RunFolder
from tests.integration.dag_runs import ROOT, AirflowProcess, DagRuns
from tests.integration.test_compliance import ASSETS, AUDIT, record
from tests.sandbox_driver import Sandbox

DAG_ID = "tenable_compliance_to_security_hub"


@pytest.fixture
def runs(sandbox: Sandbox, airflow_process: AirflowProcess, tmp_path: Path) -> DagRuns:
    sandbox.tenable("options", {"prepare_seconds": 0})
    settings = {
        "AIRFLOW__TENABLE__TRANSFORM_SHARDS": "1",
        "AIRFLOW__TENABLE__POLL_INTERVAL_SECONDS": "1",
        "AIRFLOW__TENABLE__MAX_UNSERVED_RATIO": "1",
    }
    return DagRuns(tmp_path, airflow_process, [ROOT / "dags" / f"{DAG_ID}.py"], settings)


def test_results_of_audits_reach_the_hub_and_the_next_run_sends_nothing(
    runs: DagRuns, sandbox: Sandbox, tmp_path: Path
) -> None:
    account = sandbox.accounts[0]
    record(tmp_path, 0, account, ASSETS[0])
    sandbox.change({"do": "audit", "asset_id": ASSETS[0], "audit_file": AUDIT.format(6), "checks": 70, "aws": True})
    params = {
        "destinations": [
            {
                "aws_conn_id": "aws_default",
                "accounts": [account],
                "role_name": "TenableSecurityHubImport",
                "region": None,
            }
        ]
    }
    first, second = runs.run((DAG_ID, params), (DAG_ID, params), retries=0)
    for outcome in (first, second):
        assert outcome.state == "success", outcome.errors
    ledgers = [
        read_json(RunFolder(f"file://{tmp_path / 'staging'}", DAG_ID, outcome.run_id).ledger)
        for outcome in (first, second)
    ]
    assert ledgers[0]["accepted"] > 0
    assert ledgers[1]["accepted"] == 0
    statuses = {each["Compliance"]["Status"] for each in sandbox.documents().values()}
    assert {"PASSED", "FAILED"} <= statuses
