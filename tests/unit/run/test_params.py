"""The params of a run."""

from __future__ import annotations

import re

import pytest

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.run.params import DEFAULTS, Settings, narrowed, parse_settings


def test_the_defaults_are_those_of_the_contract():
    assert parse_settings({}) == Settings(100, ("high", "critical"), ("open", "reopened", "fixed"), "fixed", "archive", "skip", 0.01, False)
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
        ("region_routing", ["fixed", "resource"]),
        ("accepted_risks", ["archive", "import"]),
        ("non_ec2_assets", ["skip", "other"]),
        ("dry_run", [True, False]),
    ],
)
def test_every_allowed_value_is_taken_as_it_is(name, good):
    assert [getattr(parse_settings({name: value}), name) for value in good] == good


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        *[("batch_size", value, "it must be a whole number from 1 to 100") for value in (0, 101, -1, 1.0, 99.5, "100", None, True, [], float("nan"), 10**400)],
        *[
            ("max_rejected_ratio", value, "it must be a number from 0 to 1")
            for value in (-0.001, 1.001, "0.1", None, True, float("nan"), float("inf"), 10**400)
        ],
        *[
            ("severities", value, "it must be a list of at least one of info, low, medium, high, critical")
            for value in ([], None, "high", ["HIGH"], ["high", "none"], [None], [["high"]], {"high": 1}, 5)
        ],
        *[("states", value, "it must be a list of at least one of open, reopened, fixed") for value in ([], ["OPEN"], ["closed"], "open", None)],
        *[("region_routing", value, "it must be one of fixed, resource") for value in ("FIXED", "", None, [], ["fixed"], {})],
        *[("accepted_risks", value, "it must be one of archive, import") for value in ("skip", None)],
        *[("non_ec2_assets", value, "it must be one of skip, other") for value in ("Other", None, True)],
        *[("dry_run", value, "it must be true or false") for value in ("true", 1, 0, None, "")],
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_wrong_param_is_named_with_its_value_and_what_it_may_be(name, value, message):
    with pytest.raises(ConfigurationError, match=f"^{name} is {re.escape(repr(value))}; {re.escape(message)}\\.$"):
        parse_settings({name: value})


@pytest.mark.parametrize(
    ("params", "is_narrowed"),
    [
        ({}, False),
        ({"severities": ["critical"]}, True),
        ({"severities": ["high"]}, True),
        ({"severities": ["info", "low", "medium"]}, True),
        ({"severities": ["medium", "high", "critical"]}, False),
        ({"states": ["open", "reopened"]}, True),
        ({"states": ["fixed", "reopened", "open"]}, False),
        ({"non_ec2_assets": "other"}, False),
        ({"batch_size": 1, "accepted_risks": "import", "max_rejected_ratio": 1}, False),
    ],
    ids=str,
)
def test_a_run_is_narrowed_exactly_where_it_leaves_something_out(params, is_narrowed):
    assert narrowed(parse_settings(params), DEFAULTS) is is_narrowed


def test_the_dags_own_defaults_are_the_measure():
    own = {**DEFAULTS, "severities": ["critical"], "non_ec2_assets": "other"}
    assert not narrowed(parse_settings({"severities": ["critical"], "non_ec2_assets": "other"}), own)
    assert narrowed(parse_settings({"severities": ["critical"], "non_ec2_assets": "skip"}), own)
