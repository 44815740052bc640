"""What happens to an export job when its task is stopped, under a real scheduler: after a worker stops, the task's next
try continues the job; a user who ends the task cancels it.
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
from sandbox.standalone.children import SandboxProcess
from tests.faults.universe import Sandbox
from tests.polling import until

pytestmark = pytest.mark.system

DAG_ID = "one_export"
#: Airflow's API takes the CPU from what is waited for.
POLL_SECONDS = 0.5


@pytest.fixture(scope="module")
def tenable(airflow: Standalone, sandbox: SandboxProcess) -> Iterator[Sandbox]:
    """Tenable, which does not finish an export by itself."""
    driver = Sandbox(sandbox)
    driver.tenable("options", {"prepare_seconds": 600})
    airflow.unpause(DAG_ID)
    yield driver
    driver.tenable("options", {"prepare_seconds": 5})
    driver.client.close()


def exporting(airflow: Standalone, tenable: Sandbox) -> list[psutil.Process]:
    """The process of the task: it holds a connection to Tenable, and so may the triggerer after another test."""
    port = urlsplit(tenable.process.tenable).port
    found = []
    for each in psutil.Process(airflow.process.pid).children(recursive=True):
        try:
            connected = any(held.raddr and held.raddr.port == port for held in each.net_connections())
            if connected and "triggerer" not in " ".join(each.cmdline()):
                found.append(each)
        except psutil.Error:
            continue
    return found


def begin(airflow: Standalone, tenable: Sandbox) -> tuple[str, psutil.Process]:
    """A run whose export waits for Tenable, and the process of its task."""
    known = len(tenable.tenable("stats")["exports"])
    body = {"logical_date": None} if AIRFLOW_V_3_0_PLUS else {}
    run = str(airflow.api("POST", f"/dags/{DAG_ID}/dagRuns", json=body)["dag_run_id"])
    until(lambda: len(tenable.tenable("stats")["exports"]) > known, 180, "no export was asked for")
    return run, until(lambda: exporting(airflow, tenable), 30, "nobody speaks to Tenable")[0]


def task_of(airflow: Standalone, run: str) -> dict[str, Any]:
    path = f"/dags/{DAG_ID}/dagRuns/{quote(run, safe='')}/taskInstances/export"
    task: dict[str, Any] = airflow.api("GET", path)
    return task


def end(airflow: Standalone, run: str) -> None:
    """A person marks the task as failed."""
    path = f"/dags/{DAG_ID}/dagRuns/{quote(run, safe='')}/taskInstances/export"
    # Airflow 2 only reports what it would do, unless dry_run is false; Airflow 3 does not know the parameter.
    body: dict[str, Any] = {"new_state": "failed", **({} if AIRFLOW_V_3_0_PLUS else {"dry_run": False})}
    airflow.api("PATCH", path, json=body)


def status(tenable: Sandbox) -> str:
    return str(tenable.tenable("stats")["exports"][-1]["status"])


def test_a_worker_that_stops_leaves_the_job_and_the_next_try_continues_it(
    airflow: Standalone, tenable: Sandbox, tmp_path: Path
) -> None:
    run, process = begin(airflow, tenable)
    exports, tries = len(tenable.tenable("stats")["exports"]), task_of(airflow, run)["try_number"]
    # As a supervisor passes it on when its worker is stopped in good order; then the node is gone.
    os.kill(process.pid, signal.SIGTERM)
    until(lambda: "keeps running" in airflow.log_of(run, "export", DAG_ID), 30, "the task was not told")
    if process.is_running():
        process.kill()
    until(lambda: task_of(airflow, run)["try_number"] > tries, 120, "there is no other try", POLL_SECONDS)
    until(lambda: exporting(airflow, tenable), 120, "nobody speaks to Tenable")
    assert status(tenable) != "CANCELLED"
    tenable.tenable("jobs", {"do": "finish"})
    until(lambda: task_of(airflow, run)["state"] == "success", 120, airflow.log_of(run, "export", DAG_ID), POLL_SECONDS)
    assert len(tenable.tenable("stats")["exports"]) == exports


def test_a_person_who_ends_the_task_cancels_the_job(airflow: Standalone, tenable: Sandbox) -> None:
    run, process = begin(airflow, tenable)
    exports = len(tenable.tenable("stats")["exports"])
    end(airflow, run)
    until(lambda: status(tenable) == "CANCELLED", 60, airflow.log_of(run, "export", DAG_ID))
    until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, 60, "the task lives on")
    assert len(tenable.tenable("stats")["exports"]) == exports
