"""Tasks about scans as Airflow runs them: a context, waiting on the sandbox's clock, and the way to the triggerer and
back.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_tenable._compat import TaskDeferred
from airflow_provider_tenable.staging import crash_points
from tests.tenable_thread import TenableThread


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Ends the process, as far as a test is concerned, when it reaches a boundary; None: never."""

    def gone(_pid: int, _signal: int) -> None:
        raise Killed

    monkeypatch.setattr(crash_points.os, "kill", gone)

    def at(point: Any) -> None:
        crash_points._times.clear()
        if point is None:
            monkeypatch.delenv(crash_points.VARIABLE, raising=False)
        else:
            monkeypatch.setenv(crash_points.VARIABLE, point.value)

    return at


@pytest.fixture
def staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A staging area."""
    monkeypatch.setenv("AIRFLOW__TENABLE__STAGING_PATH", f"file://{tmp_path / 'staging'}")
    return tmp_path / "staging"


@pytest.fixture
def quick(tenable: TenableThread, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Whoever sleeps moves the sandbox's clock on instead."""
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        tenable.advance(max(seconds, 0.0))

    monkeypatch.setattr(time, "sleep", sleep)
    return slept


def context_of(task: Any, *, max_tries: int = 2, map_index: int = -1, **more: Any) -> dict[str, Any]:
    """What an operator needs of Airflow's context."""
    pushed: dict[str, Any] = {}
    ti = SimpleNamespace(
        dag_id="dag",
        task_id=task.task_id,
        run_id="run",
        map_index=map_index,
        max_tries=max_tries,
        state="running",
        pushed=pushed,
        xcom_push=lambda key, value: pushed.update({key: value}),
    )
    return {"ti": ti, "dag_run": SimpleNamespace(dag_id="dag", run_id="run", start_date=None), "params": {}, **more}


def run_deferred(task: Any, tenable: TenableThread, context: dict[str, Any] | None = None) -> tuple[Any, list[Any]]:
    """Run a deferrable task to its end.

    :return: its result, and the triggers that it waited for, as the metadata database kept them.
    """
    context = context or context_of(task)
    triggers, step = [], lambda: task.execute(context)
    for _ in range(60):
        try:
            return step(), triggers
        except TaskDeferred as deferred:
            path, kwargs = deferred.trigger.serialize()
            triggers.append((path, json.loads(json.dumps(kwargs, default=str))))
            tenable.advance(60)
            more = deferred.kwargs or {}
            step = lambda name=deferred.method_name, more=more: getattr(task, name)(context, event=None, **more)  # noqa: E731
    raise AssertionError("The task waits for ever.")
