"""A scope, half of which Tenable applies and half of which the transform applies, leaves out what the whole of it
leaves out.
"""

from __future__ import annotations

from itertools import product
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
from airflow_provider_tenable.tenable_vm.records import NetworkedVulnerability
from airflow_provider_tenable.transform.scope import EVERYTHING, REASONS, Scope, scope_in
from sandbox.tenable.plugin_record import plugin_record
from sandbox.tenable.plugins import Plugin, all_plugins
from sandbox.tenable.vuln_filters import echoed, parse_vulns_request, selector
from sandbox.tenable.vulnerabilities import OPEN, Vulnerability

NETWORKS = [f"00000000-0000-0000-0000-00000000000{number}" for number in range(3)]
#: Hosts that differ in what a scope asks of them.
HOSTS: list[Any] = [
    SimpleNamespace(is_licensed=True, tags=tags, network_id=network, has_agent=has_agent)
    for tags in ((), (("E", "x"),), (("E", "x"), ("E", "y"), ("O", "z")))
    for network in NETWORKS
    for has_agent in (True, False)
]
SWITCHES = dict(VULNERABILITIES.switches)


def traits_of(plugin: Plugin) -> PluginTraits:
    return plugin_parts(decode_plugin(msgspec.json.encode(plugin_record(plugin)))).traits


TRAITS = {plugin: traits_of(plugin) for plugin in all_plugins()}
#: Every seventh, and all of a family.
SOME = [plugin for number, plugin in enumerate(TRAITS) if number % 7 == 0 or plugin.family == "Windows"]
# Mostly nothing: a scope of everything at once leaves next to nothing.
NOTHING = st.just(())
SOME_IDS = NOTHING | st.lists(st.sampled_from([plugin.id for plugin in SOME]), max_size=20).map(tuple)
SOME_FAMILIES = NOTHING | st.lists(st.sampled_from(sorted({plugin.family for plugin in SOME})), max_size=4).map(tuple)
#: Ratings that plugins have, so that some are exactly the minimum.
RATINGS = sorted({plugin.vpr for plugin in SOME if plugin.vpr})
SCOPES = st.builds(
    Scope,
    plugin_ids=SOME_IDS,
    exclude_plugin_ids=SOME_IDS,
    plugin_families=SOME_FAMILIES,
    exclude_plugin_families=SOME_FAMILIES,
    known_exploited_only=st.sampled_from([False, False, True]),
    min_vpr=st.none() | st.sampled_from(RATINGS),
    asset_tags=st.just({})
    | st.dictionaries(
        st.sampled_from(["E", "O", "x.y"]), st.lists(st.sampled_from("xyz"), min_size=1, max_size=2).map(tuple)
    ),
    sources=NOTHING | st.lists(st.sampled_from(["AGENT", "NESSUS", "NNM"]), max_size=2).map(tuple),
    network_ids=NOTHING | st.lists(st.sampled_from(NETWORKS), unique=True, max_size=2).map(tuple),
    potential_packages=st.sampled_from(["import", "skip"]),
)
Found = tuple[int, Plugin]


def exported(scope: Scope) -> set[Found]:
    """What the sandbox exports: number of the host, and plugin."""
    request = parse_vulns_request({"filters": {"state": ["open"], "since": 1, **scope.filters()}, **SWITCHES})
    selects = selector(request, 2_000)
    return {
        (number, plugin)
        for number, host in enumerate(HOSTS)
        for plugin in SOME
        if selects(Vulnerability(host, plugin, 0, "TCP", "", plugin.severity_id, OPEN, 1_000, 1_000, 1_000))
    }


def why_not(scope: Scope, found: Found) -> str:
    number, plugin = found
    host = HOSTS[number]
    tags: dict[str, list[str]] = {}
    for category, value in host.tags:
        tags.setdefault(category, []).append(value)
    record = {"asset": {"uuid": "a", "network_id": host.network_id}, "source": "AGENT" if host.has_agent else "NESSUS"}
    software = [{"potential": True}] if plugin.number % 2 else None
    decoded = msgspec.convert({**record, "plugin": msgspec.Raw(b"{}")}, NetworkedVulnerability)
    decoded.software_vulns = msgspec.Raw(msgspec.json.encode(software))
    return scope.why_not(TRAITS[plugin]) or scope.why_not_found(decoded) or "tags" * scope.leaves_out_tags(tags)


@settings(max_examples=150, deadline=None)
@given(SCOPES)
def test_tenable_and_the_transform_together_leave_out_what_the_scope_leaves_out(scope: Scope) -> None:
    rest = scope.rest()
    assert {found for found in exported(scope) if not why_not(rest, found)} == {
        found for found in product(range(len(HOSTS)), SOME) if not why_not(scope, found)
    }
    # Nothing of the rest could have been filtered there.
    assert rest.filters() == {}
    assert rest.rest() == rest
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


@pytest.mark.parametrize(
    ("software", "expected"),
    [
        (None, False),
        ([], False),
        ([{}], False),
        ([{"potential": True}], True),
        ([{"potential": True}, {"potential": True, "product": "b"}], True),
        ([{"potential": True}, {"potential": False}], False),
        ([{"potential": True}, {"product": "b"}], False),
        # What cannot be read is not left out.
        ([{"potential": "yes"}], False),
        ({"potential": True}, False),
        ("potential", False),
    ],
    ids=str,
)
def test_what_was_found_in_potential_packages_only(software: Any, expected: bool) -> None:
    record = {"asset": {"uuid": "a"}, "plugin": {}, "software_vulns": software}
    decoded = msgspec.json.decode(msgspec.json.encode(record), type=NetworkedVulnerability)
    assert Scope(potential_packages="skip").why_not_found(decoded) == ("only_potential_packages" if expected else "")
    assert Scope().why_not_found(decoded) == ""


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
