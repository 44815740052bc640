"""Export jobs that a run leaves behind: cancelled at its end, and never while anybody may still want them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_tenable import _compat
from airflow_provider_tenable._compat import TaskDeferred
from airflow_provider_tenable.export.store import StagedExport
from airflow_provider_tenable.operators.tenable import TenableExportOperator
from airflow_provider_tenable.run import abandoned_exports, retention
from tests.integration.pipeline_driver import Run
from tests.sandbox_driver import Sandbox

FILTERS = {"state": ["OPEN"], "severity": ["high", "critical"], "indexed_at": 1}


@pytest.fixture
def left_behind(sandbox: Sandbox) -> Run:
    """A run whose task was stopped while it waited for its export."""
    sandbox.tenable("options", {"prepare_seconds": 300})
    run = Run()
    operator = TenableExportOperator(task_id="export", filters=FILTERS, deferrable=True, first_poll=30)
    with pytest.raises(TaskDeferred):
        operator.execute(run.context)
    return run


def states(monkeypatch: pytest.MonkeyPatch, run: Run, **of_tasks: str | None) -> None:
    """What Airflow says of the run's tasks; `report` and `remove_old_runs` are its teardowns."""
    teardowns = ("report", "remove_old_runs")
    of_tasks = {**of_tasks, **dict.fromkeys(teardowns, "running")}
    run.context["dag"].tasks = [SimpleNamespace(task_id=name, is_teardown=name in teardowns) for name in of_tasks]
    run.context["dag"].dag_id = run.context["dag_run"].dag_id
    instances = [SimpleNamespace(task_id=name, state=state) for name, state in of_tasks.items()]
    run.context["dag_run"].get_task_instances = lambda: instances
    monkeypatch.setattr(_compat, "_states_of_run", lambda dag_id, run_id: of_tasks)


def cancelled(sandbox: Sandbox) -> list[bool]:
    return [job["status"] == "CANCELLED" for job in sandbox.tenable("stats")["exports"]]


@pytest.mark.parametrize("state", ["failed", "skipped", "upstream_failed"])
def test_a_job_that_nobody_continues_is_cancelled_at_the_end_of_the_run(
    sandbox: Sandbox, left_behind: Run, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    states(monkeypatch, left_behind, export=state, settle="upstream_failed")
    retention.remove_old_runs(left_behind.context)
    assert cancelled(sandbox) == [True]
    # Cleared, the task asks again.
    sandbox.tenable("options", {"prepare_seconds": 0})
    operator = TenableExportOperator(task_id="export", filters=FILTERS, deferrable=False, poll_interval=0.1)
    assert operator.execute(left_behind.context)["records"] > 0


@pytest.mark.parametrize("state", [None, "running", "deferred", "up_for_retry", "queued", "scheduled", "restarting"])
def test_a_job_is_left_while_a_task_of_the_run_is_unfinished(
    sandbox: Sandbox, left_behind: Run, monkeypatch: pytest.MonkeyPatch, state: str | None
) -> None:
    """One export has failed for good, so the teardowns run; the other one is under way."""
    states(monkeypatch, left_behind, export_assets="failed", export=state, settle="upstream_failed")
    retention.remove_old_runs(left_behind.context)
    assert cancelled(sandbox) == [False]


def test_a_job_is_left_where_airflow_cannot_be_asked(sandbox: Sandbox, left_behind: Run) -> None:
    left_behind.context["dag"].tasks = []
    assert abandoned_exports.cancel_abandoned(left_behind.context, "tenable_default") == []
    assert cancelled(sandbox) == [False]


def test_a_job_that_may_be_somebody_elses_is_left(
    sandbox: Sandbox, left_behind: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    states(monkeypatch, left_behind, export="failed")
    store = StagedExport(left_behind.folder.export("vulnerabilities"), "vulnerabilities")
    state: Any = store.state()
    state.adopted = True
    store.save(state)
    retention.remove_old_runs(left_behind.context)
    assert cancelled(sandbox) == [False]


def test_a_job_that_cannot_be_cancelled_is_warned_of_and_the_clean_up_goes_on(
    sandbox: Sandbox, left_behind: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    states(monkeypatch, left_behind, export="failed")
    sandbox.tenable("faults", {"on": "cancel", "do": "status", "status": 503, "times": None})
    assert retention.remove_old_runs(left_behind.context) == []
    assert "Could not cancel vulnerabilities export" in caplog.text
