"""A process that has imported Airflow once and forks a child per order: DAG runs begin a second after they are ordered,
and not ten.

Orders come as JSON lines on stdin: ``{"env": {...}, "output": file, "runs": [...]}``, or ``"arguments": [...]`` of the
``airflow`` command in place of the runs. Each is answered with ``{"code": n}`` when its child has ended.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import runpy
import sys
import time
import traceback
from collections.abc import Coroutine
from typing import Any, NoReturn

import httpx
import sqlalchemy.orm
from airflow import settings
from jsonschema import validators

from airflow_provider_tenable._compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_2_PLUS
from airflow_provider_tenable.operators import security_hub
from airflow_provider_tenable.run import hub_audit
from sandbox.garbage import collect_rarely
from tests import botocore_models
from tests.late_imports import import_late

_sleep, _sleep_async = time.sleep, asyncio.sleep


def _wait(seconds: float) -> None:
    # dag.test waits a second each time that it finds no task to run, as after each that fails.
    caller = sys._getframe(1).f_code
    _sleep(0.05 if (caller.co_name, caller.co_filename.rpartition("/")[2]) == ("test", "dag.py") else seconds)


def _wait_in_trigger(seconds: float, *arguments: Any) -> Coroutine[Any, Any, Any]:
    # The sandbox is done long before our triggers ask again.
    ours = sys._getframe(1).f_globals["__name__"].startswith("airflow_provider_tenable.triggers.")
    return _sleep_async(0.3 if ours else seconds, *arguments)


def _check_schemas_once() -> None:
    """Airflow checks the schema of each param again whenever it looks at one: for each of a DAG's tasks hundreds of
    times. What was found right stays so.
    """
    for draft in (validators.Draft7Validator, validators.Draft202012Validator):
        known: set[str] = set()

        def check(schema: Any, *arguments: Any, ask: Any = draft.check_schema, known: set[str] = known) -> None:
            text = json.dumps(schema, sort_keys=True, default=repr)
            if text not in known:
                ask(schema, *arguments)
                known.add(text)

        draft.check_schema = staticmethod(check)


def _read_dag_files_once() -> None:
    """dag.test of Airflow 3.2 and later writes all DAG files' DAGs to the database before each run; none changes while
    a child lives.
    """
    if AIRFLOW_V_3_2_PLUS:
        from airflow.dag_processing.bundles.manager import DagBundlesManager

        bundles = DagBundlesManager.get_all_dag_bundles
        seen = []

        def get_once(manager: Any) -> Any:
            if seen:
                return iter(())
            seen.append(True)
            return bundles(manager)

        DagBundlesManager.get_all_dag_bundles = get_once


async def _knock(transport: httpx.AsyncBaseTransport) -> None:
    async with httpx.AsyncClient(transport=transport, base_url="http://in-process.invalid") as client:
        await client.get("/health")


def _warm_up() -> None:
    """Import what a run imports late, and make what all can share."""
    import_late()
    modules = ["airflow.__main__", "airflow.models.dagrun", "airflow.providers_manager"]
    if AIRFLOW_V_3_0_PLUS:
        modules += ["a2wsgi"]
    for module in modules:
        importlib.import_module(module)
    if AIRFLOW_V_3_0_PLUS:
        from airflow.sdk.execution_time import supervisor

        # The server of the tasks' API makes its routes for the first request, for seconds. The thread that it serves
        # a run in begins in the child.
        asyncio.run(_knock(supervisor.in_process_api_server().atransport))
    sqlalchemy.orm.configure_mappers()
    botocore_models.share()
    _check_schemas_once()
    _read_dag_files_once()
    security_hub.PAUSE_SECONDS = 0.5
    # The hubs of the sandbox show at once what was sent.
    hub_audit.SETTLES_SECONDS = 0
    time.sleep, asyncio.sleep = _wait, _wait_in_trigger
    # No connection to the database may be shared.
    settings.engine.dispose()
    collect_rarely()


def _run(number: int, order: dict[str, Any]) -> None:
    """A DAG run, and what became of it as a line of JSON."""
    print(f"BEGIN {number}", flush=True)
    dag = runpy.run_path(order["file"])["dag"]
    for task in dag.tasks if order["retries"] is not None else []:
        if hasattr(task, "partial_kwargs"):
            task.partial_kwargs["retries"] = order["retries"]
        else:
            task.retries = order["retries"]
    result: dict[str, Any]
    try:
        run = dag.test(run_conf=order["conf"])
    except Exception:
        traceback.print_exc(file=sys.stdout)
        result = {"state": "refused"}
    else:
        names = ("task_id", "map_index", "state", "try_number", "rendered_map_index")
        tasks = [{name: getattr(each, name) for name in names} for each in run.get_task_instances()]
        result = {"state": run.state, "run_id": run.run_id, "tasks": tasks}
    print("RESULT", json.dumps(result, default=lambda each: getattr(each, "value", str(each))), flush=True)


def _child(order: dict[str, Any]) -> NoReturn:
    code = 70
    try:
        output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.clear()
        os.environ.update(order["env"])
        # The folder of the DAGs, which Airflow reads when it is imported.
        settings.configure_vars()
        if "arguments" in order:
            sys.argv = ["airflow", *order["arguments"]]
            runpy.run_module("airflow", run_name="__main__")
        else:
            for number, each in enumerate(order["runs"]):
                _run(number, each)
        code = 0
    except SystemExit as end:
        code = 0 if end.code is None else end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Serve orders until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    _warm_up()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _child(json.loads(line))
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status)}), file=answers, flush=True)


if __name__ == "__main__":
    main()
