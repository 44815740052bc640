"""Where our errors meet Airflow's. For copies of the DAG files, of whichever version."""

from __future__ import annotations

from airflow_provider_tenable._compat import fail_fast

__all__ = ["fail_fast"]
