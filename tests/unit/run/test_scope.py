"""The scope of a DAG, by which a run notices that it must be full."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_tenable import config
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.run.compliance_params import COMPLIANCE
from airflow_provider_tenable.run.kind_params import OF_KIND
from airflow_provider_tenable.run.params import IMPORT
from airflow_provider_tenable.run.scope import changes, scope_of, title_format

#: Another value than the default of each.
OTHERS: dict[str, Any] = {
    "severities": ["critical"],
    "states": ["open"],
    "accepted_risks": "import",
    "severity_source": "vpr",
    "non_ec2_assets": "other",
    "plugin_ids": [19506],
    "exclude_plugin_ids": ["19506"],
    "plugin_families": ["Windows"],
    "exclude_plugin_families": ["Windows"],
    "known_exploited_only": True,
    "min_vpr": 7,
    "asset_tags": {"Environment": ["prod"]},
    "sources": ["AGENT"],
    "network_ids": ["00000000-0000-0000-0000-000000000000"],
    "potential_packages": "skip",
    "audit_statuses": ["failed"],
    "audit_accounts": {"11111111-2222-4333-8444-555555555555": "111122223333"},
}


def scope(kind: str = "vulnerabilities", **changed: Any) -> dict[str, str]:
    table = OF_KIND[kind]
    return scope_of({**{name: param.default for name, param in table.items()}, **changed}, table, kind)


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Options with values of their own."""
    own: dict[str, Any] = {}
    usual = config.get
    monkeypatch.setattr(config, "get", lambda name: own.get(name) or usual(name))
    return own


@pytest.mark.parametrize(("kind", "table"), [("vulnerabilities", IMPORT), ("compliance", COMPLIANCE)])
def test_every_param_that_says_what_is_delivered_is_part_of_the_scope(kind, table, options):
    usual = scope(kind)
    assert changes(usual, scope(kind)) == []
    places = {"destinations", "region_routing"}
    of_table = {name for name, param in table.items() if param.covers is not None} - places
    for name in of_table:
        assert changes(usual, scope(kind, **{name: OTHERS[name]})) == [name]
    option = "audit_severity" if kind == "compliance" else "title_format"
    options[option] = "{title} on {resource}"
    assert changes(usual, scope(kind)) == [option]
    assert set(usual) == of_table | {option, "owners", "scope of destinations"}
    options["owners"] = '{"default": "Platform"}'
    assert changes(usual, scope(kind)) == sorted([option, "owners"])


def test_the_scope_of_a_destination_is_part_of_it_with_the_accounts_that_it_is_for():
    plain, narrow = {"accounts": "*"}, {"accounts": ["111122223333"], "scope": {"min_vpr": 9}}
    usual = scope(destinations=[narrow, plain])
    assert scope(destinations=[plain]) == scope(destinations=[plain, {"scope": {}}]) == scope()
    assert scope(destinations=[{**narrow, "role_name": "R"}, plain, plain]) == usual
    assert scope(destinations=[narrow]) == usual
    others = [{"scope": {"min_vpr": 8}}, {"accounts": ["444455556666"]}, {"regions": ["eu-west-1"]}, {"scope": None}]
    for other in others:
        assert changes(usual, scope(destinations=[{**narrow, **other}, plain])) == ["scope of destinations"]
    # The first that matches counts.
    assert changes(usual, scope(destinations=[plain, narrow])) == ["scope of destinations"]
    # After an upgrade from a release without it.
    assert changes({}, usual) == ["scope of destinations"]
    assert changes({}, scope()) == []
    # It is about vulnerabilities.
    assert scope("compliance", destinations=[narrow]) == scope("compliance")


def test_what_does_not_say_what_is_delivered_is_not():
    others = {"dry_run": True, "batch_size": 7, "full": True, "max_rejected_ratio": 1, "region_routing": "resource"}
    assert scope(**others) == scope()


def test_the_order_of_choices_means_nothing():
    assert scope(severities=["critical", "high"]) == scope(severities=("high", "critical"))
    # Nor do blank lines of the form, or whether an id is a number.
    assert scope(plugin_ids=["51192", "", "19506"]) == scope(plugin_ids=[19506, 51192])
    assert scope(plugin_ids=[], plugin_families=[""]) == scope()


def test_after_an_upgrade_only_that_counts_which_had_a_known_value_before(options):
    assert changes({}, scope(severities=["low"], states=["open"])) == []
    assert changes({}, scope(severity_source="cvss3")) == ["severity_source"]
    assert changes({}, scope(min_vpr=7, plugin_ids=[], known_exploited_only=True)) == [
        "known_exploited_only",
        "min_vpr",
    ]
    options["title_format"] = "{title} ({region})"
    assert changes({}, scope()) == ["title_format"]
    options["owners"] = '{"resource_tags": ["owner"]}'
    assert changes({}, scope()) == ["owners", "title_format"]


def test_a_title_format_that_cannot_be_used_is_a_mistake_of_the_deployment(options):
    assert title_format() == ""
    options["title_format"] = "{title} on {host}"
    with pytest.raises(ConfigurationError, match=r"title_format is '\{title} on \{host}': its fields are") as error:
        scope()
    assert "AIRFLOW__TENABLE__TITLE_FORMAT" in str(error.value)
    # Results of audits have their own titles.
    assert "title_format" not in scope("compliance")
