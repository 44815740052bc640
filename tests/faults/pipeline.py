"""Drives runs of the DAG from a test, in child processes that may be killed, and says what became of them."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.standalone.airflow import connections, destinations
from sandbox.standalone.children import ROOT, SandboxProcess
from tests.faults.canary import ACCESS_KEY, SECRET_KEY
from tests.faults.universe import Sandbox


def start_sandbox(estate: str, log: Path, *arguments: str) -> SandboxProcess:
    """A sandbox whose jobs are ready at once, with the canary's keys.

    :param arguments: more of its command line; it overrides what is set here.
    """
    keys = ("--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY)
    return SandboxProcess(
        "--estate", estate, "--prepare-seconds", "0.05", "--days-behind", "60", *keys, *arguments, log=log
    )


class Zygote:
    """The process that forks a child per run (see ``tests/faults/zygote.py``)."""

    def __init__(self, log: Path) -> None:
        self._log = log.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.faults.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=ROOT,
            text=True,
        )
        if not self._answer().get("ready"):
            raise RuntimeError(f"The zygote did not start: {log.read_text()[-3000:]}")

    @property
    def resident(self) -> int:
        """Bytes that it holds in memory: Airflow and all libraries imported, and nothing done."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        answer: dict[str, Any] = json.loads(self._process.stdout.readline() or "{}")
        return answer

    def stop(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()
        self._log.close()


@dataclass(frozen=True)
class Result:
    """How an attempt at a run ended.

    :ivar killed: by SIGKILL.
    :ivar error: class of the error that failed a task, None after a success; ``message`` and ``task`` belong to it.
    :ivar peak: largest resident size in bytes.
    """

    killed: bool
    error: str | None
    message: str
    task: str | None
    peak: int
    cpu: float

    @property
    def succeeded(self) -> bool:
        return not self.killed and self.error is None


class Pipeline:
    """A DAG and its staging area in a folder of its own.

    :param folder: where staging, XComs, the watermark and the workers' log are.
    """

    def __init__(
        self,
        zygote: Zygote,
        sandbox: Sandbox,
        folder: Path,
        *,
        tenable: str | None = None,
        aws: str | None = None,
        env: dict[str, str] | None = None,
    ) -> None:
        self.zygote = zygote
        self.sandbox = sandbox
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.staging = folder / "staging"
        self.defaults: dict[str, Any] = {"destinations": destinations(sandbox.accounts), "region_routing": "resource"}
        self.env = {
            "AIRFLOW__TENABLE__STAGING_PATH": f"file://{self.staging}",
            # Two tasks, however few records there are.
            "AIRFLOW__TENABLE__TRANSFORM_SHARDS": "2",
            "AIRFLOW__TENABLE__SHARD_RECORDS": "1",
            # Faults strike a DAG that sends, from its first run on. What is held back before, test_first_steps.py has.
            "AIRFLOW__TENABLE__FIRST_SCHEDULED_RUN": "send",
            "AIRFLOW_HOME": os.environ["AIRFLOW_HOME"],
            **_connections(sandbox, tenable, aws),
            **(env or {}),
        }

    def start(
        self, run_id: str = "run-1", *, crash_at: str | None = None, env: dict[str, str] | None = None, **order: Any
    ) -> int:
        """Begin an attempt, or carry on with a run; the process's id."""
        crash = {"TENABLE_CRASH_AT": crash_at} if crash_at else {}
        settings = {**self.env, **(env or {}), **crash}
        defaults = {**self.defaults, **order.pop("defaults", {})}
        answer = self.zygote.ask(
            {
                "do": "start",
                "folder": str(self.folder),
                "run_id": run_id,
                "env": settings,
                "defaults": defaults,
                **order,
            }
        )
        return int(answer["pid"])

    def wait(self, pid: int, seconds: float = 120.0) -> Result:
        """Wait for an attempt's end."""
        ended = self.zygote.ask({"do": "wait", "pid": pid, "seconds": seconds})
        if ended["code"] is None:
            raise AssertionError(f"The run did not end in {seconds} s:\n{self.log[-3000:]}")
        file = self.folder / f"outcome.{pid}.json"
        outcome = (
            json.loads(file.read_text())
            if file.exists()
            else {"error": "NoOutcome", "message": f"exit {ended['code']}", "task": None}
        )
        killed = ended["code"] == -signal.SIGKILL
        return Result(
            killed,
            None if killed else outcome["error"],
            outcome["message"] or "",
            outcome["task"],
            ended["peak"],
            ended["cpu"],
        )

    def kill(self, pid: int) -> None:
        """End an attempt from outside."""
        self.zygote.ask({"do": "kill", "pid": pid})

    def run(self, run_id: str = "run-1", *, seconds: float = 120.0, **order: Any) -> Result:
        """An attempt from its beginning to its end."""
        return self.wait(self.start(run_id, **order), seconds)

    def succeed(self, run_id: str = "run-1", **order: Any) -> Result:
        """An attempt that must succeed."""
        result = self.run(run_id, **order)
        assert result.succeeded, f"{result}\n{self.log[-4000:]}"
        return result

    @property
    def log(self) -> str:
        file = self.folder / "worker.log"
        return file.read_text(errors="replace") if file.exists() else ""

    @property
    def watermark(self) -> int | None:
        file = self.folder / "watermark"
        return int(file.read_text()) if file.exists() else None

    @watermark.setter
    def watermark(self, value: int) -> None:
        (self.folder / "watermark").write_text(str(value))

    @property
    def watermarks(self) -> list[int]:
        """Every watermark that was ever written, in order."""
        file = self.folder / "watermarks"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def run_folder(self, run_id: str = "run-1") -> Path:
        return self.staging / "tenable_to_security_hub" / run_id

    def ledger(self, run_id: str = "run-1") -> dict[str, Any]:
        ledger: dict[str, Any] = json.loads((self.run_folder(run_id) / "ledger.json").read_text())
        return ledger


def _connections(sandbox: Sandbox, tenable: str | None, aws: str | None) -> dict[str, str]:
    found = connections(sandbox.process)
    extra = json.loads(found["aws_default"]["extra"])
    if aws:
        extra["endpoint_url"] = aws
    found["aws_default"]["extra"] = extra
    if tenable:
        found["tenable_default"]["host"] = tenable
    return {f"AIRFLOW_CONN_{name.upper()}": json.dumps(fields) for name, fields in found.items()}
