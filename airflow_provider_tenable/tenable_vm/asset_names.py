"""The AWS resource that Tenable names for an asset which is not an EC2 instance.

Tenable's API documents no property of an exported asset for it, though its user interface filters assets by *ARN* (user
guide: tag rule filters). It is read from where it can be: ``cloud.aws.arn`` and ``cloud.aws.resource_id`` where Tenable
returns them, the name of the asset, its custom attributes, and its Tenable tags. The latter two are how users can name
it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from airflow_provider_tenable.aws import INSTANCE
from airflow_provider_tenable.guards.arns import LONGEST_ARN, names_resource
from airflow_provider_tenable.tenable_vm.lenient import salvage_items
from airflow_provider_tenable.tenable_vm.records import NULL, Asset, AwsCloud, CustomAttribute

#: Custom attributes are read only where one of these occurs.
_IN_ATTRIBUTES = (b"arn:", b".dkr.ecr")


def resource_name_of(asset: Asset) -> str | None:
    """What names the resource: an ARN, an image of a registry, or the id that Tenable calls ``resource_id``. None if
    nothing does. Several different names are all returned, with blanks between them, which is not a valid name.
    """
    aws = (asset.cloud and asset.cloud.aws) or AwsCloud()
    if INSTANCE.fullmatch(aws.ec2_instance_id or ""):
        return None
    texts = [asset.name, *(tag.value for tag in asset.tags or ()), *_attributes(asset.custom_attributes)]
    named = {text.strip() for text in texts if text and names_resource(text.strip())}
    if aws.arn and aws.arn.strip():
        named.add(aws.arn.strip())
    elif not named and aws.resource_id and aws.resource_id.strip():
        named.add(aws.resource_id.strip())
    # One character more than an ARN can have, so that a longer text remains too long.
    return " ".join(sorted(name[: LONGEST_ARN + 1] for name in named)) or None if named else None


def _attributes(attributes: msgspec.Raw) -> Iterable[str | None]:
    if attributes == NULL or not any(mark in bytes(attributes) for mark in _IN_ATTRIBUTES):
        return ()
    try:
        return [attribute.value for attribute in salvage_items(bytes(attributes), CustomAttribute)]
    except (ValueError, RecursionError):
        return ()


__all__ = ["resource_name_of"]
