"""tenable_scan under a real scheduler, with a scanner on EC2 that exists for one run, and the import that follows the
scan by its asset; tenable_aws_audit, and the import that follows the audits by theirs;
a DAG that the triggerer starts when a scan is completed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from airflow_provider_tenable._compat import AIRFLOW_V_3_0_PLUS
from sandbox.standalone import airflow_of_this_environment
from sandbox.standalone.airflow import PARSED_ONCE, Standalone
from sandbox.standalone.children import ROOT, SandboxProcess
from sandbox.tenable.scanners import LINKING_KEY
from tests.aws_services import AwsServices
from tests.docs_examples import blocks
from tests.faults.universe import Sandbox, differences, expected
from tests.integration.test_compliance import REASON, held
from tests.integration.test_compliance import expected as results
from tests.polling import until

pytestmark = pytest.mark.system

WATCHING = "after_nightly"
SCAN, IMPORT = "tenable_scan", "tenable_to_security_hub"
AUDIT, COMPLIANCE = "tenable_aws_audit", "tenable_compliance_to_security_hub"
HOST_AUDIT = "CIS_CentOS_8_Server_L1_v{}.0.0.audit"
#: As docs/audits.md says.
AFTER_AUDITS = """
from airflow_provider_tenable.dags import tenable_compliance_to_security_hub
from airflow_provider_tenable.import_event import completed_audits

