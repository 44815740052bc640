"""The run of a scan, against the sandbox's Tenable over sockets: launched once whatever happens, found again, followed
to its end.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_tenable.exceptions import (
    CapacityError,
    ConflictError,
    NotFoundError,
    ScanFailedError,
    StagingError,
    TemporaryError,
    TenablePermissionError,
)
from airflow_provider_tenable.scan.crash_points import ScanCrashPoint
from airflow_provider_tenable.scan.run_machine import RunMachine
from airflow_provider_tenable.scan.run_settings import ADOPT, GRACE, WAIT, Ended, RunSettings, Waiting
from airflow_provider_tenable.scan.run_state import Launching, RunState, RunStateFile
from airflow_provider_tenable.staging.location import open_path
from tests.scan_tasks import Killed, kill_at  # noqa: F401

#: No test here waits for pyTenable, which sleeps after a 429 or 503 even if it does not repeat the request.
pytestmark = pytest.mark.usefixtures("naps")

SETTINGS = RunSettings(poll_interval=5.0, scan_timeout=100.0, capacity_timeout=60.0, pending_timeout=50.0)


class Task:
    """One task of an Airflow run: its attempts share a file in the staging area."""

    def __init__(self, tenable: Any, hook: Any, folder: Any) -> None:
        self.tenable, self.hook = tenable, hook
        self.path = open_path(f"file://{folder}/run/jobs/run_scan.json")
        self.config = tenable.add_scan()

    def machine(self, *, cleared: int = 2, settings: RunSettings = SETTINGS, targets: Any = None) -> RunMachine:
        scan = self.hook.scans.scan(self.config.uuid)
        return RunMachine(
            scan=scan,
            targets=targets,
            client=self.hook.scan_runs,
            store=RunStateFile(self.path),
            settings=settings,
            cleared=cleared,
            now=self.tenable.now,
        )

    def run(self, machine: RunMachine | None = None, **options: Any) -> dict[str, Any]:
        """One attempt of the task. Waiting moves the clock on."""
        machine = machine or self.machine(**options)
        for number in range(200):
            outcome = machine.step()
            if isinstance(outcome, Ended):
                return machine.finish(outcome.result).result
            assert outcome.seconds > 0
            # A long wait need not be polled as often as in reality.
            self.tenable.advance(outcome.seconds * (1 if number < 6 else 8))
        raise AssertionError("The task waits for ever.")

    @property
    def runs(self) -> list[Any]:
        return self.config.runs


@pytest.fixture
def task(tenable, hook, tmp_path):
    return Task(tenable, hook, tmp_path)


def test_a_scan_is_launched_and_followed_to_its_end(task):
    result = task.run()
    [run] = task.runs
    assert result == {
        "scan": task.config.id,
        "schedule_uuid": task.config.uuid,
        "name": "Weekly",
        "run_uuid": run.uuid,
        "history_id": run.number,
        "status": "completed",
        "started_at": float(int(run.started)),
        "ended_at": float(int(run.started + 2)),
        "hosts": 1,
        "severities": {"critical": 1, "high": 2, "medium": 3, "low": 0, "info": 10},
        "compliance": {"failed": 5, "warning": 0, "passed": 0},
    }


def test_other_targets_are_scanned_instead(task):
    task.run(targets=["192.0.2.7", "192.0.2.8"])
    assert task.runs[0].targets == ["192.0.2.7", "192.0.2.8"]


@pytest.mark.parametrize(
    "point", [each for each in ScanCrashPoint if each.name.startswith(("LAUNCH", "RUN", "RESULT"))]
)
@pytest.mark.parametrize("late", [0, 40])
def test_a_task_that_is_killed_at_any_boundary_and_retried_has_launched_once(task, kill_at, point, late):  # noqa: F811
    if late:
        task.tenable.order("scan_run", "history_late", seconds=late)
    kill_at(point)
    with pytest.raises(Killed):
        task.run()
    kill_at(None)
    result = task.run()
    assert [run.uuid for run in task.runs] == [result["run_uuid"]]
    assert result["status"] == "completed"


def test_a_launch_that_was_noted_and_not_sent_is_sent_after_a_while(task, kill_at):  # noqa: F811
    kill_at(ScanCrashPoint.LAUNCH_NOTED)
    with pytest.raises(Killed):
        task.run()
    kill_at(None)
    before = task.tenable.now()
    task.run()
    assert len(task.runs) == 1
    assert task.runs[0].started - before >= GRACE


LOST = [
    ("late_status", {"status": 504}),
    ("late_status", {"status": 500}),
    ("late_status", {"status": 200, "body": "<html>"}),
    ("lose_answer", {}),
    ("truncate", {"keep_bytes": 5, "declare_full": True}),
]


@pytest.mark.parametrize(("do", "arguments"), LOST, ids=[f"{do}-{list(args.values())}" for do, args in LOST])
@pytest.mark.parametrize("late", [0, 300, 3_000])
def test_a_lost_answer_to_a_launch_is_not_a_second_launch(task, do, arguments, late):
    """Whether the history shows the run at once, while it runs, or hours after it has ended."""
    task.tenable.switch(scan_seconds=90)
    if late:
        task.tenable.order("scan_run", "history_late", seconds=late)
    task.tenable.order("scan_launch", do, **arguments)
    task.run()
    assert len(task.runs) == 1
    assert task.tenable.calls("scan_launch") == 1


@pytest.mark.parametrize(("do", "arguments"), [("status", {"status": 504}), ("reset", {})])
def test_a_launch_that_never_happened_is_repeated_once_that_is_clear(task, do, arguments):
    task.tenable.order("scan_launch", do, **arguments)
    began = task.tenable.now()
    task.run()
    assert len(task.runs) == 1
    assert task.runs[0].started - began >= GRACE
    assert task.tenable.calls("scan_launch") == 2


def test_launches_that_never_happen_end_in_an_error(task):
    task.tenable.order("scan_launch", "status", status=504, times=None)
    with pytest.raises(ScanFailedError, match=r"Scan 'Weekly' was launched 3 times, Tenable did not answer"):
        task.run()
    assert task.tenable.calls("scan_launch") == 3


def test_a_run_of_which_only_the_end_of_the_history_is_late_is_not_taken_for_ours(task):
    """An earlier run that the history did not show when the launch was noted."""
    task.tenable.order("scan_run", "history_late", seconds=30)
    earlier = task.tenable.launch(task.config, seconds=1.0)
    task.tenable.advance(20)
    task.tenable.order("scan_launch", "status", status=504)
    result = task.run()
    assert earlier.uuid != result["run_uuid"]
    assert [run.uuid for run in task.runs] == [earlier.uuid, result["run_uuid"]]


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ("aborted", r"was aborted by Tenable after .*\. Notes: Note: no route\. .*give the scan a dedicated scanner"),
        ("canceled", r"was stopped by a person after .*Notes: Note: no route"),
        ("stopped", r"was stopped by a person"),
        ("imported", r"is an uploaded result, not a run"),
    ],
)
def test_an_end_other_than_wanted_fails_and_a_retry_launches_again(task, status, text):
    task.tenable.order("scan_run", "end", how=status, notes=["no route"])
    if status in ("stopped", "imported"):
        task.tenable.switch(scan_seconds=0)
    with pytest.raises(ScanFailedError, match=text) as failure:
        task.run()
    assert (failure.value.status, failure.value.run_uuid) == (status, task.runs[0].uuid)
    task.run()
    assert len(task.runs) == 2


def test_an_end_may_be_accepted(task):
    task.tenable.order("scan_run", "end", how="canceled")
    assert task.run(settings=replace(SETTINGS, accept=("completed", "canceled")))["status"] == "canceled"


@pytest.mark.parametrize(("cleared", "launches"), [(2, 1), (3, 2)])
def test_a_retry_returns_the_result_again_and_a_cleared_task_scans_again(task, cleared, launches):
    first = task.run(cleared=2)
    second = task.run(cleared=cleared)
    assert len(task.runs) == launches
    assert (first == second) is (launches == 1)


def test_a_task_that_is_cleared_while_its_run_is_active_resumes_it(task):
    task.machine(cleared=2).step()
    task.run(cleared=5)
    assert len(task.runs) == 1


@pytest.mark.parametrize("if_running", ["fail", ADOPT, WAIT])
def test_somebody_elses_run(task, if_running):
    theirs = task.tenable.launch(task.config, seconds=10.0)
    settings = replace(SETTINGS, if_running=if_running)
    if if_running == "fail":
        with pytest.raises(ConflictError, match=rf"Scan 'Weekly' runs already \(run {theirs.uuid}, pending, since 20"):
            task.run(settings=settings)
        assert len(task.runs) == 1
        return
    result = task.run(settings=settings)
    assert len(task.runs) == (1 if if_running == ADOPT else 2)
    assert (result["run_uuid"] == theirs.uuid) is (if_running == ADOPT)


def test_somebody_elses_run_is_waited_for_as_long_as_the_timeout_says(task):
    task.tenable.order("scan_run", "stay", how="running")
    task.tenable.launch(task.config)
    with pytest.raises(ConflictError, match=r"Scan 'Weekly' still runs .* after \d+ s\. Stop that run"):
        task.run(settings=replace(SETTINGS, if_running=WAIT))


def test_an_adopted_run_is_never_stopped(task):
    task.tenable.order("scan_run", "stay", how="running")
    task.tenable.launch(task.config)
    machine = task.machine(settings=replace(SETTINGS, if_running=ADOPT))
    machine.step()
    assert machine.state.adopted
    assert machine.stop() is False
    with pytest.raises(ScanFailedError, match=r"has not ended within \d+ s; it is running.* The run was not stopped"):
        task.run(machine)


def test_a_launch_that_meets_a_run_which_began_in_between_is_a_conflict(task):
    task.tenable.order("scan_launch", "status", status=409)
    task.tenable.order("scan_latest_status", "status", status=200, body='{"status": "empty"}')
    task.tenable.launch(task.config, seconds=10.0)
    with pytest.raises(ConflictError, match="runs already"):
        task.run()
    assert task.machine().state.launching is None


def test_capacity_is_waited_for(task):
    task.tenable.switch(active_elsewhere=25)
    machine = task.machine()
    for _ in range(3):
        assert isinstance(machine.step(), Waiting)
    task.tenable.switch(active_elsewhere=24)
    task.run(machine)
    assert len(task.runs) == 1


def test_capacity_that_does_not_come_is_an_error_that_names_the_limit(task):
    task.tenable.switch(active_elsewhere=25)
    with pytest.raises(CapacityError, match=r"Tenable runs 25 scans already, its limit is 25\. Waited \d+ s\."):
        task.run()
    assert task.runs == []


def test_a_rate_limit_is_not_called_a_lack_of_capacity(task):
    task.tenable.order("scan_launch", "status", status=429, times=None)
    with pytest.raises(CapacityError, match="Tenable returned 429"):
        task.run()


def test_a_run_that_no_scanner_takes_is_stopped_and_says_so(task):
    task.tenable.order("scan_run", "stay", how="pending")
    text = r"No scanner has taken scan 'Weekly' for \d+ s\. Its scanner is US Cloud Scanner\. .*The run was stopped\."
    with pytest.raises(ScanFailedError, match=text):
        task.run()
    assert task.runs[0].stopped_at


def test_a_run_that_takes_too_long_is_stopped(task):
    task.tenable.order("scan_run", "stay", how="running")
    with pytest.raises(ScanFailedError, match=r"has not ended within \d+ s; it is running.*The run was stopped\."):
        task.run()
    assert task.runs[0].stopped_at


def test_a_paused_run_is_waited_for_with_a_warning(task, caplog):
    task.tenable.order("scan_run", "stay", how="paused")
    machine = task.machine()
    for _ in range(3):
        machine.step()
        task.tenable.advance(1)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "is paused, by a person or at the end of its time window. Tenable aborts it after 14 days." in warnings[0]
    task.runs[0].forced = "completed"
    task.run(machine)


def test_an_unknown_status_is_waited_for_and_logged(task, caplog):
    task.tenable.order("scan_run", "stay", how="contemplating")
    machine = task.machine()
    machine.step()
    assert isinstance(machine.step(), Waiting)
    assert "has the unknown status 'contemplating': waiting." in caplog.text


def test_a_run_that_tenable_does_not_know_any_more_is_lost(task):
    machine = task.machine(settings=replace(SETTINGS, scan_timeout=5_000.0))
    machine.step()
    task.tenable.tenable.scans.scans[task.config.id].runs.pop()
    text = r"Tenable does not know run .* of scan 'Weekly' any more, and the scan is empty\."
    with pytest.raises(ScanFailedError, match=text) as failure:
        task.run(machine)
    assert failure.value.status == "lost"
    task.run()
    assert len(task.runs) == 1


def test_a_run_that_never_appears_in_the_history_ends_as_the_scan_says(task):
    task.tenable.order("scan_run", "history_late", seconds=1e9)
    result = task.run()
    assert (result["status"], result["history_id"]) == ("completed", None)
    assert len(task.runs) == 1


def test_a_scan_that_is_deleted_meanwhile_is_not_polled_for_ever(task):
    machine = task.machine()
    machine.step()
    del task.tenable.tenable.scans.scans[task.config.id]
    with pytest.raises(NotFoundError):
        task.run(machine)


def test_polls_that_fail_are_tolerated_twenty_times_in_a_row(task):
    machine = task.machine()
    machine.step()
    task.tenable.order("scan_history", "status", status=503, times=20)
    task.run(machine)
    assert machine.state.failed_polls == 0
    machine = task.machine(cleared=9)
    machine.step()
    task.tenable.order("scan_history", "status", status=503, times=None)
    with pytest.raises(TemporaryError, match="Tenable returned 503"):
        task.run(machine)


def test_a_disabled_scan_is_not_launched(task):
    task.config.settings["enabled"] = False
    with pytest.raises(TenablePermissionError, match=r"Scan 'Weekly' is disabled, or the API user"):
        task.run()
    assert task.machine().state.launching is None


def test_only_our_own_active_run_is_stopped(task):
    machine = task.machine()
    assert machine.stop() is False
    machine.step()
    task.runs[0].forced = "completed"
    theirs = task.tenable.launch(task.config, seconds=100.0)
    assert machine.stop() is False
    assert theirs.stopped_at is None
    task.runs.pop()
    task.runs[0].forced = None
    assert machine.stop() is True
    assert task.runs[0].stopped_at


def test_the_state_is_staged_with_what_a_newer_version_has_added(tmp_path):
    file = RunStateFile(open_path(f"file://{tmp_path}/state.json"))
    assert file.load() is None
    state = RunState(cleared=3, launching=Launching(1.0, ["a"], 2.0), unknown={"colour": "red"})
    file.save(state)
    assert file.load() == state
    file.save(RunState())
    assert file.load() == RunState()


@pytest.mark.parametrize("content", ["{", "[]", '{"launching": {"x": 1}}', '{"launching": 5}'])
def test_a_damaged_state_never_leads_to_a_second_launch(task, content):
    task.machine().step()
    task.path.write_text(content)
    with pytest.raises(StagingError, match="Look in Tenable whether the scan runs"):
        task.machine()
    assert len(task.runs) == 1


@pytest.mark.parametrize(
    ("state", "deadline"),
    [
        (RunState(launched_at=10.0), 110.0),
        (RunState(launched_at=10.0, status="pending"), 60.0),
        (RunState(launched_at=10.0, status="running"), 110.0),
        (RunState(launched_at=-1e4, missing_since=50.0), -1e4 + 100),
    ],
)
def test_the_next_limit_is_the_deadline(task, state, deadline):
    RunStateFile(task.path).save(state)
    assert task.machine().deadline() == deadline
