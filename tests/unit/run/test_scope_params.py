"""The params of a scope: which values they take, and which runs cover which defaults."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable._compat import AirflowException
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.run import form
from airflow_provider_tenable.run.params import DEFAULTS, IMPORT, departures, parse_settings
from airflow_provider_tenable.run.scope_params import MOST_VALUES, SCOPE
from airflow_provider_tenable.tenable_vm.plugin_traits import PluginTraits
from airflow_provider_tenable.tenable_vm.records import NetworkedVulnerability as Record
from airflow_provider_tenable.transform.scope import EVERYTHING, Scope
from airflow_provider_tenable.transform.scope_values import MOST_CATEGORIES, parse_scope

IDS, NAMES = ("plugin_ids", "exclude_plugin_ids"), ("plugin_families", "exclude_plugin_families")


def test_the_defaults_leave_nothing_out() -> None:
    assert parse_scope({}) == parse_scope(DEFAULTS) == parse_settings({}).scope == EVERYTHING
    assert EVERYTHING.filters() == {}
    assert {name: IMPORT[name] for name in SCOPE} == SCOPE
    assert tuple(Scope.__struct_fields__) == tuple(SCOPE)


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize(
    ("value", "read"),
    [
        (None, ()),
        ([], ()),
        (["", " "], ()),
        ([19506], (19506,)),
        # As the form submits them, one per line.
        (["51192", " 19506 ", "", "51192"], (19506, 51192)),
        ((7, "5"), (5, 7)),
        ([9_999_999_999], (9_999_999_999,)),
    ],
)
def test_ids_are_numbers_or_texts(name: str, value: Any, read: Any) -> None:
    assert getattr(parse_scope({name: value}), name) == read


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize(
    "value",
    [
        *(0, "19506", {"a": 1}, list(range(1, MOST_VALUES + 2))),
        *([each] for each in (0, "0", -1, "-1", 1.0, "1.0", True, None, [1], "٣", "1 2", "12345678901")),
    ],
)
def test_what_is_no_id_is_named(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{name} is .*; it must be a list of at most 1000 ids of plugins"):
        parse_scope({name: value})


@pytest.mark.parametrize("name", [*IDS, *NAMES, "sources"])
def test_a_list_has_at_most_a_thousand_values(name: str) -> None:
    value = ["7"] * MOST_VALUES if name != "sources" else ["AGENT"] * MOST_VALUES
    assert len(getattr(parse_scope({name: value}), name)) == 1
    with pytest.raises(ConfigurationError, match=rf"^{name} is \['.*; it must be a list of at most 1000 "):
        parse_scope({name: [*value, value[0]]})


def test_networks_are_told_apart_in_small_letters() -> None:
    network = "00000000-0000-4000-8000-0000000000AB"
    assert parse_scope({"network_ids": [f" {network} ", network.lower()]}).network_ids == (network.lower(),)
    with pytest.raises(
        ConfigurationError,
        match=r"^network_ids is 'x'; it must be a list of at most 1000 uuids of networks, or empty\.$",
    ):
        parse_scope({"network_ids": ["x"]})


def test_tags_are_bounded_in_number() -> None:
    categories = {f"c{number:02d}": ["x"] for number in range(MOST_CATEGORIES)}
    assert len(parse_scope({"asset_tags": categories}).asset_tags) == MOST_CATEGORIES
    with pytest.raises(
        ConfigurationError, match=r"^asset_tags is \{'c00': .*; it must be an object of at most 50 categ"
    ):
        parse_scope({"asset_tags": {**categories, "one more": ["x"]}})
    values = [str(number) for number in range(MOST_VALUES)]
    assert len(parse_scope({"asset_tags": {"E": values}}).asset_tags["E"]) == MOST_VALUES
    for wrong in ([*values, "one more"], [], [""], "x"):
        with pytest.raises(ConfigurationError, match=r"^asset_tags is \{'E': .*; it must be an object of category -> "):
            parse_scope({"asset_tags": {"E": wrong}})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("known_exploited_only", "yes", "known_exploited_only is 'yes'; it must be true or false."),
        ("potential_packages", "no", "potential_packages is 'no'; it must be one of import, skip."),
        (
            "sources",
            ["agent"],
            "sources is 'agent'; it must be a list of at most 1000 sources in capital letters, such as AGENT, or "
            "empty.",
        ),
    ],
)
def test_what_is_wrong_is_quoted_with_what_is_allowed(name: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_scope({name: value})
    assert str(caught.value) == message


@pytest.mark.parametrize("name", NAMES)
def test_families_are_taken_as_they_are_written(name: str) -> None:
    given_names = ["Windows : Microsoft Bulletins", "  Web Servers", "", "Web Servers"]
    assert getattr(parse_scope({name: given_names}), name) == ("Web Servers", "Windows : Microsoft Bulletins")
    for value in (
        [5],
        [None],
        ["x" * 201],
        ["a\nb"],
        ["\x1b[31m"],
        ["{{ conn.x.password }}"],
        ["a}"],
        "Windows",
        5,
        ["x"] * (MOST_VALUES + 1),
    ):
        with pytest.raises(ConfigurationError, match=f"^{name} is .*; it must be a list of at most 1000 names"):
            parse_scope({name: value})


@pytest.mark.parametrize("value", [0, 0.05, -1, 10.1, "7", True, float("nan"), float("inf"), 10**400, [7]])
def test_what_is_no_rating_is_named(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"^min_vpr is {re.escape(str(value)[:5])}|^min_vpr is '7'"):
        parse_scope({"min_vpr": value})


def test_ratings_and_flags() -> None:
    assert [parse_scope({"min_vpr": value}).min_vpr for value in (None, 0.1, 7, 10)] == [None, 0.1, 7, 10]
    assert parse_scope({"known_exploited_only": True}).known_exploited_only
    for value in (None, 1, "true"):
        with pytest.raises(ConfigurationError, match=r"^known_exploited_only is .*; it must be true or false"):
            parse_scope({"known_exploited_only": value})


def test_the_form_shows_them_in_a_section_of_their_own() -> None:
    params = form.import_params({"min_vpr": 7})
    assert {name for name, param in params.items() if param.schema.get("section") == "Scope"} == set(SCOPE)
    assert params["min_vpr"].value == 7


def test_a_run_without_a_scope_plans_as_before() -> None:
    assert {"scope"} == set(parse_settings({}).__dataclass_fields__) - set(IMPORT)


@pytest.mark.parametrize("name", SCOPE)
def test_the_form_takes_what_a_run_takes(name: str) -> None:
    """What Airflow's form and its API accept is a run's value; and what they refuse a run refuses, too."""
    param = form.import_params()[name]
    values: list[Any] = [None, True, False, 0, 1, 0.05, 0.1, 7, 10, 10.5, 19506, "", "7", "x", [], [""], ["19506"]]
    values += [
        [19506],
        [0],
        [1.5],
        [True],
        [None],
        ["a b"],
        ["x" * 200],
        ["x" * 201],
        ["a\nb"],
        ["{{ 1 }}"],
        {},
        [{}],
        ["1"] * 1_001,
    ]
    values += [{"a": ["b"]}, {"a": []}, {"": ["b"]}, {"a": "b"}, {"a": ["{"]}, {"{": ["b"]}, {"a": ["b", ""]}]
    values += [["AGENT"], ["agent", "NNM"], [UUIDS[0]], [UUIDS[0].upper() + " "], [UUIDS[0] + "0"], "import", "skip"]
    for value in values:
        try:
            param.resolve(value)
            by_form = True
        except (AirflowException, ValueError):
            by_form = False
        try:
            parse_scope({name: value})
            by_run = True
        except ConfigurationError:
            by_run = False
        assert by_form == by_run, value


UUIDS = [f"00000000-0000-0000-0000-00000000000{number}" for number in range(3)]


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ({}, {}),
        ({"Owner": ["b", "a", "a"], "Environment": ("x",)}, {"Environment": ("x",), "Owner": ("a", "b")}),
        # Blanks belong to a tag.
        ({" a ": [" b"]}, {" a ": (" b",)}),
    ],
)
def test_tags_are_values_by_category(value: Any, read: Any) -> None:
    assert parse_scope({"asset_tags": value}).asset_tags == read


@pytest.mark.parametrize(
    "value",
    [
        *(None, [], "Owner:a", {"": ["a"]}, {"a": []}, {"a": "b"}, {"a": [""]}, {"a": [5]}, {"a": ["{{ 1 }}"]}),
        *({"{{ 1 }}": ["a"]}, {"a": ["x" * 201]}, {"a": ["b\nc"]}, {5: ["a"]}, {"a": None}, {"a": ["b"] * 1_001}),
        {str(number): ["a"] for number in range(51)},
    ],
)
def test_what_is_no_tag_is_named(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^asset_tags is .*; it must be an object of"):
        parse_scope({"asset_tags": value})


def test_sources_networks_and_potential_findings() -> None:
    scope = parse_scope(
        {"sources": ["NNM", " AGENT", ""], "network_ids": [UUIDS[1].upper()], "potential_packages": "skip"}
    )
    assert (scope.sources, scope.network_ids, scope.potential_packages) == (("AGENT", "NNM"), (UUIDS[1],), "skip")
    wrong = [("sources", ["agent"]), ("sources", ["A B"]), ("sources", "AGENT"), ("network_ids", ["Default"])]
    for name, value in wrong:
        with pytest.raises(ConfigurationError, match=rf"^{name} is .*; it must be a list of at most 1000 "):
            parse_scope({name: value})
    for value in (None, True, "IMPORT", ["skip"]):
        with pytest.raises(ConfigurationError, match=r"^potential_packages is .*; it must be one of import, skip"):
            parse_scope({"potential_packages": value})


CHOICES: dict[str, st.SearchStrategy[Any]] = {
    "plugin_ids": st.none() | st.lists(st.sampled_from([1, 2, "1", "2", ""]), max_size=3),
    "exclude_plugin_ids": st.none() | st.lists(st.sampled_from([1, 2, "2", " "]), max_size=3),
    "plugin_families": st.none() | st.lists(st.sampled_from(["A", "B", ""]), max_size=2),
    "exclude_plugin_families": st.none() | st.lists(st.sampled_from(["A", "B"]), max_size=2),
    "known_exploited_only": st.booleans(),
    "min_vpr": st.sampled_from([None, 4, 7, 7.0, 9.5]),
    "asset_tags": st.dictionaries(
        st.sampled_from(["E", "O"]), st.lists(st.sampled_from(["x", "y"]), min_size=1, max_size=2), max_size=2
    ),
    "sources": st.none() | st.lists(st.sampled_from(["AGENT", "NNM", ""]), max_size=2),
    "network_ids": st.none() | st.lists(st.sampled_from(UUIDS[:2]), max_size=2),
    "potential_packages": st.sampled_from(["import", "skip"]),
}
PLUGINS = [
    PluginTraits(number, family, exploited, vpr)
    for number in (1, 2, 3)
    for family in ("A", "B", "")
    for exploited in (True, False)
    for vpr in (None, 0.0, 4.0, 7.0, 9.4, 9.5)
]


#: An asset without one of the tags, of one value, or of both.
TAGS = [
    {name: values for name, values in (("E", e), ("O", o)) if values}
    for e in ([], ["x"], ["y"], ["x", "y"])
    for o in ([], ["x"], ["y"])
]
NO_PLUGIN: dict[str, Any] = {"plugin": {}}
UNSURE, SURE = {"potential": True}, {"potential": False}
FOUND = [
    msgspec.json.decode(
        msgspec.json.encode({**NO_PLUGIN, "asset": {"uuid": "a", "network_id": network}, "source": source, **software}),
        type=Record,
    )
    for network in (*UUIDS, None)
    for source in ("AGENT", "agent", "NNM", None)
    for software in ({"software_vulns": packages} for packages in (None, [], [UNSURE], [UNSURE, SURE], [{}]))
]


def within(params: dict[str, Any]) -> set[Any]:
    """What is in a scope: plugins, tags of assets, and the rest of records, since none depends on the others."""
    scope = parse_scope(params)
    found: set[Any] = {plugin for plugin in PLUGINS if not scope.why_not(plugin)}
    found |= {str(tags) for tags in TAGS if not scope.leaves_out_tags(tags)}
    return found | {number for number, record in enumerate(FOUND) if not scope.why_not_found(record)}


@settings(max_examples=120, deadline=None)
@given(st.fixed_dictionaries(CHOICES), st.fixed_dictionaries(CHOICES))
def test_a_run_that_covers_the_defaults_leaves_out_nothing_of_theirs(asked: Any, usual: Any) -> None:
    departing = departures({**DEFAULTS, **asked}, {**DEFAULTS, **usual})
    for name in SCOPE:
        # Each param by itself: a run departs exactly where its value leaves out something that the default does not.
        covers = within({name: usual[name]}) <= within({name: asked[name]})
        assert (name not in departing) == covers, name
    if not departing:
        assert within(usual) <= within(asked)
