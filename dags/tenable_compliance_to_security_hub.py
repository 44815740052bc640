"""The DAG that imports results of audits, with the options of ``[tenable]``."""

from __future__ import annotations

from airflow_provider_tenable.dags import tenable_compliance_to_security_hub

dag = tenable_compliance_to_security_hub()
