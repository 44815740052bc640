"""The pool of records that wait for their assets, between runs."""

from __future__ import annotations

import json

import pytest

from airflow_provider_tenable.parking import claim_pool, list_pool, read_pool, settle_pool
from airflow_provider_tenable.staging import RunFolder, write_lines


@pytest.fixture
def run_of(tmp_path):
    return lambda run_id: RunFolder(f"file://{tmp_path}", "dag", run_id)


def park(run, *numbers, stem="part-shard-0000"):
    lines = [json.dumps({"parked_at": number, "record": {"n": number}}).encode() for number in numbers]
    return write_lines(run.parked, stem, lines)


def ages(run):
    return [entry.parked_at for entry in read_pool(run)]


def test_what_one_run_parks_the_next_one_takes(run_of):
    first, second = run_of("1"), run_of("2")
    assert claim_pool(first) == 0
    settle_pool(first, [park(first, 5, 6)], release=True)
    assert list_pool(second) == ["1--part-shard-0000.jsonl.gz"]
    assert claim_pool(second) == 1
    assert ages(second) == [5, 6]
    settle_pool(second, [], release=True)
    assert list_pool(second) == []


def test_a_run_takes_what_it_claimed_and_nothing_that_came_later(run_of):
    first, second, third = run_of("1"), run_of("2"), run_of("3")
    settle_pool(first, [park(first, 1)], release=True)
    claim_pool(second)
    settle_pool(third, [park(third, 3)], release=True)
    assert ages(second) == [1]
    settle_pool(second, [park(second, 2)], release=True)
    assert list_pool(second) == ["2--part-shard-0000.jsonl.gz", "3--part-shard-0000.jsonl.gz"]


def test_settling_twice_is_settling_once(run_of):
    first, second = run_of("1"), run_of("2")
    settle_pool(first, [park(first, 1)], release=True)
    claim_pool(second)
    name = park(second, 2)
    for _ in range(2):
        settle_pool(second, [name], release=True)
        assert list_pool(second) == ["2--part-shard-0000.jsonl.gz"]


def test_a_run_that_left_accounts_out_leaves_the_pool_as_it_was(run_of):
    first, second = run_of("1"), run_of("2")
    settle_pool(first, [park(first, 1)], release=True)
    claim_pool(second)
    settle_pool(second, [park(second, 2)], release=False)
    assert list_pool(second) == ["1--part-shard-0000.jsonl.gz", "2--part-shard-0000.jsonl.gz"]


def test_a_run_that_claimed_nothing_reads_nothing(run_of):
    assert list(read_pool(run_of("1"))) == []


def test_a_run_that_is_cleared_does_not_lose_what_it_parked_before(run_of):
    run = run_of("1")
    name = park(run, 1)
    settle_pool(run, [name], release=True)
    claim_pool(run)
    settle_pool(run, [name], release=True)
    assert list_pool(run) == ["1--part-shard-0000.jsonl.gz"]
