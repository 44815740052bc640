"""A complete export that is cleared: its chunks are checked before they are taken again."""

from __future__ import annotations

import json
import random
import tracemalloc

import pytest

from airflow_provider_tenable.export.state import ExportState
from airflow_provider_tenable.export.store import StagedExport
from airflow_provider_tenable.staging.location import open_path

JOB = "11111111-2222-4333-8444-555555555555"


def staged(tmp_path, *chunks):
    """A complete export of these chunks."""
    store = StagedExport(open_path(f"file://{tmp_path}"), "vulnerabilities")
    parts = {str(number): store.put(JOB, number, chunk) for number, chunk in enumerate(chunks, 1)}
    store.save(ExportState(kind="vulnerabilities", body={}, started_at=0.0, uuid=JOB, complete=True, parts=parts))
    return store


def test_memory_for_a_check_does_not_grow_with_the_chunk(tmp_path):
    rng = random.Random(7)
    record = json.dumps({"asset": {"uuid": "a"}, "output": rng.randbytes(5_000).hex()}).encode()
    store = staged(tmp_path, b"[" + b",".join([record] * 4_000) + b"]", b"[]")
    # What is imported late.
    assert StagedExport(store.folder, "vulnerabilities").load()
    tracemalloc.start()
    state = store.load()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert state
    assert state.complete
    assert state.parts["1"].bytes > 40_000_000
    assert peak < 3_000_000


@pytest.mark.parametrize("at", [0, 15, -1, -30])
def test_a_chunk_with_a_flipped_byte_is_fetched_again_and_the_others_are_not(tmp_path, at):
    store = staged(tmp_path, b'[{"a": 1}]', b'[{"b": 2}]')
    file = tmp_path / store.state().parts["1"].name
    data = bytearray(file.read_bytes())
    data[at] ^= 0x55
    file.write_bytes(data)
    state = store.load()
    assert not state.complete
    assert list(state.parts) == ["2"]
