"""Where a finding goes: the destination of its account, and the Region of the hub."""

from __future__ import annotations

import pytest

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.transform.destinations import BY_RESOURCE, FIXED, parse_destinations
from airflow_provider_tenable.transform.routing import Destination, Router

A, B, C = "111111111111", "222222222222", "033333333333"


def destination(accounts=(), *, role=None, region=None, caller=A, connection="eu-west-1", conn="hub"):
    return Destination(conn, tuple(accounts), role, region, caller, connection)


def test_the_first_destination_that_matches_the_account_wins():
    first, second, rest = (
        destination([A], conn="1"),
        destination([A, B], role="R", conn="2"),
        destination(role="R", conn="3"),
    )
    router = Router([first, second, rest], FIXED)
    assert [router.route(account, "us-east-1")[0].aws_conn_id for account in (A, B, C)] == ["1", "2", "3"]


def test_an_account_that_no_destination_names_is_not_configured():
    assert Router([destination([A])], FIXED).route(B, "us-east-1") == "account_not_configured"


def test_without_a_role_only_the_callers_own_account_is_reached():
    router = Router([destination()], FIXED)
    assert router.route(A, "us-east-1") == (router.destinations[0], "eu-west-1")
    assert router.route(B, "us-east-1") == "account_not_reachable_without_role"
    assert Router([destination(role="R")], FIXED).route(B, "us-east-1")[1] == "eu-west-1"


def test_a_match_that_cannot_be_reached_hides_the_ones_behind_it():
    assert (
        Router([destination(), destination([B], role="R")], FIXED).route(B, "us-east-1")
        == "account_not_reachable_without_role"
    )


@pytest.mark.parametrize(
    ("own", "routing", "region"),
    [
        ("ap-south-1", FIXED, "ap-south-1"),
        ("ap-south-1", BY_RESOURCE, "ap-south-1"),
        (None, FIXED, "eu-west-1"),
        (None, BY_RESOURCE, "us-east-1"),
    ],
)
def test_the_hub_is_the_destinations_own_then_the_routings(own, routing, region):
    assert Router([destination(region=own)], routing).route(A, "us-east-1")[1] == region


def test_a_hub_without_a_region_is_not_configured():
    assert Router([destination(connection=None)], FIXED).route(A, "us-east-1") == "account_not_configured"


@pytest.mark.parametrize(
    ("first", "home"),
    [
        (destination([B], role="R"), (B, "eu-west-1")),
        (destination(), (A, "eu-west-1")),
        (destination(region="us-east-2"), (A, "us-east-2")),
        (destination(region="us-east-2", connection=None), (A, "us-east-2")),
    ],
)
def test_what_belongs_to_no_account_lives_with_the_first_destination(first, home):
    assert Router([first, destination([C], role="R", region="ap-south-1")], BY_RESOURCE).home() == home


def test_a_home_without_a_region_says_what_to_do():
    with pytest.raises(
        ConfigurationError,
        match=r"any other asset\) needs a hub Region: put region into the first destination, or into its connection",
    ):
        Router([destination(connection=None)], BY_RESOURCE).home()


# Partitions.


@pytest.mark.parametrize("resource", ["us-gov-west-1", "cn-north-1", "us-iso-east-1"])
@pytest.mark.parametrize("routing", [FIXED, BY_RESOURCE])
@pytest.mark.parametrize("region", [None, "eu-west-1"])
def test_a_resource_of_another_partition_has_no_destination_in_this_one(resource, routing, region):
    router = Router([destination(role="R", region=region)], routing)
    assert router.route(B, resource) == "other_partition"
    assert not isinstance(router.route(B, "us-east-2"), str)


@pytest.mark.parametrize("routing", [FIXED, BY_RESOURCE])
def test_each_partition_finds_the_destination_of_its_own(routing):
    commercial, gov = destination(role="R"), destination(role="R", connection="us-gov-west-1", conn="gov")
    router = Router([commercial, gov], routing)
    assert router.route(B, "eu-central-1")[0] is commercial
    assert router.route(B, "us-gov-east-1")[0] is gov
    assert router.route(B, "cn-north-1") == "other_partition"


def test_the_partition_of_the_credentials_counts_where_no_region_is_set():
    gov = destination(role="R", connection=None)
    gov.partition = "aws-us-gov"
    router = Router([gov], BY_RESOURCE)
    assert router.route(B, "us-gov-west-1") == (gov, "us-gov-west-1")
    assert router.route(B, "us-east-1") == "other_partition"


def test_an_account_of_another_list_is_not_configured_whatever_its_partition():
    assert Router([destination((A,))], FIXED).route(B, "us-gov-west-1") == "account_not_configured"


# What a destination leaves out.


def parsed(**fields):
    (one,) = parse_destinations([{"role_name": "R", **fields}])
    one.caller_account, one.connection_region = A, "eu-west-1"
    return one


def test_an_excluded_account_has_no_destination_unless_a_later_one_serves_it():
    first = parsed(exclude_accounts=[B])
    assert Router([first], FIXED).route(B, "eu-west-1") == "account_excluded"
    assert Router([first], FIXED).route(C, "eu-west-1") == (first, "eu-west-1")
    second = parsed(accounts=[B])
    assert Router([first, second], FIXED).route(B, "eu-west-1") == (second, "eu-west-1")


def test_only_hubs_in_the_listed_regions_are_sent_to():
    only = parsed(regions=["eu-west-1", "eu-north-1"])
    router = Router([only], BY_RESOURCE)
    assert router.route(B, "eu-north-1") == (only, "eu-north-1")
    assert router.route(B, "eu-south-1") == "region_excluded"
    # With a fixed hub it is the hub's Region that counts.
    assert Router([only], FIXED).route(B, "eu-south-1") == (only, "eu-west-1")
    assert Router([parsed(regions=["eu-south-1"])], FIXED).route(B, "eu-south-1") == "region_excluded"
