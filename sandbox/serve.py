"""Runs both servers in one process and one event loop, until a signal arrives."""

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette

from sandbox.garbage import collect_rarely
from sandbox.tenable.access import ACCESS_KEY, SECRET_KEY
from sandbox.tenable.app import build_tenable_app
from sandbox.tenable.estate import ACCOUNTS, REGIONS, SIZES
from sandbox.tenable.server import Tenable

HOST = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of `python -m sandbox serve`. Port 0 stands for a free one."""

    tenable_port: int = 8741
    aws_port: int = 8742
    seed: int = 7
    estate: str = "demo"
    hosts: int | None = None
    vulnerabilities: int | None = None
    days_behind: float = 3.0
    hub_days_behind: float = 0.0
    prepare_seconds: float = 2.0
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    hub_state: str = "subscribed"
    ready_file: Path | None = None
    verbose: bool = False

    def tenable(self) -> Tenable:
        """The simulated Tenable of these settings."""
        size = SIZES[self.estate]
        hosts = self.hosts or size.hosts
        vulnerabilities = self.vulnerabilities or size.vulnerabilities * hosts // size.hosts
        return Tenable(
            estate={"seed": self.seed, "hosts": hosts, "vulnerabilities": vulnerabilities},
            days_behind=self.days_behind,
            prepare_seconds=self.prepare_seconds,
            access_key=self.access_key,
            secret_key=self.secret_key,
        )


class SandboxServer(uvicorn.Server):
    """A uvicorn server that leaves signals to whoever runs several of them."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        """Stop immediately, without waiting for calls in progress."""
        self.should_exit = self.force_exit = True


def server_of(app: Starlette, *, date_header: bool = True, verbose: bool = False) -> SandboxServer:
    """A server for an application, silent but for warnings."""
    level = "info" if verbose else "warning"
    # Idle connections live as long as with the real services; uvicorn's own 5 s would close them between two polls.
    return SandboxServer(
        uvicorn.Config(
            app,
            log_level=level,
            access_log=verbose,
            date_header=date_header,
            loop="asyncio",
            lifespan="off",
            timeout_keep_alive=75,
        )
    )


def serve(settings: Settings) -> None:
    """Run both servers until SIGINT or SIGTERM. One line of JSON on stdout says that both answer, and where."""
    # Later than the start of the program, so that `sandbox hub` and the like need only the standard library.
    from sandbox.aws.app import build_aws_app

    aws_app = build_aws_app(
        accounts=list(ACCOUNTS),
        regions=list(REGIONS),
        hub_state=settings.hub_state,
        days_behind=settings.hub_days_behind,
    )
    tenable_app = build_tenable_app(settings.tenable())
    sockets = [_bound(settings.tenable_port), _bound(settings.aws_port)]
    servers = [
        server_of(tenable_app, date_header=False, verbose=settings.verbose),
        server_of(aws_app, verbose=settings.verbose),
    ]
    collect_rarely()
    asyncio.run(_run(servers, sockets, settings))


async def _run(servers: list[SandboxServer], sockets: list[socket.socket], settings: Settings) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    running = [asyncio.create_task(server.serve([sock])) for server, sock in zip(servers, sockets, strict=True)]
    while not all(server.started for server in servers) and not stop.is_set():
        await asyncio.sleep(0.01)
    if not stop.is_set():
        _announce([f"http://{HOST}:{sock.getsockname()[1]}" for sock in sockets], settings)
    await stop.wait()
    # Calls in progress are cut off, so that a slow one does not delay the end of the sandbox.
    logging.getLogger("uvicorn.error").disabled = True
    for server in servers:
        server.stop()
    await asyncio.wait(running, timeout=0.4)
    for task in running:
        task.cancel()


def _bound(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((HOST, port))
    except OSError as error:
        raise SystemExit(f"Port {port} is taken ({error.strerror}); choose another, or 0 for a free one.") from error
    return sock


def _announce(urls: list[str], settings: Settings) -> None:
    facts: dict[str, Any] = {
        "tenable": urls[0],
        "aws": urls[1],
        "access_key": settings.access_key,
        "secret_key": settings.secret_key,
        "accounts": list(ACCOUNTS),
        "regions": list(REGIONS),
    }
    block = (
        f"The sandbox is running (estate: {settings.estate}, seed {settings.seed}). Stop it with Ctrl-C.\n"
        f"  Tenable        {urls[0]}\n"
        f"    access key   {settings.access_key}\n"
        f"    secret key   {settings.secret_key}\n"
        f"  AWS            {urls[1]}  (Security Hub and STS; open it in a browser to see the findings)\n"
        f"    accounts     {', '.join(ACCOUNTS)}\n"
        f"    regions      {', '.join(REGIONS)}"
    )
    print(block, file=sys.stderr, flush=True)
    if settings.ready_file:
        unfinished = settings.ready_file.with_name(settings.ready_file.name + ".tmp")
        unfinished.write_text(json.dumps(facts) + "\n")
        os.replace(unfinished, settings.ready_file)
    print(json.dumps(facts), flush=True)
