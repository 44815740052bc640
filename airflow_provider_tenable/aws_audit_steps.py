"""The steps of ``tenable_aws_audit``. For copies of the DAG file, of whichever version."""

from __future__ import annotations

from airflow_provider_tenable.run.asset_event import announce_audits
from airflow_provider_tenable.run.aws_audit import check_results, plan_audit, report_audit, what_to_send
from airflow_provider_tenable.run.scan import remove_old_scans

__all__ = ["announce_audits", "check_results", "plan_audit", "remove_old_scans", "report_audit", "what_to_send"]
