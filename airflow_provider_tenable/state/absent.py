"""Findings that a hub holds as active and of which a run saw nothing: the finding index against the keys of what the
run has staged, some hundred thousand rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable.state import latest, parts
from airflow_provider_tenable.state.buckets import ArrayBuckets, halves, needed
from airflow_provider_tenable.state.compare import sorted_by_key
from airflow_provider_tenable.state.lookup import positions
from airflow_provider_tenable.state.snapshot import Snapshot

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Array = np.ndarray[Any, Any]

_KEY = [("hi", "<u8"), ("lo", "<u8")]


def absent_rows(
    index: Snapshot, staged: Iterable[Array], *, findings: int, as_of: int
) -> Iterator[tuple[pa.Table, Array]]:
    """The active rows of the index, and which of them are absent: nothing of them is staged, and no later run has
    written them. All rows of a resource are in the same table.

    :param staged: rows of staged findings (:data:`~airflow_provider_tenable.state.staged.FIELDS`), in any order.
    :param findings: how many there are.
    :param as_of: for which moment the run's export speaks, unix milliseconds.
    :raises LostIndexError: the index cannot be relied on.
    """
    import numpy as np

    rows = max(latest.most_rows(index), findings)
    with closing(ArrayBuckets(np.dtype(_KEY), needed(rows, latest.AT_ONCE))) as seen:
        for some in staged:
            seen.add(_keys(some))
        for keys, table in zip(seen.arrays(), latest.latest_rows(index, rows=rows), strict=True):
            active = table.filter(~table["archived"].to_numpy())
            yield active, _absent(active, keys, as_of)


def _keys(rows: Array) -> Array:
    import numpy as np

    keys = np.empty(len(rows), np.dtype(_KEY))
    keys["hi"], keys["lo"] = halves(np.ascontiguousarray(rows["key"]).view("u1"))
    return keys


def _absent(table: pa.Table, keys: Array, as_of: int) -> Array:
    import numpy as np

    absent = np.asarray(table["as_of"].to_numpy() <= as_of)
    order = sorted_by_key(keys["hi"], keys["lo"])
    numbers, _ = positions(keys["hi"][order], keys["lo"][order], *parts.keys_of(table))
    absent[numbers] = False
    return absent


__all__ = ["absent_rows"]
