"""The parts of the asset index: Parquet files of many rows, named by a digest of their content, so that no part ever changes under its name."""

from __future__ import annotations

import hashlib
import io
import itertools
import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_tenable.assets.parquet import read_table
from airflow_provider_tenable.assets.table import AssetTable
from airflow_provider_tenable.staging.crash_points import CrashPoint, reached
from airflow_provider_tenable.staging.files import content_of, write_whole
from airflow_provider_tenable.tenable_vm.asset_row import COLUMNS, AssetRow

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_provider_tenable._compat import ObjectStoragePath

#: Rows of a part. Some 10 MB of Arrow; every transform task reads all parts, one after the other.
PART_ROWS = 20_000

_NAME = re.compile(r"assets-([0-9a-f]{64})\.parquet")


class IndexPart(msgspec.Struct, frozen=True):
    """A part of the index: file name, number of rows."""

    name: str
    records: int


def is_part(name: str) -> bool:
    """Whether a file of the index's folder is a part, by its name."""
    return _NAME.fullmatch(name) is not None


def is_intact(path: ObjectStoragePath) -> bool:
    """Whether a part is there and holds what its name says."""
    named = _NAME.fullmatch(path.name)
    try:
        return named is not None and hashlib.sha256(content_of(path)).hexdigest() == named[1]
    except OSError:
        return False


def copy_parts(parts: Iterable[ObjectStoragePath], folder: ObjectStoragePath) -> list[IndexPart]:
    """Put the rows of an export's parts into parts of the index, in their order.

    :raises StagingError: a part of the export is missing or damaged, or there is no room.
    """
    return [_write(table, folder) for table in _regrouped(read_table(part) for part in parts)]


def merge_parts(parts: Iterable[ObjectStoragePath], folder: ObjectStoragePath) -> list[IndexPart]:
    """Put the rows of several parts into as few as they need, each asset once: of one that stands in several, the latest row.

    :raises StagingError: a part is missing or damaged, or there is no room.
    """
    with closing(AssetTable(parts)) as table:
        rows = table.rows()
        # iter(callable, sentinel): batches until one is empty.
        batches: Iterator[list[AssetRow]] = iter(lambda: list(itertools.islice(rows, PART_ROWS)), [])
        return [_write(_table_of(batch), folder) for batch in batches]


def _regrouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    import pyarrow as pa

    waiting: list[Any] = []
    for table in tables:
        waiting.append(_uniform(table))
        if sum(each.num_rows for each in waiting) >= PART_ROWS:
            yield pa.concat_tables(waiting)
            waiting = []
    if sum(each.num_rows for each in waiting):
        yield pa.concat_tables(waiting)


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema([(column, pa.float64() if column == "acr" else pa.string()) for column in COLUMNS])


def _uniform(table: pa.Table) -> pa.Table:
    """The table in the index's own types: the releases of pandas differ in how they write texts, and in what they note beside them."""
    return table.select(list(COLUMNS)).replace_schema_metadata(None).cast(_schema())


def _table_of(rows: list[AssetRow]) -> pa.Table:
    import pyarrow as pa

    return pa.table({column: [getattr(row, column) for row in rows] for column in COLUMNS}, schema=_schema())


def _write(table: pa.Table, folder: ObjectStoragePath) -> IndexPart:
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer, write_page_checksum=True)
    content = buffer.getvalue()
    part = IndexPart(f"assets-{hashlib.sha256(content).hexdigest()}.parquet", table.num_rows)
    write_whole(folder / part.name, content)
    reached(CrashPoint.INDEX_PART_WRITTEN)
    return part
