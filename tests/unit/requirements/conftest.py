"""The simulated services of the checks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from checked_estate import ACCOUNTS, REGION, Estate  # type: ignore[import-not-found]

from sandbox.aws.app import build_aws_app
from sandbox.serve import server_of
from sandbox.tenable.app import build_tenable_app
from sandbox.tenable.server import Tenable


@pytest.fixture(scope="package")
def servers() -> Iterator[Any]:
    tenable = Tenable(
        estate={"seed": 7, "hosts": 3, "vulnerabilities": 5, "accounts": ACCOUNTS}, days_behind=0, prepare_seconds=0
    )
    aws = build_aws_app(accounts=list(ACCOUNTS), regions=[REGION])
    running = []
    for app in (build_tenable_app(tenable), aws):
        server = server_of(app, date_header=False)
        server.config.port = 0
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            thread.join(0.005)
        running.append((server, thread))
    urls = tuple(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}" for server, _ in running)
    yield tenable, aws.state.world, urls
    for server, thread in running:
        server.stop()
        thread.join(5)


@pytest.fixture
def estate(servers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Estate:
    tenable, world, urls = servers
    tenable.faults.clear()
    tenable.calls.clear()
    tenable.reset()
    tenable.scanners.boot({"name": "scanner-1"})
    world.faults.clear()
    world.reset()
    world.set_options(world.options.changed({"throttle": False}))
    return Estate(tenable, world, urls, tmp_path, monkeypatch)
