"""The only module that depends on Airflow's version: all others import Airflow's names from here.

It checks Airflow's version instead of catching ImportError: on 3.0 and 3.1 `airflow.sdk` lacks some of the names, and
one failed import would silently provide the classes of Airflow 2.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from airflow import __version__ as _airflow_version
from airflow.timetables.interval import DeltaDataIntervalTimetable
from airflow.triggers.base import BaseTrigger, TriggerEvent
from packaging.version import Version

from airflow_provider_tenable.exceptions import (
    ConfigurationError,
    FewerAssetsError,
    IncompleteRunError,
    RefusedDestinationsError,
    RejectedFindingsError,
    TenableProviderError,
    TooManyArchivedError,
    UnservedError,
)
from airflow_provider_tenable.guards.foreign_text import beginning

_log = logging.getLogger(__name__)

_AIRFLOW = Version(Version(_airflow_version).base_version)
#: The version, without suffixes.
AIRFLOW_VERSION = _AIRFLOW
AIRFLOW_V_3_0_PLUS = Version("3.0.0") <= _AIRFLOW
AIRFLOW_V_3_1_1_PLUS = Version("3.1.1") <= _AIRFLOW
AIRFLOW_V_3_2_PLUS = Version("3.2.0") <= _AIRFLOW

if AIRFLOW_V_3_0_PLUS:
    from airflow.sdk import (
        DAG,
        Asset,
        BaseNotifier,
        BaseOperator,
        BaseOperatorLink,
        BaseSensorOperator,
        ObjectStoragePath,
        Param,
        PokeReturnValue,
        Variable,
        dag,
        task,
        task_group,
    )
    from airflow.sdk.execution_time.xcom import XCom
    from airflow.triggers.base import BaseEventTrigger
else:
    from airflow.datasets import Dataset as Asset
    from airflow.decorators import dag, task, task_group  # type: ignore[no-redef]
    from airflow.io.path import ObjectStoragePath
    from airflow.models.baseoperator import BaseOperator
    from airflow.models.baseoperatorlink import BaseOperatorLink
    from airflow.models.dag import DAG
    from airflow.models.param import Param
    from airflow.models.variable import Variable
    from airflow.models.xcom import XCom
    from airflow.notifications.basenotifier import BaseNotifier
    from airflow.sensors.base import BaseSensorOperator, PokeReturnValue

    # Airflow 2 has no assets that a trigger updates. The name is there, so that the module of such a trigger can be
    # imported everywhere.
    BaseEventTrigger = BaseTrigger

if AIRFLOW_V_3_2_PLUS:
    from airflow.sdk import BaseHook, TriggerRule
    from airflow.sdk.configuration import conf
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTimeout,
        TaskDeferred,
    )
    from airflow.sdk.observability.stats import Stats

    #: The factor between the delays of retries. These versions treat True as the number 1, which means no backoff.
    EXPONENTIAL_BACKOFF: bool | float = 2.0
else:
    from airflow.configuration import conf
    from airflow.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTimeout,
        TaskDeferred,
    )
    from airflow.hooks.base import BaseHook
    from airflow.stats import Stats
    from airflow.utils.trigger_rule import TriggerRule

    EXPONENTIAL_BACKOFF = True


def mask_secret(secret: str) -> None:
    """Have Airflow mask a secret in its logs. Airflow ignores texts of less than 5 characters, and its own name.

    Not for our own threads: on Airflow 3 the task sends requests to its supervisor, one at a time.
    """
    # Imported here, because parsing a DAG file does not need it.
    if not AIRFLOW_V_3_0_PLUS:
        from airflow.utils.log.secrets_masker import mask_secret as mask

        mask(secret)
        return
    from airflow.sdk.log import mask_secret as mask

    mask(secret)
    if AIRFLOW_V_3_2_PLUS:
        # The API server, where connections are tested, has its own masker for its logs.
        from airflow._shared.secrets_masker import mask_secret as mask_in_core

        mask_in_core(secret)


def asset_of(uri: str) -> Asset:
    """An asset (Airflow 2: a dataset) whose URI is already normalised.

    Airflow's own constructor imports the URI handlers of all providers to find the one for the scheme. That loads boto3
    and costs two seconds for each task and each parsing of the DAG file, for a URI that they would not change.
    """
    # Without a scheme, no handler is looked up.
    asset = Asset("tenable")
    for field in ("name", "uri"):
        if hasattr(asset, field):
            object.__setattr__(asset, field, uri)
    return asset


def watched(asset: Asset, name: str, trigger: BaseTrigger) -> Asset:
    """An asset that Airflow updates whenever a trigger fires, which runs in the triggerer all the time.

    :param name: of the watcher.
    :raises ConfigurationError: this is Airflow 2, which has no asset watchers.
    """
    if not AIRFLOW_V_3_0_PLUS:
        raise ConfigurationError(
            f"Asset watchers need Airflow 3.0 or later, and this is Airflow {_AIRFLOW}. Use TenableScanSensor in a "
            "scheduled DAG instead."
        )
    from airflow.sdk import AssetWatcher

    object.__setattr__(asset, "watchers", [AssetWatcher(name=name, trigger=trigger)])
    return asset


def asset_alias(name: str) -> Any:
    """An alias under which a task can update assets whose names are known only when it runs."""
    # Imported here and below, since few DAGs that are parsed need it.
    if AIRFLOW_V_3_0_PLUS:
        from airflow.sdk import AssetAlias
    else:
        from airflow.datasets import DatasetAlias as AssetAlias
    return AssetAlias(name)


def any_asset_or(timetable: Any, assets: list[Any]) -> Any:
    """A schedule: whenever one of the assets is updated, and by the timetable, if there is one."""
    if not AIRFLOW_V_3_0_PLUS:
        from airflow.datasets import DatasetAny
        from airflow.timetables.datasets import DatasetOrTimeSchedule

        any_of = DatasetAny(*assets)
        return any_of if timetable is None else DatasetOrTimeSchedule(timetable=timetable, datasets=any_of)
    from airflow.sdk import AssetAny

    if timetable is None:
        return AssetAny(*assets)
    if AIRFLOW_V_3_2_PLUS:
        from airflow.sdk import AssetOrTimeSchedule
    else:
        from airflow.timetables.assets import AssetOrTimeSchedule
    return AssetOrTimeSchedule(timetable=timetable, assets=AssetAny(*assets))


def cron_timetable(expression: str, timezone: str) -> Any:
    """A schedule by a cron expression whose runs have data intervals, in every version.

    :raises Exception: the expression or the time zone is invalid; of which class depends on Airflow's version.
    """
    # Imported here, since few DAGs that are parsed need it.
    from airflow.timetables.interval import CronDataIntervalTimetable

    timetable = CronDataIntervalTimetable(expression, timezone=timezone)
    timetable.validate()
    return timetable


def pause(seconds: float) -> BaseTrigger:
    """Airflow's own trigger that fires after the given number of seconds."""
    # Imported here, since few DAGs that are parsed need it.
    if AIRFLOW_V_3_0_PLUS:
        from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
    else:
        from airflow.triggers.temporal import TimeDeltaTrigger

    trigger: BaseTrigger = TimeDeltaTrigger(timedelta(seconds=seconds))
    return trigger


