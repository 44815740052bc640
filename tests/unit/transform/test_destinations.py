"""Destinations: what a person may write, and whose credentials they need."""

from __future__ import annotations

import re

import msgspec
import pytest

from airflow_provider_tenable.aws import Caller
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.run.params import DEFAULTS
from airflow_provider_tenable.transform.destinations import (
    BY_RESOURCE,
    DEFAULT,
    FIXED,
    Destination,
    parse_destinations,
    resolve,
)
from airflow_provider_tenable.transform.scope import Scope
from tests.plain_ids import plain

A, B, C = "111111111111", "222222222222", "033333333333"


def test_the_default_is_one_destination_for_all():
    assert parse_destinations(DEFAULT) == [Destination("aws_default", (), None, None)]
    assert DEFAULTS["destinations"] == DEFAULT


def test_a_full_destination_is_read_as_it_stands():
    entry = {"aws_conn_id": "hub", "accounts": [A, C], "role_name": "path/Role", "region": "us-gov-west-1"}
    assert parse_destinations([entry]) == [Destination("hub", (A, C), "path/Role", "us-gov-west-1")]


def test_what_is_left_out_has_its_default():
    assert parse_destinations([{}]) == [Destination("aws_default", ())]
    assert parse_destinations([{"aws_conn_id": None}])[0].aws_conn_id is None


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("text", "destinations[1] must be an object such as {'aws_conn_id': 'aws_default'"),
        (
            None,
            "destinations[1] must be an object such as {'aws_conn_id': 'aws_default', 'accounts': '*', 'role_name': "
            "None, 'region': None}, not NoneType",
        ),
        ([], "not list"),
        (
            {"acounts": "*", "zone": 1},
            "destinations[1] has unknown fields ['acounts', 'zone']. The known fields are ['accounts', 'aws_conn_id', "
            "'exclude_accounts', 'external_id', 'region', 'regions', 'role_name', 'scope']",
        ),
        ({"aws_conn_id": ""}, "destinations[1].aws_conn_id must be the id of an AWS connection, or null"),
        ({"aws_conn_id": " "}, "aws_conn_id"),
        ({"aws_conn_id": 7}, "aws_conn_id"),
        ({"accounts": []}, 'destinations[1].accounts must be "*" or a list of account ids'),
        ({"accounts": A}, 'must be "*" or a list'),
        ({"accounts": None}, 'must be "*" or a list'),
        ({"accounts": {A: 1}}, 'must be "*" or a list'),
        (
            {"accounts": [A, 33333333333]},
            "destinations[1].accounts has 33333333333. An account id must be a string of 12 digits, in quotes (a "
            "number loses its leading zeros)",
        ),
        ({"accounts": ["1" * 11]}, "12 digits"),
        ({"accounts": ["1" * 13]}, "12 digits"),
        ({"accounts": ["\u0661" * 12]}, "12 digits"),
        ({"accounts": [A + "\n"]}, "12 digits"),
        ({"accounts": ["*"]}, "12 digits"),
        ({"region": "Ireland"}, "destinations[1].region is 'Ireland', which is not an AWS Region such as eu-west-1"),
        ({"region": ""}, "not an AWS Region"),
        ({"region": "eu-west-1a"}, "not an AWS Region"),
        ({"region": 1}, "not an AWS Region"),
        (
            {"role_name": "arn:aws:iam::111111111111:role/R"},
            "destinations[1].role_name is the name of a role (with its path), not an ARN",
        ),
        ({"role_name": ""}, "role_name"),
        ({"role_name": 5}, "role_name"),
        (
            {"role_name": "{{ conn.tenable_default.password[::-1] }}"},
            "destinations[1].role_name is '{{ conn.tenable_default.password[::-1] }}'. IAM allows letters",
        ),
        ({"role_name": "/team/Role"}, "no slash at the beginning"),
        ({"role_name": "r" * 65}, "at most 64 of them"),
        ({"role_name": "Role\n"}, "IAM allows"),
        (
            {"aws_conn_id": "{{ var.value.x }}"},
            "destinations[1].aws_conn_id is '{{ var.value.x }}'. Airflow allows letters, digits and _ # ! ( ) - . : / "
            "\\ in a",
        ),
        ({"external_id": "{{ 1 }}", "role_name": "R"}, "destinations[1].external_id is '{{ 1 }}'. IAM allows letters"),
        ({"external_id": "x", "role_name": "R"}, "2 to 1,224 of them"),
        ({"external_id": 5, "role_name": "R"}, "IAM allows"),
        ({"exclude_accounts": B}, "destinations[1].exclude_accounts must be a list of account ids"),
        (
            {"exclude_accounts": [7]},
            "destinations[1].exclude_accounts has 7. An account id must be a string of 12 digits",
        ),
        ({"regions": "eu-west-1"}, "destinations[1].regions must be a list of Regions"),
        ({"regions": ["eu-west-1", "Europe"]}, "destinations[1].regions has 'Europe', which is not an AWS Region"),
        ({"regions": ["eu-west-1"], "region": "eu-west-1"}, "destinations[1] has both region and regions."),
        ({"external_id": "ours"}, "set role_name too"),
        ({"scope": []}, "destinations[1].scope is []. It must be an object with any of the params plugin_ids"),
        ({"scope": {"severities": ["high"]}}, "scope is {'severities': ['high']}. It must be an object"),
        ({"scope": {"min_vpr": 11}}, "destinations[1].scope: min_vpr is 11; it must be a number from 0.1 to 10"),
        ({"scope": {"plugin_families": ["{{ 1 }}"]}}, "scope: plugin_families is '{{ 1 }}'; it must be a list"),
        ({"aws_conn_id": "a b"}, "Airflow allows"),
        ({"aws_conn_id": "c" * 251}, "at most 250 of them"),
    ],
    ids=plain,
)
def test_a_malformed_destination_is_named_with_what_is_wrong(entry, message):
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        parse_destinations([{}, entry])


