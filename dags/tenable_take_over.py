"""The DAG that takes over from ``sechubingest.py`` and ``tvm2aws``."""

from __future__ import annotations

from airflow_provider_tenable.dags import tenable_take_over

dag = tenable_take_over()
