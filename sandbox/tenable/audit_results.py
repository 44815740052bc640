"""Results of audits of hosts and of AWS accounts, and their export, with the quirks of Tenable's own examples."""

import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sandbox.tenable.requests import RefusedError

VERBS = ("audit", "set_result", "drop_audit")
STATUSES = ("PASSED", "FAILED", "WARNING", "SKIPPED", "ERROR", "UNKNOWN")
AWS_PLUGIN, HOST_PLUGIN = 72426, 21157
_FILTERS = frozenset(
    {
        "last_seen", "first_seen", "last_observed", "indexed_at", "since", "audit_name", "audit_file_name",
        "compliance_results", "ipv4_addresses", "ipv6_addresses", "plugin_id", "network_id", "state", "tags",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Result:
    """The present result of a check of an audit file on an asset.

    :param number: of the check in its audit; it decides which quirk the record has
    """

    asset_id: str
    audit_file: str
    number: int
    status: str
    is_aws: bool
    first_seen: float
    last_seen: float
    indexed: float
    state: str = "OPEN"
    address: str = "127.0.0.1"

    @property
    def full_id(self) -> str:
        return uuid.uuid5(uuid.NAMESPACE_URL, f"{self.audit_file}/{self.number}").hex * 2

    @property
    def has_full_id(self) -> bool:
        """Some of Tenable's own examples have none."""
        return self.number % 7 != 3

    def record(self) -> dict[str, Any]:
        """The result as the export has it."""
        asset = {"id": str(uuid.uuid5(uuid.NAMESPACE_URL, self.asset_id)), "ipv4_addresses": [self.address], "tags": []}
        found = {
            "asset_uuid": self.asset_id,
            "first_seen": _iso(self.first_seen),
            "last_seen": _iso(self.last_seen),
            "audit_file": self.audit_file,
            "check_id": self.full_id[::-1],
            "check_name": f"1.{self.number} Ensure that check {self.number} holds",
            "check_info": "Why it matters &amp; for whom.",
            "expected_value": "expect: yes",
            "actual_value": f"us-east-1:\n  {self.status}",
            "status": self.status,
            "reference": [
                {"framework": "800-53", "control": f"AC-{n}"} for n in range(40 if self.number % 5 == 0 else 2)
            ],
            "see_also": "https://workbench.cisecurity.org/files/2518",
            "solution": "Make it hold.",
            "plugin_id": AWS_PLUGIN if self.is_aws else HOST_PLUGIN,
            # Null in records of before December 2021.
            "state": None if self.number % 6 == 5 and self.state == "OPEN" else self.state,
            "last_observed": _iso(self.last_seen),
            "indexed_at": _iso(self.indexed),
            # The schema calls it `assets`.
            "assets" if self.number % 4 == 1 else "asset": asset,
        }
        if self.has_full_id:
            found |= {
                "compliance_full_id": self.full_id,
                "compliance_benchmark_name": "CIS Amazon Web Services Foundations" if self.is_aws else "CIS CentOS 8",
                "compliance_benchmark_version": "1.0",
            }
        return found


@dataclass(slots=True)
class Audits:
    """All results, by asset, audit file and number."""

    results: dict[tuple[str, str, int], Result] = field(default_factory=dict)

    def truth(self) -> list[dict[str, Any]]:
        """From the objects, and not from their rendered form."""
        return [
            {
                "asset_id": result.asset_id,
                "audit_file": result.audit_file,
                "check": result.full_id if result.has_full_id else result.full_id[::-1],
                "status": result.status,
                "state": result.state,
                "is_aws": result.is_aws,
            }
            for result in self.results.values()
        ]


def change(audits: Audits, order: dict[str, Any], now: float) -> int:
    """`audit`: a run of an audit file with so many `checks` on an `asset_id`, of an AWS account where `aws` is set;
    every third check fails, or all have `status`. `set_result`: the `status` or `state` of check `number`.
    `drop_audit`: Tenable forgets the results of an asset, or of one `audit_file` of it.
    """
    asset, audit = str(order.get("asset_id")), order.get("audit_file")
    if order["do"] == "drop_audit":
        gone = [key for key in audits.results if key[0] == asset and audit in (None, key[1])]
        for key in gone:
            del audits.results[key]
        return len(gone)
    if not isinstance(audit, str):
        raise ValueError("Name an audit_file.")
    if order["do"] == "set_result":
        key = (asset, audit, int(order["number"]))
        values: dict[str, Any] = {name: str(order[name]) for name in ("status", "state") if name in order}
        if key not in audits.results or values.get("status", "PASSED") not in STATUSES:
            raise ValueError(f"No result {key!r}, or no such status.")
        audits.results[key] = replace(audits.results[key], **values, last_seen=now - 600, indexed=now)
        return 1
    for number in range(int(order.get("checks", 12))):
        status = str(order.get("status") or ("FAILED", "PASSED", "WARNING")[number % 3])
        audits.results[asset, audit, number] = Result(
            asset, audit, number, status, bool(order.get("aws")), now - 600, now - 600, now,
            address="127.0.0.1" if order.get("aws") else "10.0.0.1",
        )  # fmt: skip
    return int(order.get("checks", 12))


@dataclass(frozen=True, slots=True)
class ComplianceRequest:
    filters: dict[str, Any]
    num_findings: int

    def selects(self, result: Result) -> bool:
        since = max(float(self.filters.get(name, 0)) for name in ("since", "indexed_at"))
        states = self.filters.get("state")
        wanted = self.filters.get("compliance_results")
        return (
            result.indexed >= since
            and (not states or result.state in states)
            and (not wanted or result.status in wanted)
        )


def parse_request(body: Any) -> ComplianceRequest:
    """The body of POST /compliance/export. RefusedError says what is wrong with it."""
    if not isinstance(body, dict) or body.keys() - {"num_findings", "filters", "asset"}:
        raise RefusedError("The body has unknown fields, or is not an object.")
    filters = body.get("filters", {})
    if not isinstance(filters, dict) or filters.keys() - _FILTERS:
        raise RefusedError("The filters have unknown names, or are not an object.")
    # Clamped and not refused (API docs: num_findings).
    return ComplianceRequest(filters, min(max(int(body.get("num_findings", 5_000)), 50), 10_000))


def _iso(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
