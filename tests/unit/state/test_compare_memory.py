"""The memory of a comparison depends on neither the number of findings nor that of the index's rows."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from airflow_provider_tenable.state import compare as module
from airflow_provider_tenable.state.compare import DECISION, compare
from airflow_provider_tenable.state.lookup import VALUES, Columns
from airflow_provider_tenable.state.staged import FIELDS
from airflow_provider_tenable.state.verdicts import Moments, Verdict
from tests.unit.state.rows import DAY, NOW

_OF_A_PART = 5_000
_MOMENTS = Moments(planned=NOW, as_of=NOW, refresh=30 * DAY)


def keys_of(part: int, parts: int) -> np.ndarray:
    """The sorted keys of a part of the index: its share of all keys."""
    numbers = part * _OF_A_PART + np.arange(_OF_A_PART)
    return numbers.astype("<u8") * np.uint64(2**64 // (parts * _OF_A_PART))


def staged(part: int, parts: int) -> np.ndarray:
    """A staged part: findings from all over the index, as a shard has them."""
    numbers = np.arange(_OF_A_PART) * parts + part
    made = np.zeros(_OF_A_PART, np.dtype(FIELDS))
    keys = np.zeros((_OF_A_PART, 2), ">u8")
    keys[:, 0] = numbers.astype("<u8") * np.uint64(2**64 // (parts * _OF_A_PART))
    made["key"] = np.frombuffer(keys.tobytes(), "S16")
    made["content"], made["updated_at"] = 1, NOW - DAY
    return made


def held(part: int, parts: int) -> Columns:
    values = {name: np.zeros(_OF_A_PART, kind) for name, kind in VALUES}
    values["content"][:] = 1
    values["sent_at"][:] = NOW - DAY
    return Columns(keys_of(part, parts), np.zeros(_OF_A_PART, "<u8"), values)


def peak(parts: int, *, as_deltas: bool) -> int:
    """Bytes at most beyond the decisions, which are the result."""
    index = (held(part, parts) for part in range(parts))
    merged, deltas = ([], index) if as_deltas else (index, [])
    tracemalloc.start()
    try:
        found = compare(
            [_OF_A_PART] * parts, lambda part: staged(part, parts), merged, deltas, _MOMENTS, parts * _OF_A_PART
        ).decisions
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (found["verdict"] == Verdict.UNCHANGED).all()
    return most - len(found) * np.dtype(DECISION).itemsize


@pytest.mark.parametrize("as_deltas", [False, True], ids=["merged", "deltas"])
def test_memory_does_not_grow_with_findings_and_index(monkeypatch: pytest.MonkeyPatch, as_deltas: bool) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 2 * _OF_A_PART)
    small, large = peak(8, as_deltas=as_deltas), peak(64, as_deltas=as_deltas)
    # Eight times as many findings and rows, of which 5,000 take some 0.5 MB.
    assert large < 1.3 * small
    assert large < 5_000_000
