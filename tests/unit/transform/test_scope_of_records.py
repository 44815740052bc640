"""A scope, half of which Tenable applies and half of which the transform applies, leaves out what the whole of it
leaves out.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.asff.plugin import decode_plugin, plugin_parts
from airflow_provider_tenable.export.filter_match import same_filters
from airflow_provider_tenable.tenable_vm.kinds import VULNERABILITIES
from airflow_provider_tenable.tenable_vm.plugin_traits import PluginTraits
from airflow_provider_tenable.transform.scope import EVERYTHING, REASONS, Scope, scope_in
from sandbox.tenable.plugin_record import plugin_record
from sandbox.tenable.plugins import Plugin, all_plugins
from sandbox.tenable.vuln_filters import echoed, parse_vulns_request, selector
from sandbox.tenable.vulnerabilities import OPEN, Vulnerability

HOST: Any = SimpleNamespace(is_licensed=True, tags=())
SWITCHES = dict(VULNERABILITIES.switches)


def traits_of(plugin: Plugin) -> PluginTraits:
    return plugin_parts(decode_plugin(msgspec.json.encode(plugin_record(plugin)))).traits


TRAITS = {plugin: traits_of(plugin) for plugin in all_plugins()}
SOME_IDS = st.lists(st.sampled_from([plugin.id for plugin in TRAITS]), max_size=60).map(tuple)
SOME_FAMILIES = st.lists(st.sampled_from(sorted({plugin.family for plugin in TRAITS})), max_size=4).map(tuple)
SCOPES = st.builds(
    Scope,
    plugin_ids=SOME_IDS,
    exclude_plugin_ids=SOME_IDS,
    plugin_families=SOME_FAMILIES,
    exclude_plugin_families=SOME_FAMILIES,
    known_exploited_only=st.booleans(),
    min_vpr=st.none() | st.integers(1, 100).map(lambda tenths: tenths / 10),
)


def exported(scope: Scope) -> set[Plugin]:
    """The plugins whose findings the sandbox exports."""
    request = parse_vulns_request({"filters": {"state": ["open"], "since": 1, **scope.filters()}, **SWITCHES})
    selects = selector(request, 2_000)
    return {
        plugin
        for plugin in TRAITS
        if selects(Vulnerability(HOST, plugin, 0, "TCP", "", plugin.severity_id, OPEN, 1_000, 1_000, 1_000))
    }


@settings(max_examples=60, deadline=None)
@given(SCOPES)
def test_tenable_and_the_transform_together_leave_out_what_the_scope_leaves_out(scope: Scope) -> None:
    rest = scope.rest()
    assert {plugin for plugin in exported(scope) if not rest.why_not(TRAITS[plugin])} == {
        plugin for plugin, traits in TRAITS.items() if not scope.why_not(traits)
    }
    # Nothing of the rest could have been filtered there.
    assert rest.filters() == {}
    # As Tenable's list of jobs shows it, so that our own job is found again.
    filters = {"state": ["open"], **scope.filters()}
    echo = echoed(parse_vulns_request({"filters": filters}).filters)
    assert same_filters(filters, echo, VULNERABILITIES.filters)
    if scope.filters():
        assert not same_filters({"state": ["open"]}, echo, VULNERABILITIES.filters)
    # As a plan stores it.
    assert scope_in({"scope": msgspec.json.decode(msgspec.json.encode(scope))}) == scope


@pytest.mark.parametrize(
    ("scope", "reason"),
    [
        (Scope(), ""),
        (Scope(plugin_ids=(5, 19506)), ""),
        (Scope(plugin_ids=(5,)), "plugin_not_chosen"),
        (Scope(exclude_plugin_ids=(19506,)), "plugin_not_chosen"),
        (Scope(plugin_ids=(19506,), exclude_plugin_ids=(19506,)), "plugin_not_chosen"),
        (Scope(plugin_families=("Windows",)), ""),
        (Scope(plugin_families=("windows",)), "plugin_family_not_chosen"),
        (Scope(exclude_plugin_families=("Windows",)), "plugin_family_not_chosen"),
        (Scope(exclude_plugin_families=("windows",)), ""),
        (Scope(known_exploited_only=True), "not_known_exploited"),
        (Scope(min_vpr=7), ""),
        (Scope(min_vpr=7.1), "vpr_below_minimum"),
    ],
    ids=str,
)
def test_why_a_plugin_is_left_out(scope: Scope, reason: str) -> None:
    assert scope.why_not(PluginTraits(19506, "Windows", False, 7.0)) == reason
    assert reason in ("", *REASONS)


def test_a_plugin_without_a_rating_or_a_family_is_in_no_narrower_scope() -> None:
    bare = PluginTraits(1)
    assert Scope(min_vpr=0.1).why_not(bare) == "vpr_below_minimum"
    assert Scope(plugin_families=("A",)).why_not(bare) == "plugin_family_not_chosen"
    assert Scope(exclude_plugin_families=("A",)).why_not(bare) == ""


@pytest.mark.parametrize("value", [{}, {"scope": None}, {"scope": {}}])
def test_a_plan_of_an_older_release_leaves_nothing_out(value: Any) -> None:
    assert scope_in(value) == EVERYTHING


@pytest.mark.parametrize(
    ("given_scores", "vpr"),
    [
        ({}, None),
        ({"vpr": {"score": 6.7}}, 6.7),
        ({"vpr": {"score": 6.7}, "vpr_v2": {"score": 9.1}}, 6.7),
        ({"vpr_v2": {"score": 9.1}}, 9.1),
        ({"vpr": {}, "vpr_v2": {"score": 0}}, 0),
        ({"vpr": {"score": 11}, "vpr_v2": {"score": -1}}, None),
    ],
    ids=str,
)
def test_the_rating_is_the_current_one_else_the_second_version(given_scores: Any, vpr: Any) -> None:
    plugin = plugin_parts(decode_plugin(msgspec.json.encode({"id": 1, **given_scores})))
    assert plugin.traits == PluginTraits(1, "", False, vpr)
