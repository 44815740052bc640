"""What operators and sensors of scans and scanners send to Airflow's metrics."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from airflow_provider_tenable import _compat
from airflow_provider_tenable.exceptions import ExportFailedError, ScanFailedError
from airflow_provider_tenable.operators.remediation_scans import TenableRemediationScanOperator
from airflow_provider_tenable.operators.scan_exports import TenableExportScanOperator
from airflow_provider_tenable.operators.scan_runs import TenableRunScanOperator
from airflow_provider_tenable.sensors.tenable_scanners import TenableScannerSensor
from tests.scan_tasks import context_of, quick, run_deferred, staging  # noqa: F401
from tests.tenable_thread import TenableThread

pytestmark = pytest.mark.usefixtures("staging", "quick")

BOTH = pytest.mark.parametrize("deferrable", [False, True])


class Stats:
    """Stands for Airflow's Stats. Without what is sent again with a tag in the name.

    :ivar counts: by name and tags.
    :ivar durations: in seconds, by name.
    """

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.durations: dict[str, list[float]] = {}

    def incr(self, name: str, count: int, *, tags: dict[str, str]) -> None:
        self.counts[(name, *(f"{tag}={value}" for tag, value in sorted(tags.items())))] += count

    def timing(self, name: str, milliseconds: float, *, tags: dict[str, str]) -> None:
        assert tags == {"dag_id": "dag"}
        self.durations.setdefault(name, []).append(milliseconds / 1000)

    def bytes(self) -> dict[str, int]:
        """Downloaded bytes by format."""
        return {
            tags[1].removeprefix("format="): number
            for (name, *tags), number in self.counts.items()
            if name == "tenable.scan_export.bytes"
        }


@pytest.fixture
def stats(monkeypatch: pytest.MonkeyPatch) -> Stats:
    sent = Stats()
    monkeypatch.setattr(_compat, "Stats", sent)
    return sent


def ended(status: str) -> dict[tuple[str, ...], int]:
    """One run that ended with this status."""
    return {
        ("tenable.scan.ended", "dag_id=dag", f"status={status}"): 1,
        (f"tenable.scan.ended.{status}", "dag_id=dag"): 1,
    }


@BOTH
def test_a_run_counts_once_by_its_status_with_its_duration(
    tenable: TenableThread, stats: Stats, monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    tenable.add_scan()
    real, moved = time.time, list[float]()
    # The sandbox's clock is ours, 400 days behind: instead of it, ours moves on.
    monkeypatch.setattr(time, "time", lambda: real() + sum(moved))
    monkeypatch.setattr(tenable, "advance", moved.append)
    tenable.switch(scan_seconds=600)
    task = TenableRunScanOperator(task_id="run_scan", scan="name:Weekly", deferrable=deferrable)
    run_deferred(task, tenable)
    assert stats.counts == ended("completed")
    [seconds] = stats.durations["tenable.scan.duration"]
    assert 600 <= seconds < 900


def test_a_run_that_fails_counts_too(tenable: TenableThread, stats: Stats) -> None:
    tenable.add_scan()
    tenable.order("scan_run", "end", how="aborted")
    with pytest.raises(ScanFailedError):
        run_deferred(TenableRunScanOperator(task_id="run_scan", scan="name:Weekly"), tenable)
    assert stats.counts == ended("aborted")
    assert len(stats.durations["tenable.scan.duration"]) == 1


def test_a_rescan_counts_as_a_run(tenable: TenableThread, stats: Stats) -> None:
    task = TenableRemediationScanOperator(task_id="rescan", plugin_id=51192, target="192.0.2.1", deferrable=False)
    run_deferred(task, tenable)
    assert stats.counts == ended("completed")


def test_bytes_count_when_they_are_downloaded_and_only_then(tenable: TenableThread, stats: Stats) -> None:
    config = tenable.add_scan()
    tenable.launch(config)
    tenable.advance(5)
    tenable.order("scan_file", "error", match={"format": "csv"})
    task = TenableExportScanOperator(task_id="export_scan", scan="name:Weekly", formats=["csv", "nessus"])
    with pytest.raises(ExportFailedError):
        run_deferred(task, tenable)
    # A format that failed takes nothing from the others.
    assert set(stats.bytes()) == {"nessus"}
    tenable.tenable.scans.files.clear()
    result, _ = run_deferred(task, tenable)
    downloaded = {file["format"]: file["bytes"] for file in result["files"]}
    assert stats.bytes() == downloaded
    # Everything is there: nothing is downloaded.
    run_deferred(task, tenable)
    assert stats.bytes() == downloaded


@BOTH
def test_a_scanner_that_can_scan_is_timed_from_its_launch(
    tenable: TenableThread, stats: Stats, deferrable: bool
) -> None:
    # On machines that link themselves, both clocks count.
    tenable.advance(time.time() - tenable.now())
    tenable.tenable.scanners.boot({"name": "dmz"})
    scanner = {"name": "dmz", "launched_at": time.time() - 480}
    task = TenableScannerSensor(task_id="wait", scanner=scanner, deferrable=deferrable)
    found = task.execute(context_of(task)) if deferrable else task.poke(context_of(task)).xcom_value
    assert found["name"] == "dmz"
    [seconds] = stats.durations["tenable.scanner.online_after"]
    assert 480 <= seconds < 600


def test_the_timeout_of_a_scanner_is_that_of_the_option_unless_the_task_has_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__SCANNER_TIMEOUT_MINUTES", "7")
    assert TenableScannerSensor(task_id="wait", name="dmz").timeout == 420
    assert TenableScannerSensor(task_id="wait", name="dmz", timeout=60).timeout == 60


def test_the_intervals_and_timeouts_of_scans_are_those_of_the_options_unless_the_task_has_its_own(
    tenable: TenableThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__SCAN_POLL_INTERVAL_SECONDS", "45")
    monkeypatch.setenv("AIRFLOW__TENABLE__SCAN_TIMEOUT_HOURS", "2")
    monkeypatch.setenv("AIRFLOW__TENABLE__SCAN_EXPORT_TIMEOUT_MINUTES", "3")
    run = TenableRunScanOperator(task_id="run_scan", scan="name:Weekly")
    assert (run._poll_interval(), run._scan_timeout()) == (45, 7200)
    own = TenableRunScanOperator(task_id="run_scan", scan="name:Weekly", poll_interval=60, scan_timeout=90)
    assert (own._poll_interval(), own._scan_timeout()) == (60, 90)
    tenable.launch(tenable.add_scan())
    tenable.advance(5)
    tenable.order("scan_file", "late", seconds=1e9)
    real, slept = time.time, list[float]()
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(time, "time", lambda: real() + sum(slept))
    export = TenableExportScanOperator(task_id="export_scan", scan="name:Weekly", formats=["csv"], deferrable=False)
    with pytest.raises(ExportFailedError, match=r"has not prepared the file .* within 3 min"):
        export.execute(context_of(export))
