"""The steps of ``tenable_scanner_ec2`` between its operators."""

from __future__ import annotations

from airflow_provider_tenable.run.scanner import plan_scanner, report_scanner

__all__ = ["plan_scanner", "report_scanner"]