#: The backend that reads Variables from Airflow's database, which tasks of Airflow 3 reach through the API server.
_DATABASE = frozenset({"MetastoreBackend", "ExecutionAPISecretsBackend"})


def defined_outside_database(variable: str) -> str | None:
    """What defines a Variable with precedence over Airflow's database, in words, or None, in Airflow's own order."""
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
                "Cannot determine whether the secrets backend %s defines Variable %s: %s",
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

    The message of either is logged as a line of its own. Airflow shows an exception as the title of a traceback, where
    a long text is hard to find: the one that replaces ours has its beginning only, and no second traceback.
    """
    try:
        yield
    except (
        ConfigurationError,
        FewerAssetsError,
        IncompleteRunError,
        RefusedDestinationsError,
        RejectedFindingsError,
        TooManyArchivedError,
        UnservedError,
    ) as error:
        _log.error("%s", error)
        raise AirflowFailException(beginning(str(error))) from None
    except TenableProviderError as error:
        _log.error("%s", error)
        raise


def complete_message(error: object) -> str:
    """The message of an exception of a task, also of one that :func:`fail_fast` has shortened."""
    hidden = error.__context__ if isinstance(error, AirflowFailException) and error.__suppress_context__ else None
    return str(hidden if isinstance(hidden, TenableProviderError) else error)


async def is_deferred(task_instance: Any) -> bool | None:
    """Whether a task is deferred according to Airflow's database; None if it cannot be queried. For Airflow 3's
    triggerer.

    :param task_instance: that of a trigger.
    """
    if not AIRFLOW_V_3_0_PLUS or task_instance is None:
        return None
    from asgiref.sync import sync_to_async

    try:
        state = await sync_to_async(_state_of)(task_instance)
    except Exception as error:  # noqa: BLE001 - what it raises is an implementation detail of Airflow's supervisor.
        _log.warning("Cannot get the state of task %s: %s", task_instance.task_id, type(error).__name__)
        return None
    return state == "deferred"


#: States that a task has once somebody, or a time limit of the run, has ended it; ``restarting``: cleared while it ran.
#: A task whose worker stops is ``running``, or waits for its next try.
_ENDED = frozenset({"failed", "success", "skipped", "removed", "upstream_failed", "restarting"})
#: States of a task that has not finished.
_UNFINISHED = frozenset(
    {"none", "scheduled", "queued", "running", "deferred", "up_for_retry", "up_for_reschedule", "restarting"}
)


def is_ended(task_instance: Any, *, seconds: float = 2.0) -> bool:
    """Whether Airflow's database says that a running task has been ended: marked, cleared, or timed out with its run.
    False if its state cannot be determined, because a stopping worker is far more common.

    For ``on_kill``, which Airflow calls in a signal handler: the interrupted code may hold the lock that the query
    needs. So a thread sends the query, and is abandoned after a while. Airflow 3 kills the process 5 seconds after the
    signal.

    :param task_instance: that of the task's own context.
    :param seconds: how long to wait for the response.
    """
    states: list[str] = []

    def ask() -> None:
        try:
            states.append(_state_of(task_instance))
        except Exception as error:  # noqa: BLE001 - what it raises is an implementation detail of Airflow.
            _log.warning("Cannot get the state of this task: %s", type(error).__name__)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(states) and states[0] in _ENDED


def _state_of(task_instance: Any) -> str:
    """The state of a task in Airflow's database."""
    if not AIRFLOW_V_3_0_PLUS:
        return _name_of(task_instance.current_state())
    of_run = _states_of_run(
        task_instance.dag_id, task_instance.run_id, task_ids=[task_instance.task_id], map_index=task_instance.map_index
    )
    # Airflow names the instances of a mapped task by their index.
    state = of_run.get(f"{task_instance.task_id}_{task_instance.map_index}", of_run.get(task_instance.task_id))
    return _name_of(state)


