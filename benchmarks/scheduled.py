"""The measurement of a small run under Airflow's own scheduler: what waiting for the scheduler adds to it."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import psutil

from benchmarks.connections import aws_connection, tenable_connection
from benchmarks.dag_run import conf
from benchmarks.freshness import PREPARE_SECONDS, RECORDS
from benchmarks.import_side import ACCOUNT, REGION
from benchmarks.measure import median
from benchmarks.suites import Rows, server
from sandbox.standalone import airflow_of_this_environment
from sandbox.standalone.airflow import PARSED_ONCE, Standalone, scheduler_of

#: ``[scheduler] scheduler_idle_sleep_time``, seconds, and what the table says of it.
SLEEPS = {"1": "1 s (Airflow's default)", "0.1": "0.1 s"}
#: Seconds over which the CPU of a scheduler without work is counted.
IDLE_SECONDS = 20.0
#: What is measured of a run, in the order of the table.
_SECONDS = ("until_imported", "waited_until_imported", "wall", "waited")
Interval = tuple[float, float]


def scheduled(rounds: int) -> tuple[Rows, Any]:
    """10. A small run with the LocalExecutor, by how long the scheduler sleeps when it has found nothing to do."""
    rows: Rows = [
        (
            "scheduler_idle_sleep_time",
            "tasks",
            "s until imported",
            "of which no task ran",
            "s in all",
            "of which no task ran",
            "CPU of the scheduler, idle",
        )
    ]
    figures: dict[str, Any] = {}
    with server("cheap_hub") as hub, server("preparing_tenable", RECORDS, PREPARE_SECONDS) as tenable:
        for sleep, said in SLEEPS.items():
            with tempfile.TemporaryDirectory(prefix="benchmark-") as home:
                found = _measured(Path(home), sleep, rounds, tenable, hub)
            each = {name: median(found["runs"], name) for name in ("tasks", *_SECONDS)}
            figures[sleep] = {**each, "idle_cpu": found["idle_cpu"]}
            measured = (f"{each[name]:.1f}" for name in _SECONDS)
            rows.append((said, f"{each['tasks']:.0f}", *measured, f"{100 * found['idle_cpu']:.1f} %"))
    return rows, figures


def _measured(home: Path, sleep: str, rounds: int, tenable: str, hub: str) -> dict[str, Any]:
    """So many small runs, and the share of a core that the scheduler takes afterwards."""
    settings = {
        **PARSED_ONCE,
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": sleep,
        "AIRFLOW__TENABLE__POLL_INTERVAL_SECONDS": "30",
        "AIRFLOW__TENABLE__FIRST_POLL_SECONDS": "1",
        "AIRFLOW__TENABLE__TRANSFORM_SHARDS": "1",
        "AIRFLOW__TENABLE__PRODUCT": "default",
        "AIRFLOW__TENABLE__DAG_PARAMS": json.dumps(conf()),
        "AIRFLOW_CONN_TENABLE_DEFAULT": tenable_connection(tenable),
        "AIRFLOW_CONN_AWS_DEFAULT": aws_connection(hub, REGION),
    }
    # It is asked for its accounts only, for destinations that the params above precede.
    sandbox = cast("Any", SimpleNamespace(facts={"accounts": [ACCOUNT]}))
    with airflow_of_this_environment(home, sandbox, settings=settings) as airflow:
        airflow.wait_until_healthy()
        # The run that switching on starts is the first, full one.
        airflow.unpause()
        _ended(airflow, airflow.first_run())
        runs = []
        for number in range(1, rounds + 1):
            day = {"day": number, "changed": 10}
            httpx.post(f"http://127.0.0.1:{tenable}/day", json=day, trust_env=False).raise_for_status()
            runs.append(_ended(airflow, airflow.trigger()))
        return {"runs": runs, "idle_cpu": _idle(airflow)}


def _ended(airflow: Standalone, run_id: str) -> dict[str, Any]:
    """What a run took, once it has ended."""
    state = airflow.wait_for(run_id)
    if state != "success":
        raise RuntimeError(f"the run ended as {state}:\n{airflow.report_of(run_id)}")
    (run,) = (each for each in airflow.runs() if each["dag_run_id"] == run_id)
    tasks = airflow.task_instances(run_id)
    began = seconds_of(run["queued_at"])
    ran = [(seconds_of(each["start_date"]), seconds_of(each["end_date"])) for each in tasks if each["start_date"]]
    imported = max(seconds_of(each["end_date"]) for each in tasks if each["task_id"] == "import_findings")
    ended = max(end for _, end in ran)
    return {
        "tasks": len(tasks),
        "until_imported": imported - began,
        "waited_until_imported": without(ran, began, imported),
        "wall": ended - began,
        "waited": without(ran, began, ended),
    }


def without(ran: Iterable[Interval], began: float, ended: float) -> float:
    """How much of a time lies in none of the intervals. All in seconds."""
    found, reached = 0.0, began
    for start, end in sorted(ran):
        found += max(0.0, min(start, ended) - reached)
        reached = max(reached, end)
    return found + max(0.0, ended - reached)


def seconds_of(text: str) -> float:
    """A time of Airflow's API as unix seconds."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _idle(airflow: Standalone) -> float:
    """The share of a core that the scheduler and what it has started take while there is nothing to do."""
    scheduler = scheduler_of(airflow.process.pid)
    if scheduler is None:
        raise RuntimeError("Airflow has no scheduler.")
    before = _cpu(scheduler)
    time.sleep(IDLE_SECONDS)
    return (_cpu(scheduler) - before) / IDLE_SECONDS


def _cpu(process: psutil.Process) -> float:
    return sum(sum(each.cpu_times()[:2]) for each in (process, *process.children(recursive=True)))


__all__ = ["scheduled", "seconds_of", "without"]
