"""``[tenable] owners``: the rule that it makes, and what is refused."""

from __future__ import annotations

import json

import pytest

from airflow_provider_tenable import config
from airflow_provider_tenable.asff.owner import OwnerRule
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import quoted
from airflow_provider_tenable.run.owner_rule import owner_rule, owners_of_scope

OPTION = "AIRFLOW__TENABLE__OWNERS"


def test_without_the_option_there_is_no_rule() -> None:
    assert owner_rule() is None
    assert owners_of_scope() == ""


def test_the_rule_is_that_of_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OPTION, config.OPTIONS["owners"].example or "")
    assert owner_rule() == OwnerRule(("owner", "Owner"), ("Owner",), {"111122223333": "Payments"})
    monkeypatch.setenv(OPTION, '{"default": " Cloud\\n Platform ", "resource_tags": ["a", "a"]}')
    assert owner_rule() == OwnerRule(("a",), default="Cloud Platform")
    # As a part of the scope, which is compared as JSON.
    assert owners_of_scope() == {
        "resource_tags": ("a",),
        "tag_categories": (),
        "accounts": {},
        "default": "Cloud Platform",
    }
    assert json.dumps(owners_of_scope())


def test_at_most_twenty_names(monkeypatch: pytest.MonkeyPatch) -> None:
    names = list(map(str, range(20)))
    monkeypatch.setenv(OPTION, json.dumps({"resource_tags": names, "tag_categories": names}))
    assert owner_rule() == OwnerRule(tuple(names), tuple(names))


ENTRIES = "resource_tags, tag_categories, accounts, default"
NO_NAMES = "{} must be a list of names of tags"
NO_OWNER = "accounts has {}; it maps 12 digits to an owner"


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("owner", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("[]", f"it must be an object with {ENTRIES}"),
        ("{}", f"it must be an object with {ENTRIES}"),
        ('{"tags": ["a"]}', f"it has 'tags'; it may have {ENTRIES}"),
        (json.dumps({"x" * 200: 1}), f"it has {quoted('x' * 200, 80)}; it may have {ENTRIES}"),
        ('{"resource_tags": "owner"}', NO_NAMES.format("resource_tags")),
        ('{"tag_categories": ["a", 1]}', NO_NAMES.format("tag_categories")),
        ('{"tag_categories": [" "]}', NO_NAMES.format("tag_categories")),
        (json.dumps({"resource_tags": list(map(str, range(21)))}), "resource_tags has 21 names; 20 are possible"),
        ('{"accounts": ["a"]}', "accounts must be an object: 12 digits to an owner"),
        ('{"accounts": {"12345": "a"}}', NO_OWNER.format("{'12345': 'a'}")),
        ('{"accounts": {"111122223333": "a", "222233334444": 7}}', NO_OWNER.format("{'222233334444': 7}")),
        ('{"accounts": {"111122223333": "\\u200b"}}', NO_OWNER.format(quoted({"111122223333": "\u200b"}, 120))),
        (json.dumps({"accounts": {"1" * 200: "a"}}), NO_OWNER.format(quoted({"1" * 200: "a"}, 120))),
        ('{"default": null}', "default must be the name of an owner"),
    ],
    ids=lambda text: text[:30],
)
def test_another_option_is_refused(monkeypatch: pytest.MonkeyPatch, option: str, problem: str) -> None:
    monkeypatch.setenv(OPTION, option)
    with pytest.raises(ConfigurationError) as error:
        owner_rule()
    assert str(error.value) == (
        f"Option [tenable] owners is {quoted(option, 200)}: {problem}. Correct AIRFLOW__TENABLE__OWNERS or the option "
        f"in airflow.cfg, for example {config.OPTIONS['owners'].example}, or leave it empty for findings without "
        "owners."
    )
    assert len(str(error.value)) < 700
