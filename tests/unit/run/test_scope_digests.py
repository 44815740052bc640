"""How a scope is remembered between runs, and between releases."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from airflow_provider_tenable import config
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.run.scope import changes, title_format
from tests.unit.run.test_scope import scope


def test_digests_stay_between_releases():
    """Where one changes, the next run of every deployment is a full one."""
    found = scope(severities=["high", "critical"], accepted_risks="archive")
    assert (found["severities"], found["accepted_risks"]) == ("6719f2d9ab627d6d", "63d4ad3257278fa2")


def test_the_order_of_keys_means_nothing_and_that_of_pairs_does():
    one = scope("compliance", audit_accounts={"a": "1", "b": "2"})
    assert scope("compliance", audit_accounts={"b": "2", "a": "1"}) == one
    assert changes(one, scope("compliance", audit_accounts={"a": "2", "b": "1"})) == ["audit_accounts"]


@pytest.mark.parametrize("value", [[1, "a", None], [{"b": 1}, "a"], date(2026, 1, 1), {"x": date(2026, 1, 1)}, None])
def test_a_default_of_any_type_has_a_digest(value: Any):
    assert changes(scope(accepted_risks=value), scope(accepted_risks=value)) == []
    assert changes(scope(accepted_risks=value), scope()) == ["accepted_risks"]


def test_what_was_removed_has_not_changed_and_changes_are_named_in_order():
    assert changes({"a": "1", "b": "1", "old": "1"}, {"b": "2", "a": "2", "new": "1"}) == ["a", "b"]


def test_a_title_format_that_cannot_be_used_is_quoted_in_short_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    text = "{title} {host} " + "x" * 1000
    monkeypatch.setattr(config, "get", {"title_format": text}.get)
    with pytest.raises(ConfigurationError) as error:
        title_format()
    said = str(error.value)
    assert said.startswith("Option [tenable] title_format is '{title} {host} xx")
    assert "x" * 200 not in said
    advice = (
        "Correct AIRFLOW__TENABLE__TITLE_FORMAT or the option in airflow.cfg, or leave it empty for the plugin's name."
    )
    assert said.endswith(f". {advice}")
