"""Rows by key: a few in memory, many in a private temporary file, so that memory does not grow with their number."""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Generic, TypeVar

_Part = TypeVar("_Part")

#: Bytes of rows and keys that stay in memory: some 27,000 assets. Filling and querying a dictionary takes a
#: fraction of the time that the file needs.
IN_MEMORY_BYTES = 16_000_000
#: What an entry of a dictionary takes besides its texts.
_ENTRY_BYTES = 200
_CACHE_OF_32_MIB = "PRAGMA cache_size = -32768"
_TABLE = "CREATE TABLE rows (key TEXT PRIMARY KEY, line BLOB) WITHOUT ROWID"
_ROW = "SELECT line FROM rows WHERE key = ?"
_ALL_ROWS = "SELECT line FROM rows ORDER BY key"
#: If a key occurs twice, the later row wins ...
_LATER = "INSERT OR REPLACE INTO rows VALUES (?, ?)"
#: ... or the one that the caller prefers.
_PREFERRED = (
    "INSERT INTO rows VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET line = excluded.line WHERE "
    "prefer(excluded.line, line)"
)


class KeyedRows(Generic[_Part]):
    """The rows of several parts by their keys. The parts are read once, when the first row is requested.

    :param parts: the parts with the rows, in order of increasing precedence.
    :param read: the rows of a part: (key, row as bytes). Its errors pass through; the next call reads all parts again.
    :param prefer: ``prefer(new, old)``: whether a row replaces another one with the same key. None: the later one does.
    """

    def __init__(
        self,
        parts: Iterable[_Part],
        read: Callable[[_Part], Iterable[tuple[str, bytes]]],
        prefer: Callable[[bytes, bytes], bool] | None = None,
    ) -> None:
        self._parts = parts
        self._read = read
        self._prefer = prefer
        self._read_rows: dict[str, bytes] | sqlite3.Connection | None = None

    def get(self, key: str) -> bytes | None:
        """The row of a key, or None."""
        table = self._table()
        if isinstance(table, dict):
            return table.get(key)
        found = table.execute(_ROW, (key,)).fetchone()
        return None if found is None else found[0]

    def rows(self) -> Iterator[bytes]:
        """All rows, by key."""
        table = self._table()
        if isinstance(table, dict):
            yield from map(table.__getitem__, sorted(table))
            return
        for (line,) in table.execute(_ALL_ROWS):
            yield line

    def close(self) -> None:
        """Forget the rows, and remove the file."""
        if isinstance(self._read_rows, sqlite3.Connection):
            self._read_rows.close()
        self._read_rows = None

    def _table(self) -> dict[str, bytes] | sqlite3.Connection:
        if self._read_rows is None:
            self._read_rows = self._read_all()
        return self._read_rows

    def _read_all(self) -> dict[str, bytes] | sqlite3.Connection:
        found: dict[str, bytes] = {}
        held, prefer = 0, self._prefer
        entries = chain.from_iterable(map(self._read, self._parts))
        for key, row in entries:
            old = found.get(key)
            if old is None:
                held += len(key) + _ENTRY_BYTES
            elif prefer is not None and not prefer(row, old):
                continue
            held += len(row) - len(old or b"")
            found[key] = row
            if held > IN_MEMORY_BYTES:
                return self._in_file(chain(found.items(), entries))
        return found

    def _in_file(self, entries: Iterable[tuple[str, bytes]]) -> sqlite3.Connection:
        # With an empty name, SQLite keeps the table in memory up to the size of its cache, and beyond that in an
        # unnamed temporary file that disappears with the process. Only one thread uses it, but the garbage collector
        # may close it from another thread.
        database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        # Python 3.13 warns about a connection that is left to the garbage collector.
        finalize = weakref.finalize(self, database.close)
        try:
            self._fill(database, entries)
        except BaseException:
            finalize()
            raise
        return database

    def _fill(self, database: sqlite3.Connection, entries: Iterable[tuple[str, bytes]]) -> None:
        database.execute(_CACHE_OF_32_MIB)
        database.execute(_TABLE)
        if self._prefer is not None:
            database.create_function("prefer", 2, self._prefer)
        database.execute("BEGIN")
        database.executemany(_LATER if self._prefer is None else _PREFERRED, entries)
        database.execute("COMMIT")