dag = tenable_compliance_to_security_hub(schedule=[completed_audits()])
"""
CONF = {"name": "DMZ", "targets": ["192.0.2.1"], "ephemeral_scanner": True, "aws_conn_id": "nessus_aws"}
#: A template of the sandbox's Tenable.
TEMPLATE = "731a8e52-3ea6-a291-ec0a-d2ff0619c19d7bd788d6be818b65"
#: What Airflow's versions call a run that an asset has started.
TRIGGERED = ("asset_triggered", "dataset_triggered")


@pytest.fixture(scope="module")
def tenable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    log = tmp_path_factory.mktemp("scans") / "sandbox.log"
    with SandboxProcess("--estate", "small", "--prepare-seconds", "0.3", log=log) as process:
        driver = Sandbox(process)
        # Its clock is behind that of EC2: without this, the sensor waits for a machine of today.
        driver.tenable("clock", {"advance_seconds": 3 * 86_400 - 60})
        driver.tenable("options", {"scan_seconds": 15})
        yield driver
        driver.client.close()


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsServices]:
    with AwsServices(tmp_path_factory.mktemp("ec2")) as services:
        yield services


@pytest.fixture(scope="module")
def scheduler(tenable: Sandbox, aws: AwsServices, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    """An Airflow that imports whenever the scan is completed."""
    dags = tmp_path_factory.mktemp("dags")
    for dag_id in (IMPORT, AUDIT):
        shutil.copy(ROOT / "dags" / f"{dag_id}.py", dags)
    (dags / f"{COMPLIANCE}.py").write_text(AFTER_AUDITS)
    # The Tenable of the sandbox is not one of Tenable's hosts, so the host to link to must be given.
    source = (ROOT / "dags" / f"{SCAN}.py").read_text()
    link = '        link_host="cloud.tenable.com",\n        prerequisites='
    (dags / f"{SCAN}.py").write_text(source.replace("        prerequisites=", link))
    if AIRFLOW_V_3_0_PLUS:
        # As docs/scans.md says, but it polls as often as it may. Airflow looks for assets to watch when it parses the
        # file of a DAG that is switched on, and here it parses each file once.
        [watching] = [code for code in blocks(ROOT / "docs" / "scans.md", "python") if "watched_scan" in code]
        watching = watching.replace('("Nightly")', '("Nightly", poll_interval=10)')
        watching = watching.replace("catchup=False", "catchup=False, is_paused_upon_creation=False")
        (dags / f"{WATCHING}.py").write_text(watching)
    settings = {
        **PARSED_ONCE,
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__TENABLE__SCHEDULE_HOURS": "0",
        "AIRFLOW__TENABLE__IMPORT_AFTER_SCANS": "DMZ",
        "AIRFLOW__TENABLE__SCAN_POLL_INTERVAL_SECONDS": "10",
    }
    home = tmp_path_factory.mktemp("airflow")
    with airflow_of_this_environment(home, tenable.process, settings=settings) as airflow:
        airflow.wait_until_healthy()
        airflow.connect(tenable.process)
        fields: dict[str, Any] = {**aws.connection(), "port": urlsplit(aws.url).port}
        body = {"connection_id": "nessus_aws", **fields, "extra": json.dumps(fields["extra"])}
        airflow.api("POST", "/connections", json=body)
        for dag_id in (SCAN, IMPORT, AUDIT, COMPLIANCE):
            airflow.unpause(dag_id)
        yield airflow


def states(airflow: Standalone, run: str) -> dict[str, str]:
    return {each["task_id"]: each["state"] for each in airflow.task_instances(run, SCAN)}


def test_a_run_scans_with_its_own_scanner_and_the_import_follows(
    scheduler: Standalone, tenable: Sandbox, aws: AwsServices, tmp_path: Path
) -> None:
    assert scheduler.runs(IMPORT) == []
    with aws.starting(tenable, tmp_path) as started:
        run = scheduler.trigger(CONF, SCAN)
        assert scheduler.wait_for(run, SCAN) == "success", scheduler.tail()
    ended = states(scheduler, run)
    assert {state for task, state in ended.items() if task != "delete_scan"} == {"success"}, ended
    [name] = started
    assert aws.instances(name) == []
    [scan] = tenable.tenable("scans")
    assert [each["status"] for each in scan["runs"]] == ["completed"]
    assert f"run {scan['runs'][0]['uuid']} is completed" in scheduler.log_of(run, "report", SCAN)
    until(lambda: scheduler.runs(IMPORT), 180, "nothing was imported after the scan", 2)
    [following] = scheduler.runs(IMPORT)
    assert following["run_type"] in TRIGGERED
    assert scheduler.wait_for(following["dag_run_id"]) == "success", scheduler.report_of(following["dag_run_id"])
    accounts = tenable.process.facts["accounts"]
    assert differences(tenable.held(), expected(tenable.truth(), accounts)) == {}


def test_scanner_of_a_run_that_is_marked_as_failed_is_removed(
    scheduler: Standalone, tenable: Sandbox, aws: AwsServices, tmp_path: Path
) -> None:
    tenable.fault({"on": "scan_run", "do": "stay", "how": "running"})
    with aws.starting(tenable, tmp_path) as started:
        run = scheduler.trigger(CONF, SCAN)
        until(lambda: states(scheduler, run).get("run_scan") == "deferred", 600, "the scan does not run", 2)
        [name] = started
        assert len(aws.instances(name)) == 1
        scheduler.mark_failed(run, SCAN)
        assert scheduler.wait_for(run, SCAN) == "failed", scheduler.tail()
    ended = states(scheduler, run)
    assert (ended["remove_scanner"], ended["report"], ended["complete"]) == ("success", "failed", "skipped")
    assert aws.instances(name) == []
    # A failed run is not a completed scan.
    assert len(scheduler.runs(IMPORT)) == 1


def test_accounts_are_audited_and_the_import_of_the_results_follows(scheduler: Standalone, tenable: Sandbox) -> None:
    account = tenable.process.facts["accounts"][0]
    tenable.tenable("options", {"scan_seconds": 1})
    host = next(
        each["asset_id"]
        for each in tenable.truth()["assets"]
        if each["account"] == account and each["asset_kind"] == "ec2" and not each["terminated_at"]
    )
    tenable.change({"do": "audit", "asset_id": host, "audit_file": HOST_AUDIT.format(1), "checks": 6})
    one = {"account": account, "aws_conn_id": "nessus_aws", "role_name": "TenableAuditAdmin", "regions": ["us-east-1"]}
    broken = {"account": "777788889999", "aws_conn_id": "nobody"}
    run = scheduler.trigger({"accounts": [one, broken]}, AUDIT)
    # One account was audited, so the import follows although the run says that the other one was not.
    assert scheduler.wait_for(run, AUDIT) == "failed", scheduler.tail()
    assert "1 of 2 accounts were not audited: 777788889999" in scheduler.log_of(run, "report", AUDIT)
    until(lambda: scheduler.runs(COMPLIANCE), 180, "nothing was imported after the audit", 2)
    [following] = scheduler.runs(COMPLIANCE)
    assert following["run_type"] in TRIGGERED
    assert scheduler.wait_for(following["dag_run_id"], COMPLIANCE) == "success", scheduler.tail()
    of_aws = [each for each in tenable.truth()["compliance"] if each["is_aws"]]
    [asset] = {each["asset_id"] for each in of_aws}
    owners = {asset: account}
    assert {status for *_, status in results(tenable, owners)} >= {"PASSED", "FAILED"}
    assert held(tenable) == results(tenable, owners)

    # Later a check of the account passes or fails, and a host is audited by the next version of the audit, of whose
    # findings a customer has suppressed one.
    audit_file = "tenable/vulnerability-management/audit_file"
    suppressed = next(
        each for each in tenable.documents().values() if each["ProductFields"].get(audit_file) == HOST_AUDIT.format(1)
    )
    place = {"account": suppressed["AwsAccountId"], "region": suppressed["Region"], "id": suppressed["Id"]}
    tenable.aws("customer", {**place, "set": {"Workflow": {"Status": "SUPPRESSED"}}})
    tenable.advance(20)
    other = "FAILED" if of_aws[0]["status"] == "PASSED" else "PASSED"
    tenable.change(
        {"do": "set_result", "asset_id": asset, "audit_file": of_aws[0]["audit_file"], "number": 0, "status": other},
        {"do": "audit", "asset_id": host, "audit_file": HOST_AUDIT.format(2), "checks": 6},
        {"do": "drop_audit", "asset_id": host, "audit_file": HOST_AUDIT.format(1)},
    )
    before = held(tenable)
    assert results(tenable, owners) != before
    full = scheduler.trigger({"full": True}, COMPLIANCE)
    assert scheduler.wait_for(full, COMPLIANCE) == "success", scheduler.tail()
    assert held(tenable) == results(tenable, owners)
    archived = tenable.documents()[suppressed["Id"]]
    assert (archived["RecordState"], archived["Workflow"]["Status"]) == ("ARCHIVED", "SUPPRESSED")
    assert archived["ProductFields"][REASON] == "superseded_audit"


def scanned_by_a_person(tenable: Sandbox) -> str:
    """The UUID of a run that no DAG has launched, of a scan that is made for it."""
    facts = tenable.process.facts
    keys = f"accessKey={facts['access_key']};secretKey={facts['secret_key']}"
    with httpx.Client(base_url=tenable.process.tenable, headers={"X-ApiKeys": keys}) as client:
        settings = {"name": "Nightly", "text_targets": "192.0.2.7"}
        scan = client.post("/scans", json={"uuid": TEMPLATE, "settings": settings}).raise_for_status().json()["scan"]
        return str(client.post(f"/scans/{scan['id']}/launch").raise_for_status().json()["scan_uuid"])


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 has no asset watchers")
def test_a_scan_that_a_person_launched_starts_the_dag_that_watches_it(scheduler: Standalone, tenable: Sandbox) -> None:
    tenable.tenable("options", {"scan_seconds": 1})
    # The triggerer has watched since Airflow started, and gone on although the scan was not there.
    run_uuid = scanned_by_a_person(tenable)
    until(lambda: scheduler.runs(WATCHING), 180, "no event followed the scan", 2)
    [following] = scheduler.runs(WATCHING)
    assert following["run_type"] == "asset_triggered"
    assert scheduler.wait_for(following["dag_run_id"], WATCHING) == "success", scheduler.tail()
    assert run_uuid in scheduler.log_of(following["dag_run_id"], "look", WATCHING)
    assert len(scheduler.runs(WATCHING)) == 1


def test_no_secret_is_in_anything_that_airflow_wrote(scheduler: Standalone, tenable: Sandbox, aws: AwsServices) -> None:
    facts = tenable.process.facts
    secrets = [facts["secret_key"], str(aws.connection()["password"]), LINKING_KEY]
    for path in Path(scheduler.home).rglob("*"):
        if path.is_file() and path.suffix not in (".db", ".db-wal", ".db-shm", ".db-journal"):
            content = path.read_bytes()
            assert [secret for secret in secrets if secret.encode() in content] == [], path
