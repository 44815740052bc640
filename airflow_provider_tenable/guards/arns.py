"""ARNs that come from outside. One counts only if all of its parts are what AWS gives, and if they agree with the
account and Region that are known from elsewhere.

An ARN is ``arn:partition:service:region:account:resource`` (AWS General Reference: ARN format). Some services leave out
the Region or the account, as S3 does for buckets: these must then be known from elsewhere.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote

from airflow_provider_tenable.aws import ACCOUNT, REGION, partition_of

#: Longest text that can be an ARN here: ``Resources[].Id`` of a finding (``asff/limits.py``).
LONGEST_ARN = 512
#: Characters of service and resource in the id of a finding, where special characters are escaped. The rest of its 512
#: is for account, Region, plugin and port.
_LONGEST_IN_ID = 380
_SERVICE = re.compile(r"[a-z][a-z0-9-]{1,39}", re.ASCII)
# No blank, quote, angle bracket or wildcard: a pattern names many resources.
_RESOURCE = re.compile(r"[A-Za-z0-9_.:/@$+=,~-]+", re.ASCII)
#: An image in a private registry, named by its digest (Amazon ECR user guide: pulling an image). A tag can be moved to
#: another image, so that it names none.
_IMAGE = re.compile(
    r"(\d{12})\.dkr\.ecr(?:-fips)?\.([a-z0-9-]{1,64})\.amazonaws\.com(?:\.cn)?/([a-z0-9][a-z0-9._/-]{1,255})"
    r"@(sha256:[0-9a-f]{64})",
    re.ASCII,
)
#: Beginning of an EC2 id -> its kind in an ARN (Service Authorization Reference: Amazon EC2).
_EC2_IDS = {
    "eipalloc": "elastic-ip",
    "eni": "network-interface",
    "sg": "security-group",
    "subnet": "subnet",
    "vol": "volume",
    "vpc": "vpc",
}
_EC2_ID = re.compile(rf"({'|'.join(_EC2_IDS)})-[0-9a-f]{{8,17}}", re.ASCII)


class Arn(NamedTuple):
    """An AWS resource, whose account and Region are known even where its ARN leaves them out.

    :ivar text: the ARN.
    """

    text: str
    service: str
    region: str
    account: str
    resource: str

    @property
    def name(self) -> str:
        """What names the resource within its account and Region."""
        return f"{self.service}:{self.resource}"


def names_resource(text: str) -> bool:
    """Whether a text looks as if it named an AWS resource: quick, for what is asked of every asset."""
    return text.startswith("arn:") or ".dkr.ecr" in text


def arn_of(text: str, *, account: str | None = None, region: str | None = None) -> Arn | None:
    """The resource that a text names: by its ARN, as an image of a private registry with its digest, or by an EC2 id,
    for which account and Region must be known.

    :param account: the resource's account, where it is known from elsewhere.
    :param region: its Region, where that is known from elsewhere.
    :return: None if the text names no resource, if account or Region remain unknown, or if they contradict each other.
        EC2 instances are not among them: Tenable names those by their instance ids.
    """
    if len(text) > LONGEST_ARN:
        return None
    if found := _IMAGE.fullmatch(text):
        own_account, own_region, repository, digest = found.groups()
        parts = ["arn", partition_of(own_region), "ecr", own_region, own_account, f"repository/{repository}/{digest}"]
    elif found := _EC2_ID.fullmatch(text):
        parts = ["arn", partition_of(region or ""), "ec2", region or "", account or "", f"{_EC2_IDS[found[1]]}/{text}"]
    else:
        parts = text.split(":", 5)
    return _checked(parts, account, region) if len(parts) == 6 and parts[0] == "arn" else None


def _checked(parts: list[str], account: str | None, region: str | None) -> Arn | None:
    _, partition, service, own_region, own_account, resource = parts
    place = own_account or account or "", own_region or region or ""
    if not (_SERVICE.fullmatch(service) and _RESOURCE.fullmatch(resource)):
        return None
    if not (ACCOUNT.fullmatch(place[0]) and REGION.fullmatch(place[1]) and partition == partition_of(place[1])):
        return None
    if account not in (None, "", place[0]) or region not in (None, "", place[1]):
        return None
    found = Arn(":".join(parts), service, place[1], place[0], resource)
    too_long = len(found.text) > LONGEST_ARN or len(quote(found.name, safe="")) > _LONGEST_IN_ID
    is_instance = service == "ec2" and resource.startswith("instance/")
    return None if too_long or is_instance else found


__all__ = ["LONGEST_ARN", "Arn", "arn_of", "names_resource"]
