"""Rows by key, in memory and in a private temporary file: which one counts of several, in which order, how long."""

from __future__ import annotations

import gc
import sqlite3
import threading

import pytest

from airflow_provider_tenable.staging import keyed_rows
from airflow_provider_tenable.staging.keyed_rows import KeyedRows

#: In a file from the first row on, from the third entry on, and never.
BOUNDS = {"file": 0, "both": 2 * (keyed_rows._ENTRY_BYTES + 2), "memory": keyed_rows.IN_MEMORY_BYTES}
PARTS = [[("b", b"1"), ("a", b"2")], [("c", b"3"), ("b", b"4"), ("b", b"0")], []]


@pytest.fixture(params=BOUNDS)
def bound(request, monkeypatch):
    """Where the rows are."""
    monkeypatch.setattr(keyed_rows, "IN_MEMORY_BYTES", BOUNDS[request.param])
    return request.param


@pytest.fixture
def opened(monkeypatch):
    """The databases that were opened, in order; all rows are in files."""
    monkeypatch.setattr(keyed_rows, "IN_MEMORY_BYTES", 0)
    found = []
    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda *args, **options: found.append(connect(*args, **options)) or found[-1]
    )
    return found


def is_closed(database):
    try:
        database.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return True
    return False


@pytest.fixture
def rows(bound):
    made = KeyedRows(PARTS, iter)
    yield made
    made.close()


def test_later_row_of_a_key_counts_within_a_part_and_between_parts(rows):
    assert [rows.get(key) for key in ("a", "b", "c", "d", "")] == [b"2", b"0", b"3", None, None]


def test_rows_come_by_key_whatever_the_order_of_the_parts(rows):
    assert list(rows.rows()) == [b"2", b"0", b"3"]


@pytest.mark.parametrize(("prefer", "counts"), [(lambda new, old: new > old, b"4"), (lambda new, old: False, b"1")])
def test_caller_may_say_which_row_of_a_key_counts(bound, prefer, counts):
    asked = []
    made = KeyedRows(PARTS, iter, prefer=lambda new, old: asked.append((new, old)) or prefer(new, old))
    assert [made.get(key) for key in "abc"] == [b"2", counts, b"3"]
    # Only of rows that share a key: the new one first.
    assert asked == [(b"4", b"1"), (b"0", counts)]
    made.close()


def test_parts_are_read_once_when_the_first_row_is_asked_for(bound):
    read = []
    made = KeyedRows(PARTS, lambda part: read.append(part) or part)
    assert read == []
    assert (made.get("a"), made.get("b"), list(made.rows())) == (b"2", b"0", [b"2", b"0", b"3"])
    assert read == PARTS
    made.close()
    # After it was closed, everything is read again.
    assert made.get("a") == b"2"
    assert read == PARTS * 2
    made.close()


def test_error_of_a_part_passes_through_and_the_next_call_reads_all_of_them_again(opened):
    failures = [OSError("the disk is gone")]

    def read(part):
        if part is PARTS[1] and failures:
            raise failures.pop()
        return part

    made = KeyedRows(PARTS, read)
    with pytest.raises(OSError, match="the disk is gone"):
        made.get("a")
    assert [is_closed(database) for database in opened] == [True]
    assert list(made.rows()) == [b"2", b"0", b"3"]
    made.close()
    assert [is_closed(database) for database in opened] == [True, True]
    # Closing it twice is harmless.
    made.close()


def test_file_is_removed_with_its_owner_also_by_another_thread(opened):
    rows = KeyedRows(PARTS, iter)
    assert rows.get("a") == b"2"
    troubles = []

    def close():
        try:
            rows.close()
        except sqlite3.Error as error:
            troubles.append(error)

    thread = threading.Thread(target=close)
    thread.start()
    thread.join()
    assert troubles == []
    left = KeyedRows(PARTS, iter)
    assert left.get("a") == b"2"
    del left
    gc.collect()
    assert [is_closed(database) for database in opened] == [True, True]


def test_rows_go_into_a_file_once_they_take_too_much_memory(opened, monkeypatch):
    monkeypatch.setattr(keyed_rows, "IN_MEMORY_BYTES", 10 * (keyed_rows._ENTRY_BYTES + 3))

    def files(entries):
        made, before = KeyedRows([entries], iter), len(opened)
        assert made.get("nothing") is None
        made.close()
        return len(opened) - before

    ten = [(f"{number:02d}", b"x") for number in range(10)]
    assert files(ten) == 0
    # The same keys again take no more, one more key does, and so does a longer row.
    assert files(ten * 2) == 0
    assert files([*ten, ("10", b"x")]) == 1
    assert files([*ten, ("00", b"xx")]) == 1
    assert files([*ten[1:], ("00", b"xx"), ("00", b"")]) == 1
    assert files([*ten[1:], ("00", b""), ("01", b"xx")]) == 0


def test_an_error_after_the_rows_have_gone_into_a_file_passes_through(opened):
    def read(part):
        yield from part
        if part is PARTS[1]:
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        KeyedRows(PARTS, read).get("a")
    assert [is_closed(database) for database in opened] == [True]
