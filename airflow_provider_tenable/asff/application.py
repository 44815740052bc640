"""The resource of a web application: type ``Other``, or the load balancer (or another AWS resource) that serves it."""

from __future__ import annotations

from typing import Any

import msgspec

from airflow_provider_tenable.asff import limits
from airflow_provider_tenable.asff.resource import Resource, criticality_of
from airflow_provider_tenable.asff.resource_types import OTHER, details_of, type_of
from airflow_provider_tenable.aws import ASFF_PARTITIONS, partition_of
from airflow_provider_tenable.guards.arns import Arn
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow


def application_resource(row: AssetRow, host: str, *, account: str, region: str, arn: Arn | None = None) -> Resource:
    """The resource of a web application's findings.

    Its addresses are not part of it: those of load balancers and CDNs change without anybody having changed anything.

    :param row: the application's asset. Of one that no export has, its id alone.
    :param host: the host name of the application; empty: it has none.
    :param account: the account whose findings these are; of an ARN its own.
    :param arn: what serves the application, where that is known.
    """
    name = OTHER if arn is None else type_of(arn)
    identity = arn.text if arn else f"https://{host}" if host else f"tenable-asset/{row.id}"
    partition = partition_of(region) if arn else ""
    own = details_of(name, arn) if arn else {}
    other = {"Name": text} if (text := limits.text(host or row.name, limits.OTHER_VALUE)) else {}
    details = {**({name: own} if own else {}), **({OTHER: other} if other and not own else {})}
    resource: dict[str, Any] = {
        "Type": name,
        "Id": limits.beginning(identity, limits.RESOURCE_ID),
        **({"Partition": partition} if partition in ASFF_PARTITIONS else {}),
        **({"Region": region} if len(region) <= limits.RESOURCE_REGION else {}),
        **({"Details": details} if details else {}),
    }
    tags: dict[str, list[str]] = msgspec.json.decode(row.tags, type=dict[str, list[str]])
    ordered = {key: sorted(set(values)) for key, values in sorted(tags.items())}
    fields = {
        "asset_uuid": row.id,
        "asset_name": row.name or host,
        "application": host,
        "tags": ", ".join(f"{key}: {value}" for key, values in sorted(tags.items()) for value in values),
    }
    return Resource(
        account,
        region,
        row.id,
        msgspec.Raw(msgspec.json.encode([resource])),
        fields,
        criticality_of(row),
        is_ec2=False,
        is_typed=arn is not None,
        gone=row.gone,
        # Tags are sets: another order is not a change.
        facts=msgspec.json.encode([resource, {**fields, "tags": ordered}]),
    )


__all__ = ["application_resource"]
