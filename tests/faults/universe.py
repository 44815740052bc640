"""The sandbox as the suite uses it, and the oracle: what must be in the hubs, from the sandbox's ground truth and not through our mapping."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import httpx

from sandbox.standalone.children import SandboxProcess
from sandbox.tenable.hosts import ROUTABLE_KINDS

LABELS = ("INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL")


class Version(NamedTuple):
    """What Security Hub must show of a finding."""

    severity: str
    record_state: str
    updated_at: float


Findings = dict[str, Version]


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
        # Throttling is tested where it matters; elsewhere it would only make tests wait.
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

    def held(self) -> Findings:
        """What the hubs hold, as the oracle says it."""
        return {
            identity: Version(
                finding["FindingProviderFields"]["Severity"]["Label"],
                finding["RecordState"],
                datetime.fromisoformat(finding["UpdatedAt"]).timestamp(),
            )
            for identity, finding in self.documents().items()
        }

    @property
    def accounts(self) -> list[str]:
        accounts: list[str] = self.process.facts["accounts"]
        return accounts


def identity_of(vulnerability: dict[str, Any]) -> str:
    """The finding's id, as the design fixes it."""
    return "/".join(str(vulnerability[name]) for name in ("region", "account", "instance_id", "plugin_id", "protocol", "port"))


def belongs(vulnerability: dict[str, Any], accounts: list[str], severities: tuple[int, ...] = (3, 4)) -> bool:
    """Whether a vulnerability has a place in the hubs: an EC2 instance of a configured account, of a chosen severity."""
    routable = vulnerability["asset_kind"] in ROUTABLE_KINDS and vulnerability["account"] in accounts
    return routable and vulnerability["severity_id"] in severities


def expected(truth: dict[str, Any], accounts: list[str]) -> Findings:
    """What must be in the hubs when everything has been delivered."""
    return {identity_of(each): version_of(each) for each in truth["vulnerabilities"] if belongs(each, accounts)}


def version_of(each: dict[str, Any]) -> Version:
    archived = each["state"] == "FIXED" or each["severity_modification_type"] == "ACCEPTED"
    times = [each[name] for name in ("first_found", "last_found", "last_fixed", "resurfaced", "indexed") if each[name]]
    return Version(LABELS[each["severity_id"]], "ARCHIVED" if archived else "ACTIVE", round(max(times), 6))


def differences(held: Findings, wanted: Findings) -> dict[str, Any]:
    """Where hub and oracle differ: nothing, if all is well."""
    return {
        name: found
        for name, found in {
            "lost": sorted(wanted.keys() - held.keys()),
            "invented": sorted(held.keys() - wanted.keys()),
            "other": {key: (held[key], wanted[key]) for key in held.keys() & wanted.keys() if not _same(held[key], wanted[key])},
        }.items()
        if found
    }


def _same(one: Version, other: Version) -> bool:
    return one[:2] == other[:2] and abs(one.updated_at - other.updated_at) < 0.001
