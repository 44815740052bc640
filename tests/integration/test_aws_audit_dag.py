"""tenable_aws_audit under Airflow itself: two accounts, one that fails, a debugged run; and no key in the database."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_tenable.scan.audited_accounts import read_all
from tests.aws_services import AwsServices
from tests.integration.audit_tasks import ACCOUNT, held
from tests.integration.conftest import connect
from tests.integration.dag_runs import ROOT, AirflowProcess, DagRuns
from tests.sandbox_driver import Sandbox

OTHER = "333344445555"
PASSWORD = "canary-password-of-the-db-8812"


def test_accounts_are_audited_and_one_that_fails_does_not_stop_the_others(
    aws_services: AwsServices,
    sandbox: Sandbox,
    airflow_process: AirflowProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__SCAN_POLL_INTERVAL_SECONDS", "1")
    connect(monkeypatch, "audit_aws", aws_services.connection())
    connect(monkeypatch, "db_password", {"conn_type": "generic", "password": PASSWORD})
    sandbox.tenable("options", {"scan_seconds": 1})
    # A trigger waits 10 seconds at least, and other tests defer these operators.
    dag = tmp_path / "tenable_aws_audit.py"
    waiting = 'for name in ("run_scan", "export_db"):\n    dag.get_task(f"audit.{name}").deferrable = False\n'
    dag.write_text((ROOT / "dags" / dag.name).read_text() + waiting)
    runs = DagRuns(tmp_path, airflow_process, [dag])
    one = {"account": ACCOUNT, "aws_conn_id": "audit_aws", "regions": ["eu-west-1"]}
    other = {"account": OTHER, "aws_conn_id": "audit_aws", "role_name": "TenableAuditAdmin", "regions": ["us-east-1"]}
    broken = {"account": "777788889999", "aws_conn_id": "nobody"}
    # AWS does not accept the key of the second account's audit, and later Tenable aborts it.
    of_other = {"on": "scan_run", "match": {"scan": f"AWS audit {OTHER}"}}
    sandbox.fault({**of_other, "do": "wrong_keys"})
    sandbox.fault({**of_other, "do": "end", "how": "aborted", "notes": ["No matching scanner route"]})
    debugged = {"debug": True, "password_conn_id": "db_password"}
    first, second, refused = runs.run(
        ("tenable_aws_audit", {"accounts": [one, other, broken]}),
        ("tenable_aws_audit", {"accounts": [one, other], **debugged}),
        ("tenable_aws_audit", {"accounts": [one], "debug": True}),
        retries=0,
    )
    assert (first.state, second.state) == ("failed", "failed"), first.errors + second.errors
    assert [task["state"] for task in first.of("audit.check_results")] == ["success", "failed", "upstream_failed"]
    assert f"The audit of account {OTHER} is completed without the result of a single check" in first.output
    assert [task["state"] for task in first.of("audit.debug_off")] == ["success", "success", "upstream_failed"]
    assert [task["state"] for task in first.of("audit.export_db")] == ["skipped", "skipped", "upstream_failed"]
    assert [task["state"] for task in first.of("complete")] == ["success"]
    assert f"2 of 3 accounts were not audited: {OTHER}, 777788889999" in first.output
    # A run that fails was debugged, too: its debugging is switched off, and its facts are said.
    assert [task["state"] for task in second.of("audit.run_scan")] == ["success", "failed"]
    assert [task["state"] for task in second.of("audit.export_db")] == ["success", "upstream_failed"]
    for task_id in ("debug_on", "debug_off", "what_to_send"):
        assert [task["state"] for task in second.of(f"audit.{task_id}")] == ["success", "success"]
    assert "No database of the run was exported" in second.output
    assert f"Facts: scan AWS audit {OTHER}" in second.output
    assert [task["state"] for task in first.of("audit.what_to_send")] == ["skipped", "skipped", "skipped"]
    assert "It is the password of connection db_password" in second.output
    assert f"Facts: scan AWS audit {ACCOUNT}" in second.output
    assert refused.state in ("failed", "refused")
    assert "password_conn_id is None" in refused.output

    found = {each.account for each in read_all(f"file://{tmp_path / 'staging'}").by_asset.values()}
    assert found == {ACCOUNT}, "the other audit has no results"
    settings = [scan["body"]["settings"]["enable_plugin_debugging"] for scan in sandbox.tenable("scans")]
    assert settings == ["no", "no"]
    values = list(runs.cells())
    for asset in (b"tenable://aws-audits/tenable_aws_audit", f"tenable://scan/AWS%20audit%20{ACCOUNT}".encode()):
        assert any(asset in value for _, _, value in values), asset
    keys = [held(sandbox, f"AWS {account} audit") for account in (ACCOUNT, OTHER)]
    secrets = [key["settings"]["secret_key"] for key in keys if key] + [PASSWORD]
    assert len(secrets) == 3
    outputs = "".join(each.output for each in (first, second, refused))
    assert [secret for secret in secrets if secret in outputs] == []
    assert [
        column
        for _, column, value in values
        if any(secret.encode() in value for secret in secrets) and not column.startswith("connection")
    ] == []
