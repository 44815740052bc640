"""The folder of a run. For copies of the DAG files, of whichever version."""

from __future__ import annotations

from airflow_provider_tenable.staging.layout import RunFolder

__all__ = ["RunFolder"]
