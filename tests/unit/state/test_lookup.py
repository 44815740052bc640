"""Looking keys up in sorted rows, against a dictionary: keys that share a half, several rows of one, parts in turn."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.state import buckets as buckets_module
from airflow_provider_tenable.state.buckets import ArrayBuckets, bucket_of, halves, needed
from airflow_provider_tenable.state.lookup import RANK, ROW, VALUES, Columns, LookedUp, PartStream, positions

Key = tuple[int, int]
#: Few first halves, so that keys share them.
KEYS = st.tuples(st.sampled_from([0, 1, 2**48, 2**63, 2**64 - 1]), st.sampled_from([0, 1, 2, 2**64 - 1]))
ROWS = st.tuples(KEYS, st.tuples(*[st.integers(0, 1)] * 3, st.booleans(), st.integers(0, 1)))
Row = tuple[Key, tuple[Any, ...]]


def array_of(rows: list[Row]) -> np.ndarray[Any, Any]:
    """Rows of the index, with their values in the order of precedence."""
    made = np.zeros(len(rows), np.dtype(ROW))
    for place, ((hi, lo), ranked) in enumerate(rows):
        made["hi"][place], made["lo"][place] = hi, lo
        for name, value in zip(RANK, ranked, strict=True):
            made[name][place] = value
    return made


def latest(rows: list[Row]) -> dict[Key, tuple[Any, ...]]:
    found: dict[Key, tuple[Any, ...]] = {}
    for key, ranked in rows:
        found[key] = max(found.get(key, ranked), ranked)
    return found


def split(keys: list[Key]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    return np.array([hi for hi, _ in keys], "<u8"), np.array([lo for _, lo in keys], "<u8")


def read(columns: Any, numbers: Any = slice(None)) -> list[tuple[Any, ...]]:
    return list(zip(*(columns.values[name][numbers].tolist() for name in RANK), strict=True))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(ROWS, max_size=12), max_size=4), st.sets(KEYS))
def test_of_wanted_keys_the_latest_row_of_all_parts_is_found(parts: list[list[Row]], wanted: set[Key]) -> None:
    keys = sorted(wanted)
    looked_up = LookedUp(*split(keys))
    for rows in parts:
        columns = Columns.latest_of(array_of(rows))
        expected = latest(rows)
        assert list(zip(columns.hi.tolist(), columns.lo.tolist(), strict=True)) == sorted(expected)
        assert read(columns) == [expected[key] for key in sorted(expected)]
        assert len(columns) == len(expected)
        assert columns.as_rows().tolist() == Columns.latest_of(columns.as_rows()[::-1]).as_rows().tolist()
        numbers, where = positions(columns.hi, columns.lo, *split(keys))
        there = [key for key in keys if key in expected]
        assert [keys[number] for number in numbers] == there
        assert [sorted(expected)[place] for place in where] == there
        looked_up.add(columns)
    everything = latest([row for rows in parts for row in rows])
    assert looked_up.found.tolist() == [key in everything for key in keys]
    assert read(looked_up, looked_up.found) == [everything[key] for key in keys if key in everything]


def test_of_two_parts_the_later_row_counts_whichever_is_read_first() -> None:
    ranks = list(itertools.product([0, 1], [0, 1], [0, 1], [False, True], [0, 1]))
    pairs = list(itertools.product(ranks, ranks))
    keys = [(number, 7) for number in range(len(pairs))]
    for order in ((0, 1), (1, 0)):
        looked_up = LookedUp(*split(keys))
        for which in order:
            rows = [(key, pair[which]) for key, pair in zip(keys, pairs, strict=True)]
            looked_up.add(Columns.latest_of(array_of(rows)))
        assert read(looked_up) == [max(pair) for pair in pairs]


def test_a_row_of_the_index_has_the_columns_that_are_compared() -> None:
    rows = Columns.latest_of(array_of([((1, 2), (3, 4, 5, True, 6))])).as_rows()
    assert rows.dtype.names == ("hi", "lo", *(name for name, _ in VALUES))
    assert {name: rows[name][0] for name in RANK} == dict(zip(RANK, (3, 4, 5, True, 6), strict=True))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 30), max_size=4), st.lists(st.integers(0, 30), unique=True, max_size=25), st.data())
def test_parts_are_read_once_for_the_buckets_that_they_reach_into(
    lasts: list[int], firsts: list[int], data: st.DataObject
) -> None:
    firsts.sort()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(firsts)), max_size=4)))
    bounds = [0, *cuts, len(firsts)]
    parts = [firsts[begin:end] for begin, end in itertools.pairwise(bounds)]
    taken: list[list[int]] = []

    def columns() -> Iterator[Columns]:
        for each in parts:
            taken.append(each)
            yield Columns(np.array(each, "<u8"), np.zeros(len(each), "<u8"), {})

    stream, before = PartStream(columns()), -1
    for last in sorted(lasts):
        given_out = [part.hi.tolist() for part in stream.up_to(last)]
        assert given_out == [part for part in parts if part and part[0] <= last and part[-1] >= before]
        # Nothing is read before it is needed, except the part that shows that no others follow.
        assert all(part[-1] < last for part in taken[:-1] if part)
        before = last
    list(stream.up_to(31))
    assert taken == parts


@pytest.mark.parametrize(
    ("rows", "at_once", "count"),
    [(0, 10, 1), (10, 10, 1), (11, 10, 2), (20, 10, 2), (21, 10, 3), (4096, 1, 4096), (10**9, 1, 4096)],
)
def test_how_many_buckets_rows_take(rows: int, at_once: int, count: int) -> None:
    assert needed(rows, at_once) == count


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(min_size=16, max_size=16), max_size=20), st.sampled_from([1, 2, 3, 7, 4096]))
def test_keys_have_the_order_of_their_bytes_and_so_have_their_buckets(keys: list[bytes], buckets: int) -> None:
    keys = sorted([*keys, bytes(16), b"\xff" * 16])
    hi, lo = halves(b"".join(keys))
    assert list(zip(hi.tolist(), lo.tolist(), strict=True)) == [
        (int.from_bytes(key[:8], "big"), int.from_bytes(key[8:], "big")) for key in keys
    ]
    numbers = bucket_of(hi, buckets).tolist()
    assert numbers == sorted(numbers)
    assert (numbers[0], numbers[-1]) == (0, buckets - 1)


def test_buckets_are_of_equal_width() -> None:
    tops = np.arange(1 << 16).astype("<u8") << np.uint64(48)
    for buckets in (2, 3, 4096):
        sizes = np.bincount(bucket_of(tops, buckets))
        assert len(sizes) == buckets
        assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("buckets", [1, 2, 5])
def test_rows_come_back_by_bucket_and_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buckets: int
) -> None:
    monkeypatch.setattr(buckets_module.tempfile, "tempdir", str(tmp_path))
    kind = np.dtype([("hi", "<u8"), ("number", "<i4")])
    made = np.array([(number * 2**60 % 2**64, number) for number in range(40)], kind)
    shared = ArrayBuckets(kind, buckets)
    assert [len(each) for each in shared.arrays()] == [0] * buckets
    for begin in range(0, 40, 7):
        shared.add(made[begin : begin + 7])
    shared.add(made[:0])
    # Only what is more than one bucket needs a file.
    assert len(list(tmp_path.iterdir())) == (buckets > 1)
    found = list(shared.arrays())
    for number, rows in enumerate(found):
        assert rows.tolist() == made[bucket_of(made["hi"], buckets) == number].tolist()
        assert rows.dtype == kind
    shared.close()
    assert list(tmp_path.iterdir()) == []
