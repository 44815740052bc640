"""tenable_scan under Airflow itself: created, run, exported, announced; and no secret in Airflow's database."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.dag_runs import ROOT, AirflowProcess, DagRuns
from tests.sandbox_driver import Sandbox


def test_a_scan_is_run_and_exported_and_its_asset_is_updated(
    sandbox: Sandbox, airflow_process: AirflowProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__SCAN_POLL_INTERVAL_SECONDS", "10")
    runs = DagRuns(tmp_path, airflow_process, [ROOT / "dags" / "tenable_scan.py"])
    conf = {"name": "Weekly: DMZ", "targets": ["192.0.2.1"], "formats": ["nessus", "csv"], "path": str(tmp_path / "r")}
    sandbox.tenable("options", {"scan_seconds": 1})
    # The response to the launch is lost: the run is found, and not launched again.
    sandbox.fault({"on": "scan_launch", "do": "late_status", "status": 504})
    first, second, refused = runs.run(
        ("tenable_scan", conf),
        ("tenable_scan", {**conf, "delete_after": True}),
        ("tenable_scan", {**conf, "tragets": []}),
        retries=0,
    )
    assert [first.state, second.state] == ["success", "success"], first.errors + second.errors
    assert refused.state in ("failed", "refused")
    assert {task["task_id"]: task["state"] for task in first.tasks} == {
        "plan_scan": "success",
        "with_scanner": "success",
        "prerequisites": "skipped",
        "create_scanner": "skipped",
        "wait_until_online": "skipped",
        "remove_scanner": "skipped",
        "report": "success",
        "create_scan": "success",
        "run_scan": "success",
        "export_scan": "success",
        "complete": "success",
        "deletes": "success",
        "delete_scan": "skipped",
        "remove_old_files": "success",
    }
    assert {task["task_id"]: task["state"] for task in second.tasks}["delete_scan"] == "success"
    assert sandbox.tenable("scans") == []
    assert sandbox.tenable("stats")["calls"]["scan_launch"] == 2
    assert sandbox.tenable("stats")["calls"]["scan_create"] == 1
    assert sorted(path.suffix for path in (tmp_path / "r").iterdir()) == [".csv", ".csv", ".nessus", ".nessus"]
    values = list(runs.cells())
    assert any(b"tenable://scan/Weekly%3A%20DMZ" in value for _, _, value in values)
    secret = str(sandbox.process.facts["secret_key"]).encode()
    assert [column for _, column, value in values if secret in value and not column.startswith("connection")] == []
