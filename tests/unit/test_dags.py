"""Every task of every DAG is documented, retried with growing delays, and named when it is mapped."""

from __future__ import annotations

import runpy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_tenable._compat import AIRFLOW_V_3_2_PLUS, conf
from airflow_provider_tenable.exceptions import ConfigurationError

FILES = sorted((Path(__file__).resolve().parents[2] / "dags").glob("*.py"))
DAGS = {path.stem: runpy.run_path(str(path))["dag"] for path in FILES}
TASKS = [pytest.param(task, id=f"{name}.{task.task_id}") for name, dag in DAGS.items() for task in dag.tasks]


@pytest.mark.parametrize("name", DAGS)
def test_a_dag_is_named_as_its_file_and_documented(name):
    dag = DAGS[name]
    assert dag.dag_id == name
    assert dag.doc_md.startswith("#")
    assert {"tenable", "security-hub"} <= set(dag.tags)
    # What Airflow's list of DAGs shows.
    assert dag.dag_display_name.startswith("Tenable")
    assert dag.description.endswith(".")


@pytest.mark.parametrize("task", TASKS)
def test_every_task_says_what_it_does(task: Any):
    assert task.doc_md
    assert len(task.doc_md.strip()) > 20
    # One or more sentences.
    assert task.doc_md.strip().endswith(".")


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_retried_after_delays_that_grow_from_airflows_own_setting(task: Any):
    assert task.retries == 2
    # To Airflow 3.2 and later True is the number 1, and no backoff.
    assert task.retry_exponential_backoff == (2.0 if AIRFLOW_V_3_2_PLUS else True)
    assert task.retry_delay == timedelta(seconds=conf.getfloat("core", "default_task_retry_delay"))
    # [core] max_task_retry_delay applies.
    assert task.max_retry_delay is None


@pytest.mark.parametrize("task", TASKS)
def test_mapped_tasks_have_names(task: Any):
    if hasattr(task, "partial_kwargs"):
        assert task.partial_kwargs["map_index_template"]


def test_delays_between_retries_double():
    # Airflow's own reckoning: between once and twice the first delay after the first try, twice that after the second.
    from airflow.models.taskinstance import TaskInstance

    task, ended = DAGS["tenable_to_security_hub"].get_task("plan_run"), datetime(2026, 11, 1, tzinfo=UTC)
    delays = []
    for number in (1, 2):
        names = {"dag_id": "d", "task_id": "t", "logical_date": ended, "execution_date": ended}
        tried = SimpleNamespace(task=task, end_date=ended, try_number=number, retry_delay_override=None, **names)
        delays.append((TaskInstance.next_retry_datetime(tried) - ended).total_seconds())
    first = task.retry_delay.total_seconds()
    assert first <= delays[0] < 2 * first <= delays[1] < 4 * first


@dataclass(frozen=True)
class Ended:
    """A task instance with the attributes that Airflow's rule uses."""

    task_id: str
    state: str


@pytest.mark.parametrize("report", ["success", "failed"])
def test_the_report_alone_decides_the_state_of_a_run(report: str):
    """By Airflow's own rule. Of a run that is marked as failed, the tasks are skipped and only the teardowns run."""
    from airflow.models.dagrun import DagRun

    dag = DAGS["tenable_to_security_hub"]
    states = {task.task_id: "skipped" for task in dag.tasks} | {"report": report, "remove_old_runs": "success"}
    deciding = DagRun._tis_for_dagrun_state(None, dag=dag, tis=[Ended(*each) for each in states.items()])
    assert {(each.task_id, each.state) for each in deciding} == {("report", report)}


@pytest.mark.parametrize(
    ("ended", "fails"),
    [
        # A person marks the run as failed.
        ({"report": "failed", "remove_scanner": "success"}, True),
        ({"report": "failed"}, True),
        # An instance that was not removed costs money.
        ({"report": "success", "remove_scanner": "failed"}, True),
        ({"report": "success"}, False),
    ],
    ids=str,
)
def test_report_and_removal_decide_the_state_of_a_run_of_a_scan(ended: dict[str, str], fails: bool):
    from airflow.models.dagrun import DagRun

    dag = DAGS["tenable_scan"]
    states = {task.task_id: "skipped" for task in dag.tasks} | ended
    deciding = DagRun._tis_for_dagrun_state(None, dag=dag, tis=[Ended(*each) for each in states.items()])
    assert {each.task_id for each in deciding} == {"report", "remove_scanner", "delete_scan", "remove_old_files"}
    # Airflow fails the run if one of them has failed.
    assert ("failed" in {each.state for each in deciding}) is fails


def test_scanner_of_a_run_is_removed_whatever_happens_after_the_decision_to_create_it():
    dag = DAGS["tenable_scan"]
    removal = dag.get_task("remove_scanner")
    assert removal.is_teardown
    assert {task.task_id for task in dag.tasks if task.is_setup} == {"with_scanner"}
    # Every task that creates something for it, or uses it, ends before.
    assert {"prerequisites", "create_scanner", "wait_until_online", "create_scan", "run_scan"} <= set(
        removal.get_flat_relative_ids(upstream=True)
    )


MAIN = next(path for path in FILES if path.stem == "tenable_to_security_hub")


def test_the_schedule_is_that_of_the_option(monkeypatch):
    monkeypatch.setenv("AIRFLOW__TENABLE__SCHEDULE_HOURS", "6")
    timetable = runpy.run_path(str(MAIN))["dag"].timetable
    assert timetable.can_be_scheduled
    assert timetable._delta == timedelta(hours=6)


def test_no_schedule_means_that_nothing_starts_by_itself(monkeypatch):
    monkeypatch.setenv("AIRFLOW__TENABLE__SCHEDULE_HOURS", "0")
    dag = runpy.run_path(str(MAIN))["dag"]
    assert not dag.timetable.can_be_scheduled
    assert type(dag.timetable).__name__ == "NullTimetable"


def test_a_schedule_beyond_all_dates_is_an_import_error_in_words(monkeypatch):
    """Airflow shows the text among its DAG import errors. A timedelta would end the file with an OverflowError, some
    dates only the scheduler.
    """
    monkeypatch.setenv("AIRFLOW__TENABLE__SCHEDULE_HOURS", "1e308")
    with pytest.raises(ConfigurationError, match=r"Option \[tenable\] schedule_hours is 1e308; the maximum is 8784\."):
        runpy.run_path(str(MAIN))


def test_docs_know_how_many_tasks_a_run_has():
    scaling = (FILES[0].parents[1] / "docs" / "scaling.md").read_text()
    tasks = DAGS["tenable_to_security_hub"].tasks
    mapped = [task.task_id for task in tasks if hasattr(task, "partial_kwargs")]
    assert mapped == ["transform", "import_findings", "archive_findings"]
    assert f"| {len(tasks) - len(mapped)}, plus one per shard, plus one per destination" in scaling