def _states_of_run(dag_id: str, run_id: str, **of_task: Any) -> Mapping[str, Any]:
    """Task -> state, from Airflow 3's API; mapped tasks with their index."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states: Mapping[str, Any] = RuntimeTaskInstance.get_task_states(dag_id=dag_id, run_ids=[run_id], **of_task).get(
        run_id, {}
    )
    return states


def _name_of(state: Any) -> str:
    return str(getattr(state, "value", state)).lower()


def has_unfinished_tasks(context: Any) -> bool | None:
    """Whether a task of the run has not finished, apart from the run's teardowns; None if Airflow cannot be queried or
    returns no states.
    """
    dag, run_id = context["dag"], context["dag_run"].run_id
    # The instances of a mapped task are named by their index; none of the DAG's teardowns is mapped.
    teardowns = {task.task_id for task in dag.tasks if task.is_teardown}
    try:
        if AIRFLOW_V_3_0_PLUS:
            states = _states_of_run(dag.dag_id, run_id)
        else:
            states = {instance.task_id: instance.state for instance in context["dag_run"].get_task_instances()}
    except Exception as error:  # noqa: BLE001 - what it raises is an implementation detail of Airflow.
        _log.warning("Cannot get the states of the run's tasks: %s", type(error).__name__)
        return None
    if not states:
        # Every run has tasks, at least the one that asks: without states, nothing is known about them.
        return None
    return any(_name_of(state) in _UNFINISHED for task, state in states.items() if task not in teardowns)


def airflow_health(*, in_task: bool) -> Any:
    """What Airflow says about its components (``{"triggerer": {"status": ...}, ...}``); None if it cannot be asked.

    A task of Airflow 3 has no database. It asks the API server, whose health endpoint needs no sign-in.
    """
    if not (in_task and AIRFLOW_V_3_0_PLUS):
        from airflow.api.common.airflow_health import get_airflow_health

        return get_airflow_health()
    import requests

    base = conf.get("core", "execution_api_server_url", fallback="") or ""
    base = base.rstrip("/").removesuffix("/execution") or conf.get("api", "base_url", fallback="") or ""
    url = f"{(base or 'http://localhost:8080').rstrip('/')}/api/v2/monitor/health"
    try:
        with requests.get(url, timeout=5, stream=True, allow_redirects=False) as response:
            body = response.raw.read(65_536, decode_content=True) if response.status_code == 200 else b""
        return json.loads(body)
    except (requests.RequestException, OSError, ValueError, RecursionError) as error:
        _log.info("Cannot read Airflow's health from %s: %s", url, type(error).__name__)
        return None


def slots_of_pool(name: str) -> int | None:
    """The slots of a pool, from Airflow's database; None if there is no such pool."""
    from airflow.models.pool import Pool

    pool = Pool.get_pool(name)
    return None if pool is None else int(pool.slots)


