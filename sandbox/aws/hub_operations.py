"""The calls around an import: is the hub on, and who may send to it (API reference, Security Hub CSPM)."""

import base64
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import JSONResponse, Response

from sandbox.aws.errors import AwsError, invalid_input
from sandbox.aws.products import Product, catalogue, parse_product_arn, partition_of, subscription_arn
from sandbox.aws.sigv4 import Caller
from sandbox.aws.world import World, check_allowed, hub_arn

LARGEST_PAGE = 100


def describe_hub(caller: Caller, query: Mapping[str, str], world: World) -> Response:
    """Whether and since when the hub is on."""
    check_allowed(caller, "securityhub:DescribeHub")
    hub = world.hub_of(caller)
    arn = hub_arn(caller)
    if query.get("HubArn", arn) != arn:
        raise AwsError("ResourceNotFoundException", 404, f"Hub {query['HubArn']} is not found")
    return JSONResponse(
        {
            "HubArn": arn,
            "SubscribedAt": hub.subscribed_at,
            "AutoEnableControls": True,
            "ControlFindingGenerator": "SECURITY_CONTROL",
        }
    )


def describe_new_hub(caller: Caller, world: World) -> Response:
    """Whether the new AWS Security Hub is on, which is another service than Security Hub CSPM under the same name."""
    check_allowed(caller, "securityhub:DescribeSecurityHubV2")
    if not world.options.new_hub:
        raise AwsError("ResourceNotFoundException", 404, f"Account {caller.account} has no hub")
    hub = f"arn:{partition_of(caller.region)}:securityhub:{caller.region}:{caller.account}"
    arn = f"{hub}:hubv2/00000000-0000-4000-8000-000000000000"
    return JSONResponse({"HubV2Arn": arn, "SubscribedAt": "2026-01-01T00:00:00.000Z"})


def enable_security_hub(caller: Caller, world: World) -> Response:
    """Turn the hub on."""
    check_allowed(caller, "securityhub:EnableSecurityHub")
    if world.hubs.get(caller.account, caller.region) is not None:
        raise AwsError(
            "ResourceConflictException", 409, f"Account {caller.account} is already subscribed to AWS Security Hub"
        )
    world.hubs.enable(caller.account, caller.region)
    return JSONResponse({})


def disable_security_hub(caller: Caller, world: World) -> Response:
    """Turn the hub off. Its findings stay."""
    check_allowed(caller, "securityhub:DisableSecurityHub")
    world.hub_of(caller)
    world.hubs.disable(caller.account, caller.region)
    return JSONResponse({})


def list_enabled_products(caller: Caller, query: Mapping[str, str], world: World) -> Response:
    """The product subscriptions of the hub, a page at a time."""
    check_allowed(caller, "securityhub:ListEnabledProductsForImport")
    subscriptions = world.hub_of(caller).subscriptions(world.options.extra_subscriptions)
    page, token = paged(subscriptions, query.get("NextToken"), page_size(query.get("MaxResults")))
    return JSONResponse({"ProductSubscriptions": page, **token})


def enable_product(caller: Caller, body: Mapping[str, Any], world: World) -> Response:
    """Subscribe the hub to a product's findings."""
    arn = body.get("ProductArn")
    product = parse_product_arn(arn) if isinstance(arn, str) else None
    if product is None:
        raise invalid_input(f'productArn: "{arn}"')
    check_allowed(caller, "securityhub:EnableImportFindingsForProduct")
    hub = world.hub_of(caller)
    if not product.belongs_to(caller.region) or product.key not in {each.key for each in catalogue(caller.region)}:
        raise invalid_input(f"Product {arn} is not available in {caller.region}")
    if product.key in hub.products:
        raise AwsError("ResourceConflictException", 409, f"Account {caller.account} is already subscribed to {arn}")
    hub.products.append(product.key)
    hub.effective_from[product.key] = time.monotonic() + world.options.subscription_seconds
    return JSONResponse({"ProductSubscriptionArn": subscription_arn(caller.account, caller.region, product.key)})


def disable_product(caller: Caller, arn: str, world: World) -> Response:
    """End a subscription. Findings that were imported stay."""
    check_allowed(caller, "securityhub:DisableImportFindingsForProduct")
    hub = world.hub_of(caller)
    if arn not in hub.subscriptions():
        raise AwsError("ResourceNotFoundException", 404, f"Account {caller.account} is not subscribed to {arn}")
    hub.products.remove(arn.partition(":product-subscription/")[2])
    return JSONResponse({})


def describe_products(caller: Caller, query: Mapping[str, str], world: World) -> Response:
    """The catalogue of products in the Region, or one of them."""
    check_allowed(caller, "securityhub:DescribeProducts")
    world.hub_of(caller)
    products = list(catalogue(caller.region))
    if "ProductArn" in query:
        products = [each for each in products if each.arn(caller.region) == query["ProductArn"]]
        if not products:
            raise invalid_input(f'productArn: "{query["ProductArn"]}"')
    page, token = paged(products, query.get("NextToken"), page_size(query.get("MaxResults")))
    return JSONResponse({"Products": [_description(each, caller.region) for each in page], **token})


def _description(product: Product, region: str) -> dict[str, Any]:
    return {
        "ProductArn": product.arn(region),
        "ProductName": product.product_name,
        "CompanyName": product.company_name,
        "Description": f"{product.product_name} by {product.company_name}.",
        "Categories": ["Vulnerability management"],
        "IntegrationTypes": [product.integration],
    }


def page_size(text: object) -> int:
    """MaxResults of a request; AwsError when it is not from 1 to 100."""
    if text is None:
        return LARGEST_PAGE
    size = int(text) if isinstance(text, int | str) and str(text).isdecimal() else 0
    if not 1 <= size <= LARGEST_PAGE:
        raise invalid_input(f"Invalid parameter 'MaxResults'. data.MaxResults should be >= 1 and <= {LARGEST_PAGE}")
    return size


def paged(items: Sequence[Any], token: object, size: int) -> tuple[Sequence[Any], dict[str, str]]:
    """One page of a list, and the NextToken entry of the answer while there is more."""
    start = read_token(token)
    rest = {"NextToken": write_token(start + size)} if start + size < len(items) else {}
    return items[start : start + size], rest


def write_token(position: int, about: str = "") -> str:
    """A NextToken. It is opaque to callers.

    :param about: what the token belongs to; `read_token` refuses it for anything else
    """
    return base64.urlsafe_b64encode(json.dumps([position, about]).encode()).decode()


def read_token(token: object, about: str = "") -> int:
    """Where the page of a NextToken begins; 0 without one. AwsError for a token that this server did not issue."""
    if token is None:
        return 0
    try:
        position, belongs_to = json.loads(base64.urlsafe_b64decode(str(token).encode()))
    except ValueError:
        position, belongs_to = None, None
    if not isinstance(position, int) or position < 0 or belongs_to != about:
        raise invalid_input("Invalid parameter 'NextToken'.")
    return position
