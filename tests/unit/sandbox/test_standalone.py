"""`airflow standalone` as the demo and the tests run it, with stubs in place of Airflow."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

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
        self._client = httpx.Client(timeout=120)
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


@contextmanager
def answering(stub: Stub, answers: list[dict[str, Any] | None]) -> Iterator[None]:
    """What the stub's API answers, one answer after the other and the last one from then on; None: nothing at all."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if answer is None:
                over.wait(60)
                return
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        stub._client.base_url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield
        finally:
            over.set()
            server.shutdown()
            thread.join()


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


def test_a_scheduler_that_wrote_a_run_that_was_rolled_back_is_started_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last_words = (
        "sqlalchemy.orm.exc.StaleDataError: UPDATE statement on table 'dag_run' expected to update 1 row(s); 0 were "
        "matched."
    )
    with standalone(tmp_path, last_words) as airflow:
        assert airflow.alive()
        kill(airflow.schedulers()[0])
        assert airflow.alive()
        assert "ended by StaleDataError: UPDATE statement on table 'dag_run'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "last_words",
    [
        "",
        "sqlite3.OperationalError: database is locked",
        "sqlalchemy.orm.exc.StaleDataError: UPDATE statement on table 'task_instance' expected to update 1 row(s)",
    ],
)
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


HEALTHY = {part: {"status": "healthy"} for part in Standalone.components}


def test_airflow_that_does_not_become_healthy_is_reported_with_its_last_answer_and_its_errors(airflow: Stub) -> None:
    with airflow.log.open("a") as log:
        log.write("Statistics of the DAG processor\nOperationalError: database is locked\n")
    with (
        answering(airflow, [{**HEALTHY, "triggerer": {"status": None}}]),
        pytest.raises(RuntimeError, match="did not become healthy in 1 s") as caught,
    ):
        airflow.wait_until_healthy(1)
    _, said = str(caught.value).split("Its last answer: ")
    answer, errors = said.split("Errors in its log:")
    assert "'triggerer': {'status': None}" in answer
    assert errors.strip() == "OperationalError: database is locked"


def test_question_about_its_health_that_is_not_answered_is_asked_again(
    airflow: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stub, "health_seconds", 0.2)
    with answering(airflow, [None, {}, {**HEALTHY, "access_token": "token"}]):
        airflow.wait_until_healthy(30)
    assert airflow._client.headers["Authorization"] == "Bearer token"
