"""The DAG that sends the findings again that Security Hub CSPM rejected in a run of ``tenable_to_security_hub``."""

from __future__ import annotations

from airflow_provider_tenable.dags import tenable_replay_rejected

dag = tenable_replay_rejected()
