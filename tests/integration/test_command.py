"""The command as a real process, with its real Airflow, against the sandbox."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.standalone.airflow import connections
from tests.sandbox_driver import Sandbox

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "airflow_provider_tenable.command"]


@pytest.fixture
def started(sandbox: Sandbox, tmp_path: Path) -> Iterator[Any]:
    """Starts the command with the sandbox's keys; ends what it has left."""
    aws = connections(sandbox.process)["aws_default"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AWS_"))}
    environment |= {
        "TIO_ACCESS_KEY": sandbox.process.facts["access_key"],
        "TIO_SECRET_KEY": sandbox.process.facts["secret_key"],
        "TVM_URL": sandbox.process.tenable,
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps({**aws, "extra": json.loads(aws["extra"])}),
        "AIRFLOW__TENABLE__POLL_INTERVAL_SECONDS": "1",
        "TENABLE_TO_SECURITY_HUB_HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(ROOT),
    }
    processes = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*COMMAND, "--role-name", "TenableSecurityHubImport", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)


def test_a_run_and_another_one_from_its_watermark(sandbox: Sandbox, started: Any, tmp_path: Path) -> None:
    # One that is repeated, and stopped once it waits for its next run.
    real = started("--run-every", "12", "--severities", "high:critical")
    output = ""
    while "The watermark is kept in" not in output:
        line = real.stdout.readline()
        assert line, output + real.stderr.read()
        output += line
    real.send_signal(signal.SIGTERM)
    _, errors = real.communicate(timeout=60)
    assert (real.returncode, errors) == (0, "Stopped by SIGTERM. No run was interrupted.\n")
    assert "accepted, 0 rejected" in output
    imported = len(sandbox.documents())
    assert imported > 0

    again = started("--json")
    result = json.loads(again.communicate(timeout=300)[0])
    assert (again.returncode, result["state"]) == (0, "success")
    # It continues from the watermark: the same findings are in the hubs, and none was sent again.
    assert result["ledger"]["window"]["kind"] == "incremental"
    assert result["ledger"]["window"]["since"] > 1
    assert result["ledger"]["accepted"] == 0
    assert len(sandbox.documents()) == imported

    # The keys are nowhere in what is kept.
    secrets = [sandbox.process.facts[name].encode() for name in ("access_key", "secret_key")]
    secrets.append(b"sandbox-aws-secret-000000000000000000001")
    for file in (tmp_path / "home").rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert [each for each in secrets if each in content] == [], file
