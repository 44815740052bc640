"""`make ui` leaves no process and no open port, whether its terminal is closed or it is killed by SIGKILL."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from sandbox.standalone.children import ROOT, free_port
from tests.polling import until

pytestmark = pytest.mark.system


class Demo:
    """A demo that is kept open, and the processes and ports that it has been seen with."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.home = folder / "home"
        self.output = folder / "output"
        self.command = [
            sys.executable,
            "-m",
            "sandbox.standalone.demo",
            "--keep",
            "--estate",
            "tiny",
            "--home",
            str(self.home),
            "--port",
            str(self.port),
        ]
        self.env = {
            **os.environ,
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        }
        self.processes: list[psutil.Process] = []
        self.ports: set[int] = set()

    def look(self, pid: int) -> None:
        """Record the processes that run now and their ports."""
        self.processes = psutil.Process(pid).children(recursive=True)
        for process in self.processes:
            with suppress(psutil.Error):
                self.ports |= {
                    each.laddr.port for each in process.net_connections() if each.status == psutil.CONN_LISTEN
                }

    def left(self) -> list[str]:
        """Processes that run, and ports that are open."""
        found = []
        for process in self.processes:
            # A process may end between two questions about it: psutil raises, and it is not left behind.
            with suppress(psutil.NoSuchProcess):
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(f"{process.pid}: {' '.join(process.cmdline())}")
        for port in self.ports:
            with socket.socket() as caller:
                if caller.connect_ex(("127.0.0.1", port)) == 0:
                    found.append(f"port {port}")
        return found

    def end(self) -> None:
        """What a failed test has left."""
        for process in self.processes:
            with suppress(psutil.Error):
                process.kill()


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    made = Demo(tmp_path)
    yield made
    made.end()


def test_closed_terminal_ends_everything(demo: Demo) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        # The demo respects nohup, under which the tests may run.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        os.chdir(ROOT)
        os.execve(sys.executable, demo.command, demo.env)
    said = b""
    while b"Ctrl-C" not in said:
        said += os.read(terminal, 65536)
    demo.look(pid)
    # Sandbox, watchdog, standalone, its four parts, and what those start.
    assert len(demo.processes) >= 8
    assert demo.port in demo.ports
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGHUP
    # The helper that watches the demo ends when it sees that the demo has.
    until(lambda: not demo.left(), 10, "left behind")


def test_demo_that_is_killed_while_it_starts_leaves_nothing(demo: Demo) -> None:
    with demo.output.open("wb") as output:
        process = subprocess.Popen(
            demo.command, env=demo.env, cwd=ROOT, stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )

    def enough() -> bool:
        demo.look(process.pid)
        # The sandbox, the helper that watches, standalone, and its parts.
        return len(demo.processes) >= 6

    try:
        until(enough, 180, "Airflow's parts did not start")
    finally:
        process.kill()
        process.wait()
    until(lambda: not demo.left(), 30, "left behind")
