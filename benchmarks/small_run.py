"""Small runs of the DAG by Airflow's own `dag.test`, in one process and one database, in turns: exports polled evenly,
and exports polled soon at first.

python -m benchmarks.small_run TENABLE_PORT HUB_PORT ROUNDS      one line of JSON: the runs, by how they polled

Nothing waits here but the runs themselves. `dag.test` runs one task after the other, and starts none of them in a
process of its own.
"""

from __future__ import annotations

import json
import os
import runpy
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from datetime import datetime
from typing import Any

import httpx

from benchmarks.dag_run import conf, cpu_seconds, prepare
from benchmarks.measure import ROOT

#: How exports are polled -> the options that say so.
WAYS = {"every 30 s": "30", "soon, then every 30 s": "1"}
OPTION = "AIRFLOW__TENABLE__FIRST_POLL_SECONDS"


def main() -> None:
    """Run the DAG once for its first, full run, and then in each way in turns."""
    tenable_port, hub_port, rounds = (int(each) for each in sys.argv[1:])
    with tempfile.TemporaryDirectory(prefix="benchmark-") as home:
        database = prepare(home, tenable_port, hub_port)
        dag = runpy.run_path(str(ROOT / "dags" / "tenable_to_security_hub.py"))["dag"]
        found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
        for number in range(rounds * len(WAYS) + 1):
            tenable = f"http://127.0.0.1:{tenable_port}"
            day = {"day": number, "changed": 10}
            httpx.post(f"{tenable}/day", json=day, trust_env=False).raise_for_status()
            way = list(WAYS)[number % len(WAYS)] if number else list(WAYS)[-1]
            os.environ[OPTION] = WAYS[way]
            measured = _run(dag, database)
            measured["requests"] = httpx.get(f"{tenable}/requests", trust_env=False).raise_for_status().json()
            if number:
                found[way].append(measured)
    # Airflow may have written to stdout: the last line is ours.
    print()
    print(json.dumps(found), flush=True)


def _run(dag: Any, database: str) -> dict[str, Any]:
    cpu, began = cpu_seconds(), time.time()
    run = dag.test(run_conf=conf())
    cpu, ended = cpu_seconds() - cpu, time.time()
    state = str(getattr(run.state, "value", run.state))
    if state != "success":
        raise RuntimeError(f"the run ended as {state}")
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(
            "SELECT task_id, state, end_date FROM task_instance WHERE run_id = ?", (run.run_id,)
        ).fetchall()
    imported = max(_seconds(end) for task, _, end in rows if task == "import_findings")
    return {
        "tasks": len(rows),
        "tasks_skipped": sum(state == "skipped" for _, state, _ in rows),
        "cpu": cpu,
        "wall": ended - began,
        "until_imported": imported - began,
    }


def _seconds(text: str) -> float:
    """Airflow writes UTC without saying so."""
    return datetime.fromisoformat(f"{text}+00:00").timestamp()


if __name__ == "__main__":
    main()
