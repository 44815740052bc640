"""`airflow standalone` as the demo and the tests run it, with stubs in place of Airflow."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from sandbox.standalone.airflow import Standalone
from sandbox.standalone.children import Child
from tests.polling import until

#: Starts a scheduler and stays when that ends, as `airflow standalone` does. It writes the scheduler's last words.
STANDALONE = """
import os, subprocess, sys, time
scheduler = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)", "airflow scheduler"])
scheduler.wait()
time.sleep(0.3)
print(os.environ["LAST_WORDS"], flush=True)
time.sleep(120)
"""
SQLITE_ERROR = "sqlalchemy.orm.exc.ObjectDeletedError: Instance '<DagRun>' has been deleted"


class Stub(Standalone):
    """What `airflow standalone` starts, without Airflow."""

    def __init__(self, home: Path, last_words: str) -> None:
        self.home, self.env = home, {**os.environ, "LAST_WORDS": last_words}
        self._client = httpx.Client()
        self._scheduler, self._second_scheduler = None, None
        Child.__init__(self, [sys.executable, "-c", STANDALONE], log=home / "standalone.log", env=self.env, cwd=home)

    def schedulers(self) -> list[psutil.Process]:
        return [
            child for child in psutil.Process(self.process.pid).children() if child.status() != psutil.STATUS_ZOMBIE
        ]


@contextmanager
def standalone(home: Path, last_words: str) -> Iterator[Stub]:
    # What `python -m airflow scheduler` starts from this folder.
    (home / "airflow").mkdir()
    (home / "airflow" / "__main__.py").write_text("import sys, time; print(sys.argv[1:]); time.sleep(120)")
    with Stub(home, last_words) as stub:
        until(stub.schedulers, 30)
        yield stub


@pytest.fixture
def airflow(tmp_path: Path) -> Iterator[Stub]:
    with standalone(tmp_path, SQLITE_ERROR) as stub:
        yield stub


def kill(process: psutil.Process) -> None:
    process.kill()
    until(lambda: has_ended(process), 30)


def has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_scheduler_that_the_sqlite_error_ends_is_started_again_once(
    airflow: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert airflow.alive()
    assert airflow._second_scheduler is None
    kill(airflow.schedulers()[0])
    assert capsys.readouterr().err == ""
    assert airflow.alive()
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith("Airflow's scheduler ended by ObjectDeletedError")
    assert said.endswith(f"{airflow.log}.")
    second = airflow._second_scheduler
    assert second is not None
    assert airflow.alive()
    assert airflow._second_scheduler is second
    assert second.process.args == [sys.executable, "-m", "airflow", "scheduler"]
    kill(psutil.Process(second.process.pid))
    assert not airflow.alive()
    assert capsys.readouterr().err == ""


def test_a_scheduler_without_a_command_line_is_still_the_scheduler(
    airflow: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert airflow.alive()
    with monkeypatch.context() as patched:
        patched.setattr("psutil.Process.cmdline", lambda process: [""])
        assert airflow.alive()
    assert airflow._second_scheduler is None


@pytest.mark.parametrize("last_words", ["", "sqlite3.OperationalError: database is locked"])
def test_after_another_error_no_scheduler_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last_words: str
) -> None:
    monkeypatch.setattr("sandbox.standalone.airflow._LAST_WORDS_SECONDS", 1.0)
    with standalone(tmp_path, last_words) as airflow:
        assert airflow.alive()
        kill(airflow.schedulers()[0])
        assert not airflow.alive()
        assert airflow._second_scheduler is None


def test_both_schedulers_end_with_it(airflow: Stub) -> None:
    assert airflow.alive()
    kill(airflow.schedulers()[0])
    assert airflow.alive()
    second = airflow._second_scheduler
    assert second is not None
    airflow.stop()
    assert not second.alive()
    assert not airflow.alive()
