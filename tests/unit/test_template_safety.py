"""Nothing that a person or a service has written is an argument of a mapped task: Airflow renders those of
``expand_kwargs`` as templates (apache/airflow#33733).

What Airflow does render is established by ``tests/integration/test_templates.py``, in all its versions.
"""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_tenable.aws import ACCOUNT, REGION
from airflow_provider_tenable.operators.security_hub import SecurityHubImportFindingsOperator
from airflow_provider_tenable.operators.security_hub_archive import SecurityHubArchiveFindingsOperator
from airflow_provider_tenable.run import plan
from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.staging.layout import RunFolder

FILES = sorted((Path(__file__).resolve().parents[2] / "dags").glob("*.py"))
DAGS = {path.stem: runpy.run_path(str(path))["dag"] for path in FILES}
TASKS = [pytest.param(task, id=f"{name}.{task.task_id}") for name, dag in DAGS.items() for task in dag.tasks]
#: Every argument that is mapped over, and the task whose result it is. Look at what such a result may hold before you
#: add one.
MAPPED = {
    ("transform", "shard"): "plan_shards",
    ("import_findings", "assignment"): "plan_imports",
    # Numbers, and titles of accounts and Regions that were checked.
    ("archive_findings", "assignment"): "plan_archiving",
    ("audit_hubs", "assignment"): "plan_audit",
    ("read_hubs", "assignment"): "plan_take_over",
    ("take_over_hubs", "assignment"): "plan_take_over",
}
#: Every template in a DAG file, by the field that holds it.
TEMPLATES = {"map_index_template": {"{{ task.outcome }}"}}

TEMPLATE = "{{conn.tenable_default.password[::-1]}}"
TITLE = re.compile(rf"{ACCOUNT.pattern}/{REGION.pattern}( and \d+ more)?")


def is_mapped(task: Any) -> bool:
    return hasattr(task, "partial_kwargs")


@pytest.mark.parametrize("task", [each for each in TASKS if is_mapped(each.values[0])])
def test_a_mapped_task_is_expanded_by_one_argument_that_is_known(task: Any):
    """``expand`` is never rendered, ``expand_kwargs`` is."""
    expanded = task._get_specified_expand_input()
    assert type(expanded).__name__ == "DictOfListsExpandInput", "expand_kwargs renders what it is given"
    for argument, source in expanded.value.items():
        assert source.operator.task_id == MAPPED[task.task_id, argument]


def test_every_known_argument_is_in_use():
    found = {
        (task.task_id, name)
        for dag in DAGS.values()
        for task in dag.tasks
        if is_mapped(task)
        for name in task._get_specified_expand_input().value
    }
    assert found == set(MAPPED)


def texts(value: Any) -> list[str]:
    """All texts in a value of plain lists and dicts, keys included."""
    if isinstance(value, dict):
        return [text for pair in value.items() for each in pair for text in texts(each)]
    if isinstance(value, (list, tuple, set)):
        return [text for each in value for text in texts(each)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("task", TASKS)
def test_a_dag_file_has_no_templates_but_those_that_are_known(task: Any):
    fields = (
        {**task.partial_kwargs}
        if is_mapped(task)
        else {name: getattr(task, name) for name in (*task.template_fields, "map_index_template")}
    )
    for name, value in fields.items():
        assert {text for text in texts(value) if "{{" in text or "{%" in text} <= TEMPLATES.get(name, set()), name


def test_an_assignment_is_in_no_templated_field():
    assert "assignment" not in SecurityHubImportFindingsOperator.template_fields
    assert "assignment" not in SecurityHubArchiveFindingsOperator.template_fields


@pytest.fixture
def context(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__TENABLE__STAGING_PATH", f"file://{tmp_path}")
    return {"dag_run": SimpleNamespace(dag_id="dag", run_id="run")}


def stage(run: RunFolder, count: int) -> None:
    """A run whose transform found so many destinations, reached by names as hostile as IAM allows."""
    destinations = [
        {
            "account": f"{number:012d}",
            "region": "eu-west-1",
            "aws_conn_id": "hub",
            "role_name": f"{TEMPLATE}/Import",
            "parts": [{"name": "part-1", "lines": 1 + number, "bytes": 9}],
        }
        for number in range(count)
    ]
    settings = {"batch_size": 7, "dry_run": False}
    write_json(run.plan, {"settings": settings, "window": {"kind": "window", "until": 1}, "narrowed": False})
    write_json(run.shards, {"count": 1})
    parts = {"rejected_part": None, "parked_part": None, "from_pool": False, "pool_parts": []}
    manifest = {"destinations": destinations, **parts, "read": count, "parked": 0, "findings": count, "skipped": {}}
    write_json(run.shard_manifest(0), manifest)


@pytest.mark.parametrize("count", [1, 3, 40])
def test_plan_imports_returns_numbers_and_titles_of_checked_names(context, monkeypatch, count):
    monkeypatch.setenv("AIRFLOW__TENABLE__IMPORT_TASKS", "5")
    run = RunFolder.of(context)
    stage(run, count)
    planned = plan.plan_imports(context)
    assert len(planned) == min(count, 5)
    for entry in planned:
        assert set(entry) == {"group", "title", "batch_size", "dry_run"}
        assert TITLE.fullmatch(entry["title"])
        assert (type(entry["group"]), type(entry["batch_size"]), type(entry["dry_run"])) == (int, int, bool)
    # The names are in the staging area, and it is there that the tasks find them.
    assert TEMPLATE in run.import_group(0).read_text()


def test_plan_shards_returns_numbers(context, monkeypatch):
    monkeypatch.setenv("AIRFLOW__TENABLE__TRANSFORM_SHARDS", "3")
    monkeypatch.setenv("AIRFLOW__TENABLE__SHARD_RECORDS", "1")
    stage(RunFolder.of(context), 1)
    shards = plan.plan_shards(context, {"parts": 9, "records": 9, "folder": TEMPLATE, "uuid": TEMPLATE})
    assert len(shards) == 3
    assert all(
        set(each) <= {"index", "count", "parked"} and all(type(value) in (int, bool) for value in each.values())
        for each in shards
    )
