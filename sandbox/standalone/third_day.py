"""The demo's third day: everything is scanned again, and hardly anything has changed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import httpx

_OF_TENABLE = "tenable/vulnerability-management/"
#: Tenable's severity_id of a recast.
_LOW = 1


def orders(truth: dict[str, Any], documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What happens on it: a host is terminated, another one deleted; on a third one, a risk is accepted and another one
    recast to low, without any of Tenable's times moving; and all hosts that are left are scanned.

    :param truth: what the simulated Tenable has.
    :param documents: the findings that the hubs hold.
    :return: changes, as ``/_sandbox/change`` takes them.
    """
    active = [each["ProductFields"] for each in documents if each["RecordState"] == "ACTIVE"]
    counts = Counter(fields[f"{_OF_TENABLE}asset_uuid"] for fields in active)
    terminated, deleted, ruled = [asset for asset, count in counts.most_common() if count > 1][:3]
    of_ruled = {fields[f"{_OF_TENABLE}finding_id"] for fields in active if fields[f"{_OF_TENABLE}asset_uuid"] == ruled}
    accepted, recast = sorted(of_ruled)[:2]
    hosts = {each["asset_id"] for each in truth["vulnerabilities"]} - {terminated, deleted}
    return [
        *({"do": "rescan", "asset_id": asset} for asset in sorted(hosts)),
        {"do": "terminate", "asset_id": terminated},
        {"do": "delete", "asset_id": deleted},
        {"do": "accept", "finding_id": accepted, "silently": True},
        {"do": "recast", "finding_id": recast, "severity_id": _LOW, "silently": True},
    ]


def begin(tenable: str, aws: str) -> None:
    """Let the day happen in the simulated Tenable."""

    def ask(url: str, body: Any = None) -> Any:
        answer = httpx.get(url, timeout=60) if body is None else httpx.post(url, json=body, timeout=60)
        return answer.raise_for_status().json()

    # An hour, in which the estate's own life changes little.
    ask(f"{tenable}/_sandbox/clock", {"advance_seconds": 3600})
    found = ask(f"{aws}/_sandbox/findings")["findings"]
    ask(f"{tenable}/_sandbox/change", orders(ask(f"{tenable}/_sandbox/truth"), found))


__all__ = ["begin", "orders"]
