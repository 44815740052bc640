"""Changes to order for one vulnerability or host: POST /_sandbox/change."""

import json
import random
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sandbox.tenable import audit_results, web_changes
from sandbox.tenable.estate import Estate, quantized
from sandbox.tenable.hosts import EC2_KINDS, Host, HostState, generate_host
from sandbox.tenable.vulnerabilities import (
    ACCEPTED,
    FIXED,
    NONE,
    OPEN,
    RECASTED,
    REOPENED,
    Vulnerability,
    generate_vulnerabilities,
)

VULNERABILITY_VERBS = ("fix", "reopen", "rescan", "accept", "recast", "restore")
HOST_VERBS = ("terminate", "delete", "age_out", "hide_asset", "show_asset", "change_asset")
CHANGEABLE = (
    "account",
    "region",
    "instance_id",
    "instance_type",
    "name",
    "acr",
    "tags",
    "resource_tags",
    "arn",
    "attributes",
    "network_id",
    "mac",
    "ipv4s",
)
"""What `change_asset` can set of a host."""
RERATED = ("severity_id", "name", "cves", "vpr", "vpr_v2", "epss", "cvss2", "cvss3", "cvss4")
"""What `rerate` can set of a plugin."""
FOUND_AGO = 600.0
"""A change was seen by a scan that long before it is published."""


def change(estate: Estate, order: Any, now: float) -> int:
    """Make a change and return how many records changed. ValueError says what is wrong with the request.

    `disconnect` takes away what Tenable's AWS connector knows of all hosts, or of the one that is named; with `agents`,
    the metadata that an agent reads on the instance stays, which names no account. `connect` brings it back. `launch`
    adds a host with so many `vulnerabilities`, of which the connector knows nothing yet if it is `unconnected`. `twin`
    adds a second asset of a host's instance, as when an agent and a network scanner each report it. A vulnerability is
    named by `finding_id`, or by `asset_id` (or `instance_id`) with any of `plugin_id`, `protocol` and
    `port`; without those, all of the host's are meant. The scan was `found_ago` seconds before now; the record is
    published now. `accept`, `recast` and `restore` (which takes either back) with `silently` move no time at all:
    whether Tenable indexes a record again when a rule changes it is not documented. `rerate` changes a plugin
    (`plugin_id`, and a `set` of any of `RERATED`) for all hosts that have it, silently unless `silently` is false.
    `age_out` removes a host without a trace, as a network's option does with assets that are not seen any more. A
    `change_asset` of account, Region or instance_id is a move.
    """
    if not isinstance(order, dict):
        raise ValueError(f"A change is a JSON object, not {order!r}.")
    do = order.get("do")
    if do in VULNERABILITY_VERBS:
        return _change_vulnerabilities(estate, order, now)
    if do in HOST_VERBS:
        return _change_host(estate, _host_of(estate, order), order, now)
    if do == "launch":
        return _launch(estate, order, now)
    if do == "twin":
        return _twin(estate, _host_of(estate, order), now)
    if do == "disconnect":
        return _disconnect(estate, order, now)
    if do == "connect":
        return _connect(estate, order, now)
    if do == "rerate":
        return _rerate(estate, order, now)
    if do in audit_results.VERBS:
        return audit_results.change(estate.audits, order, now)
    if do in web_changes.VERBS:
        return web_changes.change(estate.web, order, now)
    if do == "inject":
        return _inject(estate, order)
    if do == "clear_injected":
        injected = estate.injected
        lists = (injected.vulnerabilities, injected.assets, injected.compliance, injected.was)
        count = sum(map(len, lists))
        for each in lists:
            each.clear()
        return count
    verbs = (
        *VULNERABILITY_VERBS,
        *HOST_VERBS,
        "launch",
        "twin",
        "disconnect",
        "connect",
        "rerate",
        *audit_results.VERBS,
        *web_changes.VERBS,
        "inject",
        "clear_injected",
    )
    raise ValueError(f"Unknown change {do!r}; there are: {', '.join(verbs)}.")


def _change_vulnerabilities(estate: Estate, order: dict[str, Any], now: float) -> int:
    selects = _selector(estate, order)
    changed = 0
    for asset_id, found in estate.vulnerabilities.items():
        if not any(selects(vulnerability) for vulnerability in found):
            continue
        host = estate.hosts[asset_id]
        scan, indexed = quantized(now - float(order.get("found_ago", FOUND_AGO)), host.time_digits), quantized(now, 6)
        after = [_changed(old, order, scan, indexed) if selects(old) else old for old in found]
        changed += sum(old is not new for old, new in zip(found, after, strict=True))
        estate.vulnerabilities[asset_id] = after
        if order["do"] in ("fix", "reopen", "rescan"):
            state = estate.states[asset_id]
            estate.states[asset_id] = replace(state, last_scan=max(scan, state.last_scan), updated_at=quantized(now, 3))
    if not changed and not any(
        selects(vulnerability) for found in estate.vulnerabilities.values() for vulnerability in found
    ):
        raise ValueError("No vulnerability matches.")
    return changed