@pytest.mark.parametrize("field", ["role_name", "aws_conn_id", "region", "accounts"])
def test_a_long_text_is_cut_in_the_message(field):
    value = "x{" * 1_000_000
    with pytest.raises(ConfigurationError) as failure:
        parse_destinations([{field: [value] if field == "accounts" else value}])
    assert len(str(failure.value)) < 600


@pytest.mark.parametrize("value", [None, [], {}, "*", 7, DEFAULT[0]])
def test_destinations_that_are_no_list_are_refused(value):
    with pytest.raises(ConfigurationError, match="destinations must be a list of at least one destination such as"):
        parse_destinations(value)


@pytest.mark.parametrize(
    ("value", "scope"),
    [
        (None, None),
        ({}, None),
        ({"plugin_ids": [], "min_vpr": None, "potential_packages": "import"}, None),
        ({"plugin_ids": ["5"], "asset_tags": {"E": ["x"]}}, Scope(plugin_ids=(5,), asset_tags={"E": ("x",)})),
    ],
)
def test_a_scope_is_that_of_the_params(value, scope):
    (parsed,) = parse_destinations([{"scope": value}])
    assert parsed.scope == scope
    # As a plan stores it.
    assert msgspec.convert(msgspec.to_builtins(parsed), Destination) == parsed


def test_an_external_id_is_kept():
    (parsed,) = parse_destinations([{"role_name": "R", "external_id": "a/b:c=1"}])
    assert parsed.external_id == "a/b:c=1"


# Resolving.


class Aws:
    """Who each connection is."""

    def __init__(self, **known):
        self.known, self.asked = known, []

    def __call__(self, conn_id, region):
        self.asked.append((conn_id, region))
        return Caller(*self.known[conn_id or "worker"])


def test_each_connection_is_asked_once_in_each_destinations_region_and_tells_account_and_region():
    aws = Aws(hub=(A, "eu-west-1"), worker=(B, None))
    resolved = resolve(
        [Destination("hub", ()), Destination("hub", (A,)), Destination(None, (), region="eu-west-2")], aws, FIXED
    )
    assert aws.asked == [("hub", None), (None, "eu-west-2")]
    assert [(each.caller_account, each.connection_region) for each in resolved] == [
        (A, "eu-west-1"),
        (A, "eu-west-1"),
        (B, None),
    ]


def test_a_destination_for_foreign_accounts_needs_a_role():
    with pytest.raises(ConfigurationError) as failure:
        resolve([Destination("hub", ()), Destination("hub", (B, C))], Aws(hub=(A, "eu-west-1")), FIXED)
    text = str(failure.value)
    assert text.startswith(
        f"destinations[1] (connection 'hub') is for accounts ['{B}', '{C}'], but its credentials belong to account {A}"
    )
    assert "Name a role_name" in text
    resolve([Destination("hub", (B, C), role_name="R")], Aws(hub=(A, "eu-west-1")), FIXED)
    resolve([Destination("hub", (B, A))], Aws(hub=(A, "eu-west-1")), FIXED)


@pytest.mark.parametrize(
    ("own", "connection", "routing", "fine"),
    [
        (None, None, FIXED, False),
        (None, "", FIXED, False),
        (None, None, BY_RESOURCE, True),
        ("eu-west-1", None, FIXED, True),
        (None, "eu-west-1", FIXED, True),
    ],
)
def test_a_hub_needs_a_region_from_somewhere(own, connection, routing, fine):
    destination = Destination("hub", (), region=own)
    if fine:
        resolve([destination], Aws(hub=(A, connection)), routing)
        return
    with pytest.raises(
        ConfigurationError,
        match=r"destinations\[0\] \(connection 'hub'\) has no Region. Put region into the destination or region_name "
        r".* region_routing=resource",
    ):
        resolve([destination], Aws(hub=(A, connection)), routing)


def test_messages_about_destinations_that_could_not_import_anything_are_complete():
    with pytest.raises(ConfigurationError) as failure:
        resolve([Destination("hub", (B,))], Aws(hub=(A, "eu-west-1")), FIXED)
    assert str(failure.value) == (
        f"destinations[0] (connection 'hub') is for accounts ['{B}'], but its credentials belong to account {A}, and "
        "Security Hub CSPM takes findings only from the account itself. Name a role_name to assume in those accounts, "
        "or use their connection."
    )
    with pytest.raises(ConfigurationError) as failure:
        resolve([Destination("hub", ())], Aws(hub=(A, None)), FIXED)
    assert str(failure.value) == (
        "destinations[0] (connection 'hub') has no Region. Put region into the destination or region_name into the "
        "connection's extra, or use region_routing=resource."
    )
