"""scripts/run_once.py and the health checks, against servers on localhost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
DAG = "/api/v2/dags/tenable_to_security_hub"


class FakeAirflow(ThreadingHTTPServer):
    """Airflow's REST API, as far as a run needs it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, Any]] = []
        self.is_paused = True
        self.states = ["queued", "running", "success"]
        self.outages = 0
        #: The id of the scheduled run that begins when the DAG is switched on.
        self.due = ""
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path == "/auth/token":
            good = method == "POST" and body == {"username": "admin", "password": "the-password"}
            return (201, {"access_token": "the-token"}) if good else (401, {"detail": "Invalid credentials"})
        if path == DAG:
            return 200, {"is_paused": self.is_paused}
        if path.startswith(f"{DAG}?") and method == "PATCH":
            self.is_paused = body["is_paused"]
            return 200, {}
        if path.startswith(f"{DAG}/dagRuns?"):
            assert "run_type=scheduled" in path
            runs = ["scheduled__old", *([self.due] if self.due and not self.is_paused else [])]
            return 200, {"dag_runs": [{"dag_run_id": name} for name in runs]}
        if path == f"{DAG}/dagRuns":
            if body["conf"].get("batch_size", 1) > 100:
                return 400, {"detail": "Invalid input for param batch_size: 101 is greater than the maximum of 100"}
            return 200, {"dag_run_id": "manual__2026-11-23T00:00:00+00:00"}
        run = f"{DAG}/dagRuns/manual__2026-11-23T00%3A00%3A00%2B00%3A00"
        if path == run:
            if self.outages:
                self.outages -= 1
                return 503, {}
            return 200, {"state": self.states.pop(0) if len(self.states) > 1 else self.states[0]}
        if path.startswith(f"{run}/taskInstances?"):
            return 200, {"task_instances": [{"task_id": "plan_run", "map_index": -1, "state": "success", "rendered_map_index": None}]}
        if path.startswith(f"{run}/taskInstances/report/logs/1"):
            return 200, {"content": [{"event": "before"}, {"event": "Tenable to Security Hub. Complete.\n+--+\n| 42 |\n+--+"}, {"event": "after"}]}
        return 404, {"detail": f"no {path}"}


