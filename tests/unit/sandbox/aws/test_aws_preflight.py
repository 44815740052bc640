"""Is the hub on, and who may send to it."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

ACCOUNT = "111122223333"
PRODUCT = "arn:aws:securityhub:us-east-1::product/tenable/vulnerability-management"
SUBSCRIPTION = f"arn:aws:securityhub:us-east-1:{ACCOUNT}:product-subscription/tenable/vulnerability-management"


def refusal(call: Any, **arguments: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    answer = raised.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def all_subscriptions(hub: Any, **paging: int) -> tuple[list[str], int]:
    pages = list(hub.get_paginator("list_enabled_products_for_import").paginate(PaginationConfig=paging))
    return [arn for page in pages for arn in page["ProductSubscriptions"]], len(pages)


def set_hub(sandbox: Any, state: str) -> None:
    sandbox.control("hub", {"account": ACCOUNT, "region": "us-east-1", "state": state})


def test_hub_describes_itself(sandbox: Any) -> None:
    hub = sandbox.client().describe_hub()
    assert hub["HubArn"] == f"arn:aws:securityhub:us-east-1:{ACCOUNT}:hub/default"
    assert hub["SubscribedAt"].endswith("Z")


@pytest.mark.parametrize("operation", ["describe_hub", "list_enabled_products_for_import", "get_findings"])
def test_hub_that_is_off_says_so(sandbox: Any, operation: str) -> None:
    set_hub(sandbox, "off")
    with pytest.raises(
        sandbox.client().exceptions.InvalidAccessException, match="is not subscribed to AWS Security Hub"
    ):
        getattr(sandbox.client(), operation)()


def test_hub_is_turned_on_once_and_off_again(sandbox: Any) -> None:
    set_hub(sandbox, "off")
    hub = sandbox.client()
    hub.enable_security_hub(EnableDefaultStandards=False)
    assert hub.describe_hub()["HubArn"]
    assert SUBSCRIPTION not in all_subscriptions(hub)[0]
    assert refusal(hub.enable_security_hub) == ("ResourceConflictException", 409)
    hub.disable_security_hub()
    assert refusal(hub.disable_security_hub) == ("InvalidAccessException", 401)


def test_product_is_subscribed_once_and_unsubscribed(sandbox: Any) -> None:
    set_hub(sandbox, "enabled")
    hub = sandbox.client()
    assert SUBSCRIPTION not in all_subscriptions(hub)[0]
    assert hub.enable_import_findings_for_product(ProductArn=PRODUCT)["ProductSubscriptionArn"] == SUBSCRIPTION
    assert refusal(hub.enable_import_findings_for_product, ProductArn=PRODUCT) == ("ResourceConflictException", 409)
    assert SUBSCRIPTION in all_subscriptions(hub)[0]
    hub.disable_import_findings_for_product(ProductSubscriptionArn=SUBSCRIPTION)
    gone = refusal(hub.disable_import_findings_for_product, ProductSubscriptionArn=SUBSCRIPTION)
    assert gone == ("ResourceNotFoundException", 404)


@pytest.mark.parametrize(
    "arn",
    [
        "tenable",
        "arn:aws:securityhub:us-east-1::product/nobody/nothing",
        "arn:aws:securityhub:eu-west-1::product/tenable/vulnerability-management",
    ],
)
def test_unknown_product_cannot_be_subscribed(sandbox: Any, arn: str) -> None:
    assert refusal(sandbox.client().enable_import_findings_for_product, ProductArn=arn) == (
        "InvalidInputException",
        400,
    )


def test_hubs_of_other_regions_and_accounts_are_their_own(sandbox: Any) -> None:
    set_hub(sandbox, "off")
    assert sandbox.client(region="eu-west-1").describe_hub()
    assert sandbox.client(key=sandbox.assume()).describe_hub()


def test_subscriptions_can_take_two_pages(sandbox: Any) -> None:
    sandbox.control("options", {"extra_subscriptions": 120})
    arns, pages = all_subscriptions(sandbox.client())
    assert (len(arns), pages) == (124, 2)
    first = sandbox.client().list_enabled_products_for_import()["ProductSubscriptions"]
    assert SUBSCRIPTION not in first
    assert SUBSCRIPTION in arns


def test_page_size_and_token_are_checked(sandbox: Any) -> None:
    hub = sandbox.client(parameter_validation=False)
    assert all_subscriptions(hub, PageSize=2)[1] == 2
    assert refusal(hub.list_enabled_products_for_import, MaxResults=101) == ("InvalidInputException", 400)
    assert refusal(hub.list_enabled_products_for_import, NextToken="bm9uc2Vuc2U=") == ("InvalidInputException", 400)


def test_products_are_described_where_they_exist(sandbox: Any) -> None:
    (product,) = sandbox.client().describe_products(ProductArn=PRODUCT)["Products"]
    assert (product["CompanyName"], product["ProductName"]) == ("Tenable", "Vulnerability Management")
    sandbox.control("hub", {"account": ACCOUNT, "region": "cn-north-1", "state": "subscribed"})
    china = sandbox.client(region="cn-north-1").describe_products()["Products"]
    assert china
    assert not any("tenable" in product["ProductArn"] for product in china)
