"""Accept rules over real sockets: what is asked for, and what Tenable's answers become."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_tenable.exceptions import TemporaryError, TenablePermissionError, TenableRequestError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.hooks.tenable import new_client
from airflow_provider_tenable.tenable_vm import recast_rules
from airflow_provider_tenable.tenable_vm.recast_rules import LONGEST, AcceptRule, Condition, RecastRulesApi
from tests.local_server import client_arguments

KEY = "0123456789abcdef01234567"
RULE = AcceptRule(KEY, "Security Hub: plugin 1 on a", "who", "why", [Condition("definition.id", "1")], 1_800_000_000)


@pytest.fixture
def api(server):
    clients = [new_client(client_arguments(server.url), retries=0) for _ in range(2)]
    yield RecastRulesApi(clients[0], once=clients[1], name="connection 'tenable_default'")
    for client in clients:
        client._session.close()


def answer(server: Any, *values: Any, status: int = 200) -> None:
    """These answers in turn, the last one repeatedly."""
    server.answers = [(status, {}, json.dumps(value).encode()) for value in values]


def listed(key: str, *, action: str = "ACCEPT", disabled: Any = False, name: str = "x [airflow {}]") -> dict[str, Any]:
    return {
        "rule_name": name.format(key),
        "rule_value": {"action": action},
        "disabled_details": {"disabled": disabled},
    }


def test_rules_of_this_package_are_found_on_all_pages(server, api):
    a, b, c = ("a" * 24, "b" * 24, "c" * 24)
    others = [
        listed("d" * 24, action="RECAST"),
        listed("e" * 24, name="x [airflow {}] y"),
        {"rule_name": 7},
        {"rule_name": "x [airflow " + "f" * 24 + "]", "rule_value": "ACCEPT"},
        "?",
    ]
    answer(
        server,
        {"rules": [listed(a), listed(b, disabled=True), *others], "pagination": {"next": "n"}},
        # Two of one note count as one that is in force, whichever comes first.
        {"rules": [listed(c, disabled=True), listed(c), listed(a, disabled=True)], "pagination": {"next": None}},
    )
    assert api.ours() == {a: True, b: False, c: True}
    assert [request[:2] for request in server.requests] == [("POST", "/v1/recast/rules/search")] * 2
    first, second = (json.loads(request[3]) for request in server.requests)
    assert first == {"resource_type": ["HOST"], "limit": 500}
    assert second == {**first, "next": "n"}


def test_a_rule_s_texts_are_cut_and_its_mark_is_not():
    rule = AcceptRule(KEY, "t" * 2000, "d" * 2000, "c" * 2000, [], 0)
    body = rule.body
    assert body["rule_name"] == safe("t" * 2000, LONGEST - len(f" [airflow {KEY}]")) + f" [airflow {KEY}]"
    assert [len(body["rule_name"]), len(body["description"]), len(body["rule_value"]["comment"])] == [LONGEST] * 3
    assert body["expires_at"] == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize("pagination", [{"next": ""}, {}, None, 5])
def test_a_page_without_a_next_one_is_the_last(server, api, pagination):
    answer(server, {"rules": [listed(KEY)], "pagination": pagination})
    assert api.ours() == {KEY: True}
    assert len(server.requests) == 1


def test_pages_are_read_up_to_a_bound(server, api, monkeypatch):
    monkeypatch.setattr(recast_rules, "_MOST_PAGES", 3)
    answer(server, *({"rules": [], "pagination": {"next": str(number)}} for number in range(9)))
    with pytest.raises(TemporaryError, match="list of recast rules does not end"):
        api.ours()
    assert len(server.requests) == 3


@pytest.mark.parametrize("details", [None, {}, {"disabled": None}, {"disabled": "true"}, "?"])
def test_a_rule_is_in_force_unless_tenable_says_that_it_is_not(server, api, details):
    answer(server, {"rules": [{**listed(KEY), "disabled_details": details}]})
    assert api.ours() == {KEY: True}


@pytest.mark.parametrize(
    "pages", [[{"next": "n"}, {"next": "n"}], [{"next": 7}], [{"next": {}}]], ids=["same token", "number", "object"]
)
def test_a_list_that_does_not_end_is_no_list(server, api, pages):
    answer(server, *({"rules": [], "pagination": page} for page in pages))
    with pytest.raises(TemporaryError, match="does not end"):
        api.ours()


@pytest.mark.parametrize("value", [{}, [], {"rules": 7}])
def test_an_answer_without_rules_is_not_taken_for_none(server, api, value):
    answer(server, value)
    with pytest.raises(TemporaryError):
        api.ours()


def test_a_rule_is_created_once(server, api):
    answer(server, {"rule_id": "810207f8-a9de-4bc8-8b7c-3f149b12ec94", "rule_value": {"action": "ACCEPT"}})
    assert api.accept(RULE) is True
    (request,) = server.requests
    assert request[:2] == ("POST", "/v1/recast/rules")
    assert json.loads(request[3]) == RULE.body


def test_a_rule_that_exists_is_no_error_and_another_400_is_one(server, api):
    answer(server, {"message": "Duplicate rule"}, status=400)
    assert api.accept(RULE) is False
    answer(server, {"message": "Invalid filter"}, status=400)
    with pytest.raises(
        TenableRequestError, match=r"Cannot create the accept rule 'Security Hub: .* on a'.*Invalid filter"
    ):
        api.accept(RULE)
    answer(server, {"message": "Duplicate rule"}, status=422)
    with pytest.raises(TenableRequestError):
        api.accept(RULE)


def test_a_creation_whose_answer_is_lost_is_not_repeated(server, api):
    """It may have taken effect, and the next run finds it by its mark."""
    answer(server, {}, status=502)
    with pytest.raises(TemporaryError):
        api.accept(RULE)
    assert len(server.requests) == 1


def test_neither_is_one_whose_answer_is_cut_off_though_a_list_is_read_again(server, api):
    server.answers = [(200, {"Content-Length": "999", "Connection": "close"}, b'{"rule_id": "81'), (200, {}, b"{}")]
    with pytest.raises(TemporaryError, match=r"accept rule .*connection 'tenable_default'"):
        api.accept(RULE)
    assert len(server.requests) == 1
    server.requests.clear()
    server.answers = [
        (200, {"Content-Length": "999", "Connection": "close"}, b'{"rules": ['),
        (200, {}, json.dumps({"rules": [listed(KEY)]}).encode()),
    ]
    assert api.ours() == {KEY: True}
    assert len(server.requests) == 2


def test_who_may_not_create_one_learns_which_role_may(server, api):
    answer(server, {"error": "Forbidden"}, status=403)
    with pytest.raises(TenablePermissionError, match=r"accept rule.*connection 'tenable_default'.*role Administrator"):
        api.accept(RULE)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"rule_id": "1", "rule_value": {"action": "ACCEPT"}},
        [],
        {"rule_id": "810207f8-a9de-4bc8-8b7c-3f149b12ec94"},
        {"rule_id": "810207f8-a9de-4bc8-8b7c-3f149b12ec94", "rule_value": {"action": "RECAST"}},
    ],
    ids=str,
)
def test_an_answer_that_is_not_the_rule_does_not_count(server, api, value):
    answer(server, value)
    with pytest.raises(TemporaryError, match="accept rule"):
        api.accept(RULE)


def test_who_may_not_learns_which_role_may(server, api):
    answer(server, {"error": "Forbidden"}, status=403)
    with pytest.raises(
        TenablePermissionError,
        match=r"list the recast rules.*connection 'tenable_default'.*role Administrator, or a custom role",
    ):
        api.ours()
