"""An ``airflow_local_settings`` for an Airflow that runs many short tasks."""

from __future__ import annotations

from pathlib import Path

#: Each task is a fork of the scheduler (LocalExecutor) or of a worker (Celery). What those have imported costs a task
#: nothing; otherwise each imports it anew, for seconds of CPU, as long as the tasks themselves take.
_PRELOAD = """
import sys

if {"scheduler", "worker"} & set(sys.argv):
    import boto3
    import pandas
    import pyarrow.parquet
    import tenable.io
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
"""


def preload(home: Path, settings: str = "") -> None:
    """Let the Airflow of a home import what its tasks need before it forks them. A module that is there stays.

    :param home: AIRFLOW_HOME.
    :param settings: what else the module contains.
    """
    module = home / "config" / "airflow_local_settings.py"
    if not module.exists():
        module.parent.mkdir(parents=True, exist_ok=True)
        module.write_text(f"{settings}\n{_PRELOAD}")
