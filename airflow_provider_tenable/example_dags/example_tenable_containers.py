"""Two Tenable containers, each with a connection, a watermark and staged files of its own."""

from __future__ import annotations

from airflow_provider_tenable.dags import tenable_replay_rejected, tenable_to_security_hub

for name in ("emea", "apac"):
    dag_id = f"example_tenable_{name}"
    globals()[dag_id] = tenable_to_security_hub(dag_id, tenable_conn_id=f"tenable_{name}", schedule=None)

# Sends again what Security Hub CSPM has rejected of one of them.
replay = tenable_replay_rejected(
    "example_tenable_emea_replay", of_dag="example_tenable_emea", tenable_conn_id="tenable_emea"
)
