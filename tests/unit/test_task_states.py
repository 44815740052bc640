"""Whether Airflow has ended a task that still runs: what decides if its export is cancelled."""

from __future__ import annotations

import asyncio
import inspect
import threading
from types import SimpleNamespace

import pytest

from airflow_provider_tenable import _compat
from airflow_provider_tenable._compat import is_deferred, is_ended


@pytest.mark.parametrize(
    ("state", "ended"),
    [
        ("failed", True),
        ("success", True),
        ("skipped", True),
        ("removed", True),
        ("upstream_failed", True),
        ("restarting", True),
        ("running", False),
        ("queued", False),
        ("scheduled", False),
        ("deferred", False),
        ("up_for_retry", False),
        ("none", False),
    ],
)
def test_only_a_person_or_a_time_limit_ends_a_task(monkeypatch, state, ended):
    monkeypatch.setattr(_compat, "_state_of", lambda task_instance: state)
    assert is_ended(object()) is ended


def test_a_state_that_cannot_be_asked_for_ends_nothing(monkeypatch):
    def unreachable(task_instance):
        raise ConnectionError("no API server")

    monkeypatch.setattr(_compat, "_state_of", unreachable)
    assert is_ended(object()) is False


def test_an_answer_that_comes_too_late_ends_nothing(monkeypatch):
    """The signal may have interrupted the very code that holds the lock that the question needs."""
    held = threading.Event()

    def answers_late(task_instance):
        held.wait(20)
        return "failed"

    monkeypatch.setattr(_compat, "_state_of", answers_late)
    # Whoever waited for the answer would know that the task has failed.
    assert is_ended(object(), seconds=0.1) is False
    # Airflow 3 kills the process five seconds after the signal.
    assert inspect.signature(is_ended).parameters["seconds"].default < 4
    held.set()


@pytest.mark.parametrize(
    ("state", "deferred"),
    [
        ("deferred", True),
        # Cleared: Airflow has not decided yet what comes next.
        ("none", False),
        ("failed", False),
        ("success", False),
        ("running", False),
        ("scheduled", False),
    ],
)
def test_task_is_deferred_as_long_as_the_database_says_so(monkeypatch, state, deferred):
    asked = []
    monkeypatch.setattr(_compat, "AIRFLOW_V_3_0_PLUS", True)
    monkeypatch.setattr(_compat, "_state_of", lambda task_instance: asked.append(task_instance) or state)
    instance = SimpleNamespace(task_id="export")
    assert asyncio.run(is_deferred(instance)) is deferred
    assert asked == [instance]


def test_whether_a_task_is_deferred_is_unknown_if_its_state_cannot_be_queried(monkeypatch, caplog):
    def unreachable(task_instance):
        raise ConnectionError("no supervisor")

    monkeypatch.setattr(_compat, "AIRFLOW_V_3_0_PLUS", True)
    monkeypatch.setattr(_compat, "_state_of", unreachable)
    assert asyncio.run(is_deferred(SimpleNamespace(task_id="export"))) is None
    assert "Cannot get the state of task export: ConnectionError" in caplog.text


@pytest.mark.parametrize(("is_airflow_3", "task_instance"), [(True, None), (False, SimpleNamespace(task_id="export"))])
def test_whether_a_task_is_deferred_is_unknown_without_its_instance_and_in_airflow_2(
    monkeypatch, is_airflow_3, task_instance
):
    asked = []
    monkeypatch.setattr(_compat, "AIRFLOW_V_3_0_PLUS", is_airflow_3)
    monkeypatch.setattr(_compat, "_state_of", asked.append)
    assert asyncio.run(is_deferred(task_instance)) is None
    assert asked == []


class Dag:
    dag_id = "dag"

    class _Task:
        def __init__(self, task_id, is_teardown=False):
            self.task_id, self.is_teardown = task_id, is_teardown

    tasks = (_Task("export"), _Task("transform"), _Task("remove_old_runs", is_teardown=True))


@pytest.mark.parametrize(
    ("states", "unfinished"),
    [
        ({"export": "running", "transform": None}, True),
        ({"export": "failed", "transform": None}, True),
        ({"export": "failed", "transform": "upstream_failed", "remove_old_runs": "running"}, False),
        # A run has at least the task that asks: without states, nothing is known about the others.
        ({}, None),
    ],
)
def test_run_without_any_states_is_not_a_finished_one(monkeypatch, states, unfinished):
    monkeypatch.setattr(_compat, "_states_of_run", lambda dag_id, run_id: states)
    instances = [SimpleNamespace(task_id=task, state=state) for task, state in states.items()]
    dag_run = SimpleNamespace(run_id="run", get_task_instances=lambda: instances)
    assert _compat.has_unfinished_tasks({"dag": Dag, "dag_run": dag_run}) is unfinished
