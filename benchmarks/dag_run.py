"""A complete run of the DAG by Airflow's own `dag.test`, in its own database: its tasks, its XComs, and its CPU time,
to compare with the job in one process.

python -m benchmarks.dag_run TENABLE_PORT HUB_PORT      one line of JSON
"""

from __future__ import annotations

import json
import os
import resource
import runpy
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from typing import Any

from benchmarks.connections import tenable_connection
from benchmarks.import_side import ACCOUNT, REGION, connect
from benchmarks.measure import ROOT


def prepare(home: str, tenable_port: int, hub_port: int) -> str:
    """Make a home for Airflow, with connections to the servers. :return: the database's file."""
    database = f"{home}/airflow.db"
    os.environ.update(
        {
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}",
            "AIRFLOW__TENABLE__STAGING_PATH": f"file://{home}/staging",
            "AIRFLOW__TENABLE__PRODUCT": "default",
            "AIRFLOW_CONN_TENABLE_DEFAULT": tenable_connection(tenable_port),
        }
    )
    connect(hub_port)
    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "airflow", "db", "migrate"],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return database


def conf() -> dict[str, Any]:
    """The params of a run: everything, to one account."""
    destinations = [{"aws_conn_id": "aws_default", "accounts": [ACCOUNT], "role_name": None, "region": REGION}]
    return {"severities": ["info", "low", "medium", "high", "critical"], "destinations": destinations}


def main() -> None:
    """Run the DAG once."""
    tenable_port, hub_port = (int(each) for each in sys.argv[1:])
    with tempfile.TemporaryDirectory(prefix="benchmark-") as home:
        database = prepare(home, tenable_port, hub_port)
        dag = runpy.run_path(str(ROOT / "dags" / "tenable_to_security_hub.py"))["dag"]
        cpu, began = cpu_seconds(), time.monotonic()
        run = dag.test(run_conf=conf())
        cpu, wall = cpu_seconds() - cpu, time.monotonic() - began
        state = str(getattr(run.state, "value", run.state))
        if state != "success":
            raise RuntimeError(f"the run ended as {state}")
        with closing(sqlite3.connect(database)) as connection:
            (tasks,) = connection.execute("SELECT count(*) FROM task_instance").fetchone()
            xcoms, xcom_bytes, largest = connection.execute(
                "SELECT count(*), sum(length(value)), max(length(value)) FROM xcom"
            ).fetchone()
    # Airflow may have written to stdout: the last line is ours.
    print()
    print(
        json.dumps(
            {
                "tasks": tasks,
                "xcoms": xcoms,
                "xcom_bytes": xcom_bytes,
                "largest_xcom_bytes": largest,
                "cpu": cpu,
                "wall": wall,
            }
        ),
        flush=True,
    )


def cpu_seconds() -> float:
    """CPU seconds of this process and of those that it has ended."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


if __name__ == "__main__":
    main()
