"""Rows by key, in a private temporary file, so that memory does not grow with their number."""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

_Part = TypeVar("_Part")

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
        self._database: sqlite3.Connection | None = None

    def get(self, key: str) -> bytes | None:
        """The row of a key, or None."""
        found = self._table().execute(_ROW, (key,)).fetchone()
        return None if found is None else found[0]

    def rows(self) -> Iterator[bytes]:
        """All rows, by key."""
        for (line,) in self._table().execute(_ALL_ROWS):
            yield line

    def close(self) -> None:
        """Remove the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _table(self) -> sqlite3.Connection:
        if self._database is None:
            # With an empty name, SQLite keeps the table in memory up to the size of its cache, and beyond that in an
            # unnamed temporary file that disappears with the process. Only one thread uses it, but the garbage
            # collector may close it from another thread.
            database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            # Python 3.13 warns about a connection that is left to the garbage collector.
            finalize = weakref.finalize(self, database.close)
            try:
                self._fill(database)
            except BaseException:
                finalize()
                raise
            self._database = database
        return self._database

    def _fill(self, database: sqlite3.Connection) -> None:
        database.execute(_CACHE_OF_32_MIB)
        database.execute(_TABLE)
        if self._prefer is not None:
            database.create_function("prefer", 2, self._prefer)
        insert = _LATER if self._prefer is None else _PREFERRED
        for part in self._parts:
            rows = self._read(part)
            database.execute("BEGIN")
            database.executemany(insert, rows)
            database.execute("COMMIT")
