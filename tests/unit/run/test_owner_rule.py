"""``[tenable] owners``: the rule that it makes, and what is refused."""

from __future__ import annotations

import json

import pytest

from airflow_provider_tenable import config
from airflow_provider_tenable.asff.owner import OwnerRule
from airflow_provider_tenable.exceptions import ConfigurationError
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
    assert json.dumps(owners_of_scope())


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("owner", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("[]", "it must be an object with resource_tags, tag_categories, accounts, default"),
        ("{}", "it must be an object"),
        ('{"tags": ["a"]}', "it has 'tags'; it may have resource_tags"),
        ('{"resource_tags": "owner"}', "resource_tags must be a list"),
        ('{"tag_categories": [1]}', "tag_categories must be a list"),
        ('{"tag_categories": [" "]}', "tag_categories must be a list"),
        (json.dumps({"resource_tags": list(map(str, range(21)))}), "resource_tags has 21 names; 20 are possible"),
        ('{"accounts": ["a"]}', "accounts must be an object"),
        ('{"accounts": {"12345": "a"}}', "it maps 12 digits to an owner"),
        ('{"accounts": {"111122223333": 7}}', "it maps 12 digits to an owner"),
        ('{"accounts": {"111122223333": "\\u200b"}}', "it maps 12 digits to an owner"),
        ('{"default": null}', "default must be the name of an owner"),
    ],
    ids=lambda text: text[:30],
)
def test_another_option_is_refused(monkeypatch: pytest.MonkeyPatch, option: str, problem: str) -> None:
    monkeypatch.setenv(OPTION, option)
    with pytest.raises(ConfigurationError) as error:
        owner_rule()
    assert "Option [tenable] owners is" in str(error.value)
    assert problem in str(error.value)
    assert "AIRFLOW__TENABLE__OWNERS" in str(error.value)
    assert len(str(error.value)) < 700
