"""The rows of an index as they are now, a bucket of keys at a time."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable.staging.location import open_path
from airflow_provider_tenable.state import latest as module
from airflow_provider_tenable.state import parts
from airflow_provider_tenable.state import snapshot as snapshot_module
from airflow_provider_tenable.state.buckets import bucket_of
from airflow_provider_tenable.state.index import FindingIndex
from airflow_provider_tenable.state.latest import latest_rows, most_rows
from tests.unit.state.rows import DAY, NOW, held, table

#: The rows of the parts, and those that were added since: every third is another one, two are new.
MERGED = [held(number) for number in range(40)]
CHANGED = [held(number, as_of=NOW, content=7, archived=True) for number in [*range(0, 40, 3), 50, 51]]


@pytest.fixture
def index(tmp_path, monkeypatch):
    """With several parts, and with two deltas that are not merged."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(parts, "PART_ROWS", 9)
    index = FindingIndex(open_path(f"file://{tmp_path}/index"))
    index.add(table(*MERGED))
    index.merge(now=NOW)
    index.add(table(*CHANGED[:8]))
    # An older row than the one that is merged.
    index.add(table(*CHANGED[8:], held(1, as_of=NOW - 5 * DAY, content=9)))
    yield index
    assert list((tmp_path / "temporary").iterdir()) == []


def expected(*columns: str) -> dict[bytes, dict[str, Any]]:
    rows = {each["key"]: each for each in [*MERGED, *CHANGED]}
    return {
        key: {name: value for name, value in each.items() if name in (columns or each)} for key, each in rows.items()
    }


@pytest.mark.parametrize("at_once", [1, 3, 7, 40, 41, 1000])
def test_each_finding_has_one_row_and_rows_of_a_resource_are_in_the_same_table(index, monkeypatch, at_once):
    monkeypatch.setattr(module, "AT_ONCE", at_once)
    tables = list(latest_rows(index.snapshot()))
    buckets = max(1, -(-40 // at_once))
    assert len(tables) == buckets
    for number, found in enumerate(tables):
        assert found.schema == parts.schema()
        assert set(bucket_of(parts.keys_of(found)[0], buckets).tolist()) <= {number}
    rows = [each for found in tables for each in found.to_pylist()]
    # In the order of their keys, too.
    assert [each["key"] for each in rows] == sorted(expected())
    assert {each["key"]: each for each in rows} == expected()
    where = {each["resource"]: number for number, found in enumerate(tables) for each in found.to_pylist()}
    assert all(where[each["resource"]] == number for number, found in enumerate(tables) for each in found.to_pylist())


@pytest.mark.parametrize("at_once", [5, 1000])
def test_only_the_columns_that_are_asked_for_are_read(index, monkeypatch, at_once):
    monkeypatch.setattr(module, "AT_ONCE", at_once)
    names = ["key", "plugin", "as_of", "updated_at", "sent_at", "archived", "content"]
    for found in latest_rows(index.snapshot(), ["plugin"]):
        # In the order of the schema, as parts and deltas have them.
        assert found.column_names == [name for name in parts.schema().names if name in names]
    rows = [each for found in latest_rows(index.snapshot(), ["plugin"]) for each in found.to_pylist()]
    assert {each["key"]: each for each in rows} == expected(*names)


def test_more_buckets_than_the_rows_need_are_made_for_what_is_compared_with_them(index, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 10)
    tables = list(latest_rows(index.snapshot(), rows=95))
    assert len(tables) == 10
    assert sum(found.num_rows for found in tables) == len(expected())


def test_an_index_that_nobody_wrote_has_as_many_empty_tables(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 10)
    empty = FindingIndex(open_path(f"file://{tmp_path}/none")).snapshot()
    assert [found.num_rows for found in latest_rows(empty)] == [0]
    assert [found.num_rows for found in latest_rows(empty, rows=30)] == [0, 0, 0]


def test_rows_are_estimated_by_the_parts_or_by_the_deltas_whichever_are_more(index, monkeypatch):
    assert most_rows(index.snapshot()) == 40
    monkeypatch.setattr(snapshot_module, "DELTAS", 1)
    monkeypatch.setattr(snapshot_module, "DELTA_ROWS", 0)
    assert most_rows(index.snapshot()) == 2 * snapshot_module.ROWS_OF_DELTA


def test_a_reader_that_stops_leaves_no_file_behind(index, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "AT_ONCE", 3)
    tables = latest_rows(index.snapshot())
    next(tables)
    assert len(list(Path(tempfile.gettempdir()).iterdir())) == 1
    tables.close()  # type: ignore[attr-defined]
