"""Whether an asset is an EC2 instance with a known account and Region, and the reason if it is not."""

from __future__ import annotations

from airflow_provider_tenable.aws import ACCOUNT, INSTANCE, region_of
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow

#: Why records of an asset are skipped.
NO_INSTANCE = "no_ec2_instance"
NO_ACCOUNT = "no_aws_account"
NO_REGION = "no_aws_region"
#: They may change by themselves: a scanner or an agent may find an instance days before the AWS connector says which
#: one it is, and in which account.
UNSETTLED = frozenset({NO_INSTANCE, NO_ACCOUNT, NO_REGION})


def skip_reason(row: AssetRow) -> str | None:
    """Why an asset is not an EC2 instance with a known account and Region; None if it is."""
    if not INSTANCE.fullmatch(row.instance_id or ""):
        return NO_INSTANCE
    if not ACCOUNT.fullmatch(row.owner_id or ""):
        return NO_ACCOUNT
    return None if region_of(row.region, row.availability_zone) else NO_REGION
