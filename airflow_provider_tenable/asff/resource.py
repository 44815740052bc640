"""ASFF resources from Tenable's assets: the affected resource of a finding, and its account."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

import msgspec
from msgspec import Struct

from airflow_provider_tenable.asff import limits, product_fields
from airflow_provider_tenable.asff import row as finding_row
from airflow_provider_tenable.asff.identity import ID_OPENING, ID_SCHEMES, id_head
from airflow_provider_tenable.asff.resource_types import OTHER, details_of, type_of
from airflow_provider_tenable.aws import ASFF_PARTITIONS, instance_arn, partition_of, region_of
from airflow_provider_tenable.guards.arns import Arn
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow

# IPv4 in its usual form, which needs no rewriting: ipaddress takes twenty times as long to confirm that.
_OCTET = r"(?:0|[1-9]\d?|1\d\d|2[0-4]\d|25[0-5])"
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}", re.ASCII)

# The characters of AWS tags (letters and digits of any script), without the prefix reserved by AWS.
_TAG_KEY = re.compile(r"(?!aws:)[\w .:/=+@-]+", re.IGNORECASE)


class Resource(Struct):
    """A resource prepared for its findings.

    :ivar resource: the resource in a finding's id: the instance, service and name of another AWS resource, otherwise
        Tenable's asset id.
    :ivar encoded: the JSON of ``Resources``.
    :ivar product_fields: entries of ``ProductFields`` that come from the asset.
    :ivar criticality: 0 to 100, or None.
    :ivar is_typed: whether it is another AWS resource, in its own account and Region.
    :ivar gone: ``terminated`` or ``deleted``: its findings are archived, and say so. Else empty.

    The remaining fields are encoded pieces of its findings' lines, ``id_heads`` by id scheme, and of their rows
    (:mod:`airflow_provider_tenable.asff.row`), ``keys`` by id scheme. ``facts`` is what counts as content, in whatever
    order Tenable lists it, and ``material`` its digest.
    """

    account: str
    region: str
    resource: str
    encoded: msgspec.Raw
    product_fields: dict[str, str]
    criticality: int | None
    is_ec2: bool = True
    is_typed: bool = False
    gone: str = ""
    encoded_product_fields: bytes = b""
    id_heads: dict[str, bytes] = {}
    account_field: bytes = b""
    keys: dict[str, bytes] = {}
    asset_key: bytes = b""
    facts: bytes = b""
    material: bytes = b""

    def __post_init__(self) -> None:
        if self.gone:
            self.product_fields = {**self.product_fields, "archived_because": f"asset_{self.gone}"}
        self.encoded_product_fields = product_fields.piece(self.product_fields)
        self.id_heads = {scheme: self._id_piece(scheme) for scheme in ID_SCHEMES}
        self.account_field = b',"AwsAccountId":' + msgspec.json.encode(self.account)
        self.keys = {scheme: finding_row.resource_key(self._head(scheme)) for scheme in ID_SCHEMES}
        self.asset_key = finding_row.asset_key(self.product_fields.get("asset_uuid", ""))
        self.material = finding_row.digest(self.account_field, self.facts)

    def _id_piece(self, scheme: str) -> bytes:
        return ID_OPENING + msgspec.json.encode(self._head(scheme))[1:-1]

    def _head(self, scheme: str) -> str:
        return id_head(scheme, region=self.region, account=self.account, resource=self.resource)


def ec2_resource(row: AssetRow) -> Resource:
    """The ``AwsEc2Instance`` of an asset whose instance, account and Region are known (``assets/account.py``)."""
    region = region_of(row.region, row.availability_zone)
    account, instance = row.owner_id, row.instance_id
    assert region
    assert account
    assert instance
    ipv4, ipv6 = _addresses(row)
    fields = _product_fields(row)
    details = {
        # A truncated instance type would be a different type, so one that does not fit appears only in ProductFields.
        "Type": _whole(row.instance_type, limits.EC2_TYPE),
        "ImageId": _whole(row.image_id, limits.EC2_IMAGE_ID),
        "IpV4Addresses": ipv4[: limits.EC2_ADDRESSES],
        "IpV6Addresses": ipv6[: limits.EC2_ADDRESSES],
        "VpcId": _whole(row.vpc_id, limits.EC2_VPC_ID),
        "SubnetId": _whole(row.subnet_id, limits.EC2_SUBNET_ID),
    }
    details = {name: value for name, value in details.items() if value}
    partition = partition_of(region)
    resource: dict[str, Any] = {
        "Type": "AwsEc2Instance",
        "Id": instance_arn(region, account, instance),
        **({"Partition": partition} if partition in ASFF_PARTITIONS else {}),
        **({"Region": region} if len(region) <= limits.RESOURCE_REGION else {}),
        **_tags(row),
        **({"Details": {"AwsEc2Instance": details}} if details else {}),
    }
    facts = _facts(row, fields, {**resource, "Details": {**details, "IpV4Addresses": ipv4, "IpV6Addresses": ipv6}})
    return Resource(
        account,
        region,
        instance,
        _encode(resource),
        fields,
        criticality_of(row),
        gone=row.gone,
        facts=facts,
    )


def other_resource(row: AssetRow, *, account: str, region: str) -> Resource:
    """A resource of type ``Other`` for an asset that is not an EC2 instance, in a destination's account and Region."""
    ipv4, ipv6 = _addresses(row)
    fields = _product_fields(row)
    other = _other_details(row, ipv4, ipv6)
    resource: dict[str, Any] = {
        "Type": "Other",
        "Id": limits.beginning(f"tenable-asset/{row.id}", limits.RESOURCE_ID),
        **({"Region": region} if len(region) <= limits.RESOURCE_REGION else {}),
        **({"Details": {"Other": other}} if other else {}),
    }
    return Resource(
        account,
        region,
        row.id,
        _encode(resource),
        fields,
        criticality_of(row),
        is_ec2=False,
        gone=row.gone,
        facts=_facts(row, fields, {**resource, "Details": {**other, "IpV4Addresses": ipv4, "IpV6Addresses": ipv6}}),
    )


