"""The one place that knows Airflow 2.11 from 3.0 from 3.2: every other module imports Airflow's names from here.

Gated by Airflow's version and not by ImportError: on 3.0 and 3.1 `airflow.sdk` lacks some of the names, and one failed
import would silently hand out the classes of Airflow 2.
"""

from __future__ import annotations

from datetime import timedelta

from airflow import __version__ as _airflow_version
from airflow.timetables.interval import DeltaDataIntervalTimetable
from airflow.triggers.base import BaseTrigger, TriggerEvent
from packaging.version import Version

_AIRFLOW = Version(Version(_airflow_version).base_version)
AIRFLOW_V_3_0_PLUS = Version("3.0.0") <= _AIRFLOW
AIRFLOW_V_3_2_PLUS = Version("3.2.0") <= _AIRFLOW

if AIRFLOW_V_3_0_PLUS:
    from airflow.sdk import DAG, Asset, BaseNotifier, BaseOperator, BaseOperatorLink, ObjectStoragePath, Param, Variable, dag, task
    from airflow.sdk.execution_time.xcom import XCom
else:
    from airflow.datasets import Dataset as Asset
    from airflow.decorators import dag, task  # type: ignore[no-redef]
    from airflow.io.path import ObjectStoragePath
    from airflow.models.baseoperator import BaseOperator
    from airflow.models.baseoperatorlink import BaseOperatorLink
    from airflow.models.dag import DAG
    from airflow.models.param import Param
    from airflow.models.variable import Variable
    from airflow.models.xcom import XCom
    from airflow.notifications.basenotifier import BaseNotifier

if AIRFLOW_V_3_2_PLUS:
    from airflow.sdk import BaseHook, TriggerRule
    from airflow.sdk.configuration import conf
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSkipException,
        TaskDeferred,
    )
    from airflow.sdk.observability.stats import Stats

    #: By what the delay between two retries is multiplied. To these versions True is the number 1: no backoff at all.
    EXPONENTIAL_BACKOFF: bool | float = 2.0
else:
    from airflow.configuration import conf
    from airflow.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSkipException,
        TaskDeferred,
    )
    from airflow.hooks.base import BaseHook
    from airflow.stats import Stats
    from airflow.utils.trigger_rule import TriggerRule

    EXPONENTIAL_BACKOFF = True


def asset_of(uri: str) -> Asset:
    """An asset (Airflow 2: a dataset) whose URI is given in its normal form.

    Airflow's own constructor has every provider's URI handlers imported to find the one of the scheme. That loads boto3 and takes two seconds of each task and
    of each look at the DAG file, for a URI that they would leave as it is.
    """
    # Without a scheme nothing is looked up.
    asset = Asset("tenable")
    for field in ("name", "uri"):
        if hasattr(asset, field):
            object.__setattr__(asset, field, uri)
    return asset


def pause(seconds: float) -> BaseTrigger:
    """Airflow's own trigger that fires after so many seconds."""
    # Imported here, since few DAGs that are parsed need it.
    if AIRFLOW_V_3_0_PLUS:
        from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
    else:
        from airflow.triggers.temporal import TimeDeltaTrigger

    trigger: BaseTrigger = TimeDeltaTrigger(timedelta(seconds=seconds))
    return trigger


__all__ = [
    "AIRFLOW_V_3_0_PLUS",
    "AIRFLOW_V_3_2_PLUS",
    "DAG",
    "EXPONENTIAL_BACKOFF",
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowSkipException",
    "Asset",
    "BaseHook",
    "BaseNotifier",
    "BaseOperator",
    "BaseOperatorLink",
    "BaseTrigger",
    "DeltaDataIntervalTimetable",
    "ObjectStoragePath",
    "Param",
    "Stats",
    "TaskDeferred",
    "TriggerEvent",
    "TriggerRule",
    "Variable",
    "XCom",
    "asset_of",
    "conf",
    "dag",
    "pause",
    "task",
]
