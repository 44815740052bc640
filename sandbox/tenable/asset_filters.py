"""POST /assets/v2/export and /assets/export: the valid bodies, and which assets they select (API docs)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.tenable import requests as rules
from sandbox.tenable.asset_records import source_names
from sandbox.tenable.hosts import Host, HostState
from sandbox.tenable.requests import RefusedError

_TIMES = (
    "created_at",
    "updated_at",
    "terminated_at",
    "deleted_at",
    "first_scan_time",
    "last_authenticated_scan_time",
    "last_assessed",
)
_FLAGS = ("is_terminated", "is_deleted", "is_licensed", "has_plugin_results", "servicenow_sysid")
_COMMON: dict[str, rules.Check] = {
    **dict.fromkeys(_TIMES, rules.time),
    **dict.fromkeys(_FLAGS, rules.boolean),
    "last_scan_id": rules.not_simulated,
    "network_id": rules.text,
    "sources": rules.list_of(rules.text),
}
_V2: dict[str, rules.Check] = {
    **_COMMON,
    "since": rules.time,
    "types": rules.list_of(rules.one_of("host", "webapp", any_case=False)),
}
_BODY: dict[str, rules.Check] = {
    "chunk_size": rules.integer,
    "include_open_ports": rules.boolean,
    "include_resource_tags": rules.boolean,
    "filters": rules.object_of,
}


@dataclass(frozen=True, slots=True)
class AssetsRequest:
    """A valid request."""

    version: int
    filters: Mapping[str, Any]
    chunk_size: int
    include_open_ports: bool
    include_resource_tags: bool


def parse_assets_request(body: Any, version: int) -> AssetsRequest:
    """Check a body of version 1 or 2; `RefusedError` says what is wrong."""
    given = rules.checked("property", rules.object_of("The body", body), _BODY)
    if "chunk_size" not in given:
        raise RefusedError("chunk_size is required")
    ports, tags = given.get("include_open_ports", False), given.get("include_resource_tags", False)
    highest = 1_000 if tags else 10_000
    if not 100 <= given["chunk_size"] <= highest:
        raise RefusedError(f"chunk_size must be from 100 to {highest}, not {given['chunk_size']}")
    if ports and tags:
        raise RefusedError("include_open_ports may not be combined with include_resource_tags")
    filters = given.get("filters", {})
    by_tag = {
        name: rules.list_of(rules.text)(name, values) for name, values in filters.items() if name.startswith("tag.")
    }
    if by_tag and version == 2:
        raise RefusedError(f"Unknown filter: {next(iter(by_tag))}")
    plain = {name: value for name, value in filters.items() if name not in by_tag}
    filters = rules.checked("filter", plain, _V2 if version == 2 else _COMMON)
    return AssetsRequest(version, {**filters, **by_tag}, given["chunk_size"], ports, tags)


_ASKS_FOR_GONE = frozenset({"since", "deleted_at", "terminated_at", "is_deleted", "is_terminated"})
"""Filters on deleted or terminated assets; `since` returns assets whatever their state (pyTenable's
documentation).
"""


def selector(request: AssetsRequest, *, omits_gone: bool = False) -> Callable[[Host, HostState], bool]:
    """Whether an asset belongs to the export. Filters are ANDed; v2 without `types` exports hosts only.

    :param omits_gone: whether deleted and terminated assets are left out unless a filter asks for them
    """
    filters = request.filters
    omits_gone = omits_gone and _ASKS_FOR_GONE.isdisjoint(filters)
    tags = {name.removeprefix("tag."): values for name, values in filters.items() if name.startswith("tag.")}

    def selects(host: Host, state: HostState) -> bool:
        if state.is_hidden or (omits_gone and (state.deleted_at or state.terminated_at)):
            return False
        if request.version == 2 and ("webapp" if host.kind == "webapp" else "host") not in filters.get(
            "types", ("host",)
        ):
            return False
        if any((_time_of(host, state, name) or 0) < filters[name] for name in _TIMES if filters.get(name)):
            return False
        changes = (state.updated_at, state.deleted_at or 0, state.terminated_at or 0)
        if max(changes) < filters.get("since", 0):
            return False
        if any(_flag(host, state, name) != filters[name] for name in _FLAGS if name in filters):
            return False
        if filters.get("network_id", host.network_id) != host.network_id:
            return False
        if "sources" in filters and set(source_names(host)).isdisjoint(filters["sources"]):
            return False
        return all(any((category, value) in host.tags for value in values) for category, values in tags.items())

    return selects


def _time_of(host: Host, state: HostState, name: str) -> float | None:
    match name:
        case "created_at" | "first_scan_time":
            return host.created_at
        case "updated_at":
            return state.updated_at
        case "terminated_at":
            return state.terminated_at
        case "deleted_at":
            return state.deleted_at
        case "last_assessed":
            return state.last_scan
    return state.last_scan if host.has_agent else None


def _flag(host: Host, state: HostState, name: str) -> bool:
    match name:
        case "is_terminated":
            return state.terminated_at is not None
        case "is_deleted":
            return state.deleted_at is not None
        case "is_licensed":
            return host.is_licensed
        case "has_plugin_results":
            return True
    return False
