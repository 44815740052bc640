"""The oracle: what must be in the hubs, from the sandbox's ground truth and not through our mapping."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from sandbox.tenable.hosts import ROUTABLE_KINDS
from tests.sandbox_driver import Sandbox as Driver

LABELS = ("INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL")


class Version(NamedTuple):
    """What Security Hub must show of a finding."""

    severity: str
    record_state: str
    updated_at: float


Findings = dict[str, Version]

#: How an account refuses its findings for good: closed, which the checks before the export show, or with a role that
#: lacks the import alone, which only an import shows.
REFUSALS = ("closed", "denied")
_ROLE = "arn:aws:iam::{}:role/TenableSecurityHubImport"


class Sandbox(Driver):
    """The sandbox's driver, and what the hubs hold as the oracle says it."""

    def refuse(self, account: str, how: str) -> None:
        """From now on an account refuses its findings for good; see :data:`REFUSALS`."""
        if how == "closed":
            self.aws("account", {"account": account, "state": "closed"})
        else:
            self.aws("roles", {"arn": _ROLE.format(account), "deny": ["securityhub:BatchImportFindings"]})

    def accept(self, account: str) -> None:
        """The account accepts findings again."""
        self.aws("account", {"account": account, "state": "open"})
        self.aws("roles", {"arn": _ROLE.format(account)})

    def held_by(self, accounts: list[str]) -> Findings:
        """What the hubs of some accounts hold."""
        return {identity: version for identity, version in self.held().items() if identity.split("/")[1] in accounts}

    def held(self) -> Findings:
        return {
            identity: Version(
                finding["FindingProviderFields"]["Severity"]["Label"],
                finding["RecordState"],
                datetime.fromisoformat(finding["UpdatedAt"]).timestamp(),
            )
            for identity, finding in self.documents().items()
        }


def identity_of(vulnerability: dict[str, Any]) -> str:
    """The finding's id, as the design fixes it."""
    return "/".join(
        str(vulnerability[name]) for name in ("region", "account", "instance_id", "plugin_id", "protocol", "port")
    )


def belongs(vulnerability: dict[str, Any], accounts: list[str], severities: tuple[int, ...] = (3, 4)) -> bool:
    """Whether a vulnerability has a place in the hubs: an EC2 instance of a configured account, of a chosen
    severity.
    """
    routable = vulnerability["asset_kind"] in ROUTABLE_KINDS and vulnerability["account"] in accounts
    return routable and vulnerability["severity_id"] in severities


def expected(truth: dict[str, Any], accounts: list[str]) -> Findings:
    """What must be in the hubs when everything has been delivered: of an instance with several assets, what any of them
    still has; of a host that is terminated or deleted, nothing that is active.
    """
    found: Findings = {}
    gone = {each["asset_id"] for each in truth["assets"] if each["terminated_at"] or each["deleted_at"]}
    for each in truth["vulnerabilities"]:
        if belongs(each, accounts):
            identity, version = identity_of(each), version_of(each)
            if each["asset_id"] in gone:
                version = version._replace(record_state="ARCHIVED")
            found[identity] = max(found.get(identity, version), version, key=_precedence)
    return found


def _precedence(version: Version) -> tuple[bool, float]:
    return version.record_state == "ACTIVE", version.updated_at


def version_of(each: dict[str, Any]) -> Version:
    archived = each["state"] == "FIXED" or each["severity_modification_type"] == "ACCEPTED"
    times = [each[name] for name in ("first_found", "last_found", "last_fixed", "resurfaced", "indexed") if each[name]]
    return Version(LABELS[each["severity_id"]], "ARCHIVED" if archived else "ACTIVE", round(max(times), 6))


def differences(held: Findings, wanted: Findings) -> dict[str, Any]:
    """Where hub and oracle differ: nothing, if all is well.

    What must be archived may not be there at all: it may never have been active, or it was deleted since.
    """
    return {
        name: found
        for name, found in {
            "lost": sorted(key for key in wanted.keys() - held.keys() if wanted[key].record_state == "ACTIVE"),
            "invented": sorted(held.keys() - wanted.keys()),
            "other": {
                key: (held[key], wanted[key])
                for key in held.keys() & wanted.keys()
                if not _same(held[key], wanted[key])
            },
        }.items()
        if found
    }


def _same(one: Version, other: Version) -> bool:
    """Whether a finding is what the oracle says. Its time need not be: a scan that found nothing new is not sent, and
    what the hub would not take otherwise is sent with a later time.
    """
    return one[:2] == other[:2]
