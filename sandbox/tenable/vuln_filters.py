"""POST /vulns/export: the valid bodies, and which vulnerabilities they select (API docs of that name)."""

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.clock import DAY
from sandbox.tenable import requests as rules
from sandbox.tenable.catalogue import SEVERITIES
from sandbox.tenable.records import RecordOptions
from sandbox.tenable.requests import RefusedError
from sandbox.tenable.vulnerabilities import ACCEPTED, FIXED, NONE, OPEN, RECASTED, REOPENED, Vulnerability

_SCAN_TIMES = ("first_found", "first_seen", "last_found", "last_seen", "last_fixed")
_TIMES = ("since", *_SCAN_TIMES, "indexed_at", "resurfaced_date")
_SCORE = rules.number_range(lowest=0, highest=10)
_WORDS = rules.list_of(rules.text)
_SCORES = ("vpr_score", "vpr_v2_score", "cvss4_base_score", "epss_score")


def _network(name: str, value: Any) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(rules.text(name, value), strict=False)
    except ValueError as error:
        raise RefusedError(f"{name}: {error}") from error


def _seconds_range(name: str, value: Any) -> dict[str, Any]:
    return rules.checked(name, rules.object_of(name, value), {"gte": rules.integer, "lte": rules.integer})


_FILTERS: dict[str, rules.Check] = {
    **dict.fromkeys(_TIMES, rules.time),
    "time_taken_to_fix": _seconds_range,
    "state": rules.list_of(rules.one_of(OPEN, REOPENED, FIXED)),
    "severity": rules.list_of(rules.one_of(*SEVERITIES)),
    "severity_modification_type": rules.list_of(rules.one_of(NONE, RECASTED, ACCEPTED)),
    "plugin_id": rules.list_of(rules.integer),
    "plugin_family": _WORDS,
    "plugin_type": rules.text,
    "cidr_range": _network,
    "network_id": rules.text,
    "source": _WORDS,
    "cve_id": rules.list_of(rules.text, at_most=200),
    **dict.fromkeys(("vpr_score", "vpr_v2_score", "cvss4_base_score"), _SCORE),
    "epss_score": rules.number_range(lowest=0, highest=100),
    **dict.fromkeys(
        (
            "scan_uuid",
            "cve_category",
            "exploit_maturity",
            "vpr_threat_intensity",
            "weaponization",
            "zero_day",
            "initiative_id",
            "software_vulns_potential",
            "software_vulns_potential_reasons",
        ),
        rules.not_simulated,
    ),
}
_BODY: dict[str, rules.Check] = {
    "num_assets": rules.integer,
    "include_unlicensed": rules.boolean,
    "include_software_vulns": rules.boolean,
    "include_plugin_output": rules.boolean,
    "properties": rules.not_simulated,
    "filters": rules.object_of,
}


@dataclass(frozen=True, slots=True)
class VulnsRequest:
    """A valid request. `filters` are the checked ones, tags under `tag.<Category>`."""

    filters: Mapping[str, Any]
    num_assets: int
    include_unlicensed: bool
    options: RecordOptions


def parse_vulns_request(body: Any) -> VulnsRequest:
    """Check a body; `RefusedError` says what is wrong."""
    given = rules.checked("property", rules.object_of("The body", body), _BODY)
    filters = given.get("filters", {})
    tags = {
        name: _WORDS(name, values) for name, values in filters.items() if name.startswith("tag.") and name != "tag."
    }
    filters = rules.checked("filter", {name: value for name, value in filters.items() if name not in tags}, _FILTERS)
    scan_times = sorted(name for name in _SCAN_TIMES if filters.get(name))
    if filters.get("since") and scan_times:
        raise RefusedError(f"since may not be combined with {', '.join(scan_times)}")
    if scan_times and "state" not in filters:
        raise RefusedError(f"state is required with {', '.join(scan_times)}")
    return VulnsRequest(
        filters={**filters, **tags},
        num_assets=min(max(given.get("num_assets", 50), 50), 5_000),
        include_unlicensed=given.get("include_unlicensed", False),
        options=RecordOptions(given.get("include_software_vulns", False), given.get("include_plugin_output", True)),
    )


