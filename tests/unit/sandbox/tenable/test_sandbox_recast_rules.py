"""The sandbox's recast rules: as strict as the API's description, and with an effect."""

from __future__ import annotations

from typing import Any

import pytest
from running_tenable import Running

from sandbox.tenable.access import ACCESS_KEY, NO_ADMIN, SECRET_KEY

KEYS = {"X-ApiKeys": f"accessKey={NO_ADMIN}{ACCESS_KEY};secretKey={SECRET_KEY}"}


def rule(**changes: Any) -> dict[str, Any]:
    usual = {
        "resource_type": "HOST",
        "rule_name": "r",
        "rule_value": {"action": "ACCEPT", "comment": "why"},
        "filter": {"and": [{"property": "definition.id", "operator": "eq", "value": ["1"]}]},
        "expires_at": "2099-01-01T00:00:00Z",
    }
    return {**usual, **changes}


def create(running: Running, body: Any, **more: Any) -> Any:
    return running.http.post("/v1/recast/rules", json=body, **more)


@pytest.mark.parametrize(
    "changes",
    [
        {"resource_type": "WEBAPP"},
        {"rule_value": {"action": "accept"}},
        {"rule_value": {"action": "ACCEPT", "severity": "LOW"}},
        {"rule_name": "x" * 1025},
        {"description": 7},
        {"expires_at": "2001-01-01T00:00:00Z"},
        {"expires_at": "soon"},
        {"filter": {}},
        {"filter": {"and": [{"property": "port", "operator": "eq", "value": ["1"]}]}},
        {"filter": {"and": [{"property": "definition.id", "operator": "is", "value": ["1"]}]}},
        {"filter": {"and": [{"property": "definition.id", "operator": "eq", "value": "1"}]}},
        {"comment": "x"},
    ],
    ids=str,
)
def test_what_is_not_such_a_rule_is_refused(running: Running, changes: dict[str, Any]) -> None:
    assert create(running, rule(**changes)).status_code == 400


def test_only_an_administrator_makes_rules_and_none_twice(running: Running) -> None:
    assert create(running, rule(), headers=KEYS).status_code == 403
    assert running.http.post("/v1/recast/rules/search", json={}, headers=KEYS).status_code == 403
    first = create(running, rule()).json()
    assert first["disabled_details"] == {"disabled": False}
    assert create(running, rule()).status_code == 400
    assert create(running, rule(rule_name="s", filter=rule(filter=None)["filter"])).status_code == 400
    other = rule(filter={"and": [{"property": "definition.id", "operator": "eq", "value": ["2"]}]})
    assert create(running, other).status_code == 200
    page = running.http.post("/v1/recast/rules/search", json={"limit": 1}).json()
    assert (page["pagination"]["total"], len(page["rules"])) == (2, 1)
    following = running.http.post(
        "/v1/recast/rules/search", json={"limit": 1, "next": page["pagination"]["next"]}
    ).json()
    assert (following["pagination"]["next"], following["rules"][0]["filter"]) == (None, other["filter"])
    assert running.http.post("/v1/recast/rules/search", json={"limit": 501}).status_code == 400
