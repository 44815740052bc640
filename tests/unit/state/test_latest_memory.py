"""The memory that settling an index takes depends on neither the number of its rows nor that of its deltas."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from airflow_provider_tenable.staging.location import open_path
from airflow_provider_tenable.state import latest as module
from airflow_provider_tenable.state import parts
from airflow_provider_tenable.state import snapshot as snapshot_module
from airflow_provider_tenable.state.index import FindingIndex
from airflow_provider_tenable.state.latest import latest_rows
from airflow_provider_tenable.state.record import _binary
from tests.unit.state.rows import DAY, NOW, held, table

_OF_A_DELTA = 5_000
_USUAL = table(*[held(0)] * _OF_A_DELTA)


def delta(number: int, deltas: int, *, as_of: int = NOW - DAY) -> pa.Table:
    """Rows from all over the index, as a run adds them."""
    keys = np.zeros((_OF_A_DELTA, 2), ">u8")
    keys[:, 0] = (np.arange(_OF_A_DELTA) * deltas + number).astype("<u8") * np.uint64(2**64 // (deltas * _OF_A_DELTA))
    made = _USUAL.set_column(0, "key", _binary(np.frombuffer(keys.tobytes(), "S16")))
    at = made.schema.get_field_index("as_of")
    return made.set_column(at, made.schema.field(at), pa.array([as_of] * _OF_A_DELTA, made.schema.field(at).type))


@contextmanager
def arrow_memory() -> Iterator[pa.MemoryPool]:
    before = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(before)
    pa.set_memory_pool(pool)
    try:
        yield pool
    finally:
        pa.set_memory_pool(before)


def peak(folder: Path, deltas: int, *, merged: bool) -> int:
    """Bytes of Arrow's memory at most while all rows are read."""
    index = FindingIndex(open_path(f"file://{folder}/{deltas}"))
    for number in range(deltas):
        index.add(delta(number, deltas))
    if merged:
        index.merge(now=NOW)
        index.add(delta(0, deltas, as_of=NOW))
    with arrow_memory() as pool:
        rows = changed = 0
        for found in latest_rows(index.snapshot()):
            rows += found.num_rows
            changed += int(np.count_nonzero(found["as_of"].to_numpy() == NOW))
            del found
        assert (rows, changed) == (deltas * _OF_A_DELTA, _OF_A_DELTA if merged else 0)
        return int(pool.max_memory())


@pytest.mark.parametrize("merged", [True, False], ids=["merged", "deltas"])
def test_memory_does_not_grow_with_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, merged: bool) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 2 * _OF_A_DELTA)
    monkeypatch.setattr(parts, "PART_ROWS", _OF_A_DELTA)
    # No estimate of rows that holds all of these small deltas at once.
    monkeypatch.setattr(snapshot_module, "DELTAS", 1)
    monkeypatch.setattr(snapshot_module, "DELTA_ROWS", 0)
    monkeypatch.setattr(snapshot_module, "ROWS_OF_DELTA", _OF_A_DELTA)
    small, large = peak(tmp_path, 8, merged=merged), peak(tmp_path, 48, merged=merged)
    # Six times as many rows.
    assert large < 1.3 * small
