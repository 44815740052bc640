"""What an audit has read so far: it resumes after the last page on record, and uses no file but those that it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.staging.files import read_json
from airflow_provider_tenable.staging.location import open_path
from airflow_provider_tenable.state import hub_rows, parts
from airflow_provider_tenable.state.hub_pages import HubPages, Progress
from tests.unit.state.rows import held, table


def nothing(began: int = 7) -> Progress:
    """What an audit begins with."""
    return Progress(began, ["eu-west-1/1/i-0"], ["findings-1"])


class Found(msgspec.Struct):
    """Stands for what a comparison has found."""

    read: int


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "audit"


@pytest.fixture
def pages(folder: Path) -> HubPages:
    return HubPages(open_path(f"file://{folder}"))


def read(*numbers: int) -> pa.Table:
    """Rows as they are read from a hub."""
    index = table(*map(held, numbers))
    changed = pa.array([number % 2 == 0 for number in numbers], pa.bool_())
    return index.append_column(hub_rows.schema().field("changed"), changed)


def test_what_was_read_is_there_for_whoever_resumes(pages, folder):
    assert pages.progress() is None
    progress = pages.begin(nothing())
    assert pages.progress() == progress == nothing()
    progress.token, progress.pages = "t", 1
    pages.add(progress, read(1, 2, 3))
    progress.token, progress.pages, progress.others, progress.unreadable = None, 3, 4, 5
    # A page may have nothing of ours.
    pages.add(progress, read())
    progress.complete = True
    pages.add(progress, read(4))
    again = HubPages(open_path(f"file://{folder}"))
    resumed = again.progress()
    assert resumed == progress
    assert (resumed.rows, [count for _, count in resumed.files]) == (4, [3, 1])
    assert pa.concat_tables(again.tables(resumed)).equals(read(1, 2, 3, 4))


def test_one_that_begins_again_has_nothing_of_the_one_before(pages, folder):
    before = pages.begin(nothing())
    pages.add(before, read(1))
    pages.put_compared({"read": 1})
    assert pages.begin(nothing(8)).began == 8
    assert pages.compared(Found) is None
    assert [file.name for file in folder.iterdir()] == ["progress.json"]


def test_what_was_found_is_on_record(pages):
    assert pages.compared(Found) is None
    pages.put_compared({"read": 5})
    assert pages.compared(Found) == Found(5)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"began": "soon"}', b'{"read": "x"}', b"\xff"])
def test_a_record_that_cannot_be_read_is_none(pages, folder, content):
    pages.begin(nothing())
    pages.put_compared({"read": 5})
    for file in folder.iterdir():
        file.write_bytes(content)
    assert pages.progress() is None
    assert pages.compared(Found) is None


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (Path.unlink, "missing or damaged"),
        (lambda file: file.write_bytes(b""), "missing or damaged"),
        # Files of the same form with other rows, or of another form.
        (lambda file: file.write_bytes(parts.encode(read(1))), "is not what the audit has written"),
        (lambda file: file.write_bytes(parts.encode(table(held(1), held(2)))), "is not what the audit has written"),
    ],
    ids=["gone", "empty", "fewer", "columns"],
)
def test_rows_that_are_not_those_that_were_written_are_not_used(pages, folder, spoil: Any, problem: str):
    progress = pages.begin(nothing())
    pages.add(progress, read(1, 2))
    (file,) = folder.glob("*.parquet")
    spoil(file)
    with pytest.raises(StagingError, match=rf"{file}.* {problem}\. Start another run of the audit\."):
        list(pages.tables(progress))


def test_a_flipped_bit_is_noticed_wherever_it_is(pages, folder):
    """It would make another finding of a row, and a repair of that."""
    progress = pages.begin(nothing())
    pages.add(progress, read(*range(100)))
    (file,) = folder.glob("*.parquet")
    written, noticed = file.read_bytes(), 0
    for position in range(7, len(written), 101):
        flipped = bytearray(written)
        flipped[position] ^= 1
        file.write_bytes(flipped)
        try:
            assert next(pages.tables(progress)).equals(read(*range(100))), position
        except StagingError:
            noticed += 1
    assert noticed > 30


def test_repairs_are_rows_of_the_index(pages, folder):
    written = [pages.put_repairs(number, [table(held(number)), table(held(5), held(6))]) for number in (0, 1)]
    assert [count for _, count in written] == [3, 3]
    for number, (name, count) in enumerate(written):
        assert pages.table(name, count, parts.schema()).equals(table(held(number), held(5), held(6)))
    assert {file.name for file in folder.iterdir()} == {name for name, _ in written}
    assert read_json(open_path(f"file://{folder}") / "progress.json") is None
