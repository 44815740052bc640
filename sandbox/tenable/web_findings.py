"""POST /was/v1/export/vulns: the valid bodies, which findings they select, and their records (API docs:
was-export-findings).
"""

import ipaddress
import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.clock import DAY, iso
from sandbox.tenable import requests as rules
from sandbox.tenable.catalogue import SEVERITIES
from sandbox.tenable.requests import RefusedError
from sandbox.tenable.vulnerabilities import ACCEPTED, FIXED, NONE, OPEN, RECASTED, REOPENED
from sandbox.tenable.web_apps import WebFinding, fqdn_of
from sandbox.tenable.web_plugins import plugin_json

_SCAN_TIMES = ("first_found", "last_found", "last_fixed")
_TIMES = ("since", *_SCAN_TIMES, "indexed_at")
_CHAPTERS = rules.list_of(rules.one_of(*(f"A{number}" for number in range(1, 11))))
_SCORES = ("vpr_score", "vpr_v2_score", "cvss4_base_score", "epss_score")


def _uuid(name: str, value: Any) -> str:
    try:
        return str(uuid.UUID(rules.text(name, value)))
    except ValueError as error:
        raise RefusedError(f"{name}: {error}") from error


def _ipv4(name: str, value: Any) -> str:
    try:
        return str(ipaddress.IPv4Address(rules.text(name, value)))
    except ValueError as error:
        raise RefusedError(f"{name}: {error}") from error


_FILTERS: dict[str, rules.Check] = {
    **dict.fromkeys(_TIMES, rules.time),
    "asset_uuid": rules.list_of(_uuid),
    "asset_name": rules.text,
    "ipv4s": rules.list_of(_ipv4),
    **dict.fromkeys(("owasp_2010", "owasp_2013", "owasp_2017", "owasp_2021"), _CHAPTERS),
    "owasp_api_2019": rules.list_of(rules.one_of(*(f"API{number}" for number in range(1, 11)))),
    "plugin_ids": rules.list_of(rules.integer),
    "severity": rules.list_of(rules.one_of(*SEVERITIES)),
    # Case-sensitive, unlike the state.
    "severity_modification_type": rules.list_of(rules.one_of(NONE, RECASTED, ACCEPTED, any_case=False)),
    "state": rules.list_of(rules.one_of(OPEN, REOPENED, FIXED)),
    "vpr_score": rules.number_range(lowest=0.1, highest=10),
    # Not available yet (API docs), or of data that the estate does not have.
    **dict.fromkeys(("vpr_v2_score", "cvss4_base_score", "epss_score"), rules.not_simulated),
}
_BODY: dict[str, rules.Check] = {
    "num_assets": rules.integer,
    "include_unlicensed": rules.boolean,
    "filters": rules.object_of,
}


@dataclass(frozen=True, slots=True)
class WasRequest:
    """A valid request."""

    filters: Mapping[str, Any]
    num_assets: int
    include_unlicensed: bool


def parse_was_request(body: Any) -> WasRequest:
    """Check a body; `RefusedError` says what is wrong."""
    given = rules.checked("property", rules.object_of("The body", body), _BODY)
    filters = rules.checked("filter", given.get("filters", {}), _FILTERS)
    scan_times = sorted(name for name in _SCAN_TIMES if filters.get(name))
    if filters.get("since") and scan_times:
        raise RefusedError(f"since may not be combined with {', '.join(scan_times)}")
    if scan_times and "state" not in filters:
        raise RefusedError(f"state is required with {', '.join(scan_times)}")
    # Clamped and not refused (API docs: num_assets).
    return WasRequest(filters, min(max(given.get("num_assets", 50), 50), 5_000), given.get("include_unlicensed", False))


def echoed(filters: Mapping[str, Any]) -> dict[str, Any]:
    """The filters as a job's status shows them: unset times as 0, words in upper case, unset bounds as 0."""
    echo: dict[str, Any] = dict.fromkeys(_TIMES, 0)
    for name, value in filters.items():
        if name in ("state", "severity"):
            echo[name] = [word.upper() for word in value]
        elif name in _SCORES:
            echo[name] = {"eq": [], "neq": [], "gt": 0, "gte": 0, "lt": 0, "lte": 0, **value}
        else:
            echo[name] = value
    return echo


