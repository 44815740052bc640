"""The endpoints of recast rules (API docs: recast-rules): strict, with accept rules for hosts alone. A rule applies at
once to what it matches, and is disabled when it has expired.
"""

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sandbox.clock import iso
from sandbox.tenable.access import Endpoint, User
from sandbox.tenable.answers import error
from sandbox.tenable.vulnerabilities import ACCEPTED, Vulnerability
from sandbox.web import read_json

if TYPE_CHECKING:
    from sandbox.tenable.server import Tenable

OPERATIONS = ("recast_rule_create", "recast_rules")
_FIELDS = {"rule_name", "description", "resource_type", "rule_value", "filter", "expires_at", "disabled_details"}
#: Property -> what it says of a vulnerability. `definition.id` is required.
_PROPERTIES: dict[str, Callable[[Vulnerability], str]] = {
    "asset.id": lambda found: found.host.asset_id,
    "definition.id": lambda found: str(found.plugin.id),
    "port": lambda found: str(found.port),
    "protocol": lambda found: found.protocol,
}
_LONGEST = 1024


def recast_rule_routes(tenable: "Tenable", endpoint: Endpoint) -> list[BaseRoute]:
    """The endpoints of recast rules."""

    async def create(request: Request, user: User) -> Response:
        body = await read_json(request)
        if not user.is_administrator:
            return error(403, "Insufficient scope")
        now = tenable.clock.now()
        if problem := _problem(body, now):
            return error(400, problem)
        if any(
            (rule["filter"], rule["rule_name"]) == (body["filter"], body.get("rule_name")) for rule in tenable.rules
        ):
            return error(400, "Duplicate rule")
        rule = {
            **body,
            "rule_id": str(uuid.uuid4()),
            "container_id": tenable.container_uuid,
            "created_at": iso(now),
            "rule_value": {"false_positive": False, **body["rule_value"]},
            "disabled_details": {"disabled": False},
        }
        tenable.rules.append(rule)
        _apply(tenable, rule, now)
        return JSONResponse(rule)

    async def search(request: Request, user: User) -> Response:
        body = await read_json(request)
        if not user.is_administrator:
            return error(403, "Insufficient scope")
        limit = body.get("limit", 100) if isinstance(body, dict) else None
        if not isinstance(limit, int) or not 1 <= limit <= 500 or set(body) - {"resource_type", "limit", "next"}:
            return error(400, "Invalid search")
        begin = int(body.get("next") or 0)
        rules = [_shown(rule, tenable.clock.now()) for rule in tenable.rules[begin : begin + limit]]
        following = str(begin + limit) if begin + limit < len(tenable.rules) else None
        return JSONResponse(
            {"rules": rules, "pagination": {"total": len(tenable.rules), "limit": limit, "next": following}}
        )

    return [
        Route("/v1/recast/rules", endpoint("recast_rule_create", create), methods=["POST"]),
        Route("/v1/recast/rules/search", endpoint("recast_rules", search), methods=["POST"]),
    ]


def _shown(rule: dict[str, Any], now: float) -> dict[str, Any]:
    if not _is_over(rule, now):
        return rule
    return {**rule, "disabled_details": {"disabled": True, "disabled_reason": "Rule Expiration"}}


def _is_over(rule: dict[str, Any], now: float) -> bool:
    return _moment(rule["expires_at"]) <= now


def _problem(body: Any, now: float) -> str | None:
    if not isinstance(body, dict) or set(body) - _FIELDS:
        return "Invalid body"
    if not all(isinstance(body.get(name, ""), str) and len(body.get(name, "")) <= _LONGEST for name in _TEXTS):
        return "rule_name and description have up to 1024 characters"
    value = body.get("rule_value")
    if body.get("resource_type") != "HOST" or not isinstance(value, dict) or value.get("action") != "ACCEPT":
        return "The sandbox knows accept rules for HOST only"
    if set(value) - {"action", "comment", "false_positive", "original_severity"}:
        return "Invalid rule_value"
    try:
        if _moment(body["expires_at"]) <= now:
            return "expires_at must be in the future"
        conditions = body["filter"]["and"]
        names = [condition["property"] for condition in conditions]
        if set(names) - _PROPERTIES.keys() or len(set(names)) < len(names) or "definition.id" not in names:
            return "Invalid filter"
        for condition in conditions:
            if condition["operator"] != "eq" or set(condition) != {"property", "operator", "value"}:
                return "Invalid operator"
            if not isinstance(condition["value"], list) or not all(
                isinstance(each, str) for each in condition["value"]
            ):
                return "Invalid value"
    except (KeyError, TypeError, ValueError):
        return "Invalid filter or expires_at"
    return None


_TEXTS = ("rule_name", "description")


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _apply(tenable: "Tenable", rule: dict[str, Any], now: float) -> None:
    estate = tenable.estate

    def matches(found: Vulnerability) -> bool:
        return all(_PROPERTIES[each["property"]](found) in each["value"] for each in rule["filter"]["and"])

    for asset_id, vulnerabilities in estate.vulnerabilities.items():
        estate.vulnerabilities[asset_id] = [
            replace(each, modification=ACCEPTED, recast_reason=rule["rule_value"].get("comment"), indexed=now)
            if matches(each)
            else each
            for each in vulnerabilities
        ]
