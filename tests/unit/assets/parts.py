"""Chunks of an asset export as the parts that the export stages."""

from __future__ import annotations

from airflow_provider_tenable.export.chunks import format_of
from airflow_provider_tenable.tenable_vm.kinds import ASSETS


def to_parquet(chunk: bytes) -> tuple[bytes, int]:
    """The Parquet part of a chunk, and its number of rows. :raises ValueError: the chunk is not a JSON array."""
    staged = format_of(ASSETS).encode([chunk])
    return staged.content, staged.records