def max_active_runs_of(dag_id: str) -> int | None:
    """The ``max_active_runs`` of a DAG, from Airflow's database; None if Airflow does not know the DAG."""
    from airflow.models.dag import DagModel

    found = DagModel.get_dagmodel(dag_id)
    return None if found is None or found.max_active_runs is None else int(found.max_active_runs)


__all__ = [
    "AIRFLOW_VERSION",
    "AIRFLOW_V_3_0_PLUS",
    "AIRFLOW_V_3_1_1_PLUS",
    "AIRFLOW_V_3_2_PLUS",
    "DAG",
    "EXPONENTIAL_BACKOFF",
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "Asset",
    "BaseEventTrigger",
    "BaseHook",
    "BaseNotifier",
    "BaseOperator",
    "BaseOperatorLink",
    "BaseSensorOperator",
    "BaseTrigger",
    "DeltaDataIntervalTimetable",
    "ObjectStoragePath",
    "Param",
    "PokeReturnValue",
    "Stats",
    "TaskDeferred",
    "TriggerEvent",
    "TriggerRule",
    "Variable",
    "XCom",
    "airflow_health",
    "any_asset_or",
    "asset_alias",
    "asset_of",
    "complete_message",
    "conf",
    "cron_timetable",
    "dag",
    "defined_outside_database",
    "fail_fast",
    "has_unfinished_tasks",
    "is_deferred",
    "is_ended",
    "mask_secret",
    "max_active_runs_of",
    "pause",
    "slots_of_pool",
    "task",
    "task_group",
    "watched",
]
