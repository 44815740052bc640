"""The DAG that audits AWS accounts, with the options of ``[tenable]``."""

from __future__ import annotations

from airflow_provider_tenable.dags import tenable_aws_audit

dag = tenable_aws_audit()
