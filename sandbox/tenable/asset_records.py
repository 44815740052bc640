"""An asset in the export of version 2, and the parts that the older formats share with it."""

import uuid
from typing import Any

from sandbox.clock import iso
from sandbox.tenable.hosts import EC2_KINDS, Host, HostState, network_name

CANONICAL_OWNER = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"
ADDED_BY = "ac2e7ef6-fac9-47bf-9170-617331322885"


def asset_v2(host: Host, state: HostState, *, resource_tags: bool = False, open_ports: bool = False) -> dict[str, Any]:
    """Nested; what is empty is left out (API docs: GET /assets/export/{uuid}/chunks/{id} of a v2 export)."""
    scanned = iso(state.last_scan)
    asset = {
        "id": host.asset_id,
        "has_agent": host.has_agent,
        "has_plugin_results": True,
        "is_licensed": host.is_licensed,
        "is_public": any(address.startswith("203.") for address in host.ipv4s),
        "types": _types(host),
        "operating_systems": [host.operating_system],
        "system_types": system_types_of(host),
        "installed_software": ["cpe:/a:openbsd:openssh:8.9", "cpe:/a:haxx:curl:7.81.0"]
        if host.platform == "linux"
        else None,
        "agent_names": [host.name] if host.has_agent else None,
        "sources": sources_of(host, state),
        "tags": [
            {
                "uuid": tag_uuid(key, value),
                "key": key,
                "value": value,
                "added_by": ADDED_BY,
                "added_at": iso(host.created_at),
            }
            for key, value in host.tags
        ],
        "scan": {
            "first_scan_time": iso(host.created_at),
            "last_scan_time": scanned,
            "last_licensed_scan_date": scanned,
        },
        "cloud": _cloud(host, state),
        "network": {
            "network_id": host.network_id,
            "network_name": network_name(host),
            "ipv4s": list(host.ipv4s),
            "ipv6s": list(host.ipv6s),
            "fqdns": [f"{host.name}.internal.example.com"],
            "mac_addresses": [host.mac],
            "hostnames": [host.name],
            "network_interfaces": [{"name": "eth0", "mac_addresses": [host.mac], "ipv4s": list(host.ipv4s)}],
            "open_ports": [
                {
                    "port": 22,
                    "protocol": "TCP",
                    "service_names": ["ssh"],
                    "first_seen": iso(host.created_at),
                    "last_seen": scanned,
                }
            ]
            if open_ports
            else None,
        },
        "timestamps": {
            "created_at": iso(host.created_at),
            "updated_at": iso(state.updated_at),
            "deleted_at": iso_or_none(state.deleted_at),
            "terminated_at": iso_or_none(state.terminated_at),
            "first_seen": iso(host.created_at),
            "last_seen": scanned,
        },
        "terminated_by": "aws-connector" if state.terminated_at else None,
        "ratings": {"acr": {"score": host.acr}, "aes": {"score": 100 * host.acr - 56}} if host.acr else None,
        "custom_attributes": [
            {"id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"attribute {number}")), "value": value}
            for number, value in enumerate(host.attributes)
        ],
        "resource_tags": [{"key": key, "value": value} for key, value in host.resource_tags] if resource_tags else None,
    }
    return _without_empty(asset)


AWS_NAMES = (
    "ec2_instance_ami_id",
    "ec2_instance_id",
    "owner_id",
    "availability_zone",
    "region",
    "vpc_id",
    "ec2_instance_group_name",
    "ec2_instance_state_name",
    "ec2_instance_type",
    "subnet_id",
    "ec2_product_code",
    "ec2_name",
)


def aws_of(host: Host, state: HostState) -> dict[str, Any] | None:
    if host.kind == "webapp":
        return {"ec2_instance_ami_id": "ami-dummy-id", "ec2_instance_id": f"ec2{host.asset_id}"}
    if host.kind not in EC2_KINDS:
        return {"arn": host.arn} if host.arn else None
    owner = {"no_owner": None, "canonical_owner": CANONICAL_OWNER}.get(host.kind, host.account)
    return {
        "ec2_instance_ami_id": host.ami,
        "ec2_instance_id": host.instance_id,
        "owner_id": owner,
        "availability_zone": host.zone,
        "region": None if host.kind == "ec2_zone_only" else host.region,
        "vpc_id": host.vpc,
        "ec2_instance_group_name": f"sg-{host.name}",
        "ec2_instance_state_name": "terminated" if state.terminated_at else "running",
        "ec2_instance_type": host.instance_type,
        "subnet_id": host.subnet,
        "ec2_name": host.name,
        **({"arn": host.arn} if host.arn else {}),
    }


def azure_of(host: Host) -> dict[str, str] | None:
    if host.kind != "azure":
        return None
    vm_id = str(uuid.uuid5(uuid.NAMESPACE_OID, host.asset_id))
    return {"vm_id": vm_id, "resource_id": f"/subscriptions/{vm_id}/resourceGroups/prod/virtualMachines/{host.name}"}


def gcp_of(host: Host) -> dict[str, str] | None:
    if host.kind != "gcp":
        return None
    return {"project_id": "example-project", "zone": "europe-west1-b", "instance_id": str(10**18 + host.number)}


def _cloud(host: Host, state: HostState) -> dict[str, Any]:
    return {"aws": aws_of(host, state), "azure": azure_of(host), "gcp": gcp_of(host)}


def _types(host: Host) -> list[str]:
    if host.kind == "webapp":
        return ["webapp"]
    return ["cloud", "host"] if host.kind in (*EC2_KINDS, "azure", "gcp") else ["host"]


def system_types_of(host: Host) -> list[str]:
    return ["aws-ec2-instance"] if host.kind in EC2_KINDS else ["general-purpose"]


def source_names(host: Host) -> list[str]:
    """Where Tenable knows the host from; the cloud connector's old name on some hosts, its new one on others."""
    if host.kind == "webapp":
        return ["WAS"]
    names = ["NESSUS_AGENT" if host.has_agent else "NESSUS_SCAN"]
    if host.kind in (*EC2_KINDS, "azure", "gcp"):
        names.insert(0, "AWS" if host.kind in EC2_KINDS and host.number % 5 == 0 else "CloudDiscoveryConnector")
    return names


def sources_of(host: Host, state: HostState) -> list[dict[str, str]]:
    return [
        {"name": name, "first_seen": iso(host.created_at), "last_seen": iso(state.last_scan)}
        for name in source_names(host)
    ]


def tag_uuid(key: str, value: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{key}:{value}"))


def iso_or_none(seconds: float | None) -> str | None:
    return None if seconds is None else iso(seconds)


def _without_empty(value: dict[str, Any]) -> dict[str, Any]:
    kept = {name: _without_empty(item) if isinstance(item, dict) else item for name, item in value.items()}
    return {name: item for name, item in kept.items() if item is not None and item not in ([], {})}
