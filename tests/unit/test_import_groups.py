"""Sharing destinations out to import tasks."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.import_groups import Target, grouped, name_of, read_group, target_of, write_group
from airflow_provider_tenable.run_folder import RunFolder


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


def test_a_target_is_made_of_what_the_manifests_say():
    entry = {"account": "000000000001", "region": "eu-west-1", "aws_conn_id": None, "role_name": "R", "parts": ["a", "b"], "lines": [2, 3], "findings": 5}
    assert target_of(entry) == Target("000000000001", "eu-west-1", None, "R", [("a", 2), ("b", 3)])