class Handler(BaseHTTPRequestHandler):
    server: FakeAirflow

    def do(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.server.calls.append((self.command, self.path, body))
        allowed = self.path == "/auth/token" or self.headers.get("Authorization") == "Bearer the-token"
        status, answer = self.server.answer(self.command, self.path, body) if allowed else (401, {})
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = do  # noqa: N815

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def airflow() -> Iterator[FakeAirflow]:
    with FakeAirflow() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def once(airflow: FakeAirflow, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    given = {"PATH": os.environ["PATH"], "AIRFLOW_URL": airflow.url, "AIRFLOW_USERNAME": "admin", "AIRFLOW_PASSWORD": "the-password", **env}
    code = "import sys, time; time.sleep = lambda seconds: None; sys.path.insert(0, 'scripts'); import run_once; run_once.LONGEST_START = 0.5; raise SystemExit(run_once.main(sys.argv[1:]))"
    return subprocess.run([sys.executable, "-c", code, *arguments], env=given, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_success_is_status_0_and_the_report_is_shown(airflow: FakeAirflow) -> None:
    done = once(airflow)
    assert done.returncode == 0, done.stderr
    assert "plan_run: success" in done.stdout
    assert "Tenable to Security Hub. Complete.\n+--+\n| 42 |\n+--+\nRun manual__" in done.stdout
    assert "after" not in done.stdout


def test_failed_run_is_status_1(airflow: FakeAirflow) -> None:
    airflow.states = ["running", "failed"]
    assert once(airflow).returncode == 1


def changes(airflow: FakeAirflow) -> list[tuple[str, Any]]:
    return [(method, body) for method, path, body in airflow.calls if path.startswith(DAG) and method != "GET"]


def test_paused_dag_is_switched_on_and_the_run_that_is_due_is_the_one(airflow: FakeAirflow) -> None:
    airflow.due = "manual__2026-11-23T00:00:00+00:00"
    done = once(airflow)
    assert done.returncode == 0, done.stderr
    assert changes(airflow) == [("PATCH", {"is_paused": False}), ("PATCH", {"is_paused": True})]


def test_paused_dag_without_a_run_that_is_due_is_triggered(airflow: FakeAirflow) -> None:
    assert once(airflow).returncode == 0
    trigger = ("POST", {"logical_date": None, "conf": {}})
    assert changes(airflow) == [("PATCH", {"is_paused": False}), trigger, ("PATCH", {"is_paused": True})]


def test_params_make_it_a_run_of_its_own(airflow: FakeAirflow) -> None:
    airflow.due = "scheduled__new"
    once(airflow, "--conf", '{"dry_run": true}')
    trigger = ("POST", {"logical_date": None, "conf": {"dry_run": True}})
    assert changes(airflow) == [trigger, ("PATCH", {"is_paused": False}), ("PATCH", {"is_paused": True})]


def test_active_dag_stays_active(airflow: FakeAirflow) -> None:
    airflow.is_paused = False
    assert once(airflow).returncode == 0
    assert not [method for method, _, _ in airflow.calls if method == "PATCH"]


def test_params_are_passed_on_by_argument_and_by_environment(airflow: FakeAirflow) -> None:
    once(airflow, "--conf", '{"severities": ["critical"]}')
    once(airflow, RUN_CONF='{"dry_run": true}', RUN_SECONDS="")
    sent = [body["conf"] for method, path, body in airflow.calls if path.endswith("/dagRuns")]
    assert sent == [{"severities": ["critical"]}, {"dry_run": True}]


def test_refused_params_are_status_2_with_airflows_words(airflow: FakeAirflow) -> None:
    done = once(airflow, "--conf", '{"batch_size": 101}')
    assert done.returncode == 2
    assert "greater than the maximum of 100" in done.stderr


@pytest.mark.parametrize(("arguments", "env"), [([], {"AIRFLOW_PASSWORD": "another-password"}), (["--conf", "[1]"], {}), (["--conf", "{"], {})])
def test_what_cannot_be_run_is_status_2(airflow: FakeAirflow, arguments: list[str], env: dict[str, str]) -> None:
    done = once(airflow, *arguments, **env)
    assert done.returncode == 2
    assert "another-password" not in done.stderr + done.stdout


def test_outage_of_the_api_server_does_not_give_the_run_up(airflow: FakeAirflow) -> None:
    airflow.outages = 3
    assert once(airflow).returncode == 0


def test_run_that_does_not_end_is_status_2_and_the_dag_is_paused_again(airflow: FakeAirflow) -> None:
    airflow.states = ["running"]
    done = once(airflow, RUN_SECONDS="0.2")
    assert done.returncode == 2
    assert airflow.is_paused


def test_sandbox_component_starts_answers_its_check_and_stops(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "component.sh"
    env = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "SANDBOX_HOST": "127.0.0.1"}
    command = [script, "sandbox", "--tenable-port", "0", "--aws-port", "0", "--estate", "tiny"]
    process = subprocess.Popen(command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        ports = {"SANDBOX_TENABLE_PORT": facts["tenable"].rsplit(":", 1)[1], "SANDBOX_AWS_PORT": facts["aws"].rsplit(":", 1)[1]}
        assert subprocess.run([script, "check", "sandbox"], env={**env, **ports}, check=False).returncode == 0
    finally:
        process.terminate()
        process.communicate(timeout=20)
    gone = subprocess.run([script, "check", "sandbox"], env={**env, **ports}, capture_output=True, check=False)
    assert gone.returncode == 1


@pytest.mark.parametrize(
    ("path", "told"), [("", "no bucket"), ("file:///tmp/x", "no bucket"), ("s3://aws_staging@here/runs", "is there"), ("s3://aws_staging@new/runs", "Made")]
)
def test_staging_bucket_is_made_where_it_is_missing(path: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = pytest.importorskip("airflow.providers.amazon.aws.hooks.s3")
    made = []

    class Hook:
        def __init__(self, aws_conn_id: str) -> None:
            assert aws_conn_id == "aws_staging"

        def check_for_bucket(self, name: str) -> bool:
            return name == "here"

        def create_bucket(self, bucket_name: str) -> None:
            made.append(bucket_name)

    monkeypatch.setattr(s3, "S3Hook", Hook)
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import staging_bucket

    assert told in staging_bucket.ensure_bucket(path)
    assert made == (["new"] if told == "Made" else [])
