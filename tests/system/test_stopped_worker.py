"""What becomes of an export job when its task is stopped, under a real scheduler: a worker that stops leaves it to the
task's next try, a person who ends the task cancels it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psutil
import pytest

from airflow_provider_tenable._compat import AIRFLOW_V_3_0_PLUS
from sandbox.standalone.airflow import Standalone
from sandbox.standalone.airflow_2 import Standalone2
from sandbox.standalone.children import SandboxProcess
from tests.faults.universe import Sandbox
from tests.polling import until

pytestmark = pytest.mark.system

DAG_ID = "one_export"
_DAG = f"""
from datetime import datetime
from airflow_provider_tenable._compat import DAG
from airflow_provider_tenable.operators.tenable import TenableExportOperator

with DAG("{DAG_ID}", schedule=None, start_date=datetime(2026, 1, 1), default_args={{"retries": 5}}):
    TenableExportOperator(task_id="export", filters={{"indexed_at": 1}}, poll_interval=2, deferrable=False)
"""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    log = tmp_path_factory.mktemp("system") / "sandbox.log"
    with SandboxProcess("--estate", "tiny", "--prepare-seconds", "600", log=log) as process:
        sandbox = Sandbox(process)
        yield sandbox
        sandbox.client.close()


@pytest.fixture(scope="module")
def airflow(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    dags = tmp_path_factory.mktemp("dags")
    (dags / "one_export.py").write_text(_DAG)
    settings = {"AIRFLOW__CORE__DAGS_FOLDER": str(dags), "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "2"}
    kind = Standalone if AIRFLOW_V_3_0_PLUS else Standalone2
    with kind(tmp_path_factory.mktemp("airflow"), sandbox.process, settings=settings) as process:
        process.wait_until_healthy()
        process.connect(sandbox.process)
        process.unpause(DAG_ID)
        yield process


def exporting(airflow: Standalone, sandbox: Sandbox) -> list[psutil.Process]:
    """The process of the task: it holds a connection to Tenable."""
    port = urlsplit(sandbox.process.tenable).port
    found = []
    for each in psutil.Process(airflow.process.pid).children(recursive=True):
        try:
            if any(held.raddr and held.raddr.port == port for held in each.net_connections()):
                found.append(each)
        except psutil.Error:
            continue
    return found


def begin(airflow: Standalone, sandbox: Sandbox) -> tuple[str, psutil.Process]:
    """A run whose export waits for Tenable, and the process of its task."""
    known = len(sandbox.tenable("stats")["exports"])
    body = {"logical_date": None} if AIRFLOW_V_3_0_PLUS else {}
    run = str(airflow.api("POST", f"/dags/{DAG_ID}/dagRuns", json=body)["dag_run_id"])
    until(lambda: len(sandbox.tenable("stats")["exports"]) > known, 180, "no export was asked for")
    return run, until(lambda: exporting(airflow, sandbox), 30, "nobody speaks to Tenable")[0]


def task_of(airflow: Standalone, run: str) -> dict[str, Any]:
    path = f"/dags/{DAG_ID}/dagRuns/{quote(run, safe='')}/taskInstances/export"
    task: dict[str, Any] = airflow.api("GET", path)
    return task


def end(airflow: Standalone, run: str) -> None:
    """A person marks the task as failed."""
    path = f"/dags/{DAG_ID}/dagRuns/{quote(run, safe='')}/taskInstances/export"
    # Airflow 2 only says what it would do, unless told otherwise; Airflow 3 does not know the word.
    body: dict[str, Any] = {"new_state": "failed", **({} if AIRFLOW_V_3_0_PLUS else {"dry_run": False})}
    airflow.api("PATCH", path, json=body)


def status(sandbox: Sandbox) -> str:
    return str(sandbox.tenable("stats")["exports"][-1]["status"])


def test_a_worker_that_stops_leaves_the_job_and_the_next_try_continues_it(
    airflow: Standalone, sandbox: Sandbox, tmp_path: Path
) -> None:
    run, process = begin(airflow, sandbox)
    exports, tries = len(sandbox.tenable("stats")["exports"]), task_of(airflow, run)["try_number"]
    # As a supervisor passes it on when its worker is stopped in good order; then the node is gone.
    os.kill(process.pid, signal.SIGTERM)
    until(lambda: "keeps running" in airflow.log_of(run, "export", DAG_ID), 30, "the task was not told")
    if process.is_running():
        process.kill()
    until(lambda: task_of(airflow, run)["try_number"] > tries, 120, "there is no other try")
    until(lambda: exporting(airflow, sandbox), 120, "nobody speaks to Tenable")
    assert status(sandbox) != "CANCELLED"
    sandbox.tenable("jobs", {"do": "finish"})
    until(lambda: task_of(airflow, run)["state"] == "success", 120, airflow.log_of(run, "export", DAG_ID))
    assert len(sandbox.tenable("stats")["exports"]) == exports


def test_a_person_who_ends_the_task_cancels_the_job(airflow: Standalone, sandbox: Sandbox) -> None:
    run, process = begin(airflow, sandbox)
    exports = len(sandbox.tenable("stats")["exports"])
    end(airflow, run)
    until(lambda: status(sandbox) == "CANCELLED", 60, airflow.log_of(run, "export", DAG_ID))
    until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, 60, "the task lives on")
    assert len(sandbox.tenable("stats")["exports"]) == exports
