"""Text from outside, made safe for a message. For copies of the DAG files, of whichever version."""

from __future__ import annotations

from airflow_provider_tenable.guards.foreign_text import quoted, safe

__all__ = ["quoted", "safe"]
