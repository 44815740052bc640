"""The sandbox as a child process, Airflow's connections to it, and a staging folder per test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.standalone.airflow import connections, destinations
from sandbox.standalone.children import SandboxProcess
from tests.integration.pipeline_driver import Variables


class Sandbox:
    """The two stand-in servers, and what tests order of them."""

    def __init__(self, process: SandboxProcess) -> None:
        self.process = process
        self.client = httpx.Client(timeout=60, trust_env=False)

    def tenable(self, path: str, body: Any = None) -> Any:
        return self._call(f"{self.process.tenable}/_sandbox/{path}", body)

    def aws(self, path: str, body: Any = None) -> Any:
        return self._call(f"{self.process.aws}/_sandbox/{path}", body)

    def _call(self, url: str, body: Any) -> Any:
        answer = self.client.get(url) if body is None else self.client.post(url, json=body)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def reset(self) -> None:
        self.tenable("reset", {})
        self.aws("reset", {})
        # Throttling is tested where it matters; elsewhere it would only make tests wait.
        self.aws("options", {"throttle": False})

    def advance(self, seconds: float) -> None:
        self.tenable("clock", {"advance_seconds": seconds})

    def held(self) -> dict[str, dict[str, Any]]:
        """What the hubs hold, by finding id."""
        return {finding["Id"]: finding for finding in self.aws("findings")["findings"]}

    @property
    def accounts(self) -> list[str]:
        accounts: list[str] = self.process.facts["accounts"]
        return accounts


@pytest.fixture(scope="session")
def small_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with SandboxProcess("--estate", "small", "--prepare-seconds", "0.3", log=tmp_path_factory.mktemp("sandbox") / "sandbox.log") as process:
        sandbox = Sandbox(process)
        yield sandbox
        sandbox.client.close()


@pytest.fixture
def sandbox(small_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sandbox:
    """A sandbox as at its start, and an Airflow that is connected to it."""
    small_sandbox.reset()
    for name, fields in connections(small_sandbox.process).items():
        connect(monkeypatch, name, fields)
    monkeypatch.setenv("AIRFLOW__TENABLE__STAGING_PATH", f"file://{tmp_path / 'staging'}")
    return small_sandbox


def connect(monkeypatch: pytest.MonkeyPatch, name: str, fields: dict[str, Any]) -> None:
    """Define a connection."""
    extra = fields.get("extra")
    value = {**fields, "extra": json.loads(extra) if isinstance(extra, str) else extra}
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps({key: item for key, item in value.items() if item is not None}))


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> Variables:
    return Variables(monkeypatch)


@pytest.fixture
def defaults(sandbox: Sandbox) -> dict[str, Any]:
    """Params of a DAG that reaches all the sandbox's accounts."""
    return {"destinations": destinations(sandbox.accounts), "region_routing": "resource"}
