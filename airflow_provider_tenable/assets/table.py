"""The assets of a run as a table for look-ups by id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_tenable.assets.parquet import read_columns
from airflow_provider_tenable.staging.keyed_rows import KeyedRows
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath


class AssetTable:
    """The assets of an export by id; many are in a private temporary file, so that memory does not grow with their
    number.

    The parts are read once, when the first asset is requested. If two parts contain an asset, the later part wins.
    """

    def __init__(self, parts: Iterable[ObjectStoragePath]) -> None:
        self._rows = KeyedRows(parts, encoded_rows)

    def get(self, asset_id: str) -> AssetRow | None:
        """The row of an asset, or None if the export does not contain it."""
        row = self._rows.get(asset_id)
        return None if row is None else decode_row(row)

    def rows(self) -> Iterator[AssetRow]:
        """All rows, by id."""
        return map(decode_row, self._rows.rows())

    def close(self) -> None:
        """Remove the file."""
        self._rows.close()


def encoded_rows(part: ObjectStoragePath) -> Iterator[tuple[str, bytes]]:
    """The rows of an asset part: (id, row as MessagePack). :raises StagingError: it is missing or damaged."""
    encode = msgspec.msgpack.Encoder().encode
    columns = read_columns(part)
    acr = [None if value is None or value != value else value for value in columns.pop("acr")]  # noqa: PLR0124 (pandas writes NaN)
    return ((row[0], encode(row)) for row in zip(*columns.values(), acr, strict=True))


def decode_row(row: bytes) -> AssetRow:
    """Decode a row of :func:`encoded_rows`."""
    return AssetRow(*msgspec.msgpack.decode(row))


def find(parts: Iterable[ObjectStoragePath], wanted: set[str]) -> dict[str, AssetRow]:
    """The rows of the wanted assets."""
    with closing(AssetTable(parts)) as table:
        return {asset_id: row for asset_id in wanted if (row := table.get(asset_id))}
