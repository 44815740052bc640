"""What must be in the hubs, computed from the sandbox's ground truth and not through our mapping.

What is fixed or accepted in Tenable, or on a host that is terminated or deleted, is archived in the hub, or was never
there: so it is the active findings that must be the same. One that should be archived and is active is one too many.
"""

from __future__ import annotations

from typing import Any

LABELS = ["INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL"]


def expected(
    truth: dict[str, Any], *, accounts: list[str], severities: tuple[int, ...] = (3, 4)
) -> dict[str, tuple[str, str]]:
    """Finding id -> (severity label, record state) of all that must be active in the hubs of the accounts."""
    found: dict[str, tuple[str, str]] = {}
    ended = {each["asset_id"] for each in truth.get("assets", ()) if each["terminated_at"] or each["deleted_at"]}
    for each in truth["vulnerabilities"]:
        if each["account"] in accounts and each["instance_id"] and each["severity_id"] in severities:
            keys = ("region", "account", "instance_id", "plugin_id", "protocol", "port")
            identity = "/".join(str(each[key]) for key in keys)
            assert identity not in found, "the ground truth itself has two records of one finding"
            gone = each["state"] == "FIXED" or each["severity_modification_type"] == "ACCEPTED"
            gone = gone or each["asset_id"] in ended
            found[identity] = (LABELS[each["severity_id"]], "ARCHIVED" if gone else "ACTIVE")
    return {identity: version for identity, version in found.items() if version[1] == "ACTIVE"}


def delivered(held: dict[str, dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """What is active in the hubs, in the oracle's terms; a finding in the hub of another account or Region than its own
    does not count.
    """
    return {
        identity: (finding["Severity"]["Label"], finding["RecordState"])
        for identity, finding in held.items()
        if identity.startswith(f"{finding['Region']}/{finding['AwsAccountId']}/") and finding["RecordState"] == "ACTIVE"
    }
