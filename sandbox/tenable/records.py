"""A vulnerability as an export contains it (API docs: GET /vulns/export/{uuid}/chunks/{id}); no empty keys."""

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sandbox.clock import iso
from sandbox.tenable.catalogue import SEVERITIES
from sandbox.tenable.hosts import Host
from sandbox.tenable.plugin_record import checks_for_default_account, plugin_json
from sandbox.tenable.vulnerabilities import FIXED, RECASTED, Vulnerability


@dataclass(frozen=True, slots=True)
class RecordOptions:
    """What an export request says about the form of its records."""

    include_software_vulns: bool = False
    include_plugin_output: bool = True


def vulnerability_texts(found: Iterable[Vulnerability], options: RecordOptions) -> Iterable[str]:
    """The vulnerabilities of one host as JSON texts; the host's part is rendered once, a plugin's once for all."""
    asset = ""
    for vulnerability in found:
        asset = asset or json.dumps(_asset(vulnerability.host, vulnerability.last_found))
        head = {"output": _output(vulnerability)} if options.include_plugin_output else {}
        head = {name: value for name, value in head.items() if value is not None}
        tail = _tail(vulnerability, options)
        middle = json.dumps(head)[1:-1]
        yield (
            f'{{"asset": {asset}, {middle}{", " if middle else ""}"plugin": {plugin_json(vulnerability.plugin)}, '
            f"{json.dumps(tail)[1:]}"
        )


def _asset(host: Host, seen: float) -> dict[str, Any]:
    """The host in a vulnerability record: without its AWS attributes and tags."""
    asset: dict[str, Any] = {
        "agent_uuid": uuid.uuid5(uuid.NAMESPACE_OID, host.asset_id).hex if host.has_agent else None,
        "device_type": "general-purpose",
        "fqdn": f"{host.name}.internal.example.com",
        "hostname": host.name,
        "uuid": host.asset_id,
        "ipv4": host.ipv4s[0],
        "ipv6": host.ipv6s[0] if host.ipv6s else None,
        "last_authenticated_results": iso(seen, host.time_digits) if host.has_agent else None,
        "mac_address": host.mac,
        "netbios_name": host.name.upper()[:15] if host.platform == "windows" else None,
        "operating_system": [host.operating_system],
        "network_id": host.network_id,
        "tracked": True,
    }
    return {name: value for name, value in asset.items() if value is not None}


def _tail(vulnerability: Vulnerability, options: RecordOptions) -> dict[str, Any]:
    host, digest = vulnerability.host, vulnerability.digest
    digits = host.time_digits
    # A few old scanners still write port 0 as a string.
    port: int | str = "0" if vulnerability.port == 0 and digest[0] < 20 else vulnerability.port
    tail: dict[str, Any] = {
        "port": {"port": port, "protocol": vulnerability.protocol, "service": vulnerability.service},
        "scan": _scan(vulnerability),
        "severity": SEVERITIES[vulnerability.severity_id],
        "severity_id": vulnerability.severity_id,
        "severity_default_id": vulnerability.plugin.severity_id,
        "severity_modification_type": vulnerability.modification,
        "recast_reason": vulnerability.recast_reason,
        "recast_rule_uuid": str(uuid.UUID(bytes=digest[::-1], version=4))
        if vulnerability.modification == RECASTED
        else None,
        "first_found": iso(vulnerability.first_found, digits),
        "last_found": iso(vulnerability.last_found, digits),
        "last_fixed": iso(vulnerability.last_fixed, digits) if vulnerability.last_fixed else None,
        "state": vulnerability.state,
        "indexed": iso(vulnerability.indexed, 6),
        "source": "AGENT" if host.has_agent else "NESSUS",
        "finding_id": vulnerability.finding_id,
        "resurfaced_date": iso(vulnerability.resurfaced, digits) if vulnerability.resurfaced else None,
        "time_taken_to_fix": _time_taken(vulnerability),
    }
    if not vulnerability.service:
        del tail["port"]["service"]
    if options.include_software_vulns:
        tail["software_vulns"] = _software(vulnerability)
    return {name: value for name, value in tail.items() if value is not None}


def _scan(vulnerability: Vulnerability) -> dict[str, str]:
    host, digits = vulnerability.host, vulnerability.host.time_digits
    scan_uuid = uuid.uuid5(uuid.NAMESPACE_OID, f"{host.asset_id}/{vulnerability.last_found}")
    return {
        "schedule_uuid": f"template-{uuid.uuid5(uuid.NAMESPACE_OID, str(host.number % 7))}",
        "started_at": iso(vulnerability.last_found - 1800, digits),
        "last_scan_target": host.ipv4s[0],
        "uuid": str(scan_uuid),
    }


def _time_taken(vulnerability: Vulnerability) -> int | str | None:
    if vulnerability.state != FIXED or vulnerability.last_fixed is None:
        return None
    seconds = int(vulnerability.last_fixed - vulnerability.first_found)
    return str(seconds) if vulnerability.digest[1] % 2 else seconds


def _output(vulnerability: Vulnerability) -> str | None:
    """What the plugin printed: nothing for some, a few lines for most, several KB for a few."""
    dice = vulnerability.digest[2]
    if dice < 16 or (vulnerability.state == FIXED and dice < 128):
        return None
    product = vulnerability.plugin.product
    if checks_for_default_account(vulnerability.plugin):
        # Such plugins print the credentials that they logged in with.
        lines = ["The remote server replies to the following default community string :", "", "  public"]
    elif product is None:
        lines = [f"Port {vulnerability.port}/{vulnerability.protocol.lower()} was found to be open."]
    else:
        lines = [
            f"  Path              : /usr/lib/{product.name}",
            f"  Installed version : {product.version}",
            f"  Fixed version     : {product.fixed}",
        ]
    if dice > 240:
        lines += [
            f"  - file {index:03d} of {vulnerability.plugin.name} differs from the vendor's <original>"
            for index in range(60)
        ]
    return "\n" + "\n".join(lines) + "\n"


def _software(vulnerability: Vulnerability) -> list[dict[str, Any]] | None:
    product, plugin = vulnerability.plugin.product, vulnerability.plugin
    if product is None or plugin.severity_id == 0 or plugin.number % 3 == 0:
        return None
    name = product.name.lower().replace(" ", "-")
    is_purl = product.platform == "linux"
    software: dict[str, Any] = {
        "fix_available": True,
        "identifier": f"pkg:deb/ubuntu/{name}@{product.version}"
        if is_purl
        else f"cpe:2.3:a:{product.cpe[7:]}:{product.version}:*:*:*:*:*:*:*",
        "path": f"/usr/lib/{name}" if is_purl else f"C:\\Program Files\\{product.name}",
        "product": product.name,
        "product_type": "Application",
        "version": product.version,
        "vendor": product.vendor,
        "categories": ["SYSTEM"],
        "vulnerabilities": list(plugin.cves),
        # A package manager's fix is a purl, an application's a version (API docs: `software_vulns[].fixes`).
        "fixes": [
            {"fix_type": "deb", "value": f"pkg:deb/ubuntu/{name}@{product.fixed}?arch=amd64"}
            if is_purl
            else {"fix_type": "version", "value": product.fixed}
        ],
        "potential": is_purl and plugin.number % 4 == 0,
    }
    if software["potential"]:
        software["potential_reasons"] = ["Backported"]
    return [software]