def aws_resource(row: AssetRow, arn: Arn) -> Resource:
    """The AWS resource that an asset is (``assets/outside_ec2.py``), in its own account and Region."""
    name, partition = type_of(arn), partition_of(arn.region)
    ipv4, ipv6 = _addresses(row)
    fields = _product_fields(row)
    own, other = details_of(name, arn), _other_details(row, ipv4, ipv6)
    details = {**({name: own} if own else {}), **({OTHER: other} if other else {})}
    resource: dict[str, Any] = {
        "Type": name,
        "Id": arn.text,
        **({"Partition": partition} if partition in ASFF_PARTITIONS else {}),
        **({"Region": arn.region} if len(arn.region) <= limits.RESOURCE_REGION else {}),
        **_tags(row),
        **({"Details": details} if details else {}),
    }
    return Resource(
        arn.account,
        arn.region,
        arn.name,
        _encode(resource),
        fields,
        criticality_of(row),
        is_ec2=False,
        is_typed=True,
        gone=row.gone,
        facts=_facts(
            row, fields, {**resource, "Details": {**own, **other, "IpV4Addresses": ipv4, "IpV6Addresses": ipv6}}
        ),
    )


def _other_details(row: AssetRow, ipv4: list[str], ipv6: list[str]) -> dict[str, str]:
    facts = {
        "Name": row.name,
        "IpV4Addresses": ", ".join(ipv4),
        "IpV6Addresses": ", ".join(ipv6),
        "InstanceId": row.instance_id,
    }
    return {name: text for name, value in facts.items() if (text := limits.text(value, limits.OTHER_VALUE))}


