"""What Airflow's database says about a DAG: its schedule, its last run, and the tasks of it that failed.

Only the web server uses this module: nothing else may use the database on Airflow 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

DEFAULT_DAG = "tenable_to_security_hub"
REPLAY_DAG = "tenable_replay_rejected"
#: The tags of the DAGs that import.
_TAGS = ("tenable", "security-hub")
#: The task that only they have.
_LAST_TASK = "advance_watermark"
_MOST_DAGS, _MOST_TASKS = 50, 10


@dataclass(frozen=True)
class DagRunFacts:
    """A run of a DAG; ``at``: when it ended or began, unix seconds."""

    run_id: str
    state: str
    at: float | None


@dataclass(frozen=True)
class LastRun:
    """The latest run of a DAG. Moments are unix seconds.

    :ivar failed: (task, index of its instance or -1) that failed, without those that only waited for them.
    """

    run_id: str
    state: str
    started: float | None
    ended: float | None
    failed: list[tuple[str, int]]


@dataclass(frozen=True)
class DagFacts:
    """What Airflow knows about a DAG. Moments are unix seconds.

    :ivar interval: seconds between two scheduled runs; None without a schedule.
    :ivar staging: URI of its own staging area; empty if it uses that of the options.
    """

    dag_id: str
    paused: bool
    next_run: float | None
    interval: float | None
    schedule: str
    staging: str
    last_run: LastRun | None
    has_replay: bool


def importing_dags() -> list[str]:
    """The ids of the DAGs that import into Security Hub CSPM: the usual one, and those of the factory. Its tags say
    which DAGs may be among them, their tasks which are.
    """
    from airflow.models.dag import DagModel, DagTag
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.utils.session import create_session
    from sqlalchemy import func, select

    tagged = (
        select(DagTag.dag_id)
        .where(DagTag.name.in_(_TAGS))
        .group_by(DagTag.dag_id)
        .having(func.count(DagTag.name) == len(_TAGS))
    )
    known = select(DagModel.dag_id).where((DagModel.dag_id == DEFAULT_DAG) | DagModel.dag_id.in_(tagged))
    with create_session() as session:
        found = session.scalars(known.order_by(DagModel.dag_id != DEFAULT_DAG, DagModel.dag_id).limit(_MOST_DAGS)).all()
        rows = {dag_id: SerializedDagModel.get(dag_id, session=session) for dag_id in found}
        return [dag_id for dag_id, row in rows.items() if _LAST_TASK in _tasks_of(row.data if row else None)]


def dag_facts(dag_id: str) -> DagFacts | None:
    """The facts about a DAG; None if Airflow does not know it."""
    from airflow.models.dag import DagModel
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.utils.session import create_session

    with create_session() as session:
        dag = session.get(DagModel, dag_id)
        if dag is None:
            return None
        serialized = SerializedDagModel.get(dag_id, session=session)
        begin, end = dag.next_dagrun_data_interval_start, dag.next_dagrun_data_interval_end
        return DagFacts(
            dag_id=dag_id,
            paused=bool(dag.is_paused),
            next_run=_seconds(dag.next_dagrun_create_after),
            interval=(end - begin).total_seconds() if begin and end and end > begin else None,
            schedule=str(dag.timetable_description or ""),
            staging=_staging_of(serialized.data if serialized is not None else None),
            last_run=_last_run(dag_id, session),
            has_replay=session.get(DagModel, REPLAY_DAG) is not None,
        )


def last_runs(dag_id: str, most: int) -> list[DagRunFacts]:
    """The last runs of a DAG, the latest first."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    columns = (DagRun.run_id, DagRun.state, DagRun.start_date, DagRun.end_date)
    query = select(*columns).where(DagRun.dag_id == dag_id).order_by(DagRun.id.desc()).limit(most)
    with create_session() as session:
        return [
            DagRunFacts(str(run_id), str(getattr(state, "value", state)), _seconds(ended or started))
            for run_id, state, started, ended in session.execute(query)
        ]


def _last_run(dag_id: str, session: Any) -> LastRun | None:
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    columns = (DagRun.run_id, DagRun.state, DagRun.start_date, DagRun.end_date)
    row = session.execute(
        select(*columns).where(DagRun.dag_id == dag_id).order_by(DagRun.id.desc()).limit(1)
    ).one_or_none()
    if row is None:
        return None
    failed = session.execute(
        select(TaskInstance.task_id, TaskInstance.map_index)
        .where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == row.run_id, TaskInstance.state == "failed")
        .order_by(TaskInstance.end_date)
        .limit(_MOST_TASKS)
    ).all()
    return LastRun(
        run_id=str(row.run_id),
        state=str(getattr(row.state, "value", row.state)),
        started=_seconds(row.start_date),
        ended=_seconds(row.end_date),
        failed=[(str(task), int(index)) for task, index in failed],
    )


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _tasks_of(data: Any) -> set[str]:
    """The ids of a DAG's tasks, as Airflow serializes it."""
    tasks = data.get("dag", {}).get("tasks") if isinstance(data, Mapping) else None
    return {str(_plain(task).get("task_id")) for task in tasks or ()}


def _staging_of(data: Any) -> str:
    """``staging_path`` in the DAG's ``default_args``, as Airflow serializes them."""
    path = _plain(data.get("dag", {}).get("default_args") if isinstance(data, Mapping) else None).get("staging_path")
    return path if isinstance(path, str) else ""


def _plain(value: Any) -> Mapping[str, Any]:
    """A serialized object without the name of its type."""
    value = value.get("__var", value) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


__all__ = [
    "DEFAULT_DAG",
    "REPLAY_DAG",
    "DagFacts",
    "DagRunFacts",
    "LastRun",
    "dag_facts",
    "importing_dags",
    "last_runs",
]
