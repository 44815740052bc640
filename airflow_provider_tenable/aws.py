"""AWS's names: accounts, Regions, partitions and ARNs."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

ACCOUNT = re.compile(r"\d{12}", re.ASCII)
INSTANCE = re.compile(r"i-[0-9a-f]{8,17}", re.ASCII)
# As long as any name that AWS has given, with room: what is longer would burst the ARNs made of it.
_REGION = r"[a-z]{2,5}(?:-[a-z]{1,16}){1,3}-\d{1,2}"
REGION = re.compile(_REGION, re.ASCII)
_ZONE = re.compile(rf"({_REGION})(?:[a-z]|-[a-z0-9-]+)", re.ASCII)

_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}", re.ASCII)

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


class Caller(NamedTuple):
    """Whose some credentials are.

    :ivar region: the Region of the session or connection; None where none is set.
    :ivar partition: the partition of the credentials; empty where it is unknown.
    """

    account: str
    region: str | None
    partition: str = ""


@lru_cache(maxsize=256)
def partition_of(region: str) -> str:
    """The partition that a Region belongs to."""
    return next((partition for prefix, partition in _PARTITIONS.items() if region.startswith(prefix)), "aws")


def region_of(region: str | None, zone: str | None) -> str | None:
    """The Region, taken from the availability zone (or local zone) where only that is known."""
    if region and REGION.fullmatch(region):
        return region
    match = _ZONE.fullmatch(zone or "")
    return match[1] if match else None


def ec2_mac_of(text: str) -> str | None:
    """A MAC address as EC2 writes it; None if it is not one, or none that a network interface in EC2 has: those are
    locally administered, and for one receiver.
    """
    mac = text.strip().lower().replace("-", ":")
    return mac if _MAC.fullmatch(mac) and int(mac[:2], 16) & 0b11 == 0b10 else None


def instance_arn(region: str, account: str, instance: str) -> str:
    """The ARN of an EC2 instance."""
    return f"arn:{partition_of(region)}:ec2:{region}:{account}:instance/{instance}"


def product_arn(product: str, *, region: str, account: str) -> str:
    """The ARN of a Security Hub product in a hub's Region.

    ``company/product`` has no account in its ARN; ``default`` is the account's own default product. Tenable has no
    product outside the ``aws`` partition (user guide: third-party products by Region): the default product stands in
    for it there.
    """
    partition = partition_of(region)
    if product == DEFAULT_PRODUCT or (product == TENABLE_PRODUCT and partition != "aws"):
        return f"arn:{partition}:securityhub:{region}:{account}:product/{account}/default"
    return f"arn:{partition}:securityhub:{region}::product/{product}"


#: Partition -> host of its console.
_CONSOLES = {
    "aws": "{region}.console.aws.amazon.com",
    "aws-cn": "{region}.console.amazonaws.cn",
    "aws-us-gov": "{region}.console.amazonaws-us-gov.com",
}
_EQUALS = "\\operator\\:EQUALS\\:"


def console_url(*, account: str, region: str) -> str | None:
    """The URL of Tenable's findings of one account in the console; None for a partition with an unknown console."""
    host = _CONSOLES.get(partition_of(region))
    if host is None:
        return None
    # The console encodes each value, and then the complete search again.
    search = "&".join(
        f"{name}={quote(_EQUALS + value, safe='')}"
        for name, value in (("CompanyName", "Tenable"), ("AwsAccountId", account))
    )
    page = f"https://{host.format(region=region)}/securityhub/home?region={region}"
    return f"{page}#/findings?search={quote(search, safe='')}"
