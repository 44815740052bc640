"""The complete DAG under a real scheduler and triggerer: `airflow standalone` and the sandbox, as in `make demo`."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from airflow_provider_tenable._compat import AIRFLOW_V_3_0_PLUS
from sandbox.standalone.airflow import Standalone
from sandbox.standalone.children import ROOT, SandboxProcess
from sandbox.standalone.demo import exported
from tests.integration.oracle import delivered, expected
from tests.polling import until

pytestmark = pytest.mark.system


def _held(sandbox: SandboxProcess) -> dict[str, tuple[str, str]]:
    findings = httpx.get(f"{sandbox.aws}/_sandbox/findings", timeout=60, trust_env=False).json()["findings"]
    return delivered({finding["Id"]: finding for finding in findings})


def _oracle(sandbox: SandboxProcess) -> dict[str, tuple[str, str]]:
    truth = httpx.get(f"{sandbox.tenable}/_sandbox/truth", timeout=60, trust_env=False).json()
    return expected(truth, accounts=sandbox.facts["accounts"])


def _run_once(airflow: Standalone, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "AIRFLOW_URL": airflow.url}
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "run_once.py", *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_run_once_with_params_starts_nothing_where_switching_on_would_start_the_scheduled_run(
    airflow: Standalone,
) -> None:
    if not AIRFLOW_V_3_0_PLUS:
        pytest.skip("run_once.py is for Airflow 3")
    done = _run_once(airflow, "--conf", '{"dry_run": true}')
    assert done.returncode == 2, done.stdout + done.stderr
    assert "The scheduled run of tenable_to_security_hub is due since" in done.stderr
    assert airflow.runs() == []
    assert airflow.api("GET", "/dags/tenable_to_security_hub")["is_paused"]


def test_switching_the_dag_on_starts_a_dry_run(airflow: Standalone, sandbox: SandboxProcess) -> None:
    airflow.unpause("after_import")
    airflow.unpause()
    run = airflow.first_run()
    assert airflow.wait_for(run) == "success", airflow.tail()
    assert [each["run_type"] for each in airflow.runs()] == ["scheduled"]
    assert (_held(sandbox), airflow.watermark()) == ({}, None)
    assert exported(airflow.report_of(run)) > 300
    assert "DRY RUN, nothing was sent. Complete: every record is accounted for" in airflow.report_of(run)
    assert "tenable_to_security_hub has not imported anything yet" in airflow.log_of(run, "plan_run")
    states = {each["task_id"]: each["state"] for each in airflow.task_instances(run)}
    assert (states["import_findings"], states["settle"], states["advance_watermark"]) == (
        "success",
        "success",
        "skipped",
    )
    # Who waits for an import is not started.
    assert airflow.runs("after_import") == []


def test_dag_delivers_everything_then_only_what_changed(airflow: Standalone, sandbox: SandboxProcess) -> None:
    lines: list[str] = []
    first = airflow.trigger()
    assert airflow.wait_for(first, progress=lines.append) == "success", airflow.tail()
    assert "export_vulnerabilities: deferred" in lines
    assert _held(sandbox) == _oracle(sandbox)
    report = airflow.report_of(first)
    assert "Complete: every record is accounted for" in report
    watermark = airflow.watermark()
    assert watermark
    assert f"({watermark})" in report

    httpx.post(f"{sandbox.tenable}/_sandbox/clock", json={"advance_seconds": 86400}, timeout=60).raise_for_status()
    # From here on, exports are ready at once: two runs have shown that they are deferred.
    httpx.post(f"{sandbox.tenable}/_sandbox/options", json={"prepare_seconds": 0.2}, timeout=60).raise_for_status()
    second = airflow.trigger()
    assert airflow.wait_for(second) == "success", airflow.tail()
    assert 0 < exported(airflow.report_of(second)) < exported(report)
    assert _held(sandbox) == _oracle(sandbox)
    assert int(airflow.watermark() or 0) > int(watermark)


def test_metrics_reach_statsd(airflow: Standalone, sandbox: SandboxProcess, statsd: socket.socket) -> None:
    counters: Counter[str] = Counter()
    imported: Counter[tuple[str, str]] = Counter()
    lines = []
    while True:
        try:
            lines.append(statsd.recv(4096).decode())
        except BlockingIOError:
            break
    for line in lines:
        head, _, value = line.partition(":")
        name, *tags = head.split(",")
        if value.endswith("|c"):
            labels = dict(tag.split("=") for tag in tags)
            counters[name.removeprefix("airflow.")] += int(value[:-2])
            if name == "airflow.tenable.accepted":
                imported[labels["account"], labels["region"]] += int(value[:-2])
    # The dry run, the first real one, and the second day's.
    reports = [airflow.report_of(run["dag_run_id"]) for run in airflow.runs()]
    assert len(reports) == 3
    assert counters["tenable.exported.vulnerabilities"] == sum(map(exported, reports)) > 0
    assert counters["tenable.accepted"] == sum(imported.values()) > len(_held(sandbox)) > 0
    assert set(imported) == {
        (account, region) for account in sandbox.facts["accounts"] for region in sandbox.facts["regions"]
    }
    assert any(
        line.startswith("airflow.tenable.watermark_lag,dag_id=tenable_to_security_hub:") and line.endswith("|g")
        for line in lines
    )
    assert any(line.startswith("airflow.tenable.duration.export,") and line.endswith("|ms") for line in lines)


def test_run_without_findings_ends_well(airflow: Standalone) -> None:
    # Nothing is mapped over then: the import is skipped, and what follows it is not.
    run = airflow.trigger({"since": int(airflow.watermark() or 0) - 1})
    assert airflow.wait_for(run) == "success", airflow.report_of(run)
    assert exported(airflow.report_of(run)) == 0
    states = {each["task_id"]: each["state"] for each in airflow.task_instances(run)}
    assert (states["import_findings"], states["settle"], states["advance_watermark"]) == (
        "skipped",
        "success",
        "success",
    )


def test_misspelt_param_is_refused_before_anything_is_exported(airflow: Standalone) -> None:
    # Airflow itself takes it: without the refusal this would be a real run.
    run = airflow.trigger({"dryrun": True})
    assert airflow.wait_for(run) == "failed"
    assert "'dryrun' (did you mean 'dry_run'?)" in airflow.log_of(run, "plan_run")
    assert "Nothing was exported or imported" in airflow.report_of(run)


def test_backfill_covers_each_day_and_leaves_the_watermark(airflow: Standalone, sandbox: SandboxProcess) -> None:
    watermark, held = airflow.watermark(), _held(sandbox)
    today = datetime.fromtimestamp(int(watermark or 0), UTC).date()
    days = [today - timedelta(days=back) for back in (3, 2)]
    runs = airflow.backfill(days[0].isoformat(), days[-1].isoformat())
    assert len(runs) == 2
    windows = []
    for run in runs:
        assert airflow.wait_for(run) == "success", airflow.report_of(run)
        match = re.search(r"backfill: (\S+)T00:00:00Z .*? to (\S+)T00:00:00Z", airflow.report_of(run))
        assert match, airflow.report_of(run)
        windows.append(match.groups())
    assert sorted(windows) == [(day.isoformat(), (day + timedelta(days=1)).isoformat()) for day in days]
    assert airflow.watermark() == watermark
    # All of it was delivered before, and is not newer.
    assert _held(sandbox) == held


def test_mapped_imports_are_named_after_account_and_region(airflow: Standalone, sandbox: SandboxProcess) -> None:
    run = next(each["dag_run_id"] for each in airflow.runs() if each["run_type"] == "scheduled")
    names = [each["rendered_map_index"] for each in airflow.task_instances(run) if each["task_id"] == "import_findings"]
    assert {name.split(": ")[0] for name in names} == {
        f"{account}/{region}" for account in sandbox.facts["accounts"] for region in sandbox.facts["regions"]
    }
    # And after what became of their findings.
    assert all(re.search(r": (dry run, [\d,]+ findings|[\d,]+ sent, \d+ rejected)$", name) for name in names)


def test_form_refuses_a_batch_size_over_the_limit(airflow: Standalone) -> None:
    with pytest.raises(RuntimeError, match="batch_size"):
        airflow.trigger({"batch_size": 101})


def test_failed_run_still_reports_and_keeps_the_watermark(airflow: Standalone, sandbox: SandboxProcess) -> None:
    before = airflow.watermark()
    # An account whose role does not exist, in a run that tolerates none: the others get their findings.
    accounts = [*sandbox.facts["accounts"], "999900001111"]
    run = airflow.trigger(
        {
            "destinations": [
                {
                    "aws_conn_id": "aws_default",
                    "accounts": accounts,
                    "role_name": "TenableSecurityHubImport",
                    "region": None,
                }
            ],
            "since": 1,
            "max_refused_destinations": 0,
        }
    )
    assert airflow.wait_for(run) == "failed"
    states = {each["task_id"]: each["state"] for each in airflow.task_instances(run)}
    assert states["report"] == "failed"
    assert states["advance_watermark"] == "upstream_failed"
    assert "NOT COMPLETE" in airflow.report_of(run)
    assert airflow.watermark() == before


def _notified(airflow: Standalone) -> list[str]:
    """What the failure callback of the docs has sent."""
    file = airflow.home / "notified.txt"
    return file.read_text().splitlines() if file.exists() else []


def test_run_that_is_marked_as_failed_ends_as_failed_and_calls_the_failure_callback(
    airflow: Standalone, sandbox: SandboxProcess
) -> None:
    before = airflow.watermark()
    options = f"{sandbox.tenable}/_sandbox/options"
    httpx.post(options, json={"prepare_seconds": 600}, timeout=60).raise_for_status()
    run = airflow.trigger()

    def states(*tasks: str) -> list[str]:
        found = {each["task_id"]: each["state"] for each in airflow.task_instances(run)}
        return [found[task] for task in tasks]

    exports = ("export_assets", "export_vulnerabilities")
    # Both: a task that is just being deferred overwrites the mark, and the run waits for its trigger.
    until(lambda: states(*exports) == ["deferred"] * 2, 180, "no export waits in the triggerer", 2)
    try:
        airflow.mark_failed(run)
        assert airflow.wait_for(run) == "failed", airflow.tail()
    finally:
        httpx.post(options, json={"prepare_seconds": 0.2}, timeout=60).raise_for_status()
    assert set(states(*exports)) <= {"failed", "skipped"}
    assert states("plan_shards", "settle", "advance_watermark") == ["skipped"] * 3
    assert states("report", "remove_old_runs") == ["failed", "success"]
    assert "NOT COMPLETE" in airflow.report_of(run)
    assert airflow.watermark() == before
    until(lambda: any(run in line for line in _notified(airflow)), 120, "nobody was notified of the failed run", 1)
    [line] = [line for line in _notified(airflow) if run in line]
    assert line.startswith(f"Run {run} of tenable_to_security_hub failed")
    jobs = httpx.get(f"{sandbox.tenable}/_sandbox/stats", timeout=60, trust_env=False).json()["exports"]
    assert {job["status"] for job in jobs} <= {"FINISHED", "CANCELLED"}


def _imports_told(airflow: Standalone) -> list[dict[str, Any]]:
    """The asset events that the DAG of the docs received, as its runs have logged them."""
    logs = [airflow.log_of(run["dag_run_id"], "look", "after_import") for run in airflow.runs("after_import")]
    return [json.loads(text) for log in logs for text in re.findall(r"Imported: (\{.*\})", log)]


def _events(airflow: Standalone) -> dict[str, dict[str, Any]]:
    """The events of imports that Airflow has on record, by run."""
    kind = "asset" if airflow.api_path.endswith("v2") else "dataset"
    found = airflow.api("GET", f"/{kind}s/events", params={"limit": 100})[f"{kind}_events"]
    events = [each["extra"] for each in found if (each["extra"] or {}).get("ledger")]
    assert len({each["run_id"] for each in events}) == len(events)
    return {each["run_id"]: each for each in events}


#: What becomes of findings, in a run in which nothing was rejected.
ACCOUNTED = ("accepted", "unchanged", "superseded", "never_imported")


def test_dag_that_waits_for_imports_is_told_of_each_run_that_was_complete(airflow: Standalone) -> None:
    # Two days, a run without findings, two days of a backfill; none of the dry run, and none of those that failed.
    complete = {
        run["dag_run_id"]: run["run_type"]
        for run in airflow.runs()
        if run["state"] == "success" and run["run_type"] != "scheduled"
    }
    deadline = time.monotonic() + 120
    while len(_imports_told(airflow)) < len(complete) and time.monotonic() < deadline:
        time.sleep(1)
    told = {each["run_id"]: each for each in _imports_told(airflow)}
    assert len(_imports_told(airflow)) == len(told)
    events = _events(airflow)
    assert set(events) == set(complete)
    # Airflow chooses the events of a waiting DAG's run by their moments: of two that come at nearly the same time, one
    # may stay behind until the next one comes (apache/airflow#54659).
    assert set(told) <= set(events)
    assert len(set(events) - set(told)) <= 1
    for run, extra in events.items():
        assert (extra["window"]["kind"] == "backfill") == (complete[run] == "backfill")
        assert extra["exported"] == exported(airflow.report_of(run))
        assert extra["findings"] == sum(extra[each] for each in ACCOUNTED)
    assert str(max(each["watermark"]["after"] for each in events.values())) == airflow.watermark()


def test_keys_are_in_nothing_that_airflow_wrote(airflow: Standalone, sandbox: SandboxProcess) -> None:
    # The database holds them in the connection, where they belong (encrypted where a Fernet key is set).
    for path in Path(airflow.home).rglob("*"):
        if path.is_file() and path.suffix not in (".db", ".db-wal", ".db-shm", ".db-journal"):
            content = path.read_bytes()
            assert sandbox.facts["secret_key"].encode() not in content, path
            assert b"sandbox-aws-secret" not in content, path
