"""When an export task waits in its worker slot, and when in the triggerer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_provider_tenable._compat import TaskDeferred
from airflow_provider_tenable.export.state import ExportState, Finished, Wait
from airflow_provider_tenable.operators import tenable as module
from airflow_provider_tenable.operators.tenable import TenableExportOperator

JOB = "1d896500-2f92-467c-aa4d-6fe8d007b127"
DONE = Finished(ExportState(kind="vulnerabilities", body={}, started_at=0.0, uuid=JOB, complete=True))


@pytest.fixture
def naps(monkeypatch, tmp_path):
    """What the task sleeps, over at once; and a staging area."""
    slept: list[float] = []
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=slept.append, time=lambda: 1_800_000_000.0))
    monkeypatch.setenv("AIRFLOW__TENABLE__STAGING_PATH", f"file://{tmp_path}")
    return slept


def execute(monkeypatch, *outcomes, **arguments):
    """An export whose steps end in these outcomes."""
    task = TenableExportOperator(task_id="export", filters={"since": 1}, **arguments)
    run = SimpleNamespace(
        state=SimpleNamespace(complete=False, adopted=False),
        step=iter(outcomes).__next__,
        poll_interval=30.0,
        deadline=1_800_043_200.0,
    )
    monkeypatch.setattr(task, "_export_run", lambda folder, dag_run_folder: run)
    monkeypatch.setattr(task, "_report_metrics", lambda state, dag_id: None)
    monkeypatch.setattr(task, "_result", lambda folder, state: state.uuid)
    context = {"dag_run": SimpleNamespace(dag_id="dag", run_id="run"), "ti": None}
    return task.execute(context)


def young(seconds):
    return Wait(seconds, JOB, 0, is_early=True)


def test_a_small_export_ends_in_the_task_that_requested_it(monkeypatch, naps):
    assert execute(monkeypatch, young(1.0), young(1.0), young(9.9), DONE, deferrable=True) == JOB
    assert naps == [1.0, 1.0, 9.9]


def test_a_large_one_is_deferred_once_the_triggerer_can_poll_as_soon(monkeypatch, naps):
    with pytest.raises(TaskDeferred) as deferred:
        execute(monkeypatch, young(1.0), young(11.4), deferrable=True)
    _, kwargs = deferred.value.trigger.serialize()
    assert naps == [1.0]
    assert (kwargs["first_poll"], kwargs["poll_interval"]) == (11.4, 30.0)


@pytest.mark.parametrize("seconds", [0.5, 30.0])
def test_an_export_that_is_polled_evenly_is_deferred_at_once(monkeypatch, naps, seconds):
    with pytest.raises(TaskDeferred) as deferred:
        execute(monkeypatch, Wait(seconds, JOB, 2), deferrable=True)
    _, kwargs = deferred.value.trigger.serialize()
    # As version 0.1.0 knows it.
    assert "first_poll" not in kwargs
    assert kwargs["chunks_staged"] == 2
    assert naps == []


def test_a_task_that_is_not_deferrable_waits_as_long_as_it_is_told(monkeypatch, naps):
    assert execute(monkeypatch, young(1.0), young(20.0), Wait(30.0, JOB, 0), DONE, deferrable=False) == JOB
    assert naps == [1.0, 20.0, 30.0]


def test_what_the_options_say_reaches_the_export(monkeypatch, naps):
    monkeypatch.setenv("AIRFLOW__TENABLE__FIRST_POLL_SECONDS", "3")
    monkeypatch.setenv("AIRFLOW_CONN_TENABLE_DEFAULT", '{"conn_type": "tenable", "login": "a", "password": "b"}')
    found = []

    class Run:
        def __init__(self, **arguments):
            found.append((arguments["first_poll"], arguments["poll_interval"]))
            raise InterruptedError

    monkeypatch.setattr("airflow_provider_tenable.export.state_machine.ExportRun", Run)
    context = {"dag_run": SimpleNamespace(dag_id="dag", run_id="run"), "ti": None}
    for arguments in ({}, {"first_poll": 12, "poll_interval": 60}):
        with pytest.raises(InterruptedError):
            TenableExportOperator(task_id="export", filters={"since": 1}, **arguments).execute(context)
    assert found == [(3.0, 30.0), (12.0, 60.0)]
