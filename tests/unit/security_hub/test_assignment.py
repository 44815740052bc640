"""Sharing destinations out to import tasks."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.security_hub.assignment import (
    Assignment,
    Target,
    grouped,
    name_of,
    parse_assignment,
    read_group,
    write_group,
)
from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.staging.layout import RunFolder


def target(number: int, findings: int = 1) -> Target:
    return Target(f"{number:012d}", "eu-west-1", "aws_default", "Import", [("part-1", findings)])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 1000), max_size=60), st.integers(1, 20))
def test_every_target_is_in_one_group_and_groups_are_even(findings, tasks):
    targets = [target(number, count) for number, count in enumerate(findings)]
    groups = grouped(targets, tasks)
    assert sorted((each for group in groups for each in group), key=str) == targets
    assert len(groups) == min(tasks, len(targets))
    assert all(groups)
    sizes = [sum(each.findings for each in group) for group in groups]
    if targets:
        assert max(sizes) <= sum(findings) / tasks + max(findings)
    shuffled = targets.copy()
    random.Random(1).shuffle(shuffled)
    if len(targets) > tasks:
        assert grouped(shuffled, tasks) == groups


def test_a_task_each_while_there_are_tasks_enough_in_the_order_given():
    targets = [target(2, 5), target(1, 900)]
    assert grouped(targets, 2) == [[targets[0]], [targets[1]]]


def test_a_group_is_named_after_its_first_target_and_how_many_more_there_are():
    assert name_of([target(1)]) == "000000000001/eu-west-1"
    assert name_of([target(number) for number in range(12)]) == "000000000000/eu-west-1 and 11 more"


def test_a_group_is_read_as_it_was_written(tmp_path):
    run = RunFolder(f"file://{tmp_path}", "dag", "run")
    group = [target(1), Target("000000000002", "us-gov-west-1", None, None, [("a", 3), ("b", 4)])]
    write_group(run, 7, group)
    assert read_group(run, 7) == group
    assert group[1].findings == 7
    with pytest.raises(StagingError, match="Clear the run's tasks from plan_imports on"):
        read_group(run, 8)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"role_name": "{{ conn.x }}"}, "'{{ conn.x }}' is not the name of an IAM role"),
        ({"aws_conn_id": "{{ var.value.x }}"}, "'{{ var.value.x }}' is not a connection id"),
        ({"account": "../000000000001"}, "is not an AWS account id"),
        ({"region": "eu-west-1/../../x"}, "is not an AWS Region"),
        ({"parts": [["../../../etc/passwd", 1]]}, "is not the name of a staged part"),
        ({"parts": [["part-1", "many"]]}, "Expected `int`"),
        ({"account": 1}, "Expected `str`"),
    ],
)
def test_a_group_that_was_changed_is_refused_before_anything_is_made_of_its_names(tmp_path, change, words):
    run = RunFolder(f"file://{tmp_path}", "dag", "run")
    good = {
        "account": "000000000001",
        "region": "eu-west-1",
        "aws_conn_id": None,
        "role_name": None,
        "parts": [["part-1", 1]],
    }
    write_json(run.import_group(0), {"targets": [good, {**good, **change}]})
    with pytest.raises(StagingError) as refused:
        read_group(run, 0)
    assert words in str(refused.value)
    assert str(run.import_group(0)) in str(refused.value)
    assert str(refused.value).endswith("Clear the run's tasks from plan_imports on.")


@pytest.mark.parametrize("content", [{}, {"targets": None}, {"targets": [1]}, []])
def test_a_group_file_of_another_form_is_refused(tmp_path, content):
    run = RunFolder(f"file://{tmp_path}", "dag", "run")
    write_json(run.import_group(0), content)
    with pytest.raises(StagingError, match="Clear the run's tasks from plan_imports on"):
        read_group(run, 0)


def test_an_assignment_is_read_as_this_version_and_as_0_1_0_wrote_it():
    shared = {"batch_size": 50, "dry_run": True}
    assert parse_assignment({"group": 3, "title": "t", **shared}) == Assignment(
        group=3, title="t", batch_size=50, dry_run=True
    )
    old = {"account": "000000000001", "region": "eu-west-1", "aws_conn_id": None, "role_name": "R", **shared}
    assert parse_assignment(old) == Assignment(
        account="000000000001", region="eu-west-1", role_name="R", batch_size=50, dry_run=True
    )


@pytest.mark.parametrize(
    "value",
    [
        None,
        "x",
        [],
        {},
        {"group": "{{ 1 }}", "batch_size": 1, "dry_run": False},
        {"batch_size": 1, "dry_run": False, "staging_path": "x"},
    ],
)
def test_an_assignment_of_another_form_is_refused(value):
    with pytest.raises(
        StagingError,
        match=r"entry in the XCom of plan_imports cannot be read \(.+\)\. Clear the run's tasks from plan_imports on",
    ):
        parse_assignment(value)
