"""Rows as Parquet parts, with a checksum on every page, and back."""

from __future__ import annotations

import io
import typing
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.staging.files import content_of

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_provider_tenable._compat import ObjectStoragePath

_CLEAR_EXPORT = "Clear the run's tasks from the export on."


def number_columns(row: type[msgspec.Struct]) -> list[str]:
    """The columns of a row that contain numbers (64-bit floats); all others contain strings."""
    return [field.name for field in msgspec.structs.fields(row) if float in (field.type, *typing.get_args(field.type))]


def encode_rows(rows: Sequence[msgspec.Struct], row: type[msgspec.Struct]) -> bytes:
    """A Parquet part of rows, with pandas' types, because users read these parts with pandas.

    :param row: the type of the rows. Its fields are strings or floats, and may be None.
    """
    import pandas as pd

    columns, numbers = list(row.__struct_fields__), number_columns(row)
    frame = pd.DataFrame.from_records([msgspec.structs.astuple(entry) for entry in rows], columns=columns)
    frame[numbers] = frame[numbers].astype("float64")
    texts = [column for column in columns if column not in numbers]
    frame[texts] = frame[texts].astype("string")
    buffer = io.BytesIO()
    frame.to_parquet(buffer, engine="pyarrow", index=False, write_page_checksum=True)
    return buffer.getvalue()


def encode_table(table: pa.Table, **options: Any) -> bytes:
    """A Parquet part of an Arrow table.

    :param options: of ``pyarrow.parquet.write_table``.
    """
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer, write_page_checksum=True, **options)
    return buffer.getvalue()


def read_table(
    part: ObjectStoragePath,
    columns: Sequence[str] | None = None,
    *,
    advice: str = _CLEAR_EXPORT,
    may_be_missing: Sequence[str] = (),
) -> pa.Table:
    """A part as an Arrow table.

    :param columns: the columns to read, in this order; None: all.
    :param advice: the advice in the error.
    :param may_be_missing: columns of text that parts of older releases lack: null then.
    :raises StagingError: the part is missing or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        content = content_of(part)
        wanted = missing = None
        if columns is not None:
            there = pq.read_schema(pa.BufferReader(content)).names if may_be_missing else columns
            missing = [name for name in columns if name not in there and name in may_be_missing]
            wanted = [name for name in columns if name not in missing]
        table = pq.read_table(
            pa.BufferReader(content), columns=wanted, use_threads=False, page_checksum_verification=True
        )
        for name in missing or ():
            table = table.append_column(name, pa.nulls(table.num_rows, pa.string()))
        return table.select(list(columns)) if missing and columns else table
    except FileNotFoundError as error:
        raise StagingError(f"The staged part {part} is missing. {advice}") from error
    except (pa.ArrowException, OSError) as error:
        raise StagingError(f"The staged part {part} is damaged ({safe(error)}). {advice}") from error