def echoed(filters: Mapping[str, Any]) -> dict[str, Any]:
    """The filters as a job's status shows them: unset times as 0, upper case, `plugin_ids`, tags in an object."""
    echo: dict[str, Any] = {}
    for name, value in filters.items():
        if name in ("state", "severity"):
            echo[name] = [word.upper() for word in value]
        elif name == "plugin_id":
            echo["plugin_ids"] = value
        elif name in _SCORES:
            echo[name] = {"eq": [], "neq": [], "gt": 0, "gte": 0, "lt": 0, "lte": 0, **value}
        elif name == "cidr_range":
            echo[name] = str(value)
        elif not name.startswith("tag."):
            echo[name] = value
    echo["tags"] = {name: values for name, values in filters.items() if name.startswith("tag.")}
    return {**dict.fromkeys((*_TIMES, "indexed_at_end_value"), 0), **echo}


def selector(request: VulnsRequest, now: float) -> Callable[[Vulnerability], bool]:
    """Whether a vulnerability belongs to the export.

    Without state: OPEN and REOPENED. Without any time: found or fixed in the last 30 days. A time of 0 counts as none.
    """
    filters = request.filters
    states = frozenset(filters.get("state", (FIXED,) if "time_taken_to_fix" in filters else (OPEN, REOPENED)))
    times = {name: filters[name] for name in _TIMES if filters.get(name)}
    others = [_OTHERS[name](value) for name, value in filters.items() if name in _OTHERS]
    tags = {name.removeprefix("tag."): values for name, values in filters.items() if name.startswith("tag.")}

    def selects(vulnerability: Vulnerability) -> bool:
        if vulnerability.state not in states or not (request.include_unlicensed or vulnerability.host.is_licensed):
            return False
        if not times and "time_taken_to_fix" not in filters and _seen_or_fixed(vulnerability) < now - 30 * DAY:
            return False
        if any((_time_of(vulnerability, name) or 0) < value for name, value in times.items()):
            return False
        host_tags = vulnerability.host.tags
        if any(not any((category, value) in host_tags for value in values) for category, values in tags.items()):
            return False
        return all(other(vulnerability) for other in others)

    return selects


def _seen_or_fixed(vulnerability: Vulnerability) -> float:
    if vulnerability.state == FIXED and vulnerability.last_fixed is not None:
        return vulnerability.last_fixed
    return vulnerability.last_found


def _time_of(vulnerability: Vulnerability, name: str) -> float | None:
    match name:
        case "since":
            return _seen_or_fixed(vulnerability)
        case "first_found" | "first_seen":
            return vulnerability.first_found
        case "last_found" | "last_seen":
            return vulnerability.last_found
        case "last_fixed":
            return vulnerability.last_fixed
        case "indexed_at":
            return vulnerability.indexed
    return vulnerability.resurfaced


Predicate = Callable[[Vulnerability], bool]


def _taken(bounds: Mapping[str, int]) -> Predicate:
    def selects(vulnerability: Vulnerability) -> bool:
        if vulnerability.state != FIXED or vulnerability.last_fixed is None:
            return False
        return rules.within(int(vulnerability.last_fixed - vulnerability.first_found), bounds)

    return selects


def _severity(names: list[str]) -> Predicate:
    wanted = {SEVERITIES.index(name) for name in names}
    return lambda vulnerability: vulnerability.severity_id in wanted


_OTHERS: dict[str, Callable[[Any], Predicate]] = {
    "time_taken_to_fix": _taken,
    "severity": _severity,
    "severity_modification_type": lambda types: lambda vuln: vuln.modification in types,
    "plugin_id": lambda ids: lambda vuln: vuln.plugin.id in ids,
    "plugin_family": lambda families: lambda vuln: vuln.plugin.family in families,
    "plugin_type": lambda kind: lambda vuln: vuln.plugin.kind == kind.lower(),
    "cidr_range": lambda network: lambda vuln: ipaddress.ip_address(vuln.host.ipv4s[0]) in network,
    "network_id": lambda network_id: lambda vuln: network_id == vuln.host.network_id,
    "source": lambda names: lambda vuln: ("AGENT" if vuln.host.has_agent else "NESSUS") in names,
    "cve_id": lambda cves: lambda vuln: not set(cves).isdisjoint(vuln.plugin.cves),
    "vpr_score": lambda bounds: lambda vuln: rules.within(vuln.plugin.vpr, bounds),
    "vpr_v2_score": lambda bounds: lambda vuln: rules.within(vuln.plugin.vpr_v2, bounds),
    "cvss4_base_score": lambda bounds: lambda vuln: rules.within(vuln.plugin.cvss4, bounds),
    "epss_score": lambda bounds: lambda vuln: rules.within(vuln.plugin.epss, bounds),
}
