"""The pool of records that wait for their assets, between runs."""

from __future__ import annotations

import gzip
import hashlib
import json

import pytest

from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.guards.identifiers import is_pool_part
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import PartWriter, read_lines, write_lines
from airflow_provider_tenable.transform.waiting_records import (
    WAITING_STEM,
    claim_pool,
    claimed_parts,
    list_pool,
    read_pool,
    settle_pool,
    transform_pool,
)


class Run(RunFolder):
    """:ivar packed: whether its parts are as this release writes them, or as earlier ones did, by gzip."""

    packed = True


@pytest.fixture(params=[True, False], ids=["zstd", "gzip"])
def run_of(tmp_path, request):
    def run(run_id):
        made = Run(f"file://{tmp_path}", "dag", run_id)
        made.packed = request.param
        return made

    return run


def park(run, *numbers, stem="part-shard-0000"):
    part = PartWriter(run.parked, stem, packed=run.packed)
    for number in numbers:
        part.write(json.dumps({"parked_at": number, "record": {"n": number}}).encode())
    return part.close()


class Reader:
    """A transform that only reads what it gets."""

    give_up_before = 0

    def transform_parked(self, entries):
        for _ in entries:
            pass


def ages(run):
    """What a run reads of the pool: what it has claimed."""
    return [entry.parked_at for entry in read_pool(run, claimed_parts(run))]


def pool(run):
    """What is in the pool, by run."""
    return [
        (
            name.split("--")[0],
            [json.loads(line)["parked_at"] for line in read_lines(run.parked_pool / name)],
        )
        for name in list_pool(run)
    ]


def test_what_one_run_parks_the_next_one_takes(run_of):
    first, second = run_of("1"), run_of("2")
    assert claim_pool(first) == 0
    settle_pool(first, [park(first, 5, 6)], done=[])
    assert pool(second) == [("1", [5, 6])]
    assert claim_pool(second) == 1
    assert ages(second) == [5, 6]
    settle_pool(second, [], done=claimed_parts(second))
    assert pool(second) == []


def test_a_run_takes_what_an_earlier_release_parked_beside_its_own(run_of):
    earlier, now, third = run_of("1"), run_of("2"), run_of("3")
    earlier.packed, now.packed = False, True
    settle_pool(earlier, [park(earlier, 1, 2)], done=[])
    settle_pool(now, [park(now, 3)], done=[])
    assert [name.rpartition(".")[2] for name in list_pool(third)] == ["gz", "zst"]
    claim_pool(third)
    assert ages(third) == [1, 2, 3]
    assert all(map(is_pool_part, list_pool(third)))
    settle_pool(third, [], done=claimed_parts(third))
    assert list_pool(third) == []


def test_a_run_takes_what_it_claimed_and_nothing_that_came_later(run_of):
    first, second, third = run_of("1"), run_of("2"), run_of("3")
    settle_pool(first, [park(first, 1)], done=[])
    claim_pool(second)
    settle_pool(third, [park(third, 3)], done=[])
    assert ages(second) == [1]
    settle_pool(second, [park(second, 2)], done=claimed_parts(second))
    assert pool(second) == [("2", [2]), ("3", [3])]


def test_settling_twice_is_settling_once(run_of):
    first, second = run_of("1"), run_of("2")
    settle_pool(first, [park(first, 1)], done=[])
    claim_pool(second)
    name, done = park(second, 2), claimed_parts(second)
    for _ in range(2):
        settle_pool(second, [name], done=done)
        assert pool(second) == [("2", [2])]


def test_a_run_that_is_done_with_nothing_leaves_the_pool_as_it_was(run_of):
    first, second = run_of("1"), run_of("2")
    settle_pool(first, [park(first, 1)], done=[])
    claim_pool(second)
    settle_pool(second, [park(second, 2)], done=[])
    assert pool(second) == [("1", [1]), ("2", [2])]


def test_a_run_that_claimed_nothing_reads_nothing(run_of):
    assert ages(run_of("1")) == []


def test_a_run_that_is_cleared_does_not_lose_what_it_parked_before(run_of):
    run = run_of("1")
    name = park(run, 1)
    settle_pool(run, [name], done=[])
    claim_pool(run)
    settle_pool(run, [name], done=claimed_parts(run))
    assert pool(run) == [("1", [1])]


