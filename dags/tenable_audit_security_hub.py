"""The DAG that compares what the hubs show with what ``tenable_to_security_hub`` has sent."""

from __future__ import annotations

from airflow_provider_tenable.dags import tenable_audit_security_hub

dag = tenable_audit_security_hub()
