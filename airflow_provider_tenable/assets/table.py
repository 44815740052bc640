"""The assets of a run as a table for look-ups by id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_tenable.assets.parquet import read_table
from airflow_provider_tenable.staging.keyed_rows import KeyedRows
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_provider_tenable._compat import ObjectStoragePath

#: Maximum number of ids, apart from those of one part, that are kept in order to leave out earlier rows: some 10 MB.
_KNOWN_IDS = 60_000


class AssetTable:
    """The assets of an export by id; many are in a private temporary file, so that memory does not grow with their
    number.

    The parts are read once, when the first asset is requested. If an asset has several rows, the last one counts.

    :param parts: the parts in order of increasing precedence.
    """

    def __init__(self, parts: Iterable[ObjectStoragePath]) -> None:
        # The last row of each asset comes first.
        self._rows = KeyedRows([[*parts]], _last_rows, prefer=lambda new, old: False)

    def get(self, asset_id: str) -> AssetRow | None:
        """The row of an asset, or None if the export does not contain it."""
        row = self._rows.get(asset_id)
        return None if row is None else decode_row(row)

    def rows(self) -> Iterator[AssetRow]:
        """All rows, by id."""
        return map(decode_row, self._rows.rows())

    def instance_ids(self) -> Iterator[str]:
        """The EC2 instances of all rows. An instance occurs as often as it has assets."""
        decode = msgspec.msgpack.Decoder(_Beginning).decode
        return (row.instance_id for row in map(decode, self._rows.rows()) if row.instance_id)

    def close(self) -> None:
        """Remove the file."""
        self._rows.close()


class _Beginning(msgspec.Struct, array_like=True):
    """The first columns of an :class:`AssetRow`, up to the one that :meth:`AssetTable.instance_ids` reads, which is
    faster than decoding all of them.
    """

    id: str
    owner_id: str | None
    region: str | None
    availability_zone: str | None
    instance_id: str | None


def _last_rows(parts: Sequence[ObjectStoragePath]) -> Iterator[tuple[str, bytes]]:
    """The rows of several parts, in the form of :func:`encoded_rows`. The last row of each asset comes first. Its
    earlier rows are left out, unless there are very many assets.

    After a day on which every host was scanned again, at least half of all rows are earlier ones.
    """
    known: set[str] = set()
    for part in reversed(parts):
        table = read_table(part)
        positions = {asset_id: position for position, asset_id in enumerate(table["id"].to_pylist())}
        new = [position for asset_id, position in positions.items() if asset_id not in known]
        if len(known) < _KNOWN_IDS:
            known |= positions.keys()
        # An empty list has no type that Arrow could take rows by.
        if new:
            yield from _encoded(table if len(new) == table.num_rows else table.take(new))


def encoded_rows(part: ObjectStoragePath) -> Iterator[tuple[str, bytes]]:
    """The rows of an asset part: (id, row as MessagePack). :raises StagingError: it is missing or damaged."""
    return _encoded(read_table(part))


def _encoded(table: pa.Table) -> Iterator[tuple[str, bytes]]:
    encode = msgspec.msgpack.Encoder().encode
    columns = table.to_pydict()
    acr = [None if value is None or value != value else value for value in columns.pop("acr")]  # noqa: PLR0124 (pandas writes NaN)
    return ((row[0], encode(row)) for row in zip(*columns.values(), acr, strict=True))


def decode_row(row: bytes) -> AssetRow:
    """Decode a row of :func:`encoded_rows`."""
    return AssetRow(*msgspec.msgpack.decode(row))


def find(parts: Iterable[ObjectStoragePath], wanted: set[str]) -> dict[str, AssetRow]:
    """The rows of the wanted assets."""
    with closing(AssetTable(parts)) as table:
        return {asset_id: row for asset_id in wanted if (row := table.get(asset_id))}
