"""Crashes under a real scheduler: the triggerer is killed and restarted during a poll, a task is killed during its
import. The run succeeds nevertheless.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from tests.polling import until

pytest.importorskip("airflow.sdk", reason="airflow standalone of Airflow 2 has another REST API")

from sandbox.standalone.airflow import PARSED_ONCE, Standalone
from sandbox.standalone.children import Child, SandboxProcess
from tests.faults.canary import ACCESS_KEY, SECRET_KEY, leaks
from tests.faults.universe import Sandbox, differences, expected

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    arguments = ["--estate", "small", "--prepare-seconds", "30", "--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]
    with SandboxProcess(*arguments, log=tmp_path_factory.mktemp("system") / "sandbox.log") as process:
        sandbox = Sandbox(process)
        yield sandbox
        sandbox.client.close()


@pytest.fixture(scope="module")
def airflow(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    settings = {
        **PARSED_ONCE,
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    }
    with Standalone(tmp_path_factory.mktemp("airflow"), sandbox.process, settings=settings) as process:
        process.wait_until_healthy()
        process.connect(sandbox.process)
        yield process


def family(airflow: Standalone) -> list[psutil.Process]:
    """Airflow's processes: only those that this test has started."""
    return psutil.Process(airflow.process.pid).children(recursive=True)


def triggerers(airflow: Standalone) -> list[psutil.Process]:
    return [each for each in family(airflow) if "triggerer" in " ".join(_quietly(each.cmdline) or [])]


def speakers(airflow: Standalone, url: str) -> list[psutil.Process]:
    """Processes that hold a connection to a server."""
    port = urlsplit(url).port
    return [
        each
        for each in family(airflow)
        if any(found.raddr and found.raddr.port == port for found in _quietly(each.net_connections) or [])
    ]


def _quietly(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except psutil.Error:
        return None


def test_run_survives_the_loss_of_its_triggerer_and_of_its_import(
    airflow: Standalone, sandbox: Sandbox, tmp_path: Path
) -> None:
    airflow.unpause()
    run = airflow.first_run()

    def state_of(task: str) -> set[str]:
        return {each["state"] or "" for each in airflow.task_instances(run) if each["task_id"] == task}

    until(lambda: state_of("export_vulnerabilities") == {"deferred"}, 180, "the export was not deferred", 0.5)
    killed = until(lambda: triggerers(airflow), 10, "there is no triggerer")
    for each in killed:
        os.kill(each.pid, signal.SIGKILL)
    # The first batch is slow, so that there is a process to kill.
    sandbox.hub_fault({"on": "BatchImportFindings", "do": "slow", "seconds": 8})
    with Child([sys.executable, "-m", "airflow", "triggerer"], log=tmp_path / "triggerer.log", env=airflow.env):
        until(lambda: sandbox.aws("stats")["calls"].get("BatchImportFindings", 0), 300, "the import did not begin")
        victims = until(lambda: speakers(airflow, sandbox.process.aws), 10, "nobody speaks to Security Hub")
        for each in victims:
            os.kill(each.pid, signal.SIGKILL)
        assert airflow.wait_for(run) == "success", airflow.tail()
    tries = [each["try_number"] for each in airflow.task_instances(run) if each["task_id"] == "import_findings"]
    assert max(tries) > 1, "no import was killed"
    assert differences(sandbox.held(), expected(sandbox.truth(), sandbox.accounts)) == {}
    assert sandbox.jobs() == {"created": 1, "running": 0, "cancelled": 0}
    assert airflow.watermark()
    assert_no_key_in_what_airflow_has_written(airflow)


def assert_no_key_in_what_airflow_has_written(airflow: Standalone) -> None:
    """Logs, staged files, rendered templates, XComs and serialised triggers.

    The connection itself stands in the database, as Airflow keeps it; and Airflow's audit log has who entered which
    connection, its login among it.
    """
    assert [each for each in leaks(airflow.home) if not Path(each).name.startswith("airflow.db")] == []
    (database,) = airflow.home.glob("*.db")
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        tables = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if name != "connection"
        ]
        assert {"xcom", "rendered_task_instance_fields", "trigger", "log"} <= set(tables)
        for table in tables:
            where = "WHERE event NOT LIKE '%connection%'" if table == "log" else ""
            text = repr(connection.execute(f'SELECT * FROM "{table}" {where}').fetchall())
            assert ACCESS_KEY not in text, table
            assert SECRET_KEY not in text, table
