"""The DAG's tasks, run in order in this process with the real operators and hooks over real sockets; no scheduler, no
database.

What a task returns is kept in a file, as XCom keeps it: a run that is carried on does not repeat tasks that have
succeeded. The watermark's Variable is a file too.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow_provider_tenable._compat import TaskDeferred, complete_message, fail_fast
from airflow_provider_tenable.hooks.tenable import TenableHook
from airflow_provider_tenable.operators.asff import TenableToAsffOperator
from airflow_provider_tenable.operators.security_hub import SecurityHubImportFindingsOperator
from airflow_provider_tenable.operators.security_hub_archive import SecurityHubArchiveFindingsOperator
from airflow_provider_tenable.operators.tenable import TenableExportOperator
from airflow_provider_tenable.run import archiving, finish, owner, retention, watermark
from airflow_provider_tenable.run import plan as plan_module
from airflow_provider_tenable.run.params import DEFAULTS
from airflow_provider_tenable.run.report import report_of
from airflow_provider_tenable.security_hub.importer import FindingsImport
from airflow_provider_tenable.staging import crash_points
from airflow_provider_tenable.staging.layout import RunFolder

DAG_ID = "tenable_to_security_hub"


def replace_file(path: Path, text: str) -> None:
    """Write a file whole, as a database would commit it."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.new")
    unfinished.write_text(text)
    os.replace(unfinished, path)


class Tasks:
    """One attempt at one run of the DAG.

    :param order: ``folder``, ``run_id``, ``run_type``, ``interval``, ``params``, ``defaults``, ``clear``,
        ``clear_tasks``, ``deferrable``, ``only``.
    """

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.folder = Path(order["folder"])
        self.run_id = order["run_id"]
        self.xcom_file = self.folder / "xcom" / f"{self.run_id}.json"
        self.xcom_file.parent.mkdir(parents=True, exist_ok=True)
        cleared = order.get("clear") or not self.xcom_file.exists()
        self.xcom: dict[str, Any] = {} if cleared else json.loads(self.xcom_file.read_text())
        # As a person clears single tasks, without those behind them.
        self.xcom = {
            task: result
            for task, result in self.xcom.items()
            if not task.startswith(tuple(order.get("clear_tasks", ())))
        }
        defaults = {**DEFAULTS, **order.get("defaults", {})}
        interval = [
            None if each is None else datetime.fromtimestamp(each, UTC)
            for each in order.get("interval") or (None, None)
        ]
        self.context: dict[str, Any] = {
            "dag_run": SimpleNamespace(
                dag_id=DAG_ID,
                run_id=self.run_id,
                run_type=order.get("run_type", "manual"),
                conf=order.get("params", {}),
            ),
            "dag": SimpleNamespace(params=defaults),
            "params": {**defaults, **order.get("params", {})},
            "ti": SimpleNamespace(xcom_push=self._push),
            "data_interval_start": interval[0],
            "data_interval_end": interval[1],
        }
        self.task = ""

    def _push(self, key: str, value: Any) -> None:
        self.xcom[f"{self.task}.{key}"] = value

    def once(self, task: str, do: Callable[[], Any]) -> Any:
        """A task's result: kept from before, or made now."""
        if task not in self.xcom:
            self.task = task
            # As the DAG's own tasks do; an operator does so itself.
            with fail_fast():
                self.xcom[task] = do()
            replace_file(self.xcom_file, json.dumps(self.xcom))
        return self.xcom[task]

    def run(self) -> None:
        """All tasks. The first error ends the run, as it fails the DAG run once the task's retries are used up."""
        context = self.context
        try:
            plan = self.once("plan_run", lambda: plan_module.plan_run(context))
            assets = self.once("export_assets", lambda: self.export("assets", plan["asset_filters"]))
            found = self.once(
                "export_vulnerabilities", lambda: self.export("vulnerabilities", plan["vulnerability_filters"])
            )
            for shard in self.once("plan_shards", lambda: plan_module.plan_shards(context, found, assets)):
                name = f"transform_{shard['index']}"
                transform = TenableToAsffOperator(
                    task_id=name, shard=shard, assets=assets, vulnerabilities=found, plan=plan
                )
                self.once(name, lambda transform=transform: transform.execute(context))
            for number, assignment in enumerate(self.once("plan_imports", lambda: plan_module.plan_imports(context))):
                name = f"import_findings_{number}"
                task = SecurityHubImportFindingsOperator(task_id=name, assignment=assignment)
                self.once(name, lambda task=task: task.execute(context))
            self.once("settle", lambda: finish.settle_run(context, found))
            for entry in self.once("plan_archiving", lambda: archiving.plan_archiving(context, found)):
                name = f"archive_findings_{entry['group']}"
                archive = SecurityHubArchiveFindingsOperator(task_id=name, assignment=entry)
                self.once(name, lambda archive=archive: archive.execute(context))
            self.once("advance_watermark", lambda: finish.advance_watermark(context, found))
            self.once("check_archived", lambda: archiving.check_archived(context))
        finally:
            logging.getLogger("airflow.task").info("%s", report_of(RunFolder.of(context)))
        self.once("remove_old_runs", lambda: retention.remove_old_runs(context))

    def export(self, kind: str, filters: dict[str, Any]) -> Any:
        """An export; deferred ones wait in a trigger that is made anew from its serialised form each time, also after a
        crash.
        """
        operator = TenableExportOperator(
            task_id=f"export_{kind}",
            export=kind,
            filters=filters,
            poll_interval=self.order.get("poll_interval", 0.05),
            export_timeout=self.order.get("export_timeout"),
            deferrable=self.order.get("deferrable", False),
        )
        waiting = self.folder / "xcom" / f"{self.run_id}.{kind}.trigger.json"
        while True:
            try:
                if waiting.exists():
                    event = self._wait_in_trigger(json.loads(waiting.read_text()))
                    waiting.unlink()
                    return operator.execute_complete(self.context, event)
                return operator.execute(self.context)
            except TaskDeferred as deferred:
                replace_file(waiting, json.dumps(deferred.trigger.serialize()))

    @staticmethod
    def _wait_in_trigger(serialised: list[Any]) -> dict[str, Any]:
        module, _, name = serialised[0].rpartition(".")
        trigger = getattr(importlib.import_module(module), name)(**serialised[1])

        async def first_event() -> dict[str, Any]:
            async for event in trigger.run():
                payload: dict[str, Any] = event.payload
                return payload
            raise AssertionError("the trigger ended without an event")

        return asyncio.run(first_event())


