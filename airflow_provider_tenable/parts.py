"""Staged parts, for those who read them."""

from __future__ import annotations

from airflow_provider_tenable.staging.parts import read_blocks, read_lines, read_part

__all__ = ["read_blocks", "read_lines", "read_part"]
