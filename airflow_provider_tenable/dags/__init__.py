"""The provider's DAGs as functions: a DAG file of a few lines calls one, and needs no copy of its tasks.

::

    from airflow_provider_tenable.dags import tenable_to_security_hub

    dag = tenable_to_security_hub("tenable_emea", tenable_conn_id="tenable_emea", schedule="0 2 * * *")

DAG files import this package while Airflow parses them, so it must not import anything heavy.
"""

from __future__ import annotations

from airflow_provider_tenable.dags.audit_security_hub import tenable_audit_security_hub
from airflow_provider_tenable.dags.aws_audit import tenable_aws_audit
from airflow_provider_tenable.dags.compliance import tenable_compliance_to_security_hub
from airflow_provider_tenable.dags.replay_rejected import tenable_replay_rejected
from airflow_provider_tenable.dags.requirements import tenable_requirements
from airflow_provider_tenable.dags.scan_watcher import watched_scan
from airflow_provider_tenable.dags.security_hub import tenable_to_security_hub
from airflow_provider_tenable.dags.take_over import tenable_take_over
from airflow_provider_tenable.dags.was import tenable_was_to_security_hub

__all__ = [
    "tenable_audit_security_hub",
    "tenable_aws_audit",
    "tenable_compliance_to_security_hub",
    "tenable_replay_rejected",
    "tenable_requirements",
    "tenable_take_over",
    "tenable_to_security_hub",
    "tenable_was_to_security_hub",
    "watched_scan",
]