def _variables(folder: Path) -> None:
    """The watermark and other Variables in files."""
    file = folder / "watermark"

    def read_variable(name: str) -> str | None:
        path = folder / f"variable.{name}"
        return path.read_text() if path.exists() else None

    owner.read_variable = read_variable
    owner.write_variable = lambda name, value, text: replace_file(folder / f"variable.{name}", value)

    def read(dag_id: str) -> str | None:
        return file.read_text() if file.exists() else None

    def write(dag_id: str, value: int) -> None:
        replace_file(file, str(value))
        with (folder / "watermarks").open("a") as history:
            history.write(f"{value}\n")

    watermark.read_watermark = read
    watermark.write_watermark = write


def _logging() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("airflow"):
            logging.getLogger(name).handlers = []
            logging.getLogger(name).propagate = True
    for name in ("airflow_provider_tenable", "restfly", "tenable", "urllib3"):
        logging.getLogger(name).setLevel(logging.DEBUG)


def main(order: dict[str, Any]) -> dict[str, Any]:
    """Carry out an order in this process.

    :return: ``{"error", "message", "task"}``, each None after a success.
    """
    folder = Path(order["folder"])
    os.environ.update(order.get("env", {}))
    _logging()
    _variables(folder)
    for target, value in order.get("patches", {}).items():
        module, _, attribute = target.partition(":")
        setattr(importlib.import_module(module), attribute, value)
    if order.get("retry_seconds"):
        FindingsImport.__init__.__kwdefaults__["retry_seconds"] = order["retry_seconds"]
    if order.get("tenable_retries") is not None:
        TenableHook.__init__.__kwdefaults__["retries"] = order["tenable_retries"]
    if order.get("trace"):
        trace = (folder / "boundaries").open("a", buffering=1)
        original = crash_points.reached
        for module in list(sys.modules.values()):
            if getattr(module, "reached", None) is original:
                module.reached = lambda point: trace.write(f"{point.value}\n")
    if order.get("clock"):
        _shift_clock(order["clock"])
    tasks = Tasks(order)
    if order.get("limit_file_bytes"):
        # As a disk that is full: what would make a file longer than this fails.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        # The log is on another disk.
        for descriptor in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["limit_file_bytes"], resource.RLIM_INFINITY))
    try:
        if order.get("soak"):
            from tests.faults.soaking import soak

            soak({**order, **order["soak"]})
        elif order.get("hostile"):
            from tests.faults.hostile import run_hostile

            replace_file(folder / "hostile.json", json.dumps(run_hostile(tasks, order["hostile"])))
        elif order.get("replay") is not None:
            from tests.faults.run_replay import run_replay

            run_replay(tasks, order["replay"])
        else:
            tasks.run()
    except Exception as error:
        traceback.print_exc()
        return {"error": type(error).__name__, "message": complete_message(error), "task": tasks.task}
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return {"error": None, "message": None, "task": None}


def _shift_clock(seconds: float) -> None:
    """This worker's clock is wrong by so many seconds."""
    import time

    real = time.time
    time.time = lambda: real() + seconds
