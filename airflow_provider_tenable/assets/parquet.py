"""Reads asset parts as Arrow tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_provider_tenable.staging import parquet
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.tenable_vm.asset_row import ADDED_COLUMNS, COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_provider_tenable._compat import ObjectStoragePath


def read_table(part: ObjectStoragePath, columns: Sequence[str] = COLUMNS) -> pa.Table:
    """An asset part, or some columns of it, as an Arrow table. :raises StagingError: it is missing or damaged."""
    # If a part of the asset index is missing or damaged, planning the run again detects it and exports all assets.
    first = "plan_run" if f"/{RunFolder.ASSET_INDEX}/" in str(part) else "the asset export"
    advice = f"Clear the run's tasks from {first} on."
    return parquet.read_table(part, columns, advice=advice, may_be_missing=ADDED_COLUMNS)
