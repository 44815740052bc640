"""The staged chunks of an export: what they hold, and which of them a task that is cleared takes again."""

from __future__ import annotations

import json
import logging
import random
import tracemalloc

import pytest

from airflow_provider_tenable.exceptions import ConfigurationError, StagingError
from airflow_provider_tenable.export.chunks import Encoded, format_of
from airflow_provider_tenable.export.state import ExportState, Part
from airflow_provider_tenable.export.store import StagedExport, staged_parts
from airflow_provider_tenable.staging.files import names
from airflow_provider_tenable.staging.location import open_path
from airflow_provider_tenable.staging.parquet import read_table
from airflow_provider_tenable.staging.parts import read_part
from airflow_provider_tenable.tenable_vm.decode import PIECE_BYTES
from airflow_provider_tenable.tenable_vm.kinds import ASSETS, VULNERABILITIES

JOB = "11111111-2222-4333-8444-555555555555"


def staged(tmp_path, *chunks):
    """A complete export of these chunks."""
    store = StagedExport(open_path(f"file://{tmp_path}"), "vulnerabilities")
    parts = {str(number): store.put(JOB, number, store.encode([chunk])) for number, chunk in enumerate(chunks, 1)}
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


ASSET = b'[{"id": "a", "ipv4s": []}, {"id": "b"}]'


def test_a_chunk_is_staged_as_tenable_returned_it_under_the_name_of_its_job(tmp_path):
    store = StagedExport(open_path(f"file://{tmp_path}"), "vulnerabilities")
    chunk = b'[{"a": 1},\n {"b": "\xc3\xa9"}]'
    part = store.put(JOB, 7, store.encode([chunk]))
    assert part == Part(name="part-11111111-000007.json.zst", records=2, bytes=len(chunk))
    assert read_part(store.folder / part.name) == chunk


def test_a_chunk_of_assets_is_staged_as_the_rows_of_its_assets(tmp_path):
    store = StagedExport(open_path(f"file://{tmp_path}"), "assets")
    part = store.put(JOB, 1_234_567, store.encode([ASSET]))
    assert part == Part(name="part-11111111-1234567.parquet", records=2, bytes=len(ASSET))
    assert read_table(store.folder / part.name)["id"].to_pylist() == ["a", "b"]


def test_a_kind_that_tenable_does_not_have_cannot_be_staged(tmp_path):
    with pytest.raises(ConfigurationError, match="plugins"):
        StagedExport(open_path(f"file://{tmp_path}"), "plugins")


@pytest.mark.parametrize("kind", [ASSETS, VULNERABILITIES], ids=lambda kind: kind.name)
@pytest.mark.parametrize("records", [0, 1, 2_700])
def test_the_pieces_of_a_chunk_do_not_change_how_it_is_encoded(kind, records):
    # More than is counted at a time.
    chunk = json.dumps([{"id": f"{number:0100}"} for number in range(records)]).encode()
    assert (len(chunk) > PIECE_BYTES) == (records > 1)
    encoded = format_of(kind).encode(chunk[start : start + 999] for start in range(0, len(chunk), 999))
    assert encoded == format_of(kind).encode([chunk])
    assert encoded == Encoded(encoded.content, records, len(chunk))


@pytest.mark.parametrize("kind", [ASSETS, VULNERABILITIES], ids=lambda kind: kind.name)
@pytest.mark.parametrize("chunk", [b"{}", b'[{"id": "a"}', b"<html>"])
def test_what_is_not_a_list_is_not_a_chunk(kind, chunk):
    for pieces in ([chunk], [chunk[:3], chunk[3:]]):
        with pytest.raises(ValueError, match=r"."):
            format_of(kind).encode(pieces)


@pytest.mark.parametrize("kind", [ASSETS, VULNERABILITIES], ids=lambda kind: kind.name)
def test_an_error_while_a_chunk_arrives_is_passed_on(kind):
    def pieces():
        yield b'[{"id": "a"}'
        raise OSError("the connection is gone")

    with pytest.raises(OSError, match="connection is gone"):
        format_of(kind).encode(pieces())


