"""`airflow standalone` in a home of its own, driven over its REST API: that of Airflow 3. `airflow_2.py` has what is
different in Airflow 2.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import psutil

from sandbox.standalone.children import ROOT, Child, SandboxProcess, free_port
from sandbox.standalone.preloading import preload

DAG_ID = "tenable_to_security_hub"

#: All accounts of the sandbox, by a role in each; findings go to the hub in their instance's own Region.
DAG_PARAMS: dict[str, Any] = {"region_routing": "resource"}


def destinations(accounts: list[str]) -> list[dict[str, Any]]:
    """Destinations that reach the sandbox's accounts."""
    return [
        {"aws_conn_id": "aws_default", "accounts": accounts, "role_name": "TenableSecurityHubImport", "region": None}
    ]


def connections(sandbox: SandboxProcess) -> dict[str, dict[str, Any]]:
    """Airflow's connections to the sandbox, in the form of its REST API.

    Made for the UI's test button: Airflow 3.3.1 and 3.3.2 refuse to test a connection without a port
    (apache/airflow#73298), and the Amazon provider's test asks the real STS unless ``service_config`` names another
    one.
    """
    extra = {
        "region_name": sandbox.facts["regions"][0],
        "endpoint_url": sandbox.aws,
        "service_config": {"sts": {"endpoint_url": sandbox.aws}},
    }
    return {
        "tenable_default": {
            "conn_type": "tenable",
            "host": sandbox.tenable,
            "port": urlsplit(sandbox.tenable).port,
            "login": sandbox.facts["access_key"],
            "password": sandbox.facts["secret_key"],
        },
        "aws_default": {
            "conn_type": "aws",
            "port": urlsplit(sandbox.aws).port,
            "login": "AKIASANDBOXHUB000001",
            "password": "sandbox-aws-secret-000000000000000000001",
            "extra": json.dumps(extra),
        },
    }


#: Settings for an Airflow whose DAG files do not change while it runs: it parses them only once.
PARSED_ONCE = {
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "36000",
    # Airflow 2's name.
    "AIRFLOW__SCHEDULER__MIN_FILE_PROCESS_INTERVAL": "36000",
}
#: The errors that end a scheduler on SQLite when an API call is rolled back while the scheduler reads the same run, or
#: writes it.
SQLITE_ERRORS = ("ObjectDeletedError", "StaleDataError: UPDATE statement on table 'dag_run'")
#: Seconds within which the last words of a scheduler that has ended reach the log.
_LAST_WORDS_SECONDS = 5.0
_LOG_END_BYTES = 100_000
_REPORTED_STATES = ("running", "deferred", "success", "failed", "up_for_retry", "upstream_failed", "skipped")