def account_resource(account: str, *, region: str, partition: str, asset: str, gone: str = "") -> Resource:
    """The ``AwsAccount`` of an audit, as Security Hub's own controls name it.

    :param region: the hub's Region.
    :param asset: the uuid of the asset that stands for the account in Tenable.
    :param gone: as in :class:`Resource`, of that asset.
    """
    resource: dict[str, Any] = {
        "Type": "AwsAccount",
        "Id": f"AWS::::Account:{account}",
        **({"Partition": partition} if partition in ASFF_PARTITIONS else {}),
        **({"Region": region} if len(region) <= limits.RESOURCE_REGION else {}),
    }
    return Resource(
        account,
        region,
        "audit",
        _encode(resource),
        {"asset_uuid": asset},
        None,
        is_ec2=False,
        gone=gone,
        facts=msgspec.json.encode([resource, asset]),
    )


def _facts(row: AssetRow, fields: dict[str, str], resource: dict[str, Any]) -> bytes:
    """What counts as content of a resource. Tenable does not promise any order of addresses and tags, nor which of them
    come first where there are more than a finding may have.
    """
    tags = msgspec.json.decode(row.tags, type=dict[str, list[str]])
    details = {
        name: sorted(set(value)) if isinstance(value, list) else value for name, value in resource["Details"].items()
    }
    return msgspec.json.encode(
        {
            **resource,
            "Details": details,
            "Tags": sorted(msgspec.json.decode(row.resource_tags, type=dict[str, str]).items()),
            "ProductFields": {**fields, "tags": {key: sorted(set(values)) for key, values in tags.items()}},
        },
        order="sorted",
    )


def _encode(resource: dict[str, Any]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode([resource]))


def _whole(value: str | None, limit: int) -> str | None:
    """An identifier, or None if it does not fit: a part of it would identify something else."""
    value = limits.text(value, 10 * limit)
    return value if value and limits.length(value) <= limit else None


def _addresses(row: AssetRow) -> tuple[list[str], list[str]]:
    ipv4: list[str] = []
    ipv6: list[str] = []
    for text in msgspec.json.decode(row.addresses, type=list[str]):
        if _IPV4.fullmatch(text):
            ipv4.append(text)
            continue
        try:
            # The zone of a link-local address (fe80::1%eth0) is only meaningful on the host.
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            # Tenable also lists prefixes (2001:DB8::/32), which are not addresses.
            continue
        (ipv4 if address.version == 4 else ipv6).append(str(address))
    return list(dict.fromkeys(ipv4)), list(dict.fromkeys(ipv6))


def _tags(row: AssetRow) -> dict[str, dict[str, str]]:
    tags: dict[str, str] = {}
    for key, value in msgspec.json.decode(row.resource_tags, type=dict[str, str]).items():
        fitting = limits.text(value, limits.RESOURCE_TAG_VALUE)
        if fitting and _is_tag_key(key) and len(tags) < limits.RESOURCE_TAGS:
            tags[key] = fitting
    return {"Tags": tags} if tags else {}


def _is_tag_key(key: str) -> bool:
    """Whether AWS certainly accepts a tag's key. An invalid key would make it reject the finding."""
    return bool(key.strip()) and limits.length(key) <= limits.RESOURCE_TAG_KEY and _TAG_KEY.fullmatch(key) is not None


def _product_fields(row: AssetRow) -> dict[str, str]:
    tags = msgspec.json.decode(row.tags, type=dict[str, list[str]])
    return {
        "asset_uuid": row.id,
        "asset_name": row.instance_name or row.name or "",
        "instance_type": row.instance_type or "",
        "operating_system": ", ".join(msgspec.json.decode(row.operating_systems or "[]", type=list[str])),
        "tags": ", ".join(f"{key}: {value}" for key, values in sorted(tags.items()) for value in values),
    }


def criticality_of(row: AssetRow) -> int | None:
    """Tenable's Asset Criticality Rating, 1 to 10, as ASFF's 0 to 100."""
    if row.acr is None or not 0 < row.acr <= 10:
        return None
    return round(row.acr * 10)
