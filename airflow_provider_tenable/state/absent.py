"""Findings that a hub holds as active and of which a run saw nothing: the finding index against the keys of what the
run has staged, some hundred thousand rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable.state import parts
from airflow_provider_tenable.state.buckets import ArrayBuckets, bucket_of, halves, needed
from airflow_provider_tenable.state.compare import sorted_by_key
from airflow_provider_tenable.state.index import FindingIndex
from airflow_provider_tenable.state.lookup import positions
from airflow_provider_tenable.state.spill import TableBuckets

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Array = np.ndarray[Any, Any]

#: Rows of the index, or staged findings, that are in memory at a time.
AT_ONCE = 300_000
_KEY = [("hi", "<u8"), ("lo", "<u8")]


def absent_rows(
    index: FindingIndex, staged: Iterable[Array], *, findings: int, as_of: int
) -> Iterator[tuple[pa.Table, Array]]:
    """The active rows of the index, and which of them are absent: nothing of them is staged, and no later run has
    written them. All rows of a resource are in the same table.

    :param staged: rows of staged findings (:data:`~airflow_provider_tenable.state.staged.FIELDS`), in any order.
    :param findings: how many there are.
    :param as_of: for which moment the run's export speaks, unix milliseconds.
    :raises LostIndexError: the index cannot be relied on.
    """
    import numpy as np
    import pyarrow as pa

    rows = max(index.merged_rows(), index.most_delta_rows(), findings)
    buckets = needed(rows, AT_ONCE)
    with ExitStack() as files:
        seen, late = ArrayBuckets(np.dtype(_KEY), buckets), TableBuckets(parts.schema(), rows, AT_ONCE)
        files.callback(seen.close)
        files.callback(late.close)
        for some in staged:
            seen.add(_keys(some))
        for delta in index.delta_tables():
            late.add(delta)
        merged = _by_bucket(index.merged_tables(), buckets)
        for keys, tables, changed in zip(seen.arrays(), merged, late.tables(), strict=True):
            active = _active(parts.latest(pa.concat_tables([*tables, changed])))
            yield active, _absent(active, keys, as_of)


def _keys(rows: Array) -> Array:
    import numpy as np

    keys = np.empty(len(rows), np.dtype(_KEY))
    keys["hi"], keys["lo"] = halves(np.ascontiguousarray(rows["key"]).view("u1"))
    return keys


def _by_bucket(tables: Iterable[pa.Table], buckets: int) -> Iterator[list[pa.Table]]:
    """Tables that are sorted by key, cut at the bounds of the buckets."""
    import numpy as np

    held: list[pa.Table] = []
    bucket = 0
    for table in tables:
        if not table.num_rows:
            continue
        numbers = bucket_of(parts.keys_of(table)[0], buckets)
        bounds = np.searchsorted(numbers, np.arange(buckets + 1)).tolist()
        for number in range(bucket, int(numbers[-1])):
            yield [*held, table.slice(bounds[number], bounds[number + 1] - bounds[number])]
            held = []
        bucket = int(numbers[-1])
        held.append(table.slice(bounds[bucket]))
    for _ in range(bucket, buckets):
        yield held
        held = []


def _active(table: pa.Table) -> pa.Table:
    return table.filter(~table["archived"].to_numpy())


def _absent(table: pa.Table, keys: Array, as_of: int) -> Array:
    import numpy as np

    absent = np.asarray(table["as_of"].to_numpy() <= as_of)
    order = sorted_by_key(keys["hi"], keys["lo"])
    numbers, _ = positions(keys["hi"][order], keys["lo"][order], *parts.keys_of(table))
    absent[numbers] = False
    return absent


__all__ = ["absent_rows"]
