"""The steps of the replay DAG between its operators. For copies of the DAG files, of whichever version."""

from __future__ import annotations

from airflow_provider_tenable.run.replay import plan_replay, settle_replay

__all__ = ["plan_replay", "settle_replay"]
