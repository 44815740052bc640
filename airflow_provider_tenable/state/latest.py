"""The rows of an index as they are now: of each finding the latest one, some hundred thousand at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from airflow_provider_tenable.state import parts
from airflow_provider_tenable.state.buckets import bucket_of, needed
from airflow_provider_tenable.state.lookup import RANK
from airflow_provider_tenable.state.spill import TableBuckets

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_provider_tenable.state.snapshot import Snapshot

#: Rows that are in memory at a time.
AT_ONCE = 100_000


def most_rows(index: Snapshot) -> int:
    """How many rows an index has at most."""
    return max(index.merged_rows(), index.most_delta_rows())


def latest_rows(index: Snapshot, columns: Iterable[str] = (), *, rows: int | None = None) -> Iterator[pa.Table]:
    """The latest row of each finding, in a table for each bucket of keys (:func:`~airflow_provider_tenable.state.
    buckets.bucket_of`). All rows of a resource are in the same table.

    :param columns: of the rows, beside their keys; empty: all.
    :param rows: for how many rows the buckets are made; None: as many as the index has.
    :raises LostIndexError: the index cannot be relied on.
    """
    import pyarrow as pa

    wanted = {"key", *RANK, *columns} if columns else None
    # In the order of the schema, so that the tables of parts and deltas have the same columns.
    names = None if wanted is None else [name for name in parts.schema().names if name in wanted]
    schema = parts.schema() if names is None else pa.schema([parts.schema().field(name) for name in names])
    rows = most_rows(index) if rows is None else rows
    with closing(TableBuckets(schema, rows, AT_ONCE)) as late:
        for delta in index.delta_tables(names):
            late.add(delta)
        for tables, changed in zip(
            _by_bucket(index.merged_tables(names), needed(rows, AT_ONCE)), late.tables(), strict=True
        ):
            # None of the merged rows is in two parts, and they are sorted.
            both = pa.concat_tables([*tables, changed])
            yield parts.latest(both) if changed.num_rows else both


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


__all__ = ["AT_ONCE", "latest_rows", "most_rows"]
