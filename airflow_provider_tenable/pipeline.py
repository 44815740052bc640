"""The steps of the DAG between its operators."""

from __future__ import annotations

from airflow_provider_tenable.run.archiving import check_archived, plan_archiving
from airflow_provider_tenable.run.finish import advance_watermark, settle_run
from airflow_provider_tenable.run.plan import plan_imports, plan_run, plan_shards
from airflow_provider_tenable.run.retention import remove_old_runs

__all__ = [
    "advance_watermark",
    "check_archived",
    "plan_archiving",
    "plan_imports",
    "plan_run",
    "plan_shards",
    "remove_old_runs",
    "settle_run",
]
