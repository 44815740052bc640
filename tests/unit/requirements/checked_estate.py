"""A Tenable whose clock is right, two AWS accounts, and the operator between them, which lacks nothing."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_tenable import _compat
from airflow_provider_tenable.hooks import aws_calls
from airflow_provider_tenable.operators.requirements import TenableRequirementsOperator
from sandbox.aws.world import World
from sandbox.tenable.access import ACCESS_KEY, SECRET_KEY
from sandbox.tenable.server import Tenable

ACCOUNTS = ("111122223333", "222233334444")
REGION = "eu-west-1"
ROLE = "TenableSecurityHubImport"
KEY = ("AKIASANDBOXHUB000001", "sandbox-aws-secret-000000000000000000001")
DESTINATIONS = [{"aws_conn_id": "hub", "accounts": list(ACCOUNTS), "role_name": ROLE, "region": REGION}]


class Estate:
    """What is checked, and what tests break of it."""

    def __init__(
        self, tenable: Tenable, world: World, urls: tuple[str, str], folder: Path, patch: pytest.MonkeyPatch
    ) -> None:
        self.tenable, self.world, self.urls, self.folder, self.patch = tenable, world, urls, folder, patch
        self.xcoms: dict[str, Any] = {}
        self.earlier: Any = None
        self.params: dict[str, Any] = {}
        self.connect_tenable()
        self.connect_aws()
        patch.setenv("AIRFLOW__TENABLE__STAGING_PATH", f"file://{folder}/staging")
        patch.setenv("AIRFLOW__CORE__EXECUTOR", "LocalExecutor")
        patch.setattr(_compat, "airflow_health", lambda *, in_task: {"triggerer": {"status": "healthy"}})
        patch.setattr(aws_calls.time, "sleep", lambda seconds: None)

    def connect_tenable(self, key: str = ACCESS_KEY, secret: str = SECRET_KEY, host: str | None = None) -> None:
        fields = {"conn_type": "tenable", "host": host or self.urls[0], "login": key, "password": secret}
        self.patch.setenv("AIRFLOW_CONN_TENABLE_DEFAULT", json.dumps(fields))

    def connect_aws(self, key: tuple[str, str] = KEY) -> None:
        extra = {"endpoint_url": self.urls[1], "region_name": REGION}
        extra["service_config"] = {"sts": {"endpoint_url": self.urls[1]}}  # type: ignore[assignment]
        value = {"conn_type": "aws", "login": key[0], "password": key[1], "extra": extra}
        self.patch.setenv("AIRFLOW_CONN_HUB", json.dumps(value))

    def check(self, **arguments: Any) -> list[dict[str, Any]]:
        """Run the operator, and return the table."""
        operator = TenableRequirementsOperator(
            task_id="check", **{"destinations": DESTINATIONS, "on_failure": "warn", **arguments}
        )
        return operator.execute(self.context())

    def context(self) -> dict[str, Any]:
        ti = SimpleNamespace(
            xcom_push=lambda *, key, value: self.xcoms.update({key: value}), xcom_pull=lambda **_: self.earlier
        )
        run = SimpleNamespace(dag_id="tenable_requirements", run_id="run-1")
        return {"dag_run": run, "ti": ti, "params": self.params, "dag": None}

    def calls(self) -> dict[str, int]:
        """The calls of Tenable since the start of the test."""
        return dict(self.tenable.calls)