@pytest.mark.parametrize("kind", ["assets", "vulnerabilities"])
def test_a_damaged_or_missing_part_of_a_complete_export_is_fetched_again(tmp_path, caplog, kind):
    store = StagedExport(open_path(f"file://{tmp_path}"), kind)
    parts = {str(number): store.put(JOB, number, store.encode([ASSET])) for number in (1, 2, 3, 4)}
    store.save(ExportState(kind, {}, 0.0, uuid=JOB, complete=True, parts=parts))
    assert store.load() == store.state()
    (tmp_path / parts["2"].name).write_bytes(b"")
    (tmp_path / parts["3"].name).unlink()
    with caplog.at_level(logging.WARNING):
        state = store.load()
    assert (list(state.parts), state.complete) == (["1", "4"], False)
    assert f"Chunks ['2', '3'] of the {kind} export are no longer staged, or are damaged" in caplog.text


def test_parts_of_an_export_that_goes_on_are_not_read_but_must_be_there(tmp_path):
    store = staged(tmp_path, b"[]", b"[1]")
    state = store.state()
    state.complete = False
    store.save(state)
    (tmp_path / state.parts["1"].name).write_bytes(b"damaged")
    assert store.load() == state
    (tmp_path / state.parts["2"].name).unlink()
    assert list(store.load().parts) == ["1"]


def test_a_state_is_read_as_it_was_saved_and_there_may_be_none(tmp_path):
    store = StagedExport(open_path(f"file://{tmp_path}"), "vulnerabilities")
    assert store.state() is None
    assert store.load() is None
    state = ExportState("vulnerabilities", {"num_assets": 5}, 1.5, uuid=JOB, parts={"1": Part("part-1", 2, 3)})
    store.save(state)
    assert names(store.folder) == ["export.json"]
    assert store.state() == state


@pytest.mark.parametrize("content", ["[]", '{"kind": "assets"}', '{"parts": {"1": {}}}', '{"parts": 1}'])
def test_a_damaged_state_says_which_file_and_what_to_do(tmp_path, content):
    (tmp_path / "export.json").write_text(content)
    store = StagedExport(open_path(f"file://{tmp_path}"), "assets")
    with pytest.raises(StagingError, match=r"export\.json is damaged \(.+\)\. Remove the run's folder"):
        store.load()


def test_the_parts_of_an_abandoned_job_go_and_those_of_others_stay(tmp_path):
    store = StagedExport(open_path(f"file://{tmp_path}"), "vulnerabilities")
    other = "22222222-2222-4333-8444-555555555555"
    for job in (JOB, other):
        for chunk in (1, 2):
            store.put(job, chunk, store.encode([b"[]"]))
    store.drop(JOB)
    assert sorted(names(store.folder)) == ["part-22222222-000001.json.zst", "part-22222222-000002.json.zst"]


def test_the_parts_of_a_complete_export_come_in_the_order_of_their_chunks(tmp_path):
    store = StagedExport(open_path(f"file://{tmp_path}"), "vulnerabilities")
    parts = {str(number): Part(f"part-{number}", 1, 1) for number in (10, 9, 1)}
    state = ExportState("vulnerabilities", {}, 0.0, uuid=JOB, complete=True, parts=parts)
    store.save(state)
    uri = f"file://{tmp_path}"
    assert [part.name for part in staged_parts(uri, "vulnerabilities")] == ["part-1", "part-9", "part-10"]
    assert staged_parts(uri, "vulnerabilities")[0].parent == store.folder
    state.complete = False
    store.save(state)
    for folder in (uri, f"{uri}/nothing"):
        with pytest.raises(StagingError, match=f"The vulnerabilities export in {folder} is not complete"):
            staged_parts(folder, "vulnerabilities")
