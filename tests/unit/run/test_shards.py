"""Into how many mapped tasks a transform is split."""

from __future__ import annotations

import pytest

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.run.shards import plan_transform


@pytest.mark.parametrize(
    ("wanted", "largest", "parts", "parked", "tasks"),
    [
        (8, 1024, 0, False, 1),
        (8, 1024, 3, False, 3),
        (8, 1024, 100, False, 8),
        (8, 1024, 100, True, 9),
        (5000, 1024, 9000, False, 1024),
        (5000, 1024, 9000, True, 1024),
        (1024, 1024, 9000, True, 1024),
        (8, 1, 100, False, 1),
        (8, 2, 100, True, 2),
    ],
)
def test_a_transform_has_as_many_tasks_as_airflow_maps_at_most(monkeypatch, wanted, largest, parts, parked, tasks):
    monkeypatch.setenv("AIRFLOW__TENABLE__TRANSFORM_SHARDS", str(wanted))
    monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", str(largest))
    shards = plan_transform(parts, records=50_000 * parts, parked=parked)
    assert len(shards) == tasks
    assert [shard["index"] for shard in shards] == list(range(tasks))
    assert [shard for shard in shards if shard.get("parked")] == (
        [{"index": tasks - 1, "count": 1, "parked": True}] if parked else []
    )
    # Each chunk is in one shard.
    ordinary = [shard for shard in shards if not shard.get("parked")]
    assert sorted(number for shard in ordinary for number in range(parts)[shard["index"] :: shard["count"]]) == list(
        range(parts)
    )


@pytest.mark.parametrize(("largest", "parked"), [(1, True), (0, False)])
def test_too_few_mapped_tasks_for_any_transform_are_refused_in_words(monkeypatch, largest, parked):
    monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", str(largest))
    with pytest.raises(
        ConfigurationError,
        match=rf"\[core\] max_map_length is {largest}; the transform needs at least {largest + 1} mapped tasks",
    ):
        plan_transform(5, records=5, parked=parked)


@pytest.mark.parametrize(
    ("records", "tasks"), [(0, 1), (900, 1), (50_000, 1), (50_001, 2), (100_000, 2), (399_000, 8), (10_000_000, 8)]
)
def test_a_task_more_is_only_made_for_as_much_work_as_starting_it_costs(records, tasks):
    assert len(plan_transform(100, records=records)) == tasks
    # That of the records which have waited is one more.
    assert len(plan_transform(100, records=records, parked=True)) == tasks + 1


def test_how_much_work_that_is_can_be_said(monkeypatch):
    monkeypatch.setenv("AIRFLOW__TENABLE__SHARD_RECORDS", "100")
    assert [len(plan_transform(100, records=records)) for records in (100, 101, 799, 801)] == [1, 2, 8, 8]
    # A chunk is never split.
    assert len(plan_transform(3, records=801)) == 3
