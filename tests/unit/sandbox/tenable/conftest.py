"""A running Tenable of the sandbox, on a real socket in a thread, put back to its start before every test."""

import threading
import time
from collections.abc import Iterator

import pytest
from running_tenable import Running

from sandbox.serve import server_of
from sandbox.tenable.app import build_tenable_app
from sandbox.tenable.server import Tenable


@pytest.fixture(scope="session")
def _server() -> Iterator[Running]:
    tenable = Tenable(estate={"seed": 7, "hosts": 60, "vulnerabilities": 600}, prepare_seconds=0)
    server = server_of(build_tenable_app(tenable), date_header=False)
    thread = threading.Thread(target=server.run, daemon=True)
    server.config.port = 0
    thread.start()
    while not server.started:
        time.sleep(0.005)
    running = Running(tenable, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}")
    yield running
    running.http.close()
    server.stop()
    thread.join(5)


@pytest.fixture
def running(_server: Running) -> Running:
    """The server as at its start: 60 hosts, exports ready at once."""
    _server.control("reset", {})
    return _server
