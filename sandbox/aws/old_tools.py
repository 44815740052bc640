"""Findings as Tenable's older tools have sent them: estates for a takeover.

* `sechubingest`: `sechubingest.py`, for the product `tenable/tenable-io`, with a normalised severity.
* `tvm2aws`: for the product `tenable/vulnerability-management`, with a label.

Both write one finding for an instance and a plugin, whatever its port is, and an ARN for the instance that EC2 does not
have (`instance:i-...`).
"""

from collections.abc import Mapping
from typing import Any

from sandbox.aws import lifecycle
from sandbox.aws.products import TENABLE, catalogue, parse_product_arn
from sandbox.aws.world import World

#: Tool -> key of its product.
PRODUCTS = {"sechubingest": "tenable/tenable-io", "tvm2aws": TENABLE.key}
LONG_AGO = "2026-03-01T00:00:00.000Z"


def old_id(region: str, instance: str, plugin: int) -> str:
    """The id that both tools give."""
    return f"{region}/{instance}/{plugin}"


def sent_by(
    finding_id: str, product_arn: str, account: str, region: str, *, severity: str = "HIGH", **own: Any
) -> lifecycle.Finding:
    """A document as an old tool sends it.

    :param own: fields that differ from the usual ones
    """
    is_oldest = product_arn.endswith(PRODUCTS["sechubingest"])
    label = {"Normalized": lifecycle.NORMALIZED[severity]} if is_oldest else {"Label": severity}
    return {
        "SchemaVersion": "2018-10-08",
        "Id": finding_id,
        "ProductArn": product_arn,
        "GeneratorId": finding_id.split("/")[2] if finding_id.count("/") == 2 else "tenable",
        "AwsAccountId": account,
        "CreatedAt": LONG_AGO,
        "UpdatedAt": LONG_AGO,
        "Types": ["Software and Configuration Checks/Vulnerabilities/CVE"],
        "Severity": label,
        "Title": "Found by an older tool",
        "Description": "Found by an older tool.",
        "Resources": [
            {"Type": "AwsEc2Instance", "Id": f"arn:aws:ec2:{region}:{account}:instance:{part}"}
            for part in finding_id.split("/")
            if part.startswith("i-")
        ],
        **own,
    }


def preload(world: World, account: str, region: str, tool: str, findings: list[Mapping[str, Any]]) -> int:
    """Put findings of an old tool into a hub, as if it had sent them; ValueError where that is impossible.

    :param tool: a key of :data:`PRODUCTS`, or the key of another vendor's product that has findings of the same ids.
    :param findings: `instance`, `plugin`, and optionally `region` (of the instance), `severity`, `updated_at`,
        `record_state`, and `set`: what the customer then changed
    """
    hub = world.hubs.get(account, region)
    product = next((each for each in catalogue(region) if each.key == PRODUCTS.get(tool, tool)), None)
    if hub is None or product is None:
        raise ValueError(f"There is no hub in {account}/{region}, or no tool {tool!r}: {', '.join(PRODUCTS)}.")
    if product.key not in hub.products:
        hub.products.append(product.key)
    arn = product.arn(region)
    parsed = parse_product_arn(arn)
    if parsed is None:
        raise ValueError(f"{arn} is not the ARN of a product.")
    for each in findings:
        finding_id = old_id(str(each.get("region", region)), str(each["instance"]), int(each["plugin"]))
        sent = sent_by(
            finding_id,
            arn,
            account,
            region,
            severity=str(each.get("severity", "HIGH")),
            UpdatedAt=str(each.get("updated_at", LONG_AGO)),
            RecordState=str(each.get("record_state", "ACTIVE")),
        )
        world.findings.put(account, region, sent, parsed)
        stored = world.findings.find(account, region, finding_id, arn)
        if stored is not None and each.get("set"):
            world.findings.work_on(stored, dict(each["set"]))
    return len(findings)
