"""An ``airflow_local_settings`` for an Airflow that runs many short tasks."""

from __future__ import annotations

from pathlib import Path

from sandbox.garbage import THRESHOLDS

#: Each task is a fork of the scheduler (LocalExecutor) or of a worker (Celery), and inherits what they have imported.
#: Otherwise every task imports these packages again, which takes seconds of CPU.
_PRELOAD = f"""
import gc
import sys

gc.set_threshold(*{THRESHOLDS})
if {{"scheduler", "worker"}} & set(sys.argv):
    import boto3
    import pandas
    import pyarrow.parquet
    import tenable.io
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

    gc.freeze()
"""


def preload(home: Path, settings: str = "") -> None:
    """Make an Airflow import what its tasks need before it forks them. A module that exists is kept.

    :param home: AIRFLOW_HOME.
    :param settings: code that the module begins with.
    """
    module = home / "config" / "airflow_local_settings.py"
    if not module.exists():
        module.parent.mkdir(parents=True, exist_ok=True)
        module.write_text(f"{settings}\n{_PRELOAD}")
