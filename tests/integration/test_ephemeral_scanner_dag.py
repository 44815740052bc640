"""tenable_scan under Airflow itself, with a scanner on EC2 that it creates for one run and removes at its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.tenable.scanners import LINKING_KEY
from tests.aws_services import AwsServices
from tests.integration.conftest import connect
from tests.integration.dag_runs import ROOT, AirflowProcess, DagRuns
from tests.sandbox_driver import Sandbox

SCANNER_TASKS = ("with_scanner", "prerequisites", "create_scanner", "wait_until_online")


def test_a_scanner_is_created_for_a_run_and_removed_whether_or_not_the_scan_succeeds(
    aws_services: AwsServices,
    sandbox: Sandbox,
    airflow_process: AirflowProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect(monkeypatch, "nessus_aws", aws_services.connection())
    monkeypatch.setenv("AIRFLOW__TENABLE__SCAN_POLL_INTERVAL_SECONDS", "10")
    # The sandbox's clock is behind that of EC2: without this, the sensor waits for a machine of today.
    sandbox.tenable("clock", {"advance_seconds": 3 * 86_400 - 60})
    sandbox.tenable("options", {"scan_seconds": 1})
    sandbox.fault({"on": "scan_run", "do": "end", "how": "aborted", "notes": ["scanner lost"]})
    # The Tenable of the sandbox is not one of Tenable's hosts, so the host to link to must be given.
    dag = tmp_path / "tenable_scan.py"
    source = (ROOT / "dags" / dag.name).read_text()
    dag.write_text(
        source.replace("        prerequisites=", '        link_host="cloud.tenable.com",\n        prerequisites=')
    )
    runs = DagRuns(tmp_path, airflow_process, [dag])
    conf = {"name": "DMZ", "targets": ["192.0.2.1"], "ephemeral_scanner": True, "aws_conn_id": "nessus_aws"}
    with aws_services.starting(sandbox, tmp_path / "machines") as started:
        aborted, completed = runs.run((dag.stem, conf), (dag.stem, conf), retries=0)

    ended = [{task["task_id"]: task["state"] for task in run.tasks} for run in (aborted, completed)]
    assert (aborted.state, completed.state) == ("failed", "success"), completed.errors
    assert {ended[0][task] for task in (*SCANNER_TASKS, "create_scan", "remove_scanner")} == {"success"}
    assert [ended[0][task] for task in ("run_scan", "export_scan", "complete", "report")] == [
        "failed",
        "upstream_failed",
        "upstream_failed",
        "failed",
    ]
    assert {state for task, state in ended[1].items() if task != "delete_scan"} == {"success"}
    assert "is not complete, so it failed" in aborted.output
    # Each run had a scanner of its own, and nothing is left of either.
    assert len(set(started)) == len(started) == 2
    assert all(name.startswith("DMZ-") for name in started)
    assert [aws_services.instances(name) for name in started] == [[], []]
    assert sandbox.tenable("stats")["calls"]["delete_scanner"] == 2
    with aws_services.client("iam") as iam:
        assert not [each for each in iam.list_roles()["Roles"] if "DMZ-" in each["RoleName"]]
    secrets = [LINKING_KEY, str(aws_services.connection()["password"])]
    assert [secret for secret in secrets if secret in aborted.output + completed.output] == []
    assert [place for _, place, value in runs.cells() if any(secret.encode() in value for secret in secrets)] == []
