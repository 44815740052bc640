"""Writes the parts of the asset index: from the parts of an export, or by merging several parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from airflow_provider_tenable.assets.parquet import read_table
from airflow_provider_tenable.assets.table import decode_row, encoded_rows
from airflow_provider_tenable.staging import index_files
from airflow_provider_tenable.staging.index_files import IndexFiles, IndexPart
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parquet import encode_table, number_columns
from airflow_provider_tenable.tenable_vm.asset_row import COLUMNS, AssetRow

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_provider_tenable._compat import ObjectStoragePath


def files_of(run: RunFolder) -> IndexFiles:
    """The files of the asset index that a run's DAG keeps."""
    return IndexFiles(run.asset_index, "assets")


def copy_parts(files: IndexFiles, parts: Iterable[ObjectStoragePath]) -> list[IndexPart]:
    """Write the rows of an export's parts into parts of the index, in their order.

    :raises StagingError: a part of the export is missing or damaged, or the disk is full.
    """
    return [files.put(encode_table(table), table.num_rows) for table in _regrouped(read_table(part) for part in parts)]


def merge_parts(files: IndexFiles, parts: Iterable[ObjectStoragePath]) -> list[IndexPart]:
    """Merge the rows of several parts into as few as possible, each asset once, with its latest row.

    :raises StagingError: a part is missing or damaged, or the disk is full.
    """
    return files.merge(parts, read=encoded_rows, encode=_encode)


def _encode(rows: list[bytes]) -> bytes:
    import pyarrow as pa

    decoded = [decode_row(row) for row in rows]
    return encode_table(
        pa.table({column: [getattr(row, column) for row in decoded] for column in COLUMNS}, schema=_schema())
    )


def _regrouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    import pyarrow as pa

    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(_uniform(table))
        if sum(table.num_rows for table in waiting) >= index_files.PART_ROWS:
            yield pa.concat_tables(waiting)
            waiting = []
    if sum(table.num_rows for table in waiting):
        yield pa.concat_tables(waiting)


def _schema() -> pa.Schema:
    import pyarrow as pa

    numbers = number_columns(AssetRow)
    return pa.schema([(column, pa.float64() if column in numbers else pa.string()) for column in COLUMNS])


def _uniform(table: pa.Table) -> pa.Table:
    """The table in the index's own types: pandas releases differ in their string types and metadata."""
    return table.select(list(COLUMNS)).replace_schema_metadata(None).cast(_schema())
