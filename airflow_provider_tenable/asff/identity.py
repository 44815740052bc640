"""Finding ids, ARNs and partitions. The id scheme is pinned by a golden test: it can never change, or every finding appears twice."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote

from airflow_provider_tenable.asff import limits

ACCOUNT = re.compile(r"\d{12}", re.ASCII)
INSTANCE = re.compile(r"i-[0-9a-f]{8,17}", re.ASCII)
# As long as any name that AWS has given, with room: what is longer would burst the ARNs made of it.
_REGION = r"[a-z]{2,5}(?:-[a-z]{1,16}){1,3}-\d{1,2}"
REGION = re.compile(_REGION, re.ASCII)
_ZONE = re.compile(rf"({_REGION})(?:[a-z]|-[a-z0-9-]+)", re.ASCII)

#: Prefix of a Region -> its partition (AWS General Reference: ARN format; botocore's endpoint data).
_PARTITIONS = {
    "cn-": "aws-cn",
    "us-gov-": "aws-us-gov",
    "us-iso-": "aws-iso",
    "us-isob-": "aws-iso-b",
    "eu-isoe-": "aws-iso-e",
    "us-isof-": "aws-iso-f",
    "eusc-": "aws-eusc",
}
#: The partitions that ASFF's ``Resource.Partition`` knows under the same name.
ASFF_PARTITIONS = frozenset({"aws", "aws-cn", "aws-us-gov"})

TENABLE_PRODUCT = "tenable/vulnerability-management"
DEFAULT_PRODUCT = "default"

TVM2AWS = "tvm2aws"
ID_SCHEMES = ("port", TVM2AWS)


def partition_of(region: str) -> str:
    """The partition that a Region belongs to."""
    return next((partition for prefix, partition in _PARTITIONS.items() if region.startswith(prefix)), "aws")


def region_of(region: str | None, zone: str | None) -> str | None:
    """The Region, taken from the availability zone (or local zone) where only that is known."""
    if region and REGION.fullmatch(region):
        return region
    match = _ZONE.fullmatch(zone or "")
    return match[1] if match else None


def instance_arn(region: str, account: str, instance: str) -> str:
    """The ARN of an EC2 instance."""
    return f"arn:{partition_of(region)}:ec2:{region}:{account}:instance/{instance}"


def product_arn(product: str, *, region: str, account: str) -> str:
    """The ARN of a Security Hub product in a hub's Region.

    ``company/product`` has no account in its ARN; ``default`` is the account's own default product. Tenable has no product outside the
    ``aws`` partition (user guide: third-party products by Region): the default product stands in for it there.
    """
    partition = partition_of(region)
    if product == DEFAULT_PRODUCT or (product == TENABLE_PRODUCT and partition != "aws"):
        return f"arn:{partition}:securityhub:{region}:{account}:product/{account}/default"
    return f"arn:{partition}:securityhub:{region}::product/{product}"


def _quoted(value: str) -> str:
    return _quoted_short(value) if len(value) < 64 else quote(value, safe="")


@lru_cache(maxsize=4096)
def _quoted_short(value: str) -> str:
    return quote(value, safe="")


def port_of(port: int | str | None) -> str:
    """The port as it stands in an id; ``0`` where there is none."""
    value = str(port).strip() if port is not None else ""
    return _quoted(value) or "0"


def protocol_of(protocol: str | None) -> str:
    """The protocol as it stands in an id: lower case; ``none`` where there is none."""
    return _quoted((protocol or "").strip().lower()) or "none"


def id_head(scheme: str, *, region: str, account: str, resource: str) -> str:
    """The beginning of an id: what is affected. The same for all findings of a resource."""
    return f"{region}/{_quoted(resource)}/" if scheme == TVM2AWS else f"{region}/{account}/{_quoted(resource)}/"


def id_tail(scheme: str, *, protocol: str | None, port: int | str | None) -> str:
    """The end of an id, after the plugin: where on the resource it was found."""
    return "" if scheme == TVM2AWS else f"/{protocol_of(protocol)}/{port_of(port)}"


def too_long(length: int) -> str:
    """Why a record with such an id becomes no finding."""
    return f"its id would have {length} characters, the limit is {limits.ID}"


def finding_id(scheme: str, *, region: str, account: str, resource: str, plugin: int, protocol: str | None, port: int | str | None) -> str:
    """The id of a finding: the same for the same vulnerability in every run, and for nothing else.

    ``port``: ``{region}/{account}/{resource}/{plugin}/{protocol}/{port}``; ``tvm2aws``: ``{region}/{instance}/{plugin}``.
    Slashes inside a part are escaped, so that two different tuples never give one id. Findings are written from the same
    two pieces, which are ASCII and need no escaping in JSON.

    :raises ValueError: the id is longer than Security Hub takes.
    """
    head, tail = id_head(scheme, region=region, account=account, resource=resource), id_tail(scheme, protocol=protocol, port=port)
    value = f"{head}{plugin}{tail}"
    if len(value) > limits.ID:
        raise ValueError(too_long(len(value)))
    return value
