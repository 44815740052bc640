"""One sandbox and one Airflow for all browser tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.standalone.airflow import DAG_PARAMS, PARSED_ONCE, Standalone, destinations
from sandbox.standalone.airflow_2 import Standalone2
from sandbox.standalone.children import SandboxProcess, free_port
from tests.integration.oracle import delivered

#: The tests start every run themselves: without this, switching the DAG on would start one more.
NO_SCHEDULE = {"AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False"}


class Estate:
    """What Tenable's and AWS's stand-ins know."""

    def __init__(self, process: SandboxProcess) -> None:
        self.process = process
        self.facts: dict[str, Any] = process.facts
        #: One account is enough to see, and its findings go to two Regions.
        self.accounts: list[str] = process.facts["accounts"][:1]

    def truth(self) -> dict[str, Any]:
        return dict(httpx.get(f"{self.process.tenable}/_sandbox/truth", timeout=60, trust_env=False).json())

    def now(self) -> float:
        """Tenable's clock, unix seconds."""
        return float(httpx.get(f"{self.process.tenable}/_sandbox/clock", timeout=60, trust_env=False).json()["now"])

    def prepare_at_once(self) -> None:
        """From now on exports are ready at once, and no task is deferred."""
        url = f"{self.process.tenable}/_sandbox/options"
        httpx.post(url, json={"prepare_seconds": 0.2}, timeout=60, trust_env=False).raise_for_status()

    def scan_quickly(self) -> None:
        """From now on a scan takes some seconds: long enough for its task to be deferred."""
        url = f"{self.process.tenable}/_sandbox/options"
        httpx.post(url, json={"scan_seconds": 8}, timeout=60, trust_env=False).raise_for_status()

    def scans(self) -> list[dict[str, Any]]:
        """The scans in Tenable, with their runs."""
        answer = httpx.get(f"{self.process.tenable}/_sandbox/scans", timeout=60, trust_env=False)
        return [dict(scan) for scan in answer.json()]

    def check_the_scan(self, name: str, targets: str) -> None:
        """There is one scan; it has these targets and has run once, to its end."""
        [scan] = self.scans()
        assert (scan["name"], [each["status"] for each in scan["runs"]]) == (name, ["completed"])
        assert scan["body"]["settings"]["text_targets"] == targets

    def held(self) -> dict[str, tuple[str, str]]:
        """What the hubs hold, in the oracle's terms."""
        findings = httpx.get(f"{self.process.aws}/_sandbox/findings", timeout=60, trust_env=False).json()["findings"]
        return delivered({finding["Id"]: finding for finding in findings})


@pytest.fixture(scope="session")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    # Long enough for an export to be deferred, and to be seen so.
    with SandboxProcess(
        "--estate", "small", "--prepare-seconds", "15", log=tmp_path_factory.mktemp("ui") / "sandbox.log"
    ) as process:
        yield Estate(process)


class WithLogin(Standalone2):
    """Airflow 2 as it is usually set up: with Flask AppBuilder's login, and no access without it."""

    user = "admin"

    def __init__(self, home: Path, sandbox: SandboxProcess, *, settings: dict[str, str]) -> None:
        home.mkdir(parents=True, exist_ok=True)
        config = home / "webserver_config_with_login.py"
        config.write_text("WTF_CSRF_ENABLED = True\n")
        login = {
            "AIRFLOW__WEBSERVER__CONFIG_FILE": str(config),
            "AIRFLOW__API__AUTH_BACKENDS": "airflow.providers.fab.auth_manager.api.auth.backend.basic_auth",
        }
        super().__init__(home, sandbox, settings=settings | login)

    @property
    def password(self) -> str:
        """What `airflow standalone` has chosen."""
        return (self.home / "standalone_admin_password.txt").read_text().strip()

    def _log_in(self) -> None:
        self._client.auth = (self.user, self.password)


@pytest.fixture(scope="session")
def airflow(estate: Estate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    settings = NO_SCHEDULE | {
        **PARSED_ONCE,
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__TENABLE__TRANSFORM_SHARDS": "1",
        "AIRFLOW__TENABLE__SCAN_POLL_INTERVAL_SECONDS": "10",
        "AIRFLOW__TENABLE__DAG_PARAMS": json.dumps({**DAG_PARAMS, "destinations": destinations(estate.accounts)}),
        # Two of the estate's three accounts are left out on purpose.
        "AIRFLOW__TENABLE__MAX_UNSERVED_RATIO": "1",
    }
    kind = WithLogin if version("apache-airflow").startswith("2.") else Standalone
    with kind(tmp_path_factory.mktemp("airflow"), estate.process, settings=settings) as process:
        process.wait_until_healthy()
        process.connect(estate.process)
        yield process
