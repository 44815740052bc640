"""The sandbox as a child process, Airflow's connections to it, and a staging folder per test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.standalone.airflow import connections, destinations
from sandbox.standalone.children import SandboxProcess
from tests import botocore_models
from tests.aws_services import AwsServices
from tests.integration.dag_runs import AirflowProcess
from tests.integration.pipeline_driver import Variables
from tests.sandbox_driver import Sandbox

botocore_models.share()


@pytest.fixture(scope="session")
def small_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with SandboxProcess(
        "--estate", "small", "--prepare-seconds", "0.3", log=tmp_path_factory.mktemp("sandbox") / "sandbox.log"
    ) as process:
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
    # A task of the transform for each chunk, as if there were many records.
    monkeypatch.setenv("AIRFLOW__TENABLE__SHARD_RECORDS", "1")
    return small_sandbox


@pytest.fixture(scope="session")
def aws_services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsServices]:
    """EC2, IAM, SSM, Secrets Manager and STS: one moto server for all tests. Each test has names of its own."""
    with AwsServices(tmp_path_factory.mktemp("aws-services")) as services:
        with services.client("iam") as iam:
            # For tests that need no role.
            iam.create_instance_profile(InstanceProfileName="p")
        yield services


@pytest.fixture(scope="session")
def airflow_process(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[AirflowProcess]:
    """What runs DAG files."""
    base = tmp_path_factory.getbasetemp()
    # Each process of pytest-xdist has its own folder, below a common one.
    process = AirflowProcess(tmp_path_factory.mktemp("airflow"), base if worker_id == "master" else base.parent)
    yield process
    process.stop()


def connect(monkeypatch: pytest.MonkeyPatch, name: str, fields: dict[str, Any]) -> None:
    """Define a connection."""
    extra = fields.get("extra")
    value = {**fields, "extra": json.loads(extra) if isinstance(extra, str) else extra}
    monkeypatch.setenv(
        f"AIRFLOW_CONN_{name.upper()}", json.dumps({key: item for key, item in value.items() if item is not None})
    )


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> Variables:
    return Variables(monkeypatch)


@pytest.fixture
def defaults(sandbox: Sandbox) -> dict[str, Any]:
    """Params of a DAG that reaches all the sandbox's accounts."""
    return {"destinations": destinations(sandbox.accounts), "region_routing": "resource"}
