"""The files of any index: what a second kind of index, whose newer row is not always in the later part, gets from the
same module.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.staging import index_files
from airflow_provider_tenable.staging.files import content_of, names
from airflow_provider_tenable.staging.index_files import IndexFiles, IndexPart, Manifest
from airflow_provider_tenable.staging.keyed_rows import KeyedRows
from airflow_provider_tenable.staging.location import open_path


class Sent(Manifest, frozen=True, forbid_unknown_fields=True):
    """The manifest of an index that is not the assets'."""

    sent: list[IndexPart] = []

    @property
    def parts(self) -> list[IndexPart]:
        return self.sent


@pytest.fixture
def index(tmp_path: Path) -> IndexFiles:
    return IndexFiles(open_path(f"file://{tmp_path}/index"), "findings")


def put(index: IndexFiles, rows: dict[str, int]) -> IndexPart:
    return index.put(json.dumps(rows).encode(), len(rows))


def read(part):
    return [(key, json.dumps([key, value]).encode()) for key, value in json.loads(content_of(part)).items()]


def encode(rows):
    return json.dumps(dict(map(json.loads, rows))).encode()


def newer(row: bytes, other: bytes) -> bool:
    return json.loads(row)[1] > json.loads(other)[1]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_preferred_row_of_a_key_stays_in_whatever_order_the_parts_come(index, monkeypatch, order):
    monkeypatch.setattr(index_files, "PART_ROWS", 2)
    parts = [put(index, rows) for rows in ({"a": 1, "b": 5}, {"a": 3, "c": 2}, {"a": 2, "b": 4})]
    merged = index.merge(
        [index.folder / parts[number].name for number in order], read=read, encode=encode, prefer=newer
    )
    assert [(json.loads(content_of(index.folder / part.name)), part.records) for part in merged] == [
        ({"a": 3, "b": 5}, 2),
        ({"c": 2}, 1),
    ]


def test_without_a_preference_the_later_row_counts(index):
    parts = [put(index, rows) for rows in ({"a": 3}, {"a": 1})]
    (merged,) = index.merge([index.folder / part.name for part in parts], read=read, encode=encode)
    assert json.loads(content_of(index.folder / merged.name)) == {"a": 1}


def test_rows_are_read_again_after_a_part_could_not_be_read():
    broken = ["second"]

    def fails(part):
        if part in broken:
            raise StagingError("gone")
        return [(part, part.encode())]

    table = KeyedRows(["first", "second"], fails)
    with pytest.raises(StagingError):
        table.get("first")
    broken.clear()
    assert (table.get("first"), table.get("second"), table.get("third")) == (b"first", b"second", None)
    assert list(table.rows()) == [b"first", b"second"]
    table.close()
    assert table.get("first") == b"first"
    table.close()


def test_two_indexes_in_one_folder_do_not_take_each_other_s_parts(index):
    part = put(index, {"a": 1})
    other = IndexFiles(index.folder, "assets")
    assert (index.is_part(part.name), other.is_part(part.name)) == (True, False)
    assert (index.is_intact(part.name), other.is_intact(part.name)) == (True, False)


def test_a_part_is_retired_when_the_manifest_names_it_no_more_and_removed_later(index, monkeypatch):
    first, second = put(index, {"a": 1}), put(index, {"a": 2})
    index.publish(Sent(sent=[first]))
    index.publish(Sent(sent=[second]))
    manifest = index.read_manifest(Sent)
    assert manifest.parts == [second]
    assert list(manifest.retired) == [first.name]
    needed = {part.name for part in manifest.parts}
    assert index.remove_unneeded(needed, manifest.retired) == []
    monkeypatch.setattr(index_files, "_RETIRED_SECONDS", -1)
    assert index.remove_unneeded({*needed, first.name}, manifest.retired) == []
    assert index.remove_unneeded(needed, manifest.retired) == [first.name]
    assert names(index.folder) == sorted([second.name, index_files.MANIFEST])


def test_a_part_that_nobody_ever_named_is_removed_after_a_day(index):
    part = put(index, {"a": 1})
    assert index.remove_unneeded(set(), {}) == []
    os.utime((index.folder / part.name).path, times=(0, 0))
    assert index.remove_unneeded(set(), {}) == [part.name]


def test_the_manifest_of_another_kind_of_index_is_an_error(index):
    index.publish(Sent(sent=[put(index, {"a": 1})]))

    class Other(Manifest, frozen=True, forbid_unknown_fields=True):
        received: list[IndexPart] = []

    with pytest.raises(StagingError, match=r"manifest\.json cannot be read"):
        index.read_manifest(Other)


