"""An asset in the API's two older formats: export v1, and the details of a single asset."""

from typing import Any

from sandbox.clock import iso
from sandbox.tenable.asset_records import (
    ADDED_BY,
    AWS_NAMES,
    aws_of,
    azure_of,
    gcp_of,
    iso_or_none,
    sources_of,
    system_types_of,
    tag_uuid,
)
from sandbox.tenable.hosts import Host, HostState, network_name


def asset_v1(host: Host, state: HostState, *, resource_tags: bool = False, open_ports: bool = False) -> dict[str, Any]:
    """Flat; every key is there, null when empty (API docs: GET /assets/export/{uuid}/chunks/{id})."""
    aws = aws_of(host, state) or {}
    azure, gcp = azure_of(host) or {}, gcp_of(host) or {}
    asset: dict[str, Any] = {
        "id": host.asset_id,
        "has_agent": host.has_agent,
        "has_plugin_results": True,
        "created_at": iso(host.created_at),
        "terminated_at": iso_or_none(state.terminated_at),
        "terminated_by": "aws-connector" if state.terminated_at else None,
        "updated_at": iso(state.updated_at),
        "deleted_at": iso_or_none(state.deleted_at),
        "deleted_by": None,
        "first_seen": iso(host.created_at),
        "last_seen": iso(state.last_scan),
        "first_scan_time": iso(host.created_at),
        "last_scan_time": iso(state.last_scan),
        "last_authenticated_scan_date": None,
        "last_licensed_scan_date": iso(state.last_scan),
        "last_scan_id": None,
        "last_schedule_id": None,
        "azure_vm_id": azure.get("vm_id"),
        "azure_resource_id": azure.get("resource_id"),
        "gcp_project_id": gcp.get("project_id"),
        "gcp_zone": gcp.get("zone"),
        "gcp_instance_id": gcp.get("instance_id"),
        "agent_uuid": None,
        "bios_uuid": None,
        "network_id": host.network_id,
        "network_name": network_name(host),
        **{f"aws_{name}": aws.get(name) for name in AWS_NAMES},
        "mcafee_epo_guid": None,
        "servicenow_sysid": None,
        "bigfix_asset_id": None,
        "agent_names": [host.name] if host.has_agent else [],
        "installed_software": [],
        "ipv4s": list(host.ipv4s),
        "ipv6s": list(host.ipv6s),
        "fqdns": [f"{host.name}.internal.example.com"],
        "mac_addresses": [host.mac],
        "netbios_names": [],
        "operating_systems": [host.operating_system],
        "system_types": system_types_of(host),
        "hostnames": [host.name],
        "ssh_fingerprints": [],
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
        "network_interfaces": [
            {
                "name": "eth0",
                "virtual": None,
                "aliased": None,
                "fqdns": [],
                "mac_addresses": [host.mac],
                "ipv4s": list(host.ipv4s),
                "ipv6s": list(host.ipv6s),
            }
        ],
        "acr_score": f"{host.acr}.0" if host.acr else None,
        "exposure_score": str(100 * host.acr - 56) if host.acr else None,
        "ratings": {"acr": {"score": host.acr}, "aes": {"score": 100 * host.acr - 56}} if host.acr else None,
    }
    if open_ports:
        asset["open_ports"] = [{"port": 22, "protocol": "TCP", "service_names": ["ssh"]}]
    if resource_tags:
        asset["resource_tags"] = [{"key": key, "value": value} for key, value in host.resource_tags]
    return asset


def asset_details(host: Host, state: HostState) -> dict[str, Any]:
    """One asset by id (API docs: GET /assets/{asset_uuid}).

    Here every attribute is an array of strings, empty when there is nothing: `"aws_owner_id": ["123456789012"]`.
    pyTenable's own recorded tests check exactly that of `assets.details`, and that tags are called `tag_uuid`,
    `tag_key` and `tag_value`.
    """
    flat = asset_v1(host, state)
    arrays = {name: _array(flat[name]) for name in flat if name.startswith(("aws_", "azure_", "gcp_"))}
    return {
        **{
            name: flat[name]
            for name in (
                "id",
                "has_agent",
                "created_at",
                "updated_at",
                "terminated_at",
                "deleted_at",
                "first_seen",
                "last_seen",
                "last_authenticated_scan_date",
                "last_licensed_scan_date",
                "last_scan_id",
                "last_schedule_id",
                "sources",
            )
        },
        "last_scan_target": host.ipv4s[0],
        "tags": [
            {
                "tag_uuid": tag["uuid"],
                "tag_key": tag["key"],
                "tag_value": tag["value"],
                "added_by": tag["added_by"],
                "added_at": tag["added_at"],
            }
            for tag in flat["tags"]
        ],
        # Newer answers have scores under new names, where the old ones may be null or differ.
        "acr_score": str(host.acr) if host.acr and host.number % 2 == 0 else None,
        "acr_score_v3": float(host.acr) if host.acr and host.number % 2 else None,
        "exposure_score": 100 * host.acr - 56 if host.acr else None,
        "name": f"{host.name} (display name)",
        "interfaces": [
            {"name": "eth0", "fqdn": [], "mac_address": [host.mac], "ipv4": list(host.ipv4s), "ipv6": list(host.ipv6s)}
        ],
        "network_id": [host.network_id],
        "ipv4": list(host.ipv4s),
        "ipv6": list(host.ipv6s),
        "fqdn": flat["fqdns"],
        "mac_address": [host.mac],
        "netbios_name": [],
        "operating_system": [host.operating_system],
        "system_type": flat["system_types"],
        "tenable_uuid": [],
        "hostname": [host.name],
        "agent_name": flat["agent_names"],
        "bios_uuid": [],
        **arrays,
        "ssh_fingerprint": [],
        "mcafee_epo_guid": [],
        "servicenow_sysid": [],
        "bigfix_asset_id": [],
        "installed_software": [],
        "security_protection_level": None,
        "security_protections": [],
        "exposure_confidence_value": None,
    }


def _array(value: Any) -> list[str]:
    return [] if value is None else [str(value)]
