"""An asset as the columns that the mapping needs, from an export's record or from a single look-up."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from airflow_provider_tenable.aws import ec2_mac_of
from airflow_provider_tenable.tenable_vm import times
from airflow_provider_tenable.tenable_vm.asset_names import resource_name_of
from airflow_provider_tenable.tenable_vm.records import (
    Asset,
    AssetTimestamps,
    AwsCloud,
    Cloud,
    Network,
    Ratings,
    Score,
    Tag,
)


class AssetRow(Struct):
    """An asset, down to the columns that the mapping needs. One row of the staged Parquet parts; addresses, tags and
    operating systems as JSON texts.

    :ivar macs: MAC addresses that a network interface in EC2 can have; only of an asset without an instance id.
    :ivar resource_name: what names the AWS resource, where the asset is not an EC2 instance
        (:mod:`~airflow_provider_tenable.tenable_vm.asset_names`), as Tenable returned it.
    """

    id: str
    owner_id: str | None = None
    region: str | None = None
    availability_zone: str | None = None
    instance_id: str | None = None
    image_id: str | None = None
    instance_type: str | None = None
    instance_name: str | None = None
    vpc_id: str | None = None
    subnet_id: str | None = None
    name: str | None = None
    addresses: str = "[]"
    tags: str = "{}"
    resource_tags: str = "{}"
    terminated_at: str | None = None
    deleted_at: str | None = None
    operating_systems: str | None = None
    resource_name: str | None = None
    macs: str | None = None
    acr: float | None = None

    @property
    def gone(self) -> str:
        """``terminated`` or ``deleted`` where the asset does not exist any more; else empty."""
        return "deleted" if self.deleted_at else "terminated" if self.terminated_at else ""


#: Columns that staged parts of release 0.1.0 lack.
ADDED_COLUMNS = ("terminated_at", "deleted_at", "operating_systems", "resource_name", "macs")
COLUMNS = AssetRow.__struct_fields__


def row_of(asset: Asset) -> AssetRow:
    """The columns of an asset that the mapping needs."""
    aws = (asset.cloud and asset.cloud.aws) or AwsCloud()
    network = asset.network or Network()
    stamps = asset.timestamps or AssetTimestamps()
    tags: dict[str, list[str]] = {}
    for tag in asset.tags or []:
        if tag.key and tag.value:
            tags.setdefault(tag.key, []).append(tag.value)
    addresses = [*(network.ipv4s or []), *(network.ipv6s or [])]
    return AssetRow(
        id=asset.id,
        owner_id=aws.owner_id,
        region=aws.region,
        availability_zone=aws.availability_zone,
        instance_id=aws.ec2_instance_id,
        image_id=aws.ec2_instance_ami_id,
        instance_type=aws.ec2_instance_type,
        instance_name=aws.ec2_name,
        vpc_id=aws.vpc_id,
        subnet_id=aws.subnet_id,
        name=_name_of(asset, network, addresses),
        addresses=_json(addresses),
        tags=_json(tags),
        resource_tags=_json({tag.key: tag.value for tag in asset.resource_tags or [] if tag.key and tag.value}),
        operating_systems=_operating_systems(asset),
        resource_name=resource_name_of(asset),
        macs=None if aws.ec2_instance_id else _macs(network),
        acr=_number(asset.ratings.acr.score if asset.ratings and asset.ratings.acr else None),
        terminated_at=_moment(stamps.terminated_at),
        deleted_at=_moment(stamps.deleted_at),
    )


def _operating_systems(asset: Asset) -> str | None:
    """In alphabetical order: Tenable does not promise any."""
    names = sorted({name.strip() for name in asset.operating_systems or [] if name.strip()})
    return _json(names) if names else None


def _macs(network: Network) -> str | None:
    """In alphabetical order, as EC2 writes them."""
    interfaces = [mac for each in network.network_interfaces or [] for mac in each.mac_addresses or []]
    macs = {mac for text in [*(network.mac_addresses or []), *interfaces] if (mac := ec2_mac_of(text))}
    return _json(sorted(macs)) if macs else None


def _moment(value: str | None) -> str | None:
    """A time as Tenable returned it. A text that is not a time does not say that an asset is gone."""
    return value if value and times.parse(value) else None


def _name_of(asset: Asset, network: Network, addresses: list[str]) -> str | None:
    """The best name of an asset: hostname, FQDN, NetBIOS name, agent name, display name, else an address."""
    sources = (
        network.hostnames,
        network.fqdns,
        network.netbios_names,
        asset.agent_names,
        [asset.name or ""],
        addresses,
    )
    return next((name for names in sources for name in names or [] if name.strip()), None)


def row_of_details(details: dict[str, Any]) -> AssetRow | None:
    """The columns of one asset looked up singly. ``GET /assets/{id}`` answers in lists (``aws_ec2_instance_id:
    ["i-..."]``).
    """

    def first(name: str) -> str | None:
        value = details.get(name)
        value = value[0] if isinstance(value, list) and value else value
        return value if isinstance(value, str) and value else None

    def texts(*names: str) -> list[str]:
        values = [details.get(name) for name in names]
        return [
            item
            for value in values
            for item in (value if isinstance(value, list) else [value])
            if isinstance(item, str)
        ]

    def tags(name: str, key: str, value: str) -> list[Tag]:
        listed = details.get(name)
        listed = listed if isinstance(listed, list) else []
        pairs = [(tag.get(key), tag.get(value)) for tag in listed if isinstance(tag, dict)]
        return [Tag(*pair) for pair in pairs if all(isinstance(text, str) for text in pair)]

    asset_id = details.get("id")
    if not isinstance(asset_id, str):
        return None
    aws = AwsCloud(
        owner_id=first("aws_owner_id"),
        region=first("aws_region"),
        availability_zone=first("aws_availability_zone"),
        ec2_instance_id=first("aws_ec2_instance_id"),
        ec2_instance_ami_id=first("aws_ec2_instance_ami_id"),
        ec2_instance_type=first("aws_ec2_instance_type"),
        ec2_name=first("aws_ec2_name"),
        vpc_id=first("aws_vpc_id"),
        subnet_id=first("aws_subnet_id"),
        arn=first("aws_arn"),
        resource_id=first("aws_resource_id"),
    )
    # The newer score first: the older one may be null, or another number.
    score = next(
        (number for name in ("acr_score_v3", "acr_score") if (number := _number(details.get(name))) is not None), None
    )
    return row_of(
        Asset(
            id=asset_id,
            cloud=Cloud(aws),
            name=first("name"),
            operating_systems=texts("operating_system", "operating_systems"),
            agent_names=texts("agent_name", "agent_names"),
            network=Network(
                ipv4s=texts("ipv4", "ipv4s"),
                ipv6s=texts("ipv6", "ipv6s"),
                fqdns=texts("fqdn", "fqdns"),
                hostnames=texts("hostname", "hostnames"),
                netbios_names=texts("netbios_name", "netbios_names"),
                mac_addresses=texts("mac_address", "mac_addresses"),
            ),
            ratings=Ratings(Score(score)),
            tags=tags("tags", "tag_key", "tag_value") or tags("tags", "key", "value"),
            resource_tags=tags("resource_tags", "key", "value"),
            timestamps=AssetTimestamps(first("deleted_at"), first("terminated_at")),
            custom_attributes=msgspec.Raw(msgspec.json.encode(details.get("custom_attributes"))),
        )
    )


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None
