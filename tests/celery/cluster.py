"""The services of docker-compose.yaml as processes of this machine: the same commands, environment, order and health
checks, read from that file.

What differs is only what containers would give: each service's host is 127.0.0.1 with a port of its own, each Airflow
component has an AIRFLOW_HOME of its own, and the times that make a test wait are short (``TIMES``). The S3-compatible
store is :mod:`tests.object_store`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx
import psutil

from sandbox.standalone.airflow import PARSED_ONCE
from sandbox.standalone.children import Child, free_port
from sandbox.standalone.preloading import preload
from tests.celery.servers import Postgres, Redis, listening, wait_until
from tests.compose import ROOT, SCRIPT, services, write_env
from tests.object_store import ObjectStore

DAG_ID = "tenable_to_security_hub"
IMAGE_SCRIPT = "/opt/provider/scripts/component.sh"
#: Ports of the compose file that become free ports of this machine.
PORTS = ("postgres:5432", "redis:6379", "staging:8333", "sandbox:8741", "sandbox:8742", "api-server:8080")
#: What would make a test wait for minutes: how soon a lost task is missed and tried again, how often an export is asked
#: after.
TIMES = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "25",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "3",
    "AIRFLOW__TENABLE__POLL_INTERVAL_SECONDS": "10",
    # Deferred at once: the triggerer's part is to be seen too.
    "AIRFLOW__TENABLE__FIRST_POLL_SECONDS": "10",
    **PARSED_ONCE,
    # A busy machine may take longer to parse a file than Airflow's 30 and 50 seconds, and nothing parses it again.
    "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "300",
    "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "240",
}
#: Kind of the job that a component enters into the database when it is up.
JOBS = {"dag-processor": "DagProcessorJob", "triggerer": "TriggererJob"}


class Cluster:
    """All services; a context manager that surely ends them.

    :param settings: values of the env file other than the written ones.
    """

    def __init__(self, home: Path, settings: dict[str, str]) -> None:
        self.home = home
        self.values = {**write_env(home / "env"), **settings}
        self.services = services(self.values)
        self.ports = {place: free_port() for place in PORTS}
        self.children: dict[str, Child] = {}
        self._log_began: dict[str, int] = {}
        self.runners: list[subprocess.Popen[str]] = []
        self.began = time.monotonic()
        self.http = httpx.Client(base_url=self.url("api-server:8080"), timeout=30.0, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()
        for once in self.runners:
            if once.poll() is None:
                once.kill()
                once.communicate()
        # All get their signal at once; the servers that they need go last.
        for child in self.children.values():
            if child.process.poll() is None and not isinstance(child, Postgres | Redis):
                os.killpg(child.process.pid, signal.SIGTERM)
        for name in reversed(list(self.children)):
            self.children[name].stop(5.0)

    def say(self, text: str) -> None:
        """Tell where the seconds go."""
        print(f"[{time.monotonic() - self.began:5.1f} s] {text}", flush=True)

    def url(self, place: str) -> str:
        """Where a service of the compose file is on this machine."""
        return f"http://127.0.0.1:{self.ports[place]}"

    @property
    def secrets(self) -> list[str]:
        """Everything secret that the env file holds."""
        aws = json.loads(self.values["AWS_CONNECTION"])
        named = [value for name, value in self.values.items() if re.search("PASSWORD|SECRET|ACCESS_KEY|FERNET", name)]
        return [*named, aws["password"]]

    def environment(self, name: str) -> dict[str, str]:
        """The environment of a service: the compose file's, at this machine's ports, and what its container would
        be.
        """
        stated = {variable: str(value) for variable, value in (self.services[name].get("environment") or {}).items()}
        for place, port in self.ports.items():
            stated = {
                variable: re.sub(rf"(?<![\w-]){place}\b", f"127.0.0.1:{port}", value)
                for variable, value in stated.items()
            }
        home = self.home / "homes" / name
        home.mkdir(parents=True, exist_ok=True)
        container = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "TMPDIR": str(self.home),
            "PYTHON": sys.executable,
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
            "NO_PROXY": "127.0.0.1",
            "COMPONENT_HOST": self.services[name].get("hostname", name),
            "SANDBOX_HOST": "127.0.0.1",
            "SANDBOX_TENABLE_PORT": str(self.ports["sandbox:8741"]),
            "SANDBOX_AWS_PORT": str(self.ports["sandbox:8742"]),
        }
        if "AIRFLOW__CORE__EXECUTOR" in stated:
            preload(home)
            container |= {
                "AIRFLOW_HOME": str(home),
                "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
                "AIRFLOW__CORE__HOSTNAME_CALLABLE": "tests.celery.host.name",
                "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.home / "logs"),
                "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
                "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
                "AIRFLOW__API__PORT": str(self.ports["api-server:8080"]),
                "AIRFLOW__API__HOST": "127.0.0.1",
                "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(
                    self.ports.setdefault("scheduler", free_port())
                ),
                "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
                **TIMES,
            }
        if "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE" in stated:
            stated["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"] = str(home / "passwords.json")
        return {**stated, **container}

    def start(self, name: str) -> None:
        """Start one service."""
        folder, service, log = self.home / name, self.services[name], self.home / f"{name}.log"
        self._log_began[name] = log.stat().st_size if log.exists() else 0
        if name == "postgres":
            self.children[name] = Postgres(
                log=self.home / "postgres.log", port=self.ports["postgres:5432"], environment=self.environment(name)
            )
        elif name == "redis":
            stated = {"REDISCLI_AUTH": service["environment"]["REDISCLI_AUTH"]}
            self.children[name] = Redis(
                folder, port=self.ports["redis:6379"], command=service["command"], environment=stated
            )
        elif name == "staging":
            keys = service["environment"]["AWS_ACCESS_KEY_ID"], service["environment"]["AWS_SECRET_ACCESS_KEY"]
            self.children[name] = ObjectStore(
                log=self.home / "staging.log", port=self.ports["staging:8333"], keys=keys, page=7, slow_down_every=41
            )
        else:
            command = [str(SCRIPT), *service["command"]]
            if name == "sandbox":
                command += [
                    "--tenable-port",
                    str(self.ports["sandbox:8741"]),
                    "--aws-port",
                    str(self.ports["sandbox:8742"]),
                ]
            self.children[name] = Child(command, log=log, env=self.environment(name), cwd=self.home / "homes" / name)

    def wait(self, name: str, seconds: float = 300.0) -> None:
        """Wait for a service as the compose file does: by its health check, or for its end."""
        child = self.children[name]
        if isinstance(child, Postgres | Redis | ObjectStore):
            child.wait()
        elif "healthcheck" not in self.services[name]:
            wait_until(lambda: not child.alive(), seconds, f"{name} did not end")
            assert child.process.returncode == 0, child.tail()
        else:
            interpreter, *check = self.services[name]["healthcheck"]["test"]
            assert (interpreter, check[0]) == ("CMD", IMAGE_SCRIPT)
            command, env = [str(SCRIPT), *check[1:]], self.environment(name)
            # Most checks start Airflow's command line, which takes seconds of CPU: not before they can succeed.
            wait_until(lambda: self._seems_ready(name), seconds, f"{name} does not start", child)
            wait_until(
                lambda: subprocess.run(command, env=env, capture_output=True, check=False).returncode == 0,
                seconds,
                f"{name} is not healthy",
                child,
                pause=1.0,
            )
        self.say(f"{name} is ready.")

    def _seems_ready(self, name: str) -> bool:
        """What can be seen of a component from outside, at little cost."""
        if name in JOBS:
            postgres = self.children["postgres"]
            assert isinstance(postgres, Postgres)
            return postgres.query(f"SELECT count(*) FROM job WHERE job_type = '{JOBS[name]}'").strip() != "0"
        if name.startswith("worker"):
            return b" ready." in self.children[name].log.read_bytes()[self._log_began[name] :]
        place = "scheduler" if name == "scheduler" else next(place for place in PORTS if place.startswith(f"{name}:"))
        return listening(self.ports[place])

    def start_all(self) -> None:
        """Start everything in the compose file's order: each as soon as what it depends on is healthy."""
        wanted = [name for name, service in self.services.items() if "once" not in service.get("profiles", [])]
        ready: set[str] = set()
        while len(ready) < len(wanted):
            for name in wanted:
                if name not in self.children and set(self.services[name].get("depends_on") or {}) <= ready:
                    self.start(name)
            name = next(name for name in self.children if name not in ready)
            self.wait(name)
            ready.add(name)

    def once(self, *arguments: str, **settings: str) -> subprocess.Popen[str]:
        """Start the one-shot service."""
        env = {**self.environment("once"), **settings}
        command = [str(SCRIPT), *self.services["once"]["command"], *arguments]
        runner = subprocess.Popen(
            command,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            cwd=self.home,
        )
        self.runners.append(runner)
        return runner

    def lose(self, name: str) -> None:
        """A machine is lost: the service and all it has started are killed at one moment."""
        child = self.children.pop(name)
        family = [psutil.Process(child.process.pid), *psutil.Process(child.process.pid).children(recursive=True)]
        # Stopped first, so that none sees another one's end.
        for sign in (signal.SIGSTOP, signal.SIGKILL):
            for process in family:
                try:
                    process.send_signal(sign)
                except psutil.NoSuchProcess:
                    continue
        child.stop(1.0)
        assert not [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]

    def api(self, path: str, method: str = "GET", **arguments: Any) -> Any:
        """A call of Airflow's REST API as the user admin."""
        if "Authorization" not in self.http.headers:
            login = {"username": "admin", "password": self.values["AIRFLOW_ADMIN_PASSWORD"]}
            self.http.headers["Authorization"] = (
                f"Bearer {self.http.post('/auth/token', json=login).raise_for_status().json()['access_token']}"
            )
        return self.http.request(method, f"/api/v2{path}", **arguments).raise_for_status().json()

    def runs(self) -> list[dict[str, Any]]:
        """The DAG's runs, latest first."""
        found: list[dict[str, Any]] = self.api(f"/dags/{DAG_ID}/dagRuns", params={"order_by": "-run_after"})["dag_runs"]
        return found

    def tasks(self, run_id: str, task_id: str | None = None) -> list[dict[str, Any]]:
        """The task instances of a run."""
        found = self.api(f"/dags/{DAG_ID}/dagRuns/{quote(run_id, safe='')}/taskInstances", params={"limit": 500})[
            "task_instances"
        ]
        return [each for each in found if task_id in (None, each["task_id"])]
