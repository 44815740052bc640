"""The one place that knows Airflow 2.11 from 3.0 from 3.2: every other module imports Airflow's names from here.

Gated by Airflow's version and not by ImportError: on 3.0 and 3.1 `airflow.sdk` lacks some of the names, and one failed
import would silently hand out the classes of Airflow 2.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from airflow import __version__ as _airflow_version
from airflow.timetables.interval import DeltaDataIntervalTimetable
from airflow.triggers.base import BaseTrigger, TriggerEvent
from packaging.version import Version
from collections.abc import Iterator
from contextlib import contextmanager
from airflow_provider_tenable.exceptions import (
    ConfigurationError,
    IncompleteRunError,
    RejectedFindingsError,
    UnservedError,
)

_log = logging.getLogger(__name__)

_AIRFLOW = Version(Version(_airflow_version).base_version)
AIRFLOW_V_3_0_PLUS = Version("3.0.0") <= _AIRFLOW
AIRFLOW_V_3_2_PLUS = Version("3.2.0") <= _AIRFLOW

if AIRFLOW_V_3_0_PLUS:
    from airflow.sdk import (
        DAG,
        Asset,
        BaseNotifier,
        BaseOperator,
        BaseOperatorLink,
        ObjectStoragePath,
        Param,
        Variable,
        dag,
        task,
    )
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


def mask_secret(secret: str) -> None:
    """Have Airflow mask a secret in the logs that it writes. Airflow passes over texts of less than 5 characters, and
    its own name.

    Not for threads of our own: on Airflow 3 the task asks its supervisor, one question at a time.
    """
    # Imported here, since a DAG file that is parsed needs none of it.
    if not AIRFLOW_V_3_0_PLUS:
        from airflow.utils.log.secrets_masker import mask_secret as mask

        mask(secret)
        return
    from airflow.sdk.log import mask_secret as mask

    mask(secret)
    if AIRFLOW_V_3_2_PLUS:
        # The API server, where the connection is tested, writes its logs through a masker of its own.
        from airflow._shared.secrets_masker import mask_secret as mask_in_core

        mask_in_core(secret)


def asset_of(uri: str) -> Asset:
    """An asset (Airflow 2: a dataset) whose URI is given in its normal form.

    Airflow's own constructor has every provider's URI handlers imported to find the one of the scheme. That loads boto3
    and takes two seconds of each task and of each look at the DAG file, for a URI that they would leave as it is.
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


#: Where Airflow's own Variables are read from: its database, which tasks of Airflow 3 reach through the API server.
_DATABASE = frozenset({"MetastoreBackend", "ExecutionAPISecretsBackend"})


def defined_outside_database(variable: str) -> str | None:
    """What defines a Variable before Airflow's database is asked, in words; None where nothing does. The order is
    Airflow's own when it reads one.
    """
    if AIRFLOW_V_3_0_PLUS:
        from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded
    else:
        from airflow.configuration import ensure_secrets_loaded as ensure_secrets_backend_loaded

    for backend in ensure_secrets_backend_loaded():
        kinds = {kind.__name__ for kind in type(backend).__mro__}
        if kinds & _DATABASE:
            continue
        try:
            value = backend.get_variable(key=variable)
        except Exception as error:  # noqa: BLE001 - as Airflow itself does: where it matters, reading the Variable fails.
            _log.warning(
                "It is not known whether the secrets backend %s defines Variable %s: %s",
                type(backend).__name__,
                variable,
                type(error).__name__,
            )
            continue
        if value is not None:
            in_environment = "EnvironmentVariablesBackend" in kinds
            return (
                f"the environment variable AIRFLOW_VAR_{variable.upper()}"
                if in_environment
                else f"the secrets backend {type(backend).__name__}"
            )
    return None


@contextmanager
def fail_fast() -> Iterator[None]:
    """Turn errors that only the user can fix into Airflow's "fail without retrying". All others keep the task's
    retries.
    """
    try:
        yield
    except (ConfigurationError, IncompleteRunError, RejectedFindingsError, UnservedError) as error:
        raise AirflowFailException(str(error)) from error


async def is_deferred(task_instance: Any) -> bool | None:
    """Whether Airflow's database has a task as deferred; None where it cannot be asked. For a triggerer of Airflow 3.

    :param task_instance: that of a trigger.
    """
    if not AIRFLOW_V_3_0_PLUS or task_instance is None:
        return None
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    from asgiref.sync import sync_to_async

    of_task = {name: getattr(task_instance, name) for name in ("dag_id", "map_index")}
    try:
        states = await sync_to_async(RuntimeTaskInstance.get_task_states)(
            **of_task, task_ids=[task_instance.task_id], run_ids=[task_instance.run_id]
        )
    except Exception as error:  # noqa: BLE001 - what it raises is an implementation detail of Airflow's supervisor.
        _log.warning("The state of task %s cannot be asked for: %s", task_instance.task_id, type(error).__name__)
        return None
    of_run = states.get(task_instance.run_id, {})
    # Airflow names the instances of a mapped task by their index.
    state = of_run.get(f"{task_instance.task_id}_{task_instance.map_index}", of_run.get(task_instance.task_id))
    return str(getattr(state, "value", state)) == "deferred"


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
    "defined_outside_database",
    "fail_fast",
    "is_deferred",
    "mask_secret",
    "pause",
    "task",
]
