"""What exports and runs have staged, record by record: for tasks of your own."""

from __future__ import annotations

from airflow_provider_tenable.run.results import iter_findings, iter_rejected, iter_vulnerabilities

__all__ = ["iter_findings", "iter_rejected", "iter_vulnerabilities"]
