"""`airflow standalone` as the demo and the tests run it, with stubs in place of Airflow."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from sandbox.standalone.airflow import Standalone
from sandbox.standalone.children import Child
from tests.polling import until

#: Starts a scheduler and stays when that ends, as `airflow standalone` does.
STANDALONE = """
import subprocess, sys
scheduler = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)", "airflow scheduler"])
scheduler.wait()
import time
time.sleep(120)
"""


class Stub(Standalone):
    """What `airflow standalone` starts, without Airflow."""

    def __init__(self, home: Path) -> None:
        self.home, self.env = home, {**os.environ}
        self._client = httpx.Client()
        self._had_scheduler, self._second_scheduler = False, None
        Child.__init__(self, [sys.executable, "-c", STANDALONE], log=home / "standalone.log", cwd=home)

    def schedulers(self) -> list[psutil.Process]:
        return [
            child for child in psutil.Process(self.process.pid).children() if child.status() != psutil.STATUS_ZOMBIE
        ]


@pytest.fixture
def airflow(tmp_path: Path) -> Iterator[Stub]:
    # What `python -m airflow scheduler` starts from this folder.
    (tmp_path / "airflow").mkdir()
    (tmp_path / "airflow" / "__main__.py").write_text("import sys, time; print(sys.argv[1:]); time.sleep(120)")
    with Stub(tmp_path) as stub:
        until(stub.schedulers, 30)
        yield stub


def kill(process: psutil.Process) -> None:
    process.kill()
    until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, 30)


def test_a_scheduler_that_dies_is_started_again_once(airflow: Stub) -> None:
    assert airflow.alive()
    assert airflow._second_scheduler is None
    kill(airflow.schedulers()[0])
    assert airflow.alive()
    second = airflow._second_scheduler
    assert second is not None
    assert airflow.alive()
    assert airflow._second_scheduler is second
    assert second.process.args == [sys.executable, "-m", "airflow", "scheduler"]
    kill(psutil.Process(second.process.pid))
    assert not airflow.alive()


def test_both_schedulers_end_with_it(airflow: Stub) -> None:
    assert airflow.alive()
    kill(airflow.schedulers()[0])
    assert airflow.alive()
    second = airflow._second_scheduler
    assert second is not None
    airflow.stop()
    assert not second.alive()
    assert not airflow.alive()
