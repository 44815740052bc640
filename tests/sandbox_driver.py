"""The two stand-in servers, and what tests order of them. One driver for the integration tests and for the fault
suite.
"""

from __future__ import annotations

from typing import Any

import httpx

from sandbox.standalone.children import SandboxProcess


class Sandbox:
    """The two stand-in servers, and what tests order of them."""

    def __init__(self, process: SandboxProcess) -> None:
        self.process = process
        self.client = httpx.Client(timeout=120, trust_env=False)

    def tenable(self, path: str, body: Any = None) -> Any:
        return self._call(f"{self.process.tenable}/_sandbox/{path}", body)

    def aws(self, path: str, body: Any = None) -> Any:
        return self._call(f"{self.process.aws}/_sandbox/{path}", body)

    def _call(self, url: str, body: Any) -> Any:
        answer = self.client.get(url) if body is None else self.client.post(url, json=body)
        assert answer.is_success, f"{url}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.content else None

    def reset(self) -> None:
        self.tenable("reset", {})
        self.aws("reset", {})
        # Throttling is tested where it matters; elsewhere it would only slow the tests down.
        self.aws("options", {"throttle": False})

    def clear_faults(self) -> None:
        self.client.delete(f"{self.process.tenable}/_sandbox/faults")
        self.client.delete(f"{self.process.aws}/_sandbox/faults")

    def advance(self, seconds: float) -> float:
        return float(self.tenable("clock", {"advance_seconds": seconds})["now"])

    def change(self, *orders: dict[str, Any]) -> None:
        self.tenable("change", list(orders))

    def fault(self, *faults: dict[str, Any]) -> None:
        """Order faults from Tenable."""
        self.tenable("faults", list(faults))

    def hub_fault(self, *faults: dict[str, Any]) -> None:
        """Order faults from the AWS side."""
        self.aws("faults", list(faults))

    def truth(self) -> dict[str, Any]:
        truth: dict[str, Any] = self.tenable("truth")
        return truth

    def jobs(self, kind: str = "vulns") -> dict[str, int]:
        """Jobs by what became of them: created, running, cancelled."""
        jobs: dict[str, int] = self.tenable("stats")["jobs"][kind]
        return jobs

    def documents(self) -> dict[str, dict[str, Any]]:
        """What the hubs hold, by finding id."""
        listed = self.aws("findings")["findings"]
        held = {finding["Id"]: finding for finding in listed}
        assert len(held) == len(listed), "a finding is there twice"
        return held

    @property
    def accounts(self) -> list[str]:
        accounts: list[str] = self.process.facts["accounts"]
        return accounts
