"""Assets as Parquet: from the rows of a chunk, and back as columns or a table."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.staging.files import content_of
from airflow_provider_tenable.tenable_vm.asset_row import COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_provider_tenable._compat import ObjectStoragePath
from airflow_provider_tenable.tenable_vm.asset_row import rows_of


def to_parquet(data: bytes) -> tuple[bytes, int]:
    """A chunk of an asset export as a Parquet part, and its number of rows.

    :raises ValueError: the chunk is no JSON array.
    """
    import pandas as pd

    rows = [msgspec.structs.astuple(row) for row in rows_of(data)]
    frame = pd.DataFrame.from_records(rows, columns=list(COLUMNS))
    frame["acr"] = frame["acr"].astype("float64")
    texts = [column for column in COLUMNS if column != "acr"]
    frame[texts] = frame[texts].astype("string")
    buffer = io.BytesIO()
    frame.to_parquet(buffer, engine="pyarrow", index=False, write_page_checksum=True)
    return buffer.getvalue(), len(frame)


def read_columns(part: ObjectStoragePath) -> dict[str, list[Any]]:
    """The columns of an asset part. :raises StagingError: it is missing or damaged."""
    columns: dict[str, list[Any]] = read_table(part).to_pydict()
    return columns


def read_table(part: ObjectStoragePath, columns: Sequence[str] = COLUMNS) -> pa.Table:
    """An asset part, or some columns of it, as an Arrow table. :raises StagingError: it is missing or damaged; every page has a checksum."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # A part of the asset index is found missing or damaged again when the run is planned again: all assets are exported then.
    advice = f"Clear the run's tasks from {'plan_run' if '/asset_index/' in str(part) else 'the asset export'} on."
    try:
        return pq.read_table(pa.BufferReader(content_of(part)), columns=list(columns), use_threads=False, page_checksum_verification=True)
    except FileNotFoundError as error:
        raise StagingError(f"The staged part {part} is gone. {advice}") from error
    except (pa.ArrowException, OSError) as error:
        raise StagingError(f"The staged part {part} is damaged ({safe(error)}). {advice}") from error
