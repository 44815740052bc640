"""The checks of Airflow itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from packaging.version import Version

from airflow_provider_tenable import _compat
from airflow_provider_tenable.requirements.lines import FAILED, OK, UNCHECKED, Line, guarded

#: The first supported version, and the first that nobody has tested.
FIRST, UNTESTED = Version("2.11"), Version("3.4")


def check_airflow(*, pool: str, of_dag: str, max_active_runs: int | None, in_task: bool) -> Iterator[Line]:
    """The lines of ``airflow.*``.

    :param pool: the pool of the tasks.
    :param of_dag: the importing DAG.
    :param max_active_runs: that of the importing DAG, if the task is one of its own.
    :param in_task: whether this is a task. A task of Airflow 3 cannot read Airflow's database.
    """
    yield _version()
    yield guarded("airflow.triggerer", "", lambda: _triggerer(in_task))
    reads = not in_task or not _compat.AIRFLOW_V_3_0_PLUS
    yield guarded("airflow.pool", pool, lambda: _pool(pool, reads))
    yield guarded("airflow.max_active_runs", of_dag, lambda: _runs(of_dag, max_active_runs, reads))


def _version() -> Line:
    version, detail = _compat.AIRFLOW_VERSION, f"Airflow {_compat.AIRFLOW_VERSION}, Python {sys.version.split()[0]}."
    if version < FIRST:
        return Line("airflow.version", "", FAILED, detail)
    return Line("airflow.version", "", OK if version < UNTESTED else UNCHECKED, detail)


def _triggerer(in_task: bool) -> Line:
    check, health = "airflow.triggerer", _compat.airflow_health(in_task=in_task)
    found: Any = health.get("triggerer") if isinstance(health, dict) else None
    if not isinstance(found, dict) or "status" not in found:
        detail = "Airflow's health endpoint cannot be reached from here, or does not speak of triggerers."
        return Line(check, "", UNCHECKED, detail, "See whether the UI shows the triggerer as healthy.")
    if found["status"] == "healthy":
        return Line(check, "", OK, "A triggerer is alive.")
    return Line(check, "", FAILED, "No triggerer is alive: deferred tasks would wait forever.")


def _pool(name: str, reads: bool) -> Line:
    check = "airflow.pool"
    if not reads:
        return Line(check, name, UNCHECKED, "A task of Airflow 3 cannot see pools.", "Look at Admin, Pools.")
    slots = _compat.slots_of_pool(name)
    if slots is None:
        return Line(check, name, FAILED, "There is no such pool.")
    # -1 means without a limit.
    return Line(check, name, OK if slots else FAILED, "Without a limit." if slots < 0 else f"{slots} slots.")


def _runs(dag_id: str, known: int | None, reads: bool) -> Line:
    check = "airflow.max_active_runs"
    if known is None and not reads:
        detail = "A task of Airflow 3 cannot see other DAGs."
        return Line(check, dag_id, UNCHECKED, detail, "Look at the DAG's details: it should be 1.")
    runs = known if known is not None else _compat.max_active_runs_of(dag_id)
    if runs is None:
        return Line(
            check, dag_id, UNCHECKED, "Airflow does not know the DAG (yet).", "Copy the DAG file, or correct of_dag."
        )
    return Line(check, dag_id, OK if runs == 1 else FAILED, f"max_active_runs is {runs}.")
