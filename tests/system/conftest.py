"""One sandbox and one Airflow for the system tests: a start takes as long as a run of the DAG. `test_crashes.py` and
`test_demo.py`, which end theirs, have their own.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.standalone import airflow_of_this_environment
from sandbox.standalone.airflow import PARSED_ONCE, Standalone
from sandbox.standalone.children import ROOT, SandboxProcess
from sandbox.standalone.preloading import preload
from tests.docs_examples import blocks, executable

#: A DAG of a single export, which waits for Tenable in its task instead of the triggerer.
ONE_EXPORT = """
from datetime import datetime
from airflow_provider_tenable._compat import DAG
from airflow_provider_tenable.operators.tenable import TenableExportOperator

with DAG("one_export", schedule=None, start_date=datetime(2026, 1, 1), default_args={"retries": 5}):
    TenableExportOperator(task_id="export", filters={"indexed_at": 1}, poll_interval=2, deferrable=False)
"""

#: Instead of Amazon SNS, the example of the docs notifies a file in Airflow's home.
TO_SECURITY_TEAM = """
import os
from pathlib import Path

def to_security_team(subject, text):
    with (Path(os.environ["AIRFLOW_HOME"]) / "notified.txt").open("a") as file:
        file.write(f"{subject}: {text}\\n")
"""


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    log = tmp_path_factory.mktemp("system") / "sandbox.log"
    # An export is deferred while Tenable prepares it, and polled 10 seconds later.
    with SandboxProcess("--estate", "small", "--prepare-seconds", "5", log=log) as process:
        yield process


@pytest.fixture(scope="session")
def statsd() -> Iterator[socket.socket]:
    """Where Airflow sends its metrics."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        yield server


@pytest.fixture(scope="session")
def dags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The DAGs, the one in the docs that waits for an import, and the one that only exports."""
    folder = tmp_path_factory.mktemp("dags")
    for file in (ROOT / "dags").glob("*.py"):
        shutil.copy(file, folder)
    [example] = [code for code in blocks(ROOT / "docs" / "operators.md", "python") if "def after_import(" in code]
    (folder / "after_import.py").write_text(executable(example))
    (folder / "one_export.py").write_text(ONE_EXPORT)
    return folder


@pytest.fixture(scope="session")
def airflow(
    sandbox: SandboxProcess, dags: Path, statsd: socket.socket, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Standalone]:
    metrics = {
        "STATSD_ON": "True",
        "STATSD_HOST": "127.0.0.1",
        "STATSD_PORT": str(statsd.getsockname()[1]),
        "STATSD_INFLUXDB_ENABLED": "True",
        "METRICS_ALLOW_LIST": "tenable",
    }
    settings = {
        **PARSED_ONCE,
        **{f"AIRFLOW__METRICS__{name}": value for name, value in metrics.items()},
        # As a new deployment has it, unlike the demo's.
        "AIRFLOW__TENABLE__FIRST_SCHEDULED_RUN": "dry",
        # Airflow 2's task learns with its heartbeat that a person has ended it.
        "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "2",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
    }
    # A home of its own, because the tests search for the keys in all that Airflow writes.
    home = tmp_path_factory.mktemp("airflow")
    [policy] = [code for code in blocks(ROOT / "docs" / "operators.md", "python") if "def dag_policy(" in code]
    preload(home, f"{TO_SECURITY_TEAM}\n\n{policy}")
    with airflow_of_this_environment(home, sandbox, settings=settings) as process:
        process.wait_until_healthy()
        process.connect(sandbox)
        yield process