def selector(request: WasRequest, now: float) -> Callable[[WebFinding], bool]:
    """Whether a finding belongs to the export. Without state: OPEN and REOPENED, but with `since` all three. Without
    any time: found or fixed in the last 30 days. A time of 0 counts as none.
    """
    filters = request.filters
    default = (OPEN, REOPENED, FIXED) if filters.get("since") else (OPEN, REOPENED)
    states = frozenset(filters.get("state", default))
    times = {name: filters[name] for name in _TIMES if filters.get(name)}
    others = [_OTHERS[name](value) for name, value in filters.items() if name in _OTHERS]

    def selects(found: WebFinding) -> bool:
        if found.state not in states or not (request.include_unlicensed or found.app.is_licensed):
            return False
        if not times and _seen_or_fixed(found) < now - 30 * DAY:
            return False
        if any((_time_of(found, name) or 0) < value for name, value in times.items()):
            return False
        return all(other(found) for other in others)

    return selects


def _seen_or_fixed(found: WebFinding) -> float:
    return found.last_fixed if found.state == FIXED and found.last_fixed is not None else found.last_found


def _time_of(found: WebFinding, name: str) -> float | None:
    match name:
        case "since":
            return _seen_or_fixed(found)
        case "first_found":
            return found.first_found
        case "last_found":
            return found.last_found
        case "last_fixed":
            return found.last_fixed
    return found.indexed


Predicate = Callable[[WebFinding], bool]


def _chapters(name: str) -> Callable[[list[str]], Predicate]:
    return lambda wanted: lambda found: not set(wanted).isdisjoint(json.loads(plugin_json(found.plugin)).get(name, ()))


_OTHERS: dict[str, Callable[[Any], Predicate]] = {
    "asset_uuid": lambda ids: lambda found: found.app.asset_id in ids,
    "asset_name": lambda name: lambda found: name == fqdn_of(found.app),
    "ipv4s": lambda addresses: lambda found: not set(addresses).isdisjoint(found.app.ipv4s),
    "plugin_ids": lambda ids: lambda found: found.plugin.id in ids,
    "severity": lambda names: lambda found: SEVERITIES[found.severity_id] in names,
    "severity_modification_type": lambda types: lambda found: found.modification in types,
    "vpr_score": lambda bounds: lambda found: rules.within(found.plugin.vpr, bounds),
    **{name: _chapters(name) for name in ("owasp_2010", "owasp_2013", "owasp_2017", "owasp_2021", "owasp_api_2019")},
}


def finding_texts(found: Iterable[WebFinding]) -> Iterable[str]:
    """Findings as JSON texts, with the keys in the order of Tenable's example."""
    for each in found:
        head, tail = json.dumps(_head(each)), json.dumps(_tail(each))
        yield f'{head[:-1]}, "plugin": {plugin_json(each.plugin)}, {tail[1:]}'


def _head(found: WebFinding) -> dict[str, Any]:
    quirk = uuid.UUID(found.finding_id).bytes[0]
    proof = "<xss_9a3511f8-7852-4096-a7c0-6065ff8ebad3/>"
    head: dict[str, Any] = {
        "finding_id": found.finding_id,
        "url": found.url,
        "input_type": "form" if found.input else None,
        "input_name": found.input or None,
        "http_method": "GET" if found.input else None,
        "output": f"{found.plugin.name} at {found.url}\nDetected technology: example 2.2.4" if quirk > 40 else None,
        "proof": proof if found.input else None,
        "payload": f"?{found.input}={proof}" if found.input else None,
        "state": found.state,
        "severity": SEVERITIES[found.severity_id].upper(),
        "severity_id": found.severity_id,
        "severity_default_id": found.plugin.severity_id,
        "severity_modification_type": found.modification,
        "recast_reason": found.recast_reason,
        "recast_rule_uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, found.finding_id)) if found.recast_reason else None,
        "first_found": iso(found.first_found, 0),
        "last_found": iso(found.last_found, 0),
        "last_fixed": iso(found.last_fixed, 0) if found.last_fixed else None,
        # A text in the example, a number in the schema.
        "indexed_at": int(found.indexed * 1_000) if quirk % 10 == 3 else iso(found.indexed, 0),
    }
    return {name: value for name, value in head.items() if value is not None}


def _tail(found: WebFinding) -> dict[str, Any]:
    scan = str(uuid.uuid5(uuid.UUID(found.app.asset_id), str(found.last_found)))
    return {
        "asset": {
            "uuid": found.app.asset_id,
            "fqdn": fqdn_of(found.app),
            "ipv4s": list(found.app.ipv4s),
            "ipv4": found.app.ipv4s[0],
        },
        "scan": {"completed_at": iso(found.last_found, 0), "uuid": scan},
    }
