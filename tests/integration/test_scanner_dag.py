"""tenable_scanner_ec2 under Airflow itself: created, adopted, removed; and nothing secret in Airflow's database."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.tenable.scanners import LINKING_KEY
from tests.aws_services import AwsServices
from tests.integration.conftest import connect
from tests.integration.dag_runs import ROOT, AirflowProcess, DagRuns
from tests.integration.scanner_tasks import new_name
from tests.sandbox_driver import Sandbox


def test_a_scanner_is_created_adopted_and_removed_by_the_dag(
    aws_services: AwsServices,
    sandbox: Sandbox,
    airflow_process: AirflowProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect(monkeypatch, "nessus_aws", aws_services.connection())
    name = new_name()
    # The sandbox's clock is behind that of EC2: without this, the sensor waits for a machine of today.
    sandbox.tenable("clock", {"advance_seconds": 3 * 86_400 - 60})
    # The Tenable of the sandbox is not one of Tenable's hosts, so the host to link to would have to be given; the DAG
    # takes it from the connection.
    dag = tmp_path / "tenable_scanner_ec2.py"
    source = (ROOT / "dags" / dag.name).read_text()
    dag.write_text(
        source.replace("        update_os=plan", '        link_host="cloud.tenable.com",\n        update_os=plan')
    )
    runs = DagRuns(tmp_path, airflow_process, [dag])
    conf = {"name": name, "aws_conn_id": "nessus_aws"}
    with aws_services.starting(sandbox, tmp_path / "machines"):
        orders = [conf, conf, {**conf, "action": "terminate"}, {**conf, "nmae": "x"}]
        created, adopted, removed, refused = runs.run(*((dag.stem, order) for order in orders), retries=0)

    assert [each.state for each in (created, adopted, removed)] == ["success"] * 3, created.errors
    assert refused.state in ("failed", "refused")
    assert "did you mean 'name'?" in refused.output
    ended = {task["task_id"]: task["state"] for task in created.tasks}
    assert ended == {
        "plan_scanner": "success",
        "choose": "success",
        "prerequisites": "success",
        "create_scanner": "success",
        "wait_until_online": "success",
        "report": "success",
        "terminate": "skipped",
    }
    assert {task["task_id"]: task["state"] for task in removed.tasks}["report"] == "skipped"
    assert f"Scanner {name} is online" in created.output
    assert "it was there already" in adopted.output
    assert aws_services.instances(name) == []
    assert [entry for entry in sandbox.tenable("stats")["calls"] if entry == "delete_scanner"] == ["delete_scanner"]
    secrets = [LINKING_KEY, str(aws_services.connection()["password"])]
    outputs = "".join(each.output for each in (created, adopted, removed, refused))
    assert [secret for secret in secrets if secret in outputs] == []
    values = list(runs.cells())
    assert any(name.encode() in value for _, _, value in values), "the control: names are there"
    assert [place for _, place, value in values if any(secret.encode() in value for secret in secrets)] == []
