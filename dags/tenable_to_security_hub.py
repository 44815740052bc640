"""The DAG that imports findings, with the options of ``[tenable]``.

For a second Tenable container, or another scope, add a file that calls the same function with another ``dag_id``:
docs/operators.md shows what it accepts.
"""

from __future__ import annotations

from airflow_provider_tenable.dags import tenable_to_security_hub

dag = tenable_to_security_hub()
