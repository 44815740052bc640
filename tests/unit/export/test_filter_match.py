"""Whether a job's echoed filters are ours."""

from __future__ import annotations

import json
import pathlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.export import filter_match
from airflow_provider_tenable.tenable_vm.kinds import VULNERABILITIES

DATA = pathlib.Path(__file__).resolve().parents[2] / "data"
JOBS = json.loads((DATA / "vulns_export_jobs_official_example.json").read_text())["exports"]
STATUS = json.loads((DATA / "vulns_export_status_official_example.json").read_text())


def same_filters(ours, echoed):
    return filter_match.same_filters(ours, echoed, VULNERABILITIES.filters)


#: What was asked for, by the example's uuid.
ASKED = {
    "5a56a9b1-447e-4aa1-aba1-deaacb38a9cf": {
        "state": ["open", "reopened"],
        "tag.Location": ["Dallas"],
        "since": 1611102529,
    },
    "69c201d1-9afd-4a4a-8acf-43c367ab03bf": {
        "state": ["reopened", "open"],
        "tag.Device": ["Laptop"],
        "since": 1611102552,
    },
    "b22a7871-7d5c-479e-a326-93af37cc285d": {"state": ["OPEN", "REOPENED"], "since": 1519025683},
    "83996ca1-8ab5-4d20-9b09-0ab6db6fd00f": {},
    "95eae0fe-1272-4495-a63b-639bd2a2f4f2": {
        "severity": ["low"],
        "state": ["fixed"],
        "plugin_family": ["string"],
        "tag.Location": ["Dallas"],
        "cidr_range": "192.0.2.1/24",
        "network_id": "00000000-0000-0000-0000-000000000000",
        "vpr_score": {"eq": [2], "neq": [3]},
        "vpr_v2_score": {"eq": [3], "neq": [1]},
        "epss_score": {"eq": [10], "neq": [20], "gt": 30, "gte": 40, "lt": 90, "lte": 80},
        "cvss4_base_score": {"eq": [5], "neq": [2]},
        "plugin_id": [0],
    },
}
STATUS_ASKED = {
    "severity": ["critical"],
    "state": ["open"],
    "tag.Location": ["Dallas"],
    "first_found": 1540350772,
    "cve_id": ["CVE-2025-0589", "CVE-2025-44228"],
    "cve_category": ["ransomware", "in_the_news", "persistently_exploited"],
    "exploit_maturity": ["poc", "unproven"],
    "vpr_threat_intensity": ["Very Low", "Low", "Medium"],
    "weaponization": ["apt", "botnet", "malware"],
}


@pytest.mark.parametrize("uuid", ASKED)
def test_the_published_echo_is_recognised_as_what_was_asked(uuid):
    echo = next(job["filters"] for job in JOBS if job["uuid"] == uuid)
    assert same_filters(ASKED[uuid], echo)
    assert same_filters(ASKED[uuid], json.dumps(echo))


@pytest.mark.parametrize("uuid", ASKED)
def test_no_two_of_the_published_jobs_are_taken_for_each_other(uuid):
    assert [job["uuid"] for job in JOBS if same_filters(ASKED[uuid], job["filters"])] == [uuid]


def test_the_published_status_is_recognised_and_each_filter_of_it_matters():
    assert same_filters(STATUS_ASKED, STATUS["filters"])
    for name in STATUS_ASKED:
        assert not same_filters(
            {key: value for key, value in STATUS_ASKED.items() if key != name}, STATUS["filters"]
        ), name


@pytest.mark.parametrize(
    ("ours", "echo", "same"),
    [
        ({}, None, True),
        ({}, "", True),
        ({}, "null", True),
        ({}, "{}", True),
        ({"since": 1}, None, False),
        ({"since": 1}, {"since": 1}, True),
        ({"since": 1}, {"since": 2}, False),
        ({"vpr_score": {"gt": 1}}, {"gt": 1}, False),
        ({"since": 1}, {"indexed_at": 1}, False),
        (
            {"since": 1},
            {
                "since": 1,
                "last_found": 0,
                "tags": {},
                "vpr_score": {"eq": [], "gt": 0},
                "source": None,
                "zero_day": False,
            },
            True,
        ),
        ({"since": 1}, {"since": 1, "zero_day": True}, False),
        ({"state": ["open", "fixed"]}, {"state": ["FIXED", "OPEN"]}, True),
        ({"state": ["open"]}, {"state": ["OPEN", "FIXED"]}, False),
        ({"severity": ["High"]}, {"severity": ["HIGH"]}, True),
        ({"severity_modification_type": ["accepted"]}, {"severity_modification_type": ["ACCEPTED"]}, True),
        ({"plugin_family": ["windows"]}, {"plugin_family": ["Windows"]}, False),
        ({"tag.City": ["Bonn"]}, {"tags": {"tag.City": ["Bonn"]}}, True),
        ({"tag.City": ["Bonn"]}, {"tags": {"tag.City": ["Berlin"]}}, False),
        ({"tag.City": ["Bonn"]}, {"tags": {}}, False),
        ({"first_seen": 5}, {"first_found": 5, "first_seen": 0}, True),
        ({"last_seen": 5}, {"last_found": 5}, True),
        ({"first_seen": 5}, {"last_found": 5}, False),
        ({"plugin_ids": [2, 1]}, {"plugin_id": [1, 2]}, True),
        ({}, "{", False),
        ({}, "[]", False),
        ({}, [], False),
        ({}, 7, False),
        ({}, "[" * 100_000, False),
        ({"since": 1}, {"since": "1"}, False),
        ({"since": 1}, {"since": float("nan")}, False),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_echo_is_compared_by_meaning(ours, echo, same):
    assert same_filters(ours, echo) is same


NAMES = st.sampled_from(["state", "severity", "plugin_id", "cve_id", "since", "indexed_at", "tag.City", "vpr_score"])


@st.composite
def asked(draw):
    names = draw(st.sets(NAMES))
    texts = st.lists(st.sampled_from(["OPEN", "FIXED", "HIGH", "LOW", "7"]), min_size=1, max_size=3, unique=True)
    times = st.integers(1, 2_000_000_000)
    return {
        name: draw(times)
        if name in ("since", "indexed_at")
        else {"gte": draw(times)}
        if name == "vpr_score"
        else draw(texts)
        for name in sorted(names)
    }


def echo_of(filters, dice):
    """As Tenable echoes: another order, upper case, zeros and empty objects, tags apart, a JSON text."""
    echo = {"since": 0, "indexed_at": 0, "last_found": 0, "epss_score": {"eq": [], "gt": 0}, "tags": {}}
    for name, value in dice.sample(list(filters.items()), len(filters)):
        echoed = value
        if isinstance(value, list):
            echoed = dice.sample(
                [item.upper() if name in ("state", "severity") else item for item in value], len(value)
            )
        if isinstance(value, dict):
            echoed = {**value, "lt": 0, "eq": []}
        (echo["tags"] if name.startswith("tag.") else echo)[name] = echoed
    return dice.choice([echo, json.dumps(echo)])


@settings(max_examples=80, deadline=None)
@given(asked(), asked(), st.integers())
def test_an_echo_is_ours_exactly_where_the_request_was(ours, theirs, seed):
    dice = random.Random(seed)
    assert same_filters(ours, echo_of(ours, dice))
    assert same_filters(ours, echo_of(theirs, dice)) is (
        {name: _set(value) for name, value in ours.items()} == {name: _set(value) for name, value in theirs.items()}
    )


def _set(value):
    return frozenset(value) if isinstance(value, list) else value
