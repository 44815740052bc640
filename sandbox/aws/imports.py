"""BatchImportFindings (API reference; partner integration guide: limits)."""

import asyncio
from typing import Any

import msgspec
from starlette.responses import Response

from sandbox.aws.asff.findings import complaint
from sandbox.aws.errors import AwsError, access_denied, invalid_input
from sandbox.aws.hubs import Hub
from sandbox.aws.products import ProductArn, parse_product_arn
from sandbox.aws.sigv4 import Caller
from sandbox.aws.world import World, check_allowed

ACTION = "securityhub:BatchImportFindings"
MOST_FINDINGS = 100
# "6 MB per call" (partner guide); the smaller reading of MB, so that what passes here passes there.
LARGEST_BODY = 6_000_000


class _Batch(msgspec.Struct):
    Findings: list[msgspec.Raw]


_batches = msgspec.json.Decoder(_Batch)
_decode = msgspec.json.Decoder().decode


async def batch_import_findings(caller: Caller, body: bytes, world: World) -> Response:
    """Check a batch and store what is acceptable. What is wrong with single findings is said under HTTP 200."""
    place = f"{caller.account}/{caller.region}"
    raw, findings = _read(body)
    world.stats.batch(place, len(raw), len(body))
    if not 1 <= len(raw) <= MOST_FINDINGS:
        bound = "fewer than 1" if not raw else f"more than {MOST_FINDINGS}"
        raise invalid_input(f"Invalid parameter 'Findings'. data.Findings should NOT have {bound} items")
    ids = [_id_of(finding) for finding in findings]
    products = _check_call(caller, findings, world)
    facts = {"account": caller.account, "region": caller.region}
    if (poison := world.faults.poison(ids, facts)) is not None:
        raise poison
    failures = world.faults.failures(ids, facts)
    failed: list[dict[str, str]] = []
    succeeded = 0
    for index, finding in enumerate(findings):
        code, message = failures.get(index, ("", ""))
        if not code and (wrong := _complaint(finding, len(bytes(raw[index])), validate=world.options.validate)):
            code, message = "InvalidInput", wrong
        if code:
            failed.append({"Id": ids[index], "ErrorCode": code, "ErrorMessage": message})
            world.stats.outcome(place, "failed")
            continue
        outcome = world.findings.put(caller.account, caller.region, finding, products[finding["ProductArn"]])
        world.stats.outcome(place, outcome)
        succeeded += outcome != "ignored" or world.options.count_ignored
    if world.options.latency_ms:
        await asyncio.sleep(world.options.latency_ms / 1000)
    answer = {"FailedCount": len(failed), "SuccessCount": succeeded, "FailedFindings": failed}
    return Response(msgspec.json.encode(answer), media_type="application/json")


def _read(body: bytes) -> tuple[list[msgspec.Raw], list[Any]]:
    """The findings of a request, as they were sent and decoded."""
    if len(body) > LARGEST_BODY:
        # API Gateway, in front of the service, answers for bodies that are too large.
        raise AwsError("RequestEntityTooLargeException", 413, "Request Too Long", plain=True)
    try:
        raw = _batches.decode(body).Findings
        return raw, [_decode(each) for each in raw]
    except msgspec.ValidationError as error:
        raise invalid_input(f"Invalid parameter 'Findings'. {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AwsError("SerializationException", 400, f"The request body is not JSON: {error}", plain=True) from None


def _id_of(finding: Any) -> str:
    found = finding.get("Id") if isinstance(finding, dict) else None
    return found if isinstance(found, str) else ""


def _check_call(caller: Caller, findings: list[Any], world: World) -> dict[str, ProductArn]:
    """Check what makes Security Hub refuse the entire call; returns the batch's parsed ProductArns.

    A finding without ProductArn or AwsAccountId is left to the check of single findings.
    """
    products: dict[str, ProductArn] = {}
    arns = [
        finding["ProductArn"]
        for finding in findings
        if isinstance(finding, dict) and isinstance(finding.get("ProductArn"), str)
    ]
    for arn in dict.fromkeys(arns):
        product = parse_product_arn(arn)
        if product is None:
            raise invalid_input(f'productArn: "{arn}"')
        check_allowed(caller, ACTION, arn)
        products[arn] = product
    hub = world.hub_of(caller)
    for arn, product in products.items():
        if not _may_send(product, hub):
            raise access_denied(caller.arn, ACTION, arn)
    for finding in findings:
        if isinstance(finding, dict) and finding.get("AwsAccountId", caller.account) != caller.account:
            raise access_denied(caller.arn, ACTION, str(finding.get("ProductArn")))
    return products


def _may_send(product: ProductArn, hub: Hub) -> bool:
    """Is it a product of the hub's own Region, and either the account's default product or a subscribed one?"""
    if not product.belongs_to(hub.region):
        return False
    return product.is_default_of(hub.account) or hub.may_send(product.key)


def _complaint(finding: Any, size: int, *, validate: bool) -> str | None:
    if validate:
        return complaint(finding, size)
    # Even unchecked findings need what they are stored by.
    wanted = ("Id", "ProductArn", "UpdatedAt")
    if isinstance(finding, dict) and all(isinstance(finding.get(name), str) for name in wanted):
        return None
    return (
        f"Finding does not adhere to Amazon Finding Format. data should have required properties {', '.join(wanted)}."
    )
