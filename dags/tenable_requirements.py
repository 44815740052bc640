"""The DAG that checks once a day what ``tenable_to_security_hub`` needs."""

from __future__ import annotations

from airflow_provider_tenable.dags import tenable_requirements

dag = tenable_requirements()
