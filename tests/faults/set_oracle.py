"""The oracle as a set: what Tenable reports at present, and is in scope, is ACTIVE in the hubs with the right severity;
everything else is ARCHIVED, or not there.
"""

from __future__ import annotations

from typing import Any

from tests.faults.universe import LABELS, belongs, identity_of

State = dict[str, str]
"""Finding id -> severity label, of what is or has to be ACTIVE."""


def active_by_tenable(truth: dict[str, Any], accounts: list[str], severities: tuple[int, ...] = (3, 4)) -> State:
    """What has to be ACTIVE in the hubs; everything else has to be ARCHIVED, or not there."""
    gone = {each["asset_id"] for each in truth["assets"] if each["terminated_at"] or each["deleted_at"]}
    return {
        identity_of(each): LABELS[each["severity_id"]]
        for each in truth["vulnerabilities"]
        if belongs(each, accounts, severities)
        and each["state"] != "FIXED"
        and each["severity_modification_type"] != "ACCEPTED"
        and each["asset_id"] not in gone
    }


def active_in_hubs(documents: dict[str, dict[str, Any]]) -> State:
    """What the hubs show as ACTIVE."""
    return {
        identity: finding["FindingProviderFields"]["Severity"]["Label"]
        for identity, finding in documents.items()
        if finding["RecordState"] == "ACTIVE"
    }


def wrong(held: State, wanted: State) -> dict[str, str]:
    """What is wrong with which finding: ``missing``, ``ghost`` or ``severity``."""
    found = dict.fromkeys(wanted.keys() - held.keys(), "missing") | dict.fromkeys(held.keys() - wanted.keys(), "ghost")
    return found | {each: "severity" for each in held.keys() & wanted.keys() if held[each] != wanted[each]}
