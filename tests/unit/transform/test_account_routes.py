"""Where the findings of an AWS account's audit go: the account has no Region of its own."""

from __future__ import annotations

import pytest

from airflow_provider_tenable.transform.destinations import BY_RESOURCE, FIXED, Destination
from airflow_provider_tenable.transform.routing import Router

A, B = "111111111111", "222222222222"
REGIONS = ("us-east-2", "eu-north-1")


def hub(region: str | None = None, *, connection: str | None = None, **change) -> Destination:
    return Destination("hub", change.pop("accounts", ()), "Role", region, A, connection, **change)


@pytest.mark.parametrize("routing", [FIXED, BY_RESOURCE])
@pytest.mark.parametrize("via", [hub("eu-west-1"), hub(connection="eu-west-1")], ids=["destination", "connection"])
def test_the_region_of_the_destination_or_its_connection_comes_before_those_that_were_audited(routing, via):
    assert Router([via], routing).route_account(B, REGIONS, "aws") == (via, "eu-west-1")
    assert Router([via], routing).route_account(B, (), "aws") == (via, "eu-west-1")
    # Nobody knows the partition.
    assert Router([via], routing).route_account(B, (), "") == (via, "eu-west-1")


def test_without_one_the_first_audited_region_counts_whose_hub_is_served():
    via = hub()
    assert Router([via], BY_RESOURCE).route_account(B, REGIONS, "aws") == (via, "us-east-2")
    only = hub(regions=("eu-north-1",))
    assert Router([only], BY_RESOURCE).route_account(B, REGIONS, "aws") == (only, "eu-north-1")
    assert Router([via], FIXED).route_account(B, REGIONS, "aws") == "account_not_configured"
    assert Router([via], BY_RESOURCE).route_account(B, (), "aws") == "account_not_configured"


def test_a_hub_of_a_fixed_region_that_refuses_has_no_other():
    via = hub("eu-west-1")
    for routing in (FIXED, BY_RESOURCE):
        router = Router([via], routing, {f"{B}/eu-west-1"})
        assert router.route_account(B, REGIONS, "aws") == "destination_refused"
        assert router.route_account(A, REGIONS, "aws") == (via, "eu-west-1")


def test_where_all_hubs_that_are_served_refuse_the_account_is_refused_and_not_unknown():
    """What it is owed is on record then, and nobody is asked to configure it."""
    via = hub()
    refused = {f"{B}/us-east-2"}
    assert Router([via], BY_RESOURCE, refused).route_account(B, ("us-east-2",), "aws") == "destination_refused"
    assert Router([via], BY_RESOURCE, refused).route_account(B, REGIONS, "aws") == (via, "eu-north-1")
    only = hub(regions=("us-east-2",))
    assert Router([only], BY_RESOURCE, refused).route_account(B, REGIONS, "aws") == "destination_refused"


@pytest.mark.parametrize(
    ("via", "account", "reason"),
    [
        (hub("eu-west-1", accounts=(A,)), B, "account_not_configured"),
        (hub("eu-west-1", exclude_accounts=(B,)), B, "account_excluded"),
        (hub("eu-west-1", regions=("eu-south-1",)), B, "region_excluded"),
        (Destination("hub", (), None, "eu-west-1", A), B, "account_not_reachable_without_role"),
    ],
    ids=lambda value: str(value)[:30],
)
@pytest.mark.parametrize("routing", [FIXED, BY_RESOURCE])
def test_an_account_that_is_left_out_is_so_in_all_its_regions(via, account, reason, routing):
    assert Router([via], routing).route_account(account, REGIONS, "aws") == reason


@pytest.mark.parametrize(
    ("partition", "regions"),
    [
        ("aws-us-gov", ("us-gov-east-1",)),
        ("aws-us-gov", ()),
        ("aws-us-gov", ("us-east-2", "us-gov-east-1")),
        ("aws-cn", ()),
        ("aws-cn", ("cn-northwest-1",)),
    ],
)
def test_an_account_of_another_partition_goes_to_the_destination_of_its_own(partition, regions):
    commercial, gov, china = hub("eu-west-1"), hub("us-gov-west-1", partition="aws-us-gov"), hub("cn-north-1")
    own = gov if partition == "aws-us-gov" else china
    for routing in (FIXED, BY_RESOURCE):
        found = Router([commercial, gov, china], routing).route_account(B, regions, partition)
        assert found == (own, own.region)
        assert Router([commercial], routing).route_account(B, regions[-1:], partition) == "other_partition"


def test_a_place_is_that_of_the_hub_whether_it_refuses_or_not():
    via = hub()
    for refused in (set(), {f"{B}/eu-west-1"}):
        assert Router([hub("eu-west-1")], BY_RESOURCE, refused).place(B, "us-east-2") == f"{B}/eu-west-1"
        assert Router([via], BY_RESOURCE, refused).place(B, "us-east-2") == f"{B}/us-east-2"
    assert Router([hub("eu-west-1", accounts=(A,))], FIXED).place(B, "us-east-2") is None
    assert Router([via], FIXED).place(B, "us-east-2") is None
