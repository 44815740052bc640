"""The sandbox's Tenable in a thread of the test's own process, with Airflow's connection to it, for tests of single
calls, triggers and operators.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from airflow_provider_tenable.hooks.tenable import TenableHook
from sandbox.serve import server_of
from sandbox.tenable.access import ACCESS_KEY, SECRET_KEY
from sandbox.tenable.app import build_tenable_app
from sandbox.tenable.server import Tenable


class TenableThread:
    """A running Tenable: its clock, its orders, and what it holds."""

    def __init__(self, tenable: Tenable, url: str) -> None:
        self.tenable, self.url = tenable, url

    def order(self, on: str, do: str, **arguments: Any) -> None:
        """Order a fault, or an end of the next run or export."""
        self.tenable.faults.order({"on": on, "do": do, **arguments})

    def switch(self, **options: Any) -> None:
        """Change options."""
        self.tenable.options = self.tenable.options.changed(options)

    def now(self) -> float:
        return self.tenable.clock.now()

    def advance(self, seconds: float) -> float:
        return self.tenable.clock.advance(seconds)

    def calls(self, operation: str) -> int:
        return self.tenable.calls[operation]

    def add_scan(self, name: str = "Weekly", targets: str = "192.0.2.1", **settings: Any) -> Any:
        """A scan that a person has made."""
        body = {
            "uuid": "731a8e52-3ea6-a291-ec0a-d2ff0619c19d7bd788d6be818b65",
            "settings": {"name": name, "text_targets": targets, **settings},
        }
        return self.tenable.scans.add(body, f"{ACCESS_KEY[:8]}@example.com")

    def launch(self, config: Any, seconds: float = 2.0) -> Any:
        """A run that a person has launched."""
        fault = self.tenable.faults.take("scan_run", {"scan": config.name})
        return self.tenable.scans.launch(config, seconds, None, fault)


@contextmanager
def tenable_thread() -> Iterator[TenableThread]:
    tenable = Tenable(estate={"seed": 7, "hosts": 5, "vulnerabilities": 10}, days_behind=400, prepare_seconds=0)
    server = server_of(build_tenable_app(tenable), date_header=False)
    thread = threading.Thread(target=server.run, daemon=True)
    server.config.port = 0
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield TenableThread(tenable, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}")
    finally:
        server.stop()
        thread.join(5)


@pytest.fixture(scope="session")
def _tenable_thread() -> Iterator[TenableThread]:
    with tenable_thread() as running:
        yield running


@pytest.fixture
def tenable(_tenable_thread: TenableThread, monkeypatch: pytest.MonkeyPatch) -> TenableThread:
    """A Tenable as at its start, and the connection ``tenable_default`` to it."""
    running = _tenable_thread
    running.tenable.faults.clear()
    running.tenable.calls.clear()
    running.tenable.reset()
    fields = {"conn_type": "tenable", "host": running.url, "login": ACCESS_KEY, "password": SECRET_KEY}
    monkeypatch.setenv("AIRFLOW_CONN_TENABLE_DEFAULT", json.dumps(fields))
    return running


@pytest.fixture
def hook(tenable: TenableThread) -> Iterator[TenableHook]:
    made = TenableHook(retries=0)
    yield made
    made.close()
