"""Child processes that are certain to end: each leads its own session, which is ended completely, at the latest when
the process that started it is gone.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sandbox.standalone import sessions, watchdog

ROOT = Path(__file__).resolve().parent.parent.parent


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Child:
    """A child process, its output in a file.

    :param command: program and arguments.
    :param log: where its output goes.
    :ivar patience: seconds between SIGTERM and SIGKILL at the end of a ``with``.
    """

    patience = 15.0

    def __init__(
        self, command: Sequence[str], *, log: Path, env: dict[str, str] | None = None, cwd: Path = ROOT
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=env,
                cwd=cwd,
                start_new_session=True,
            )
        watchdog.watch(self.process.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(self.patience)

    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def tail(self, lines: int = 25) -> str:
        """The end of its output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, patience: float = 15.0) -> None:
        """End it with everything that it has started: by SIGTERM, then by SIGKILL."""
        sessions.end([self.process.pid], patience, reap=self.process.poll)
        self.process.wait()
        watchdog.release(self.process.pid)


class SandboxProcess(Child):
    """``python -m sandbox`` on free ports.

    :ivar facts: its ready line: URLs, keys, accounts, regions.
    """

    def __init__(self, *arguments: str, log: Path) -> None:
        ready = log.with_suffix(".ready.json")
        ready.unlink(missing_ok=True)
        command = [
            sys.executable,
            "-m",
            "sandbox",
            "--tenable-port",
            "0",
            "--aws-port",
            "0",
            "--ready-file",
            str(ready),
            *arguments,
        ]
        super().__init__(command, log=log)
        try:
            self._wait_until_ready(ready)
        except BaseException:
            # No caller can stop it yet.
            self.stop()
            raise
        self.facts: dict[str, Any] = json.loads(ready.read_text())

    def _wait_until_ready(self, ready: Path) -> None:
        deadline = time.monotonic() + 60
        while not ready.exists():
            if not self.alive() or time.monotonic() > deadline:
                raise RuntimeError(f"The sandbox did not start:\n{self.tail()}")
            time.sleep(0.1)

    @property
    def tenable(self) -> str:
        """URL of the Tenable server."""
        return str(self.facts["tenable"])

    @property
    def aws(self) -> str:
        """URL of the AWS server."""
        return str(self.facts["aws"])
