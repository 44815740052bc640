"""The assets of a run as a table that is searched for those that a set of records needs."""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_tenable.tenable_vm.asset_row import AssetRow

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath
from airflow_provider_tenable.assets.parquet import read_columns


class AssetTable:
    """The assets of an export by their ids, in a file of this process's own: memory does not grow with the tenant.

    The parts are read once, when the first asset is asked for. Of an asset that stands in two parts, the later part counts.
    """

    def __init__(self, parts: Iterable[ObjectStoragePath]) -> None:
        self._parts = parts
        self._database: sqlite3.Connection | None = None

    def get(self, asset_id: str) -> AssetRow | None:
        """The row of an asset, None where the export lacks it."""
        found = self._table().execute("SELECT line FROM assets WHERE id = ?", (asset_id,)).fetchone()
        return None if found is None else AssetRow(*msgspec.msgpack.decode(found[0]))

    def rows(self) -> Iterator[AssetRow]:
        """All rows, by id."""
        for (line,) in self._table().execute("SELECT line FROM assets ORDER BY id"):
            yield AssetRow(*msgspec.msgpack.decode(line))

    def close(self) -> None:
        """Remove the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _table(self) -> sqlite3.Connection:
        if self._database is None:
            # An empty name: SQLite keeps the table in memory up to the size of its cache, beyond that in a temporary file that has no name and ends with us.
            # Only one thread uses it, but the garbage collector may close a forgotten one from another.
            database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            # Python 3.13 complains of a connection that is left to the garbage collector.
            finalize = weakref.finalize(self, database.close)
            try:
                self._fill(database)
            except BaseException:
                finalize()
                raise
            self._database = database
        return self._database

    def _fill(self, database: sqlite3.Connection) -> None:
        database.execute("PRAGMA cache_size = -32768")
        database.execute("CREATE TABLE assets (id TEXT PRIMARY KEY, line BLOB) WITHOUT ROWID")
        encode = msgspec.msgpack.Encoder().encode
        for part in self._parts:
            columns = read_columns(part)
            acr = [None if value is None or value != value else value for value in columns.pop("acr")]  # noqa: PLR0124 (pandas writes NaN)
            rows = zip(*columns.values(), acr, strict=True)
            database.execute("BEGIN")
            database.executemany("INSERT OR REPLACE INTO assets VALUES (?, ?)", ((row[0], encode(row)) for row in rows))
            database.execute("COMMIT")


def find(parts: Iterable[ObjectStoragePath], wanted: set[str]) -> dict[str, AssetRow]:
    """The rows of the wanted assets."""
    with closing(AssetTable(parts)) as table:
        return {asset_id: row for asset_id in wanted if (row := table.get(asset_id))}
