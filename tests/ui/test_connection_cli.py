"""The connection from the command line: into Airflow's database, and the hook as `airflow connections test` has it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest.importorskip("playwright", reason="`make test-ui` installs it")

from sandbox.standalone.airflow import Standalone
from tests.ui.conftest import Estate

pytestmark = pytest.mark.system


def _command(airflow: Standalone, *arguments: str) -> str:
    command = [sys.executable, "-m", "airflow", "connections", *arguments]
    done = subprocess.run(command, env=airflow.env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_connection_from_the_command_line_works(airflow: Standalone, estate: Estate) -> None:
    fields = {
        "conn_type": "tenable",
        "host": estate.process.tenable,
        "login": estate.facts["access_key"],
        "password": estate.facts["secret_key"],
    }
    _command(airflow, "add", "tenable_cli", "--conn-json", json.dumps({**fields, "extra": {"timeout": 60}}))
    assert "Connection success!" in _command(airflow, "test", "tenable_cli")
