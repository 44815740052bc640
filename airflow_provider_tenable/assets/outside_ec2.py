"""Assets that are not EC2 instances: what the param ``non_ec2_assets`` makes of them, and which AWS resource an asset
is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_tenable.aws import region_of
from airflow_provider_tenable.guards.arns import Arn, arn_of

if TYPE_CHECKING:
    from airflow_provider_tenable.tenable_vm.asset_row import AssetRow

#: Values of ``non_ec2_assets``, the default first.
SKIP, OTHER, TYPED, TYPED_OR_OTHER = "skip", "other", "typed", "typed_or_other"
CHOICES = (SKIP, OTHER, TYPED, TYPED_OR_OTHER)
#: Values with which every asset becomes a resource, and those with which an AWS resource has a type of its own.
HAS_OTHER = frozenset({OTHER, TYPED_OR_OTHER})
IS_TYPED = frozenset({TYPED, TYPED_OR_OTHER})


def aws_resource_of(row: AssetRow) -> Arn | None:
    """The AWS resource that an asset names; None if it names none, several, or one that contradicts what Tenable says
    of its account and Region.

    An asset with an account that is not one (Tenable's documentation describes a canonical user id) contradicts every
    ARN.
    """
    if not row.resource_name:
        return None
    region = region_of(row.region, row.availability_zone)
    if region is None and (row.region or row.availability_zone):
        return None
    return arn_of(row.resource_name, account=row.owner_id, region=region)


__all__ = ["CHOICES", "HAS_OTHER", "IS_TYPED", "OTHER", "SKIP", "TYPED", "TYPED_OR_OTHER", "aws_resource_of"]
