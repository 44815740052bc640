"""Changes to order for web applications and their findings: POST /_sandbox/change."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sandbox.tenable.vulnerabilities import ACCEPTED, FIXED, NONE, RECASTED
from sandbox.tenable.web_apps import WebApps, WebFinding, fixed, reopened, rescanned

FINDING_VERBS = ("was_fix", "was_reopen", "was_rescan", "was_accept", "was_recast", "was_restore", "was_rerate")
APP_VERBS = ("was_launch", "was_find", "was_delete", "was_age_out")
VERBS = (*FINDING_VERBS, *APP_VERBS)
_FOUND_AGO = 600.0


def change(web: WebApps, order: dict[str, Any], now: float) -> int:
    """`was_launch` adds an application with so many `findings`, `was_find` so many new ones to the application
    `asset_id`. `was_delete` deletes an application, whose findings are never exported as fixed; `was_age_out` removes
    it without a trace. The others are about the finding `finding_id`, or about those of `asset_id` or `plugin_id` (or
    both); `was_recast` needs a `severity_id`, and so does `was_rerate`, by which Tenable rates a plugin anew. With
    `silently` the rules of users and ratings move no time.
    """
    do, scan, indexed = order["do"], float(int(now - float(order.get("found_ago", _FOUND_AGO)))), float(int(now))
    if do == "was_launch":
        web.launch(int(order.get("findings", 5)), scan, indexed)
        return 1
    if do in APP_VERBS:
        return _change_app(web, order, scan, indexed)
    selects = _selector(order)
    changed = matching = 0
    for asset_id, found in web.findings.items():
        after = [_changed(old, order, scan, indexed) if selects(old) else old for old in found]
        matching += sum(map(selects, found))
        moved = sum(old is not new for old, new in zip(found, after, strict=True))
        web.findings[asset_id], changed = after, changed + moved
        if moved and do in ("was_fix", "was_reopen", "was_rescan"):
            web.touch(asset_id, scan, indexed)
    if not matching:
        raise ValueError("No finding of a web application matches.")
    return changed


def _change_app(web: WebApps, order: dict[str, Any], scan: float, indexed: float) -> int:
    asset_id = str(order.get("asset_id"))
    if asset_id not in web.apps:
        raise ValueError(f"There is no web application {asset_id!r}.")
    match order["do"]:
        case "was_delete":
            web.delete(asset_id, indexed)
        case "was_age_out":
            web.forget(asset_id)
        case "was_find":
            rng = random.Random(f"{web.seed}/{asset_id}/{len(web.findings[asset_id])}")
            web.touch(asset_id, scan, indexed)
            return sum(web.find(rng, asset_id, scan, indexed) is not None for _ in range(int(order.get("findings", 1))))
    return 1


def _selector(order: dict[str, Any]) -> Callable[[WebFinding], bool]:
    names = order.keys() & {"finding_id", "asset_id", "plugin_id"}
    if not names:
        raise ValueError("Name a finding by finding_id, or findings by asset_id or plugin_id.")

    def selects(found: WebFinding) -> bool:
        facts = {"finding_id": found.finding_id, "asset_id": found.app.asset_id, "plugin_id": found.plugin.id}
        return all(facts[name] == order[name] for name in names)

    return selects


def _changed(old: WebFinding, order: dict[str, Any], scan: float, indexed: float) -> WebFinding:
    ruled = old.indexed if order.get("silently") else indexed
    match order["do"]:
        case "was_fix" if old.state != FIXED:
            return fixed(old, scan, indexed)
        case "was_reopen" if old.state == FIXED:
            return reopened(old, scan, indexed)
        case "was_rescan" if old.state != FIXED:
            return rescanned(old, scan, indexed)
        case "was_accept":
            return replace(old, modification=ACCEPTED, recast_reason=None, indexed=ruled)
        case "was_restore" if old.modification != NONE:
            return replace(
                old, modification=NONE, severity_id=old.plugin.severity_id, recast_reason=None, indexed=ruled
            )
        case "was_recast":
            reason = str(order.get("reason", "Recast by order."))
            severity = _severity(order)
            return replace(old, modification=RECASTED, severity_id=severity, recast_reason=reason, indexed=ruled)
        case "was_rerate":
            plugin = replace(old.plugin, severity_id=_severity(order))
            severity = old.severity_id if old.modification == RECASTED else plugin.severity_id
            return replace(old, plugin=plugin, severity_id=severity, indexed=ruled)
    return old


def _severity(order: dict[str, Any]) -> int:
    severity = order.get("severity_id")
    if not isinstance(severity, int) or severity not in range(5):
        raise ValueError(f"severity_id must be from 0 to 4, not {severity!r}.")
    return severity
