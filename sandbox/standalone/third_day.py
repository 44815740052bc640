"""The demo's third day: everything is scanned again, and hardly anything has changed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import httpx

_ASSET = "ProductFields", "tenable/vulnerability-management/asset_uuid"
#: Tenable's severity_id of a recast.
_LOW = 1


def orders(truth: dict[str, Any], documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What happens on it: a host is terminated, another one deleted; on a third one, a risk is accepted and another one
    recast to low, without any of Tenable's times moving; and all hosts that are left are scanned.

    :param truth: what the simulated Tenable has.
    :param documents: the findings that the hubs hold.
    :return: changes, as ``/_sandbox/change`` takes them.
    """
    active = Counter(each[_ASSET[0]][_ASSET[1]] for each in documents if each["RecordState"] == "ACTIVE")
    terminated, deleted, ruled = [asset for asset, count in active.most_common() if count > 1][:3]
    of_ruled = {
        each["ProductFields"]["tenable/vulnerability-management/finding_id"]
        for each in documents
        if each["RecordState"] == "ACTIVE" and each[_ASSET[0]][_ASSET[1]] == ruled
    }
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

    # Half a day: the estate's own life has no time to change much.
    ask(f"{tenable}/_sandbox/clock", {"advance_seconds": 3600})
    found = ask(f"{aws}/_sandbox/findings")["findings"]
    ask(f"{tenable}/_sandbox/change", orders(ask(f"{tenable}/_sandbox/truth"), found))


__all__ = ["begin", "orders"]
