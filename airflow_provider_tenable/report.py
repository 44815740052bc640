"""The report of a run. For copies of the DAG files, of whichever version."""

from __future__ import annotations

from airflow_provider_tenable.run.report import report_of, report_run

__all__ = ["report_of", "report_run"]
