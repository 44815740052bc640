"""Rows by key in a private temporary file: which one counts of several, in which order, and for how long."""

from __future__ import annotations

import gc
import sqlite3
import threading

import pytest

from airflow_provider_tenable.staging.keyed_rows import KeyedRows

PARTS = [[("b", b"1"), ("a", b"2")], [("c", b"3"), ("b", b"4"), ("b", b"0")], []]


@pytest.fixture
def opened(monkeypatch):
    """The databases that were opened, in order."""
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
def rows():
    made = KeyedRows(PARTS, iter)
    yield made
    made.close()


def test_later_row_of_a_key_counts_within_a_part_and_between_parts(rows):
    assert [rows.get(key) for key in ("a", "b", "c", "d", "")] == [b"2", b"0", b"3", None, None]


def test_rows_come_by_key_whatever_the_order_of_the_parts(rows):
    assert list(rows.rows()) == [b"2", b"0", b"3"]


@pytest.mark.parametrize(("prefer", "counts"), [(lambda new, old: new > old, b"4"), (lambda new, old: False, b"1")])
def test_caller_may_say_which_row_of_a_key_counts(prefer, counts):
    asked = []
    made = KeyedRows(PARTS, iter, prefer=lambda new, old: asked.append((new, old)) or prefer(new, old))
    assert [made.get(key) for key in "abc"] == [b"2", counts, b"3"]
    # Only of rows that share a key: the new one first.
    assert asked == [(b"4", b"1"), (b"0", counts)]
    made.close()


def test_parts_are_read_once_when_the_first_row_is_asked_for():
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


def test_file_is_removed_with_its_owner_also_by_another_thread(opened, rows):
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
