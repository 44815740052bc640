"""The tasks of a scanner's life, run without a scheduler."""

from __future__ import annotations

import asyncio
import itertools
import json
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_tenable._compat import TaskDeferred
from airflow_provider_tenable.operators.nessus_ec2 import NessusAwsPrerequisitesOperator, NessusCreateScannerOperator
from airflow_provider_tenable.operators.nessus_terminate import NessusTerminateScannerOperator
from airflow_provider_tenable.sensors.tenable_scanners import TenableScannerSensor
from tests.aws_services import PRODUCT_CODE

_numbers = itertools.count(1)
AWS = {"aws_conn_id": "nessus_aws"}


def new_name() -> str:
    """A scanner's name that no other test has."""
    return f"scanner {next(_numbers)}"


def context(**fields: Any) -> dict[str, Any]:
    """A task's context: the same for each try of one task."""
    pushed: dict[str, Any] = {}
    names = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "try_number": 1, **fields}
    ti = SimpleNamespace(**names, xcom_push=lambda key, value: pushed.update({key: value}), pushed=pushed)
    return {"ti": ti, "dag_run": SimpleNamespace(dag_id="d", run_id="r")}


def prerequisites(name: str, **arguments: Any) -> NessusAwsPrerequisitesOperator:
    return NessusAwsPrerequisitesOperator(**{"task_id": "prerequisites", "name": name, **AWS, **arguments})


def create(name: str, **arguments: Any) -> NessusCreateScannerOperator:
    usual = {
        "task_id": "create",
        "name": name,
        "image": f"product_code:{PRODUCT_CODE}",
        "instance_profile": None,
        "prerequisites": {"instance_profile": "p"},
        "deferrable": False,
    }
    return NessusCreateScannerOperator(**{**usual, **AWS, "link_host": "cloud.tenable.com", **arguments})


def sensor(**arguments: Any) -> TenableScannerSensor:
    usual = {"task_id": "wait", "timeout": 0, "poke_interval": 0.01, "mode": "poke", "deferrable": False}
    return TenableScannerSensor(**{**usual, **AWS, **arguments})


def terminate(**arguments: Any) -> NessusTerminateScannerOperator:
    return NessusTerminateScannerOperator(**{"task_id": "terminate", "deferrable": False, **AWS, **arguments})


def fire(trigger: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The first event of a trigger as the triggerer gets it: from its serialised form."""
    path, arguments = trigger.serialize()
    assert path == f"{type(trigger).__module__}.{type(trigger).__name__}"
    copy = type(trigger)(**json.loads(json.dumps(arguments)))
    real_sleep, slept = asyncio.sleep, []

    async def nap(seconds: float) -> None:
        slept.append(seconds)
        await real_sleep(min(seconds, 0.05))

    async def first_event() -> dict[str, Any]:
        events = copy.run()
        try:
            return dict((await anext(events)).payload)
        finally:
            await events.aclose()

    with monkeypatch.context() as patched:
        patched.setattr("asyncio.sleep", nap)
        event = asyncio.run(first_event())
    assert min(slept) >= 10, "Airflow 3.2 and 3.3 lose tasks whose trigger fires at once"
    return event


def deferred(task: Any, given: dict[str, Any]) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as raised:
        task.execute(given)
    return raised.value