def scheduler_of(parent: int) -> psutil.Process | None:
    """The scheduler that a process has started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(parent).children():
            # Any of them may end during the inspection.
            with contextlib.suppress(psutil.Error):
                if "airflow scheduler" in " ".join(child.cmdline()):
                    return child
    return None


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Standalone(Child):
    """Airflow 3's scheduler, triggerer, DAG processor and API server, on SQLite.

    :param home: AIRFLOW_HOME.
    :param settings: further environment variables.
    """

    #: Where the REST API is, how its health is asked for, and which of its parts must be healthy.
    api_path = "/api/v2"
    health_path = "/api/v2/monitor/health"
    components: tuple[str, ...] = ("metadatabase", "scheduler", "triggerer", "dag_processor")
    #: The field by which runs are put in order.
    run_order = "run_after"
    #: Seconds to wait for the answer to a health check, so that a missing answer does not use up the whole time.
    health_seconds = 20.0

    def __init__(
        self, home: Path, sandbox: SandboxProcess, *, port: int | None = None, settings: dict[str, str] | None = None
    ) -> None:
        self.home = home.resolve()
        self.port = port or free_port()
        self._health = "none"
        self.url = f"http://127.0.0.1:{self.port}"
        # A busy machine responds late.
        self._client = httpx.Client(base_url=self.url, timeout=120.0, trust_env=False)
        self.env = {**os.environ, **self._settings(sandbox), **(settings or {})}
        self._scheduler: psutil.Process | None = None
        self._second_scheduler: Child | None = None
        self._make_database()
        preload(self.home)
        # From its own home: gunicorn leaves a socket where it is started.
        super().__init__(
            [sys.executable, "-m", "airflow", "standalone"],
            log=self.home / "standalone.log",
            env=self.env,
            cwd=self.home,
        )

    def alive(self) -> bool:
        """Whether Airflow runs, including its scheduler.

        One of :data:`SQLITE_ERRORS` may end a scheduler, and `airflow standalone` then continues without one. As a
        service manager would, this starts another one and says so, but once only, and after no other error.
        """
        if not super().alive():
            return False
        if self._second_scheduler is not None:
            return self._second_scheduler.alive()
        if self._scheduler is None:
            # It is recognised once: while it starts, Airflow 2's scheduler has an empty command line for a moment.
            self._scheduler = scheduler_of(self.process.pid)
            return True
        # Standalone may have ended, with its scheduler: the next poll sees that.
        if _runs(self._scheduler) or not super().alive():
            return True
        error = self._last_sqlite_error()
        if not error:
            return False
        print(
            f"Airflow's scheduler ended by {error}, a known error with SQLite, and is started again. Its last "
            f"words are in {self.log}.",
            file=sys.stderr,
            flush=True,
        )
        command = [sys.executable, "-m", "airflow", "scheduler"]
        self._second_scheduler = Child(command, log=self.log, env=self.env, cwd=self.home)
        return True

    def _last_sqlite_error(self) -> str:
        """The known error that the end of the log shows; `airflow standalone` writes it a moment after the end."""
        deadline = time.monotonic() + _LAST_WORDS_SECONDS
        while time.monotonic() < deadline:
            with self.log.open("rb") as log:
                log.seek(max(0, self.log.stat().st_size - _LOG_END_BYTES))
                said = log.read()
            for error in SQLITE_ERRORS:
                if error.encode() in said:
                    return error
            time.sleep(0.2)
        return ""

    def _make_database(self) -> None:
        """Use a write-ahead log: several processes read and write the file at once."""
        self.home.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(self._database)) as database:
            database.execute("PRAGMA journal_mode = WAL")

    @property
    def _database(self) -> Path:
        return self.home / "airflow.db"

    def _settings(self, sandbox: SandboxProcess) -> dict[str, str]:
        params = {**DAG_PARAMS, "destinations": destinations(sandbox.facts["accounts"])}
        return {
            # `airflow standalone` starts its parts by the command's name.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "AIRFLOW_HOME": str(self.home),
            # SQLite's own 5 seconds are too few for a busy machine: the scheduler would end.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self._database}?timeout=60",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__CORE__FERNET_KEY": "",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "5",
            # Parsing the DAG files takes seconds of CPU, every 30 of them by default. On a busy machine it may take
            # longer than Airflow's limits of 30 and 50 seconds; the next try would be too late.
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "90",
            "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "300",
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "240",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "AIRFLOW__TENABLE__STAGING_PATH": f"file://{self.home / 'staging'}",
            # Deferred at once, as large exports are in the end.
            "AIRFLOW__TENABLE__POLL_INTERVAL_SECONDS": "10",
            "AIRFLOW__TENABLE__FIRST_POLL_SECONDS": "10",
            # Two tasks, however few records there are.
            "AIRFLOW__TENABLE__TRANSFORM_SHARDS": "2",
            "AIRFLOW__TENABLE__SHARD_RECORDS": "1",
            "AIRFLOW__TENABLE__DAG_PARAMS": json.dumps(params),
            # The hubs are stand-ins that need no protection from an unreviewed first run, and the demo is there to
            # show it.
            "AIRFLOW__TENABLE__FIRST_SCHEDULED_RUN": "send",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1,localhost",
            "PYTHONWARNINGS": "ignore",
        }

    def stop(self, patience: float = 15.0) -> None:
        """End Airflow and close our own connection to it."""
        if self._second_scheduler is not None:
            self._second_scheduler.stop(patience)
        self._client.close()
        super().stop(patience)

    def wait_until_healthy(self, seconds: float = 300.0) -> None:
        """Wait for every component. :raises RuntimeError: it ended, or took too long."""
        try:
            self._wait(self._healthy, seconds, "Airflow did not become healthy")
        except RuntimeError as error:
            # The end of the log is mostly what the DAG processor says every half minute.
            said = [line for line in self.log.read_text(errors="replace").splitlines() if "rror" in line]
            errors = "\n".join(said[:20])
            raise RuntimeError(f"{error}\nIts last answer: {self._health}\nErrors in its log:\n{errors}") from None
        self._log_in()

    def _log_in(self) -> None:
        self._client.headers["Authorization"] = f"Bearer {self._client.get('/auth/token').json()['access_token']}"

    def _healthy(self) -> bool:
        try:
            health = self._client.get(self.health_path, timeout=self.health_seconds).json()
        except (httpx.HTTPError, ValueError) as error:
            self._health = repr(error)
            return False
        self._health = str(health)
        return all((health.get(part) or {}).get("status") == "healthy" for part in self.components)

    def api(self, method: str, path: str, **arguments: Any) -> Any:
        """A call of the REST API. :raises RuntimeError: with the answer's text."""
        answer = self._client.request(method, f"{self.api_path}{path}", **arguments)
        if answer.is_error:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:1000]}")
        return answer.json() if answer.content else None

    def connect(self, sandbox: SandboxProcess) -> None:
        """Enter the connections to the sandbox, as a person would in the UI."""
        known = {
            entry["connection_id"] for entry in self.api("GET", "/connections", params={"limit": 100})["connections"]
        }
        for name, fields in connections(sandbox).items():
            body = {"connection_id": name, **fields}
            if name in known:
                self.api("PATCH", f"/connections/{name}", json=body)
            else:
                self.api("POST", "/connections", json=body)

    def unpause(self, dag_id: str = DAG_ID) -> None:
        """Switch the DAG on, once the DAG processor has found it."""
        self._wait(lambda: self._dag_is_known(dag_id), 120, f"Airflow did not find the DAG {dag_id}")
        self.api("PATCH", f"/dags/{dag_id}", params={"update_mask": "is_paused"}, json={"is_paused": False})

    def _dag_is_known(self, dag_id: str) -> bool:
        return self._client.get(f"{self.api_path}/dags/{dag_id}").status_code == httpx.codes.OK

    def runs(self, dag_id: str = DAG_ID) -> list[dict[str, Any]]:
        """The DAG's runs, oldest first."""
        found = self.api("GET", f"/dags/{dag_id}/dagRuns", params={"order_by": self.run_order, "limit": 100})
        runs: list[dict[str, Any]] = found["dag_runs"]
        return runs

    def trigger(self, conf: dict[str, Any] | None = None, dag_id: str = DAG_ID) -> str:
        """Start a run by hand; its id."""
        run = self.api("POST", f"/dags/{dag_id}/dagRuns", json=self._trigger_body(conf or {}))
        return str(run["dag_run_id"])

    def _trigger_body(self, conf: dict[str, Any]) -> dict[str, Any]:
        # Airflow 3 wants the key, and takes null.
        return {"logical_date": None, "conf": conf}

    def mark_failed(self, run_id: str, dag_id: str = DAG_ID) -> None:
        """Mark a run as failed, as a person does in the UI."""
        self.api("PATCH", f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}", json={"state": "failed"})

    def backfill(self, first_day: str, last_day: str) -> list[str]:
        """Start a backfill over some days (ISO dates, both inclusive); the ids of its runs."""
        before = {run["dag_run_id"] for run in self.runs()}
        body = {
            "dag_id": DAG_ID,
            "from_date": f"{first_day}T00:00:00Z",
            "to_date": f"{last_day}T00:00:00Z",
            "max_active_runs": 2,
            "reprocess_behavior": "none",
        }
        for attempt in range(1, 11):
            try:
                self.api("POST", "/backfills", json=body)
                break
            except RuntimeError as error:
                # SQLite has one writer at a time, and the scheduler writes too: Airflow asks the user to try
                # again.
                if "Database is locked" not in str(error) or attempt == 10:
                    raise
                time.sleep(2)
        return [run["dag_run_id"] for run in self.runs() if run["dag_run_id"] not in before]

    def first_run(self) -> str:
        """The run that the scheduler starts when the DAG is switched on; its id."""
        self._wait(lambda: bool(self.runs()), 180, "The scheduler started no run")
        return str(self.runs()[0]["dag_run_id"])

    def task_instances(self, run_id: str, dag_id: str = DAG_ID) -> list[dict[str, Any]]:
        """The tasks of a run."""
        found = self.api("GET", f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances", params={"limit": 100})
        instances: list[dict[str, Any]] = found["task_instances"]
        return instances

    def wait_for(
        self,
        run_id: str,
        dag_id: str = DAG_ID,
        *,
        seconds: float = 900.0,
        progress: Callable[[str], None] | None = None,
    ) -> str:
        """Wait for the end of a run, including its teardowns, and return its state.

        :param progress: gets a line whenever the state of a task changes.
        """
        reported: dict[tuple[str, int], str] = {}
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            # The list of tasks costs Airflow much more than the state of the run.
            if progress:
                self._report_changes(run_id, dag_id, reported, progress)
            run = self.api("GET", f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}")
            if run["state"] in ("success", "failed"):
                return str(run["state"])
            if not self.alive():
                raise RuntimeError(f"Airflow ended:\n{self.tail()}")
            time.sleep(1.0 if progress else 2.0)
        states = {(each["task_id"], each["map_index"]): each["state"] for each in self.task_instances(run_id, dag_id)}
        raise RuntimeError(f"Run {run_id} did not end in {seconds:.0f} s: {sorted(states.items())}")

    def _report_changes(
        self, run_id: str, dag_id: str, reported: dict[tuple[str, int], str], progress: Callable[[str], None]
    ) -> None:
        """Report the tasks whose state has changed, and note it in ``reported``."""
        for each in self.task_instances(run_id, dag_id):
            key, state = (each["task_id"], each["map_index"]), each["state"] or ""
            if reported.get(key) != state and state in _REPORTED_STATES:
                reported[key] = state
                name = each.get("rendered_map_index") or (each["map_index"] if each["map_index"] >= 0 else "")
                progress(f"{each['task_id']}{f' [{name}]' if name != '' else ''}: {state}")

    def log_of(self, run_id: str, task_id: str, dag_id: str = DAG_ID) -> str:
        """What a task has logged, all its tries."""
        folder = self.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}"
        lines = []
        for file in sorted(folder.rglob("*.log")):
            for line in file.read_text(errors="replace").splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:
                    lines.append(line)
                else:
                    lines.append(str(entry.get("event", "")))
                    lines += [
                        f"{error.get('exc_type')}: {error.get('exc_value')}"
                        for error in entry.get("error_detail") or []
                    ]
        return "\n".join(lines)

    def report_of(self, run_id: str) -> str:
        """The table that the task ``report`` has logged."""
        log = self.log_of(run_id, "report")
        begin = log.find("Tenable to Security Hub CSPM.")
        table = [
            line for number, line in enumerate(log[begin:].splitlines()) if number == 0 or line.startswith(("|", "+"))
        ]
        return "\n".join(table) if begin >= 0 else f"The run has no report:\n{log[-2000:]}"

    def watermark(self) -> str | None:
        """The watermark's Variable."""
        answer = self._client.get(f"{self.api_path}/variables/{DAG_ID}__since")
        return None if answer.status_code == httpx.codes.NOT_FOUND else str(answer.json()["value"])

    def _wait(self, ready: Callable[[], bool], seconds: float, failure: str) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.alive():
                raise RuntimeError(f"{failure}: it ended.\n{self.tail()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{failure} in {seconds:.0f} s.\n{self.tail()}")
            time.sleep(0.5)
