"""The params of a run."""

from __future__ import annotations

import re

import pytest

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.run.params import DEFAULTS, IMPORT, Settings, departures, parse_settings
from airflow_provider_tenable.transform.scope import Scope


def test_the_defaults_are_those_of_the_contract():
    assert parse_settings({}) == Settings(
        100,
        ("high", "critical"),
        ("open", "reopened", "fixed"),
        "fixed",
        "archive",
        "tenable",
        "skip",
        0.01,
        None,
        False,
        None,
        False,
        Scope(),
    )
    assert (DEFAULTS["since"], DEFAULTS["until"]) == (None, None)


def test_choices_are_kept_in_their_own_order_and_once():
    settings = parse_settings({"severities": ["critical", "info", "critical"], "states": ("fixed", "open")})
    assert settings.severities == ("info", "critical")
    assert settings.states == ("open", "fixed")


def test_params_that_are_not_ours_are_left_alone():
    assert parse_settings({"unheard": 1}) == parse_settings({})


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("batch_size", [1, 2, 100]),
        ("max_rejected_ratio", [0, 0.0, 0.5, 1, 1.0]),
        ("max_refused_destinations", [None, 0, 1, 10_000]),
        ("region_routing", ["fixed", "resource"]),
        ("accepted_risks", ["archive", "import", "suppress"]),
        ("severity_source", ["tenable", "vpr", "cvss3"]),
        ("non_ec2_assets", ["skip", "other", "typed", "typed_or_other"]),
        ("dry_run", [True, False]),
        ("accept_fewer_assets", [True, False]),
        ("max_archived_ratio", [None, 0, 0.5, 1]),
    ],
)
def test_every_allowed_value_is_taken_as_it_is(name, good):
    assert [getattr(parse_settings({name: value}), name) for value in good] == good


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        *[
            ("batch_size", value, "it must be a whole number from 1 to 100")
            for value in (0, 101, -1, 1.0, 99.5, "100", None, True, [], float("nan"), 10**400)
        ],
        *[
            ("max_rejected_ratio", value, "it must be a number from 0 to 1")
            for value in (-0.001, 1.001, "0.1", None, True, float("nan"), float("inf"), 10**400)
        ],
        *[
            ("max_refused_destinations", value, "it must be a whole number from 0 on, or empty")
            for value in (-1, 0.5, "1", True, [], float("nan"))
        ],
        *[
            ("severities", value, "it must be a list of at least one of info, low, medium, high, critical")
            for value in ([], None, "high", ["HIGH"], ["high", "none"], [None], [["high"]], {"high": 1}, 5)
        ],
        *[
            ("states", value, "it must be a list of at least one of open, reopened, fixed")
            for value in ([], ["OPEN"], ["closed"], "open", None)
        ],
        *[
            ("region_routing", value, "it must be one of fixed, resource")
            for value in ("FIXED", "", None, [], ["fixed"], {})
        ],
        *[("accepted_risks", value, "it must be one of archive, import, suppress") for value in ("skip", None)],
        *[
            ("non_ec2_assets", value, "it must be one of skip, other, typed, typed_or_other")
            for value in ("Other", None, True)
        ],
        *[("dry_run", value, "it must be true or false") for value in ("true", 1, 0, None, "")],
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_wrong_param_is_named_with_its_value_and_what_it_may_be(name, value, message):
    with pytest.raises(ConfigurationError, match=f"^{name} is {re.escape(repr(value))}; {re.escape(message)}\\.$"):
        parse_settings({name: value})


HERE = {"aws_conn_id": "aws_default", "accounts": "*", "role_name": None, "region": None}


@pytest.mark.parametrize(
    ("params", "departing"),
    [
        ({}, []),
        ({"severities": ["critical"]}, ["severities"]),
        ({"severities": ["high"]}, ["severities"]),
        ({"severities": ["info", "low", "medium"]}, ["severities"]),
        ({"severities": ["medium", "high", "critical"]}, []),
        ({"states": ["open", "reopened"]}, ["states"]),
        ({"states": ["fixed", "reopened", "open"]}, []),
        ({"non_ec2_assets": "other"}, ["non_ec2_assets"]),
        ({"batch_size": 1, "max_rejected_ratio": 1, "since": 5, "until": 6, "dry_run": True}, []),
        ({"accepted_risks": "import"}, ["accepted_risks"]),
        ({"region_routing": "resource"}, ["region_routing"]),
        ({"destinations": [{**HERE, "region": "eu-west-1"}]}, ["destinations"]),
        ({"destinations": [{**HERE, "role_name": "Import"}]}, ["destinations"]),
        ({"destinations": [{**HERE, "aws_conn_id": "aws_other"}]}, ["destinations"]),
        ({"destinations": [{**HERE, "accounts": ["111122223333"]}]}, ["destinations"]),
        ({"destinations": [{"accounts": "*"}]}, []),
        ({"destinations": [HERE, {**HERE, "accounts": ["111122223333"]}]}, []),
        ({"destinations": [{**HERE, "accounts": ["111122223333"]}, HERE]}, ["destinations"]),
        ({"accepted_risks": "import", "severities": ["low"]}, ["severities", "accepted_risks"]),
    ],
    ids=str,
)
def test_a_run_departs_from_the_defaults_exactly_where_it_may_deliver_less_or_otherwise(params, departing):
    assert departures({**DEFAULTS, **params}, DEFAULTS) == departing


def test_every_param_that_shapes_what_is_delivered_says_what_covers_it():
    assert {name for name, param in IMPORT.items() if param.covers is None} == {
        "since",
        "until",
        "full",
        "batch_size",
        "max_rejected_ratio",
        "max_refused_destinations",
        "accept_fewer_assets",
        "max_archived_ratio",
        "dry_run",
    }


def test_the_dags_own_defaults_are_the_measure():
    own = {**DEFAULTS, "severities": ["critical"], "non_ec2_assets": "other", "accepted_risks": "import"}
    assert departures(own, own) == []
    assert departures({**own, "non_ec2_assets": "skip"}, own) == ["non_ec2_assets"]
    assert departures({**own, "accepted_risks": "archive"}, own) == ["accepted_risks"]
    # Defaults that could deliver nothing cover nothing.
    assert departures(DEFAULTS, {**DEFAULTS, "destinations": "none"}) == ["destinations"]