def _changed(old: Vulnerability, order: dict[str, Any], scan: float, indexed: float) -> Vulnerability:
    ruled = old.indexed if order.get("silently") else indexed
    match order["do"]:
        case "fix" if old.state != FIXED:
            return replace(old, state=FIXED, last_fixed=scan, indexed=indexed)
        case "reopen" if old.state == FIXED:
            return replace(old, state=REOPENED, last_fixed=None, resurfaced=scan, last_found=scan, indexed=indexed)
        case "rescan" if old.state != FIXED:
            return replace(old, state=old.state or OPEN, last_found=scan, indexed=indexed)
        case "accept":
            return replace(old, modification=ACCEPTED, indexed=ruled)
        case "restore" if old.modification != NONE:
            return replace(
                old, modification=NONE, severity_id=old.plugin.severity_id, recast_reason=None, indexed=ruled
            )
        case "recast":
            severity = order.get("severity_id")
            if not isinstance(severity, int) or severity not in range(5):
                raise ValueError(f"severity_id must be from 0 to 4, not {severity!r}.")
            return replace(
                old,
                modification=RECASTED,
                severity_id=severity,
                recast_reason=str(order.get("reason", "Recast by order.")),
                indexed=ruled,
            )
    return old


def _selector(estate: Estate, order: dict[str, Any]) -> Callable[[Vulnerability], bool]:
    if finding_id := order.get("finding_id"):
        return lambda vulnerability: vulnerability.finding_id == finding_id
    host = _host_of(estate, order)

    def selects(vulnerability: Vulnerability) -> bool:
        return (
            vulnerability.host is host
            and order.get("plugin_id", vulnerability.plugin.id) == vulnerability.plugin.id
            and str(order.get("protocol", vulnerability.protocol)).upper() == vulnerability.protocol
            and order.get("port", vulnerability.port) == vulnerability.port
        )

    return selects


def _host_of(estate: Estate, order: dict[str, Any]) -> Host:
    reference = order.get("asset_id") or order.get("instance_id")
    if not reference:
        raise ValueError("Name a vulnerability by finding_id, or a host by asset_id or instance_id.")
    host = estate.host_of(str(reference))
    if host is None:
        raise ValueError(f"There is no host {reference!r}.")
    return host


def _change_host(estate: Estate, host: Host, order: dict[str, Any], now: float) -> int:
    state, at = estate.states[host.asset_id], quantized(now, 3)
    match order["do"]:
        case "terminate":
            state = replace(state, terminated_at=at, updated_at=at)
        case "delete":
            state = replace(state, deleted_at=at, updated_at=at)
            estate.remove(host.asset_id)
        case "age_out":
            estate.forget(host.asset_id)
            return 1
        case "hide_asset":
            state = replace(state, is_hidden=True, is_hidden_singly=order.get("singly", True) is False)
        case "show_asset":
            state = replace(state, is_hidden=False, is_hidden_singly=False)
        case "change_asset":
            estate.replace_host(_changed_host(host, order.get("set")))
            # Whether Tenable counts each of these as an update of the asset it does not say.
            state = state if order.get("silently") else replace(state, updated_at=at)
    estate.states[host.asset_id] = state
    return 1


def _changed_host(host: Host, values: Any) -> Host:
    if not isinstance(values, dict) or not values or values.keys() - set(CHANGEABLE):
        raise ValueError(f"change_asset needs a set of any of {', '.join(CHANGEABLE)}.")
    changed: dict[str, Any] = {
        name: tuple(tuple(pair) for pair in value) if name in ("tags", "resource_tags") else value
        for name, value in values.items()
    }
    changed |= {name: tuple(changed[name]) for name in ("attributes", "ipv4s") if name in changed}
    if "region" in changed and host.zone:
        changed["zone"] = changed["region"] + host.zone[-1]
    return replace(host, **changed)


