"""Rows as Parquet parts, with a checksum on every page, and back."""

from __future__ import annotations

import io
import typing
from collections.abc import Sequence
from functools import cache
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
    import pyarrow as pa

    schema = _schema_of(row)
    columns = zip(*map(msgspec.structs.astuple, rows), strict=True) if rows else ((),) * len(schema)
    arrays = [pa.array(column, field.type, from_pandas=True) for column, field in zip(columns, schema, strict=True)]
    return encode_table(pa.Table.from_arrays(arrays, schema=schema))


@cache
def _schema_of(row: type[msgspec.Struct]) -> pa.Schema:
    """What pandas writes a frame of such rows as. To make a frame of each few rows takes many times longer than to
    write them.
    """
    import pandas as pd
    import pyarrow as pa

    numbers = number_columns(row)
    types = {name: "float64" if name in numbers else "string" for name in row.__struct_fields__}
    frame = pd.DataFrame({name: pd.Series([], dtype=dtype) for name, dtype in types.items()})
    return pa.Schema.from_pandas(frame, preserve_index=False)


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
        # Half the time of pq.read_table, which takes the part for a dataset of several. But columns that are not there
        # are no error.
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        if columns is None:
            return file.read(use_threads=False)
        there = file.schema_arrow.names
        missing = [name for name in columns if name not in there]
        if unexpected := [name for name in missing if name not in may_be_missing]:
            raise pa.ArrowInvalid(f"it has no {', '.join(unexpected)}")
        table = file.read(columns=[name for name in columns if name in there], use_threads=False)
        for name in missing:
            table = table.append_column(name, pa.nulls(table.num_rows, pa.string()))
        return table.select(list(columns))
    except FileNotFoundError as error:
        raise StagingError(f"The staged part {part} is missing. {advice}") from error
    except (pa.ArrowException, OSError) as error:
        raise StagingError(f"The staged part {part} is damaged ({safe(error)}). {advice}") from error
