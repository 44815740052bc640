"""The takeover under Airflow itself, after an import of the same DAG's defaults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.integration.dag_runs import ROOT, AirflowProcess, DagRuns
from tests.sandbox_driver import Sandbox

IMPORT, DAG_ID = "tenable_to_security_hub", "tenable_take_over"


def test_an_old_finding_that_tenable_lacks_is_archived_by_a_real_run_and_not_by_a_dry_one(
    sandbox: Sandbox, airflow_process: AirflowProcess, tmp_path: Path
) -> None:
    sandbox.tenable("options", {"prepare_seconds": 0})
    account, region = sandbox.accounts[0], sandbox.process.facts["regions"][0]
    # As the defaults of the DAG: a run that delivers less than they is not a full one.
    destinations = [
        {
            "aws_conn_id": "aws_default",
            "accounts": [account],
            "role_name": "TenableSecurityHubImport",
            "region": region,
        }
    ]
    settings = {
        "AIRFLOW__TENABLE__TRANSFORM_SHARDS": "1",
        "AIRFLOW__TENABLE__POLL_INTERVAL_SECONDS": "1",
        "AIRFLOW__TENABLE__MAX_UNSERVED_RATIO": "1",
        "AIRFLOW__TENABLE__FIRST_SCHEDULED_RUN": "send",
        "AIRFLOW__TENABLE__DAG_PARAMS": json.dumps({"destinations": destinations, "region_routing": "fixed"}),
    }
    files = [ROOT / "dags" / f"{name}.py" for name in (IMPORT, DAG_ID)]
    runs = DagRuns(tmp_path, airflow_process, files, settings)
    gone = {"instance": "i-0ffffffffffffffff", "plugin": 12}
    sandbox.aws("old-tools", {"account": account, "region": region, "tool": "tvm2aws", "findings": [gone]})
    [old] = sandbox.documents()

    def state() -> Any:
        return sandbox.documents()[old]["RecordState"]

    imported, dry = runs.run((IMPORT, {"full": True}), (DAG_ID, {}), retries=0)
    assert (imported.state, dry.state) == ("success", "success"), imported.errors + dry.errors
    assert "Dry run: nothing was changed" in dry.output
    assert state() == "ACTIVE"
    assert len(sandbox.documents()) > 1
    (real,) = runs.run((DAG_ID, {"dry_run": False}), retries=0)
    assert real.state == "success", real.errors
    assert state() == "ARCHIVED"
    assert {task["task_id"]: task["state"] for task in real.tasks}["take_over_hubs"] == "success"
