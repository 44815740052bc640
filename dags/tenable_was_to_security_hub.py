"""The DAG that imports findings of web applications, with the options of ``[tenable]``."""

from __future__ import annotations

from airflow_provider_tenable.dags import tenable_was_to_security_hub

dag = tenable_was_to_security_hub()
