"""Which vulnerability a finding stands for, from its id: of the old tools' findings, and of ours.

Both old tools write ``{region}/{instance}/{plugin}`` (tenable/Security-Hub: ``sechubingest.py``, and ``finding.py`` of
``tvm2aws``). ``sechubingest.py`` sends for the product ``tenable/tenable-io``, and ``tvm2aws`` for the one that we send
for. One of their findings stands for all ports of the instance.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from airflow_provider_tenable.aws import INSTANCE, REGION, partition_of
from airflow_provider_tenable.security_hub.reader import Finding

#: The account that owned Tenable's older product, in its ARN until AWS left the account out.
_OLD_OWNER = "422820575223"
_PLUGIN = re.compile(r"[1-9]\d{0,9}", re.ASCII)


class Vulnerability(NamedTuple):
    """A plugin's finding on an instance, on whatever port."""

    region: str
    instance: str
    plugin: int


def sechubingest_arns(region: str) -> tuple[str, str]:
    """The ARNs of the product of ``sechubingest.py``."""
    head = f"arn:{partition_of(region)}:securityhub:{region}"
    return f"{head}:{_OLD_OWNER}:product/tenable/tenable-io", f"{head}::product/tenable/tenable-io"


def of_old_id(finding_id: str) -> Vulnerability | None:
    """What an id of an old tool stands for; None where it is not one."""
    parts = finding_id.split("/")
    return _vulnerability(*parts) if len(parts) == 3 else None


def of_our_id(finding_id: str, account: str) -> Vulnerability | None:
    """What an id of the scheme ``port`` stands for; None where it is not one, or not of an EC2 instance."""
    parts = finding_id.split("/")
    if len(parts) != 6 or parts[1] != account or not (parts[4] and parts[5]):
        return None
    return _vulnerability(parts[0], parts[2], parts[3])


def is_about(finding: Finding, instance: str) -> bool:
    """Whether a finding has the instance among its resources: as ``instance/i-...``, or the old ``instance:i-...``."""
    resources = finding.get("Resources")
    return isinstance(resources, list) and any(
        isinstance(each, dict) and isinstance(each.get("Id"), str) and re.split("[:/]", each["Id"])[-1] == instance
        for each in resources
    )


def _vulnerability(region: str, instance: str, plugin: str) -> Vulnerability | None:
    if REGION.fullmatch(region) and INSTANCE.fullmatch(instance) and _PLUGIN.fullmatch(plugin):
        return Vulnerability(region, instance, int(plugin))
    return None


__all__ = ["Vulnerability", "is_about", "of_old_id", "of_our_id", "sechubingest_arns"]
