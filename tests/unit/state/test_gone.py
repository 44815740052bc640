"""What a run archives, on record: rows in files of bounded size, and the list that names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.staging.location import open_path
from airflow_provider_tenable.state import gone
from airflow_provider_tenable.state.gone import (
    ABSENT_ROWS,
    KNOWN_ROWS,
    Gone,
    GoneRows,
    is_by_absence,
    read_gone,
    rows_to_archive,
    write_gone,
)
from tests.unit.state.rows import held, table


def rows(*numbers: int, reason: str = "moved") -> pa.Table:
    return table(*map(held, numbers)).append_column("reason", pa.array([reason] * len(numbers), pa.string()))


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    return open_path(f"file://{tmp_path}/gone")


def test_files_have_so_many_rows_and_lose_none(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gone, "_ROWS", 3)
    written = GoneRows(folder, ABSENT_ROWS)
    for numbers in ((1,), (2, 3, 4, 5), (6,), (), (7, 8)):
        written.add(rows(*numbers))
    written.add(rows(9, reason="out_of_scope"))
    written.close()
    written.close()
    assert written.reasons == {"moved": 8, "out_of_scope": 1}
    read = [rows_to_archive(folder, name, count) for name, count in written.files]
    assert [plugin for part in read for plugin in part["plugin"].to_pylist()] == list(range(1, 10))
    assert all(part.num_rows <= 5 for part in read)
    assert len(read) == 3
    assert [is_by_absence(name) for name, _ in written.files] == [True] * 3


def test_a_file_is_of_what_is_known_or_of_what_is_absent(folder: Any) -> None:
    known = GoneRows(folder, KNOWN_ROWS)
    known.add(rows(1))
    known.close()
    [(name, count)] = known.files
    assert (is_by_absence(name), count) == (False, 1)


@pytest.mark.parametrize("damage", [b"", b"PAR1", None])
def test_a_file_that_is_damaged_says_what_to_clear(folder: Any, damage: bytes | None) -> None:
    written = GoneRows(folder, KNOWN_ROWS)
    written.add(rows(1, 2))
    written.close()
    [(name, _)] = written.files
    if damage is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(damage)
    with pytest.raises(StagingError, match=r"Clear the run's tasks from plan_archiving on\."):
        rows_to_archive(folder, name, 2)


def test_a_file_with_another_number_of_rows_is_another_list(folder: Any) -> None:
    written = GoneRows(folder, KNOWN_ROWS)
    written.add(rows(1, 2))
    written.close()
    [(name, _)] = written.files
    with pytest.raises(StagingError, match=rf"{name} .* has 2 rows, not 3\. Clear the run's tasks from plan_archiving"):
        rows_to_archive(folder, name, 3)


def test_what_was_decided_counts_for_the_parts_that_it_was_decided_with(folder: Any) -> None:
    assert read_gone(folder) is None
    decided = Gone([("part", 5)], [("known-a", 1)], {"moved": 1}, 9, {"not_reported": 3}, {"x": 1}, alone=True)
    write_gone(folder, decided)
    assert read_gone(folder) == read_gone(folder, [("part", 5)]) == decided
    assert read_gone(folder, [("part", 6)]) is None
    assert (decided.total, decided.by_absence) == (1, 4)
    (folder / "gone.json").write_bytes(b"{")
    assert read_gone(folder) is None