@pytest.mark.parametrize(("age", "removed"), [(3_599, False), (3_601, True)])
def test_retired_parts_are_kept_for_an_hour(index, monkeypatch, age, removed):
    parts = [put(index, {"a": number}) for number in range(3)]
    for part in parts:
        os.utime((index.folder / part.name).path, times=(1_000_000, 1_000_000))
    monkeypatch.setattr(index_files.time, "time", lambda: 1_000_000.0)
    index.publish(Sent(sent=parts))
    monkeypatch.setattr(index_files.time, "time", lambda: 1_000_100.0)
    index.publish(Sent(sent=parts[:1]))
    monkeypatch.setattr(index_files.time, "time", lambda: 1_000_200.0)
    # A further manifest does not make them younger.
    index.publish(Sent(sent=parts[:1]))
    retired = index.read_manifest(Sent).retired
    assert retired == {part.name: 1_000_100.0 for part in parts[1:]}
    monkeypatch.setattr(index_files.time, "time", lambda: 1_000_100.0 + age)
    gone = index.remove_unneeded({parts[0].name}, retired)
    assert sorted(gone) == sorted(part.name for part in parts[1:]) * removed
    assert parts[0].name in names(index.folder)


def test_a_retired_part_that_is_written_again_stays_for_another_hour(index):
    """Another task may be about to name it: the same rows have the same name."""
    part = put(index, {"a": 1})
    long_ago = index_files.time.time() - 7200
    assert index.remove_unneeded(set(), {part.name: long_ago}) == []
    os.utime((index.folder / part.name).path, times=(long_ago, long_ago))
    assert index.remove_unneeded(set(), {part.name: long_ago}) == [part.name]


@pytest.mark.parametrize(("age", "removed"), [(86_390, False), (86_410, True)])
def test_parts_that_no_manifest_named_are_kept_for_a_day(index, monkeypatch, age, removed):
    parts = [put(index, {"a": number}) for number in range(2)]
    index.publish(Sent(sent=[]))
    now = (index.folder / parts[0].name).stat().st_mtime
    monkeypatch.setattr(index_files.time, "time", lambda: now + age)
    assert sorted(index.remove_unneeded(set(), {})) == sorted(part.name for part in parts) * removed
    assert index_files.MANIFEST in names(index.folder)


def test_part_that_is_named_again_is_no_longer_retired_and_one_that_is_gone_is_forgotten(index):
    parts = [put(index, {"a": number}) for number in range(3)]
    index.publish(Sent(sent=parts))
    index.publish(Sent(sent=[]))
    (index.folder / parts[1].name).unlink()
    index.publish(Sent(sent=[parts[0]]))
    assert list(index.read_manifest(Sent).retired) == [parts[2].name]


def test_damaged_manifest_is_replaced_and_its_parts_are_orphans(index):
    part = put(index, {"a": 1})
    index.publish(Sent(sent=[part]))
    (index.folder / index_files.MANIFEST).write_bytes(b"{")
    with pytest.raises(StagingError, match=r"manifest\.json"):
        index.read_manifest(Sent)
    index.publish(Sent(sent=[]))
    assert index.read_manifest(Sent) == Sent(sent=[])


def test_part_that_another_run_removes_first_stops_nothing(index, monkeypatch):
    parts = sorted((put(index, {"a": number}) for number in range(2)), key=lambda part: part.name)
    for part in parts:
        os.utime((index.folder / part.name).path, times=(0, 0))
    remove = index_files.remove_file

    def removed_already(path):
        remove(path)
        if path.name == parts[0].name:
            raise FileNotFoundError(path.name)

    monkeypatch.setattr(index_files, "remove_file", removed_already)
    assert index.remove_unneeded(set(), {part.name: 0.0 for part in parts}) == [parts[1].name]


def test_part_is_named_after_its_content_and_a_changed_or_missing_one_is_not_intact(index):
    part = put(index, {"a": 1})
    assert part.records == 1
    assert index.is_intact(part.name)
    assert not index.is_intact("findings-0.parquet")
    (index.folder / part.name).write_bytes(b"{}")
    assert not index.is_intact(part.name)
    (index.folder / part.name).unlink()
    assert not index.is_intact(part.name)
    assert not index.is_part(f"{part.name}.tmp")
    assert index.read_manifest(Sent) is None
