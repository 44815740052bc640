"""The whole DAG under a real scheduler and triggerer: `airflow standalone` against the sandbox, as in `make demo`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from sandbox.standalone import airflow_of_this_environment
from sandbox.standalone.airflow import Standalone
from sandbox.standalone.children import SandboxProcess
from sandbox.standalone.demo import exported
from tests.integration.oracle import delivered, expected

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    log = tmp_path_factory.mktemp("system") / "sandbox.log"
    with SandboxProcess("--estate", "small", "--prepare-seconds", "15", log=log) as process:
        yield process


@pytest.fixture(scope="module")
def airflow(sandbox: SandboxProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    # The keys are searched for in all that Airflow writes.
    with airflow_of_this_environment(tmp_path_factory.mktemp("airflow"), sandbox) as process:
        process.wait_until_healthy()
        process.connect(sandbox)
        yield process


def _held(sandbox: SandboxProcess) -> dict[str, tuple[str, str]]:
    findings = httpx.get(f"{sandbox.aws}/_sandbox/findings", timeout=60, trust_env=False).json()["findings"]
    return delivered({finding["Id"]: finding for finding in findings})


def _oracle(sandbox: SandboxProcess) -> dict[str, tuple[str, str]]:
    truth = httpx.get(f"{sandbox.tenable}/_sandbox/truth", timeout=60, trust_env=False).json()
    return expected(truth, accounts=sandbox.facts["accounts"])


def test_dag_delivers_everything_then_only_what_changed(airflow: Standalone, sandbox: SandboxProcess) -> None:
    lines: list[str] = []
    airflow.unpause()
    first = airflow.first_run()
    assert airflow.wait_for(first, progress=lines.append) == "success", airflow.tail()
    assert "export_vulnerabilities: deferred" in lines
    assert _held(sandbox) == _oracle(sandbox)
    report = airflow.report_of(first)
    assert "Complete: every record is accounted for" in report
    watermark = airflow.watermark()
    assert watermark
    assert f"({watermark})" in report

    httpx.post(f"{sandbox.tenable}/_sandbox/clock", json={"advance_seconds": 86400}, timeout=60).raise_for_status()
    second = airflow.trigger()
    assert airflow.wait_for(second) == "success", airflow.tail()
    assert 0 < exported(airflow.report_of(second)) < exported(report)
    assert _held(sandbox) == _oracle(sandbox)
    assert int(airflow.watermark() or 0) > int(watermark)


def test_run_without_findings_ends_well(airflow: Standalone) -> None:
    # Nothing is mapped over then: the import is skipped, and what follows it is not.
    run = airflow.trigger({"since": int(airflow.watermark() or 0) - 1})
    assert airflow.wait_for(run) == "success", airflow.report_of(run)
    assert exported(airflow.report_of(run)) == 0
    states = {each["task_id"]: each["state"] for each in airflow.task_instances(run)}
    assert (states["import_findings"], states["settle"], states["advance_watermark"]) == ("skipped", "success", "success")


def test_backfill_covers_each_day_and_leaves_the_watermark(airflow: Standalone, sandbox: SandboxProcess) -> None:
    watermark, held = airflow.watermark(), _held(sandbox)
    today = datetime.fromtimestamp(int(watermark or 0), UTC).date()
    days = [today - timedelta(days=back) for back in (4, 3, 2)]
    runs = airflow.backfill(days[0].isoformat(), days[-1].isoformat())
    assert len(runs) == 3
    windows = []
    for run in runs:
        assert airflow.wait_for(run) == "success", airflow.report_of(run)
        match = re.search(r"backfill: (\S+) 00:00:00 UTC .*? to (\S+) 00:00:00 UTC", airflow.report_of(run))
        assert match, airflow.report_of(run)
        windows.append(match.groups())
    assert sorted(windows) == [(day.isoformat(), (day + timedelta(days=1)).isoformat()) for day in days]
    assert airflow.watermark() == watermark
    # All of it was delivered before, and is not newer.
    assert _held(sandbox) == held


def test_mapped_imports_are_named_after_account_and_region(airflow: Standalone, sandbox: SandboxProcess) -> None:
    run = next(each["dag_run_id"] for each in airflow.runs() if each["run_type"] == "scheduled")
    names = {each["rendered_map_index"] for each in airflow.task_instances(run) if each["task_id"] == "import_findings"}
    assert names == {f"{account}/{region}" for account in sandbox.facts["accounts"] for region in sandbox.facts["regions"]}


def test_form_refuses_a_batch_size_over_the_limit(airflow: Standalone) -> None:
    with pytest.raises(RuntimeError, match="batch_size"):
        airflow.trigger({"batch_size": 101})


def test_failed_run_still_reports_and_keeps_the_watermark(airflow: Standalone, sandbox: SandboxProcess) -> None:
    before = airflow.watermark()
    # An account whose role does not exist: its import fails, the others' do not.
    accounts = [*sandbox.facts["accounts"], "999900001111"]
    run = airflow.trigger(
        {"destinations": [{"aws_conn_id": "aws_default", "accounts": accounts, "role_name": "TenableSecurityHubImport", "region": None}], "since": 1}
    )
    assert airflow.wait_for(run) == "failed"
    states = {each["task_id"]: each["state"] for each in airflow.task_instances(run)}
    assert states["report"] == "success"
    assert states["advance_watermark"] == "upstream_failed"
    assert "NOT COMPLETE" in airflow.report_of(run)
    assert airflow.watermark() == before


def test_keys_are_in_nothing_that_airflow_wrote(airflow: Standalone, sandbox: SandboxProcess) -> None:
    # The database holds them in the connection, where they belong (encrypted where a Fernet key is set).
    for path in Path(airflow.home).rglob("*"):
        if path.is_file() and path.suffix not in (".db", ".db-wal", ".db-shm", ".db-journal"):
            content = path.read_bytes()
            assert sandbox.facts["secret_key"].encode() not in content, path
            assert b"sandbox-aws-secret" not in content, path
