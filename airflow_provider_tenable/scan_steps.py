"""The steps of ``tenable_scan``. For copies of the DAG file, of whichever version."""

from __future__ import annotations

from airflow_provider_tenable.run.scan import plan_scan, remove_old_scans, report_scan

__all__ = ["plan_scan", "remove_old_scans", "report_scan"]