def _rerate(estate: Estate, order: dict[str, Any], now: float) -> int:
    """Tenable changes a plugin's rating or text; recast vulnerabilities keep their severity."""
    values = order.get("set")
    if not isinstance(values, dict) or not values or values.keys() - set(RERATED):
        raise ValueError(f"rerate needs a plugin_id and a set of any of {', '.join(RERATED)}.")
    values = {name: tuple(value) if name == "cves" else value for name, value in values.items()}
    silently = order.get("silently", True) is not False
    changed = 0
    for asset_id, found in estate.vulnerabilities.items():
        after = []
        for old in found:
            if old.plugin.id == order.get("plugin_id"):
                plugin = replace(old.plugin, **values)
                severity = old.severity_id if old.modification == RECASTED else plugin.severity_id
                indexed = old.indexed if silently else quantized(now, 6)
                after.append(replace(old, plugin=plugin, severity_id=severity, indexed=indexed))
                changed += 1
            else:
                after.append(old)
        estate.vulnerabilities[asset_id] = after
    if not changed:
        raise ValueError(f"No host has plugin {order.get('plugin_id')!r}.")
    return changed


def _launch(estate: Estate, order: dict[str, Any], now: float) -> int:
    """A new EC2 instance, scanned `found_ago` seconds before now and published now; with `hidden`, its asset is not
    published yet.
    """
    number = estate.born
    rng = random.Random(f"{estate.seed}/launch/{number}")
    begun = now - float(order.get("found_ago", FOUND_AGO))
    host = generate_host(
        rng, number, "ec2", accounts=estate.accounts, regions=estate.regions, created_at=quantized(begun - 2, 3)
    )
    scan, indexed = quantized(begun, host.time_digits), quantized(now, 6)
    found = generate_vulnerabilities(rng, host, int(order.get("vulnerabilities", 10)), [(scan, indexed)])
    hidden = bool(order.get("hidden"))
    estate.add(host, HostState(scan, quantized(now, 3), is_hidden=hidden, is_hidden_singly=hidden), found)
    if order.get("unconnected"):
        _disconnect(estate, {**order, "asset_id": host.asset_id}, now)
    return len(found)


def _twin(estate: Estate, host: Host, now: float) -> int:
    """A second asset of the same instance, published now, with the same vulnerabilities. Both change independently."""
    rng = random.Random(f"{estate.seed}/twin/{estate.born}")
    twin = replace(host, asset_id=str(uuid.UUID(int=rng.getrandbits(128), version=4)), number=estate.born)
    indexed = quantized(now, 6)
    found = [replace(old, host=twin, indexed=indexed) for old in estate.vulnerabilities[host.asset_id]]
    estate.add(twin, replace(estate.states[host.asset_id], updated_at=quantized(now, 3)), found)
    return len(found)


def _disconnect(estate: Estate, order: dict[str, Any], now: float) -> int:
    """Hosts lose their AWS account; what was found on them stays."""
    kind = "no_owner" if order.get("agents") else "on_prem"
    named = [_host_of(estate, order)] if order.get("asset_id") or order.get("instance_id") else estate.hosts.values()
    changed = [host for host in named if host.kind in EC2_KINDS]
    for host in changed:
        known: dict[str, Any] = (
            {} if kind == "no_owner" else {"account": None, "region": None, "zone": None, "instance_id": None}
        )
        estate.unconnected.setdefault(host.asset_id, host)
        estate.replace_host(replace(host, kind=kind, **known))
        estate.states[host.asset_id] = replace(estate.states[host.asset_id], updated_at=quantized(now, 3))
    return len(changed)


def _connect(estate: Estate, order: dict[str, Any], now: float) -> int:
    """The connector knows the instance and account of hosts, again or for the first time. What was found stays."""
    asset_id = order.get("asset_id")
    asset_ids = [str(asset_id)] if asset_id else list(estate.unconnected)
    for each in asset_ids:
        known = estate.unconnected.pop(each, None)
        if known is None:
            raise ValueError(f"Host {each!r} is not disconnected.")
        names = ("kind", "account", "region", "zone", "instance_id")
        estate.replace_host(replace(estate.hosts[each], **{name: getattr(known, name) for name in names}))
        estate.states[each] = replace(estate.states[each], updated_at=quantized(now, 3))
    return len(asset_ids)


def _inject(estate: Estate, order: dict[str, Any]) -> int:
    names = ("record", "raw", "asset", "raw_asset", "compliance", "raw_compliance", "was", "raw_was")
    given = [name for name in names if name in order]
    if len(given) != 1:
        raise ValueError(f"inject needs one of {', '.join(names)}.")
    name, value = given[0], order[given[0]]
    into = estate.injected.compliance if "compliance" in name else estate.injected.vulnerabilities
    into = estate.injected.assets if name in ("asset", "raw_asset") else into
    into = estate.injected.was if name in ("was", "raw_was") else into
    into.append(value if name.startswith("raw") else json.dumps(value))
    return 1