def test_a_later_pass_of_a_run_writes_over_nothing_that_an_earlier_one_parked(run_of):
    """The run is cleared after it was complete, takes its own records from the pool, and parks them again; then its
    transform is cleared once more.
    """
    run = run_of("1")
    settle_pool(run, [park(run, 1)], done=[])
    claim_pool(run)
    settle_pool(run, [park(run, 2), park(run, 1, stem="part-shard-0001")], done=claimed_parts(run))
    assert sorted(pool(run)) == [("1", [1]), ("1", [2])]
    settle_pool(run, [park(run, 3), park(run, 4, stem="part-shard-0001")], done=[])
    assert [1] in [numbers for _, numbers in pool(run)]


@pytest.mark.parametrize("stem", ["part-shard-0000", f"{WAITING_STEM}-0000-00000"])
def test_part_of_the_pool_that_is_gone_is_no_empty_one(run_of, stem):
    first, second, third = run_of("1"), run_of("2"), run_of("3")
    settle_pool(first, [park(first, 1, stem=stem)], done=[])
    claim_pool(second)
    claim_pool(third)
    settle_pool(second, [], done=claimed_parts(second))
    with pytest.raises(StagingError, match=r"are missing.*plan_shards"):
        ages(third)
    with pytest.raises(StagingError, match=r"are missing.*plan_shards"):
        transform_pool(third, Reader())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no gzip",
        gzip.compress(b"no json\n"),
        gzip.compress(b'{"parked_at":1}\n'),
        gzip.compress(b"{}" * 999)[:-9],
    ],
    # The content holds the time at which it was made: no name for a test that two processes must know by the same one.
    ids=["empty", "no gzip", "no json", "no record", "cut"],
)
def test_part_of_the_pool_that_is_damaged_says_how_to_go_on(run_of, content):
    """Every following run would meet it."""
    run = run_of("1")
    settle_pool(run, [park(run, 1)], done=[])
    claim_pool(run)
    (run.parked_pool / list_pool(run)[0]).write_bytes(content)
    with pytest.raises(StagingError, match=r"are damaged.*Move the file elsewhere.*since=1"):
        ages(run)


def test_records_that_a_newer_version_parked_are_refused(run_of):
    run = run_of("1")
    name = write_lines(run.parked, "part-shard-0000", [b'{"parked_at":1,"record":{},"format":2}'])
    settle_pool(run, [name], done=[])
    claim_pool(run)
    with pytest.raises(StagingError, match="format 2, written by a newer version"):
        ages(run)


@pytest.mark.parametrize(
    "run_id",
    ["r" * 197, "r" * 198, "r" * 199, "r" * 200, "r" * 250, "é" * 120],
    ids=lambda run_id: f"{len(run_id.encode())} bytes",
)
def test_a_run_with_a_long_id_parks_and_another_one_takes(run_of, run_id):
    """Airflow takes run ids of up to 250 characters; a file's name has 255 bytes."""
    run, other = run_of(run_id), run_of("other")
    for _ in range(2):
        settle_pool(run, [park(run, 1, 2)], done=[])
    [name] = list_pool(other)
    assert len(name.encode()) <= 255
    claim_pool(other)
    assert ages(other) == [1, 2]


def test_long_run_ids_that_begin_alike_do_not_write_over_each_other(run_of):
    for last in "ab":
        run = run_of("r" * 249 + last)
        settle_pool(run, [park(run, 1)], done=[])
    assert len(list_pool(run)) == 2


def test_a_part_is_called_as_the_released_version_calls_it_where_that_fits(run_of):
    for length in (10, 150, 196):
        run = run_of("r" * length)
        part = park(run, length)
        settle_pool(run, [part], done=[])
        digest = hashlib.sha256((run.parked / part).read_bytes()).hexdigest()[:16]
        ending = "zst" if run.packed else "gz"
        assert f"{'r' * length}--part-shard-0000-{digest}.jsonl.{ending}" in list_pool(run)


def test_a_part_with_another_ending_is_in_the_pool_too(run_of):
    first, second = run_of("1"), run_of("2")
    (first.parked / "part-7").parent.mkdir(parents=True, exist_ok=True)
    (first.parked / "part-7").write_bytes((first.parked / park(first, 7)).read_bytes())
    settle_pool(first, ["part-7"], done=[])
    claim_pool(second)
    assert ages(second) == [7]
