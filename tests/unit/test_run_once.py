"""scripts/run_once.py and the health checks, against servers on localhost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
DAG = "/api/v2/dags/tenable_to_security_hub"


MANUAL, DUE = "manual__2026-11-23T00:00:00+00:00", "scheduled__2026-11-22T00:00:00+00:00"
REPORT = "Tenable to Security Hub CSPM. Complete.\n+--+\n| 42 |\n+--+"


class FakeRun:
    """A run of the DAG: each look at it is a moment, in which it goes on as long as it is its turn."""

    def __init__(self, run_id: str, states: list[str], conf: dict[str, Any]) -> None:
        self.run_id, self.states, self.conf = run_id, list(states), conf
        self.held_back = False

    @property
    def state(self) -> str:
        return self.states[0]

    @property
    def body(self) -> dict[str, Any]:
        return {"dag_run_id": self.run_id, "run_type": self.run_id.partition("__")[0], "state": self.state}


class FakeAirflow(ThreadingHTTPServer):
    """Airflow's REST API and its scheduler, as far as a run needs them.

    Strict where it hurts: runs stand still in a paused DAG, one goes at a time (``max_active_runs=1``), and switching
    the DAG on starts the scheduled run that is due, before any that waits.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, Any]] = []
        self.is_paused = True
        self.states = ["queued", "running", "success"]
        self.outages = 0
        #: When the next scheduled run is due; None without a schedule. The scheduler starts it once it is, in a DAG
        #: that is switched on.
        self.run_after: datetime | None = datetime.now(UTC) + timedelta(hours=5)
        #: What the scheduled run is: a dry run because nothing was imported yet?
        self.held_back = False
        self.runs = {"scheduled__old": FakeRun("scheduled__old", ["success"], {})}
        #: Called with the id of a run whenever it is polled.
        self.on_look: Callable[[str], None] = lambda run_id: None
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def active(self) -> list[FakeRun]:
        return [run for run in self.runs.values() if run.state in ("queued", "running")]

    def add(self, run_id: str, states: list[str] | None = None, conf: dict[str, Any] | None = None) -> FakeRun:
        self.runs[run_id] = FakeRun(run_id, states or self.states, conf or {})
        return self.runs[run_id]

    def _schedule(self) -> None:
        """A moment of the scheduler."""
        if self.is_paused:
            return
        if (
            self.run_after
            and self.run_after <= datetime.now(UTC)
            and not any(run.state == "running" for run in self.active)
        ):
            due = self.add(DUE)
            due.held_back = self.held_back
            self.run_after += timedelta(days=1)
            self.runs = {DUE: self.runs.pop(DUE), **self.runs}
        if self.active:
            turn = next((run for run in self.active if run.state == "running"), self.active[0])
            if len(turn.states) > 1:
                turn.states.pop(0)

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path == "/auth/token":
            good = method == "POST" and body == {"username": "admin", "password": "the-password"}
            return (201, {"access_token": "the-token"}) if good else (401, {"detail": "Invalid credentials"})
        if path == DAG:
            return 200, {
                "is_paused": self.is_paused,
                "next_dagrun_run_after": self.run_after.isoformat().replace("+00:00", "Z") if self.run_after else None,
            }
        if path.startswith(f"{DAG}?") and method == "PATCH":
            self.is_paused = body["is_paused"]
            return 200, {}
        if path.startswith(f"{DAG}/dagRuns?"):
            return 200, {"dag_runs": self._listed(parse_qs(urlsplit(path).query))}
        if path == f"{DAG}/dagRuns":
            if body["conf"].get("batch_size", 1) > 100:
                return 400, {"detail": "Invalid input for param batch_size: 101 is greater than the maximum of 100"}
            return 200, self.add(MANUAL, conf=body["conf"]).body
        run = self.runs.get(unquote(path.removeprefix(f"{DAG}/dagRuns/").partition("/")[0].partition("?")[0]))
        if run is None or not path.startswith(f"{DAG}/dagRuns/{quote(run.run_id, safe='')}"):
            return 404, {"detail": f"no {path}"}
        return self._answer_on_run(run, method, path.removeprefix(f"{DAG}/dagRuns/{quote(run.run_id, safe='')}"), body)

    def _listed(self, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        self._schedule()
        listed = [run.body for run in self.runs.values()]
        if "state" in query:
            assert query["order_by"] == ["run_after"]
            return [run for run in listed if run["state"] in query["state"]]
        assert query["run_type"] == ["scheduled"]
        return [run for run in listed if run["run_type"] == "scheduled"]

    def _answer_on_run(self, run: FakeRun, method: str, rest: str, body: Any) -> tuple[int, Any]:
        if rest == "" and method == "DELETE":
            return (
                (204, None) if self.runs.pop(run.run_id).state == "queued" else (409, {"detail": "not in that state"})
            )
        if rest == "?update_mask=state" and method == "PATCH":
            run.states = [body["state"]]
            return 200, run.body
        if rest == "":
            if self.outages:
                self.outages -= 1
                return 503, {}
            self.on_look(run.run_id)
            self._schedule()
            return 200, run.body
        if rest.startswith("/taskInstances?"):
            return 200, {
                "task_instances": [
                    {"task_id": "plan_run", "map_index": -1, "state": "success", "rendered_map_index": None}
                ]
            }
        if rest == "/taskInstances/plan_run/xcomEntries/held_back":
            return 200, {"key": "held_back", "value": run.held_back}
        if rest.startswith("/taskInstances/report/logs/1"):
            return 200, {"content": [{"event": "before"}, {"event": REPORT}, {"event": "after"}]}
        return 404, {"detail": f"no {rest}"}


class Handler(BaseHTTPRequestHandler):
    server: FakeAirflow

    def do(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.server.calls.append((self.command, self.path, body))
        allowed = self.path == "/auth/token" or self.headers.get("Authorization") == "Bearer the-token"
        status, answer = self.server.answer(self.command, self.path, body) if allowed else (401, {})
        data = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = do_DELETE = do  # noqa: N815

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def airflow() -> Iterator[FakeAirflow]:
    with FakeAirflow() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def command(airflow: FakeAirflow, *arguments: str, **env: str) -> tuple[list[str], dict[str, str]]:
    given = {
        "PATH": os.environ["PATH"],
        "AIRFLOW_URL": airflow.url,
        "AIRFLOW_USERNAME": "admin",
        "AIRFLOW_PASSWORD": "the-password",
        **env,
    }
    code = (
        "import sys, time; sleep = time.sleep; time.sleep = lambda seconds: sleep(0.01); sys.path.insert(0, "
        "'scripts'); import run_once; run_once.LONGEST_START = 2.0; raise SystemExit(run_once.main(sys.argv[1:]))"
    )
    return [sys.executable, "-c", code, *arguments], given


def once(airflow: FakeAirflow, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    words, given = command(airflow, *arguments, **env)
    return subprocess.run(words, env=given, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_success_is_status_0_and_the_report_is_shown(airflow: FakeAirflow) -> None:
    done = once(airflow)
    assert done.returncode == 0, done.stderr
    assert "plan_run: success" in done.stdout
    assert "Tenable to Security Hub CSPM. Complete.\n+--+\n| 42 |\n+--+\nRun manual__" in done.stdout
    assert "after" not in done.stdout


def test_failed_run_is_status_1(airflow: FakeAirflow) -> None:
    airflow.states = ["running", "failed"]
    assert once(airflow).returncode == 1


def changes(airflow: FakeAirflow) -> list[tuple[str, Any]]:
    return [(method, body) for method, path, body in airflow.calls if path.startswith(DAG) and method != "GET"]


def begins(conf: dict[str, Any]) -> tuple[str, Any]:
    return ("POST", {"logical_date": None, "conf": conf})


ON, OFF = ("PATCH", {"is_paused": False}), ("PATCH", {"is_paused": True})


def overdue(airflow: FakeAirflow) -> None:
    airflow.run_after = datetime.now(UTC) - timedelta(minutes=3)


def nothing_is_left(airflow: FakeAirflow) -> None:
    assert airflow.is_paused
    assert [run.run_id for run in airflow.active] == []


def test_paused_dag_is_switched_on_and_the_run_that_is_due_is_the_one(airflow: FakeAirflow) -> None:
    overdue(airflow)
    done = once(airflow)
    assert done.returncode == 0, done.stderr
    assert changes(airflow) == [ON, OFF]
    assert f"Run {DUE}: success." in done.stdout
    nothing_is_left(airflow)


def test_run_that_is_due_and_was_held_back_is_followed_by_the_one_that_was_asked_for(airflow: FakeAirflow) -> None:
    overdue(airflow)
    airflow.held_back = True
    done = once(airflow)
    assert done.returncode == 0, done.stderr
    assert changes(airflow) == [ON, begins({}), OFF]
    assert "That was a dry run" in done.stdout
    assert done.stdout.index(f"Run {DUE}: success.") < done.stdout.index(f"Run {MANUAL}: success.")
    nothing_is_left(airflow)


@pytest.mark.parametrize("run_after", [None, datetime.now(UTC) + timedelta(hours=23)])
@pytest.mark.parametrize("conf", [{}, {"dry_run": True}])
def test_paused_dag_without_a_run_that_is_due_is_triggered(
    airflow: FakeAirflow, run_after: datetime | None, conf: dict[str, Any]
) -> None:
    airflow.run_after = run_after
    assert once(airflow, "--conf", json.dumps(conf)).returncode == 0
    assert changes(airflow) == [begins(conf), ON, OFF]
    assert airflow.runs[MANUAL].conf == conf
    nothing_is_left(airflow)


@pytest.mark.parametrize("minutes", [-3, 1])
def test_params_are_refused_where_switching_on_would_start_the_scheduled_run(
    airflow: FakeAirflow, minutes: int
) -> None:
    """It would be first, it would be real, and ours would wait."""
    airflow.run_after = datetime.now(UTC) + timedelta(minutes=minutes)
    done = once(airflow, "--conf", '{"dry_run": true}')
    assert done.returncode == 2
    assert changes(airflow) == []
    assert f"scheduled run of tenable_to_security_hub is due since {airflow.run_after:%Y-%m-%dT%H:%M}" in done.stderr
    for way in ("Nothing was started", "[tenable] schedule_hours = 0", "leave the params away", "switch the DAG on"):
        assert way in done.stderr
    assert set(airflow.runs) == {"scheduled__old"}


@pytest.mark.parametrize("conf", ["{}", '{"dry_run": true}'])
@pytest.mark.parametrize("state", ["queued", "running"])
def test_run_that_waits_in_the_paused_dag_is_named_and_not_let_go(airflow: FakeAirflow, conf: str, state: str) -> None:
    """As an interrupted command leaves it, or a person: this call must not carry it on."""
    airflow.add("scheduled__half_done", [state, "success"])
    done = once(airflow, "--conf", conf)
    assert done.returncode == 2
    assert changes(airflow) == []
    assert "Run scheduled__half_done of tenable_to_security_hub waits in the paused DAG" in done.stderr
    assert "Nothing was started. Switch the DAG on and let the run end, or mark it as failed" in done.stderr
    assert airflow.runs["scheduled__half_done"].state == state


def test_active_dag_stays_active(airflow: FakeAirflow) -> None:
    airflow.is_paused = False
    assert once(airflow).returncode == 0
    assert changes(airflow) == [begins({})]


def test_run_of_an_active_dag_is_waited_for_by_name(airflow: FakeAirflow) -> None:
    airflow.is_paused = False
    airflow.add("scheduled__now", ["running"] * 6 + ["success"])
    done = once(airflow, "--conf", '{"dry_run": true}')
    assert done.returncode == 0, done.stderr
    assert done.stdout.index("Waiting for the end of run scheduled__now") < done.stdout.index(
        f"Run {MANUAL} of tenable_to_security_hub was triggered"
    )
    assert airflow.runs["scheduled__now"].state == "success"
    assert changes(airflow) == [begins({"dry_run": True})]


def test_run_of_an_active_dag_that_does_not_end_leaves_nothing_started(airflow: FakeAirflow) -> None:
    airflow.is_paused = False
    airflow.add("scheduled__now", ["running"])
    done = once(airflow, RUN_SECONDS="0.3")
    assert done.returncode == 2
    assert "Run scheduled__now of tenable_to_security_hub has not ended. Nothing was started." in done.stderr
    assert changes(airflow) == []


def test_scheduled_run_that_falls_due_meanwhile_is_not_left_behind(airflow: FakeAirflow) -> None:
    """It waits for our run's end (``max_active_runs``), and would stand still in the paused DAG until the next call
    lets it send.
    """
    airflow.on_look = lambda run_id: None if DUE in airflow.runs else airflow.add(DUE, ["queued"]) and None
    done = once(airflow, "--conf", '{"dry_run": true}')
    assert done.returncode == 0, done.stderr
    assert f"Run {DUE} had not begun and was removed" in done.stderr
    nothing_is_left(airflow)
    assert DUE not in airflow.runs


def test_run_that_somebody_triggers_meanwhile_is_let_go_on(airflow: FakeAirflow) -> None:
    airflow.on_look = lambda run_id: (
        None if "manual__theirs" in airflow.runs else airflow.add("manual__theirs", ["queued"]) and None
    )
    done = once(airflow)
    assert done.returncode == 0, done.stderr
    assert "stays switched on: run manual__theirs was started meanwhile" in done.stderr
    assert not airflow.is_paused
    assert [run.run_id for run in airflow.active] == ["manual__theirs"]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_command_that_is_stopped_ends_its_run(airflow: FakeAirflow, signum: signal.Signals) -> None:
    """As `docker compose stop`, or Ctrl-C."""
    looked = threading.Event()
    airflow.states = ["queued", "running"]
    airflow.on_look = lambda run_id: looked.set()
    words, env = command(airflow)
    process = subprocess.Popen(words, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert looked.wait(30)
    process.send_signal(signum)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 2
    assert f"stopped by {signum.name}" in stderr
    assert airflow.runs[MANUAL].state == "failed" or MANUAL not in airflow.runs
    nothing_is_left(airflow)


def test_params_are_passed_on_by_argument_and_by_environment(airflow: FakeAirflow) -> None:
    once(airflow, "--conf", '{"severities": ["critical"]}')
    once(airflow, RUN_CONF='{"dry_run": true}', RUN_SECONDS="")
    sent = [body["conf"] for method, path, body in airflow.calls if path.endswith("/dagRuns")]
    assert sent == [{"severities": ["critical"]}, {"dry_run": True}]


def test_refused_params_are_status_2_with_airflows_words(airflow: FakeAirflow) -> None:
    done = once(airflow, "--conf", '{"batch_size": 101}')
    assert done.returncode == 2
    assert "greater than the maximum of 100" in done.stderr
    assert airflow.is_paused
    assert ON not in changes(airflow)


@pytest.mark.parametrize(
    ("arguments", "env"),
    [([], {"AIRFLOW_PASSWORD": "another-password"}), (["--conf", "[1]"], {}), (["--conf", "{"], {})],
)
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
    assert f"Run {MANUAL} had not ended and was marked as failed" in done.stderr
    assert airflow.runs[MANUAL].state == "failed"
    nothing_is_left(airflow)


def test_outage_at_the_end_is_outlasted_and_the_dag_is_paused(airflow: FakeAirflow) -> None:
    answer, left = airflow.answer, [3]

    def with_outage(method: str, path: str, body: Any) -> tuple[int, Any]:
        if (
            airflow.runs.get(MANUAL)
            and airflow.runs[MANUAL].state == "success"
            and path.startswith(f"{DAG}/dagRuns?")
            and left[0]
        ):
            left[0] -= 1
            return 503, {}
        return answer(method, path, body)

    airflow.answer = with_outage  # type: ignore[method-assign]
    assert once(airflow).returncode == 0
    assert left == [0]
    nothing_is_left(airflow)


def test_sandbox_component_starts_answers_its_check_and_stops(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "component.sh"
    env = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "SANDBOX_HOST": "127.0.0.1"}
    command = [script, "sandbox", "--tenable-port", "0", "--aws-port", "0", "--estate", "tiny"]
    process = subprocess.Popen(
        command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        ports = {
            "SANDBOX_TENABLE_PORT": facts["tenable"].rsplit(":", 1)[1],
            "SANDBOX_AWS_PORT": facts["aws"].rsplit(":", 1)[1],
        }
        assert subprocess.run([script, "check", "sandbox"], env={**env, **ports}, check=False).returncode == 0
    finally:
        process.terminate()
        process.communicate(timeout=20)
    gone = subprocess.run([script, "check", "sandbox"], env={**env, **ports}, capture_output=True, check=False)
    assert gone.returncode == 1


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("", "no bucket"),
        ("file:///tmp/x", "no bucket"),
        ("s3://aws_staging@here/runs", "is there"),
        ("s3://aws_staging@new/runs", "Made"),
    ],
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
