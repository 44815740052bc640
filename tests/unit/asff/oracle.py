"""What a finding must be, written down a second time: a struct that msgspec encodes, field by field.

The package joins pieces that it has encoded before. Here nothing is kept and nothing is joined, and what matters most
(id, state, severity, times, product fields, CVEs) is worked out by code of its own. Tests compare the two byte for
byte.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote

import msgspec
from msgspec import UNSET, Struct, UnsetType

from airflow_provider_tenable.asff import limits
from airflow_provider_tenable.asff.finding import MappingOptions, UnmappableError
from airflow_provider_tenable.asff.plugin import PluginParts
from airflow_provider_tenable.asff.resource import Resource
from airflow_provider_tenable.tenable_vm import times
from airflow_provider_tenable.tenable_vm.records import SoftwareVuln, Vulnerability
from airflow_provider_tenable.tenable_vm.software import decode_software

PREFIX = "tenable/vulnerability-management/"
WORDS = ["info", "low", "medium", "high", "critical"]
LABELS = ["INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL"]
LARGEST = 240_000


class Severity(Struct, rename="pascal", gc=False):
    """``FindingProviderFields.Severity``."""

    label: str
    original: str


class FindingProviderFields(Struct, rename="pascal", gc=False):
    """What a customer may override, as we see it."""

    severity: Severity
    types: tuple[str, ...]
    criticality: int | UnsetType = UNSET


class CveEntry(Struct, rename="pascal", omit_defaults=True):
    """An entry of ``Vulnerabilities``."""

    id: str
    cvss: list[dict[str, Any]] | None = None
    reference_urls: list[str] | None = None
    vendor: dict[str, str] | None = None
    fix_available: str | None = None
    exploit_available: str | None = None
    epss_score: float | None = None
    vulnerable_packages: list[dict[str, str]] | None = None


class Finding(Struct, rename="pascal", gc=False, kw_only=True):
    """An ASFF finding, in the order in which it is written. The id stands at the front, where the import looks for
    it.
    """

    schema_version: str
    id: str
    product_arn: str
    company_name: str | UnsetType = UNSET
    product_name: str | UnsetType = UNSET
    generator_id: str
    aws_account_id: str
    created_at: str
    updated_at: str
    first_observed_at: str | UnsetType = UNSET
    last_observed_at: str | UnsetType = UNSET
    title: str
    description: str
    finding_provider_fields: FindingProviderFields
    record_state: str
    source_url: str
    remediation: msgspec.Raw
    product_fields: dict[str, str]
    resources: msgspec.Raw
    vulnerabilities: list[CveEntry] | UnsetType = UNSET


def expected_line(
    record: Vulnerability, plugin: PluginParts, resource: Resource, product_arn: str, options: MappingOptions
) -> bytes:
    """The line that the package must give for a record.

    :raises UnmappableError: with the reason that it must give.
    """
    severity = _severity(record)
    if options.severity_source != "tenable" and record.severity_modification_type != "RECASTED":
        severity = plugin.severities.get(options.severity_source, severity)
    created, updated, first, last = _times(record, options.latest)
    finding = Finding(
        schema_version="2018-10-08",
        id=_id(record, plugin, resource, options.id_scheme),
        product_arn=product_arn,
        # Security Hub knows whose product another one is, and refuses to be told.
        company_name="Tenable" if product_arn.endswith("/default") else UNSET,
        product_name="Vulnerability Management" if product_arn.endswith("/default") else UNSET,
        generator_id=str(plugin.id),
        aws_account_id=resource.account,
        created_at=created,
        updated_at=updated,
        first_observed_at=first,
        last_observed_at=last,
        title=_title(plugin, resource, options.title_format),
        description=plugin.description,
        finding_provider_fields=FindingProviderFields(
            Severity(LABELS[severity], limits.text(record.severity, 64) or WORDS[severity]),
            plugin.types,
            UNSET if resource.criticality is None else resource.criticality,
        ),
        record_state="ARCHIVED" if resource.gone or _is_archived(record, options) else "ACTIVE",
        source_url=plugin.source_url,
        remediation=plugin.remediation,
        product_fields=_product_fields(record, plugin, resource, options),
        resources=resource.encoded,
        vulnerabilities=_vulnerabilities(record, plugin) or UNSET,
    )
    line = msgspec.json.encode(finding)
    return line if len(line) <= LARGEST else _that_fits(finding)


def _title(plugin: PluginParts, resource: Resource, title_format: str) -> str:
    """By hand for the one format that the tests use: the rest is in the tests of titles."""
    if not title_format:
        return plugin.title
    assert title_format == "{title} on {resource}"
    rest = f" on {limits.text(resource.resource, 40)}"
    return f"{limits.text(plugin.title, 256 - limits.length(rest))}{rest}"


def _severity(record: Vulnerability) -> int:
    if record.severity_id is not None and record.severity_id in range(5):
        return record.severity_id
    word = (record.severity or "").strip().lower()
    if word not in WORDS:
        raise UnmappableError("it has no severity")
    return WORDS.index(word)


def _times(record: Vulnerability, latest: datetime | None) -> tuple[str, str, str | UnsetType, str | UnsetType]:
    def read(value: str | int | None) -> datetime | None:
        moment = times.parse(value)
        return None if moment and latest and moment > latest else moment

    indexed = [moment for moment in (read(record.indexed), read(record.indexed_at)) if moment]

    def counted(value: str | int | None) -> datetime | None:
        moment = read(value)
        return max(indexed) if moment and indexed and moment > max(indexed) else moment

    first, last = counted(record.first_found), counted(record.last_found)
    others = [counted(each) for each in (record.last_fixed, record.resurfaced_date)]
    known: list[datetime] = [moment for moment in (first, last, *others, *indexed) if moment]
    if not known:
        raise UnmappableError("it has no usable time (readable and not in the future)")
    written = [times.rfc3339(moment) if moment else UNSET for moment in (first, last)]
    return times.rfc3339(first or min(known)), times.rfc3339(max(known)), written[0], written[1]


def _id(record: Vulnerability, plugin: PluginParts, resource: Resource, scheme: str) -> str:
    def escaped(value: object) -> str:
        return quote(str(value).strip(), safe="")

    parts = [resource.region, resource.account, quote(resource.resource, safe=""), str(plugin.id)]
    if scheme == "tvm2aws":
        del parts[1]
    else:
        port = record.port
        protocol = port.protocol if port and port.protocol else ""
        number = port.port if port and port.port is not None else ""
        parts += [escaped(protocol.lower()) or "none", escaped(number) or "0"]
    value = "/".join(parts)
    if len(value) > 512:
        raise UnmappableError(f"its id would have {len(value)} characters; the limit is 512")
    return value


def _is_archived(record: Vulnerability, options: MappingOptions) -> bool:
    fixed = (record.state or "").strip().upper() == "FIXED"
    accepted = (record.severity_modification_type or "").strip().upper() == "ACCEPTED"
    return fixed or (accepted and options.accepted_risks == "archive")


def _why_archived(record: Vulnerability, resource: Resource, options: MappingOptions) -> dict[str, str]:
    if resource.gone:
        # It is among the fields of the asset.
        return {}
    if (record.state or "").strip().upper() == "FIXED":
        return {"archived_because": "fixed"}
    return {"archived_because": "risk_accepted"} if _is_archived(record, options) else {}


def _product_fields(
    record: Vulnerability, plugin: PluginParts, resource: Resource, options: MappingOptions
) -> dict[str, str]:
    port = record.port
    modification = (record.severity_modification_type or "").strip().upper()
    modification = "" if modification == "NONE" else modification
    default = record.severity_default_id if modification else None
    fields = {
        "finding_id": record.finding_id,
        "state": record.state,
        "port": str(port.port) if port and port.port is not None else None,
        "protocol": port.protocol if port else None,
        "service": port.service if port else None,
        "source": record.source,
        **plugin.product_fields,
        **resource.product_fields,
        "severity_modification": modification,
        "severity_default_id": None if default is None else str(default),
        "recast_reason": record.recast_reason,
        **_why_archived(record, resource, options),
        "output": record.output if options.plugin_output and plugin.shows_output else None,
    }
    return {PREFIX + name: text for name, value in fields.items() if (text := limits.text(value, 2048))}


def _vulnerabilities(record: Vulnerability, plugin: PluginParts) -> list[CveEntry]:
    if plugin.encoded_vulnerabilities is None:
        return []
    entries = msgspec.json.decode(plugin.encoded_vulnerabilities, type=list[CveEntry])
    for item in decode_software(bytes(record.software_vulns)):
        package = {name: text for name, value in _package(item).items() if (text := limits.text(value, 512))}
        for entry in entries if package else []:
            if item.vulnerabilities and entry.id not in item.vulnerabilities:
                continue
            if any(fix.value for fix in item.fixes or []):
                entry.fix_available = "YES"
            entry.vulnerable_packages = [*(entry.vulnerable_packages or []), package][:20]
    return entries


def _package(item: SoftwareVuln) -> dict[str, str | None]:
    """Name by name, from the package's own purl where it has one, else from that of its first fix that has one."""
    own, fixed_in, fix_kind, fix = _purl(item.identifier), None, None, None
    for each in item.fixes or []:
        purl = _purl(each.value)
        if purl and not fix:
            fix, fix_kind = purl, each.fix_type
        if not fixed_in:
            fixed_in = purl[1] if purl else each.value if each.fix_type == "version" else None
    manager = (fix_kind if fix_kind != "version" else None) or (own or fix or (None,))[0]
    installed = (own and own[1]) or item.version or ""
    is_split = bool(own or fix) and (manager or "").lower() in ("rpm", "deb") and "-" in installed
    why = ", ".join(item.potential_reasons or [])
    why = f" ({why})" if why.strip() else ""
    return {
        "Name": item.product,
        "Version": item.version,
        "Epoch": _qualifier("epoch", own, fix),
        "Release": installed.split("-")[-1] if is_split else None,
        "Architecture": _qualifier("arch", own, fix),
        "PackageManager": manager,
        "FilePath": item.path,
        "FixedInVersion": fixed_in,
        "Remediation": f"Potential finding{why}: confirm that this package is affected before you change it."
        if item.potential
        else None,
    }


def _qualifier(name: str, *purls: tuple[str, str | None, dict[str, str]] | None) -> str | None:
    return next((purl[2][name] for purl in purls if purl and name in purl[2]), None)


def _purl(value: str | None) -> tuple[str, str | None, dict[str, str]] | None:
    if not (value or "").startswith("pkg:"):
        return None
    assert value
    body, _, query = value.split("#")[0].partition("?")
    kind, *rest = body[len("pkg:") :].lstrip("/").split("/")
    _name, at, version = rest[-1].rpartition("@") if rest else ("", "", "")
    pairs = [pair.partition("=") for pair in query.split("&")]
    return kind, unquote(version) if at else None, {key: unquote(text) for key, equals, text in pairs if equals}


def _that_fits(finding: Finding) -> bytes:
    """Gives up one piece after the other, the least worth first, until the finding has 100 bytes to spare."""
    entries = finding.vulnerabilities or []
    finding.vulnerabilities = UNSET
    bare = len(msgspec.json.encode(finding))
    total, sizes = bare + 100, [len(msgspec.json.encode(entry)) + 1 for entry in entries]
    total += sum(sizes)
    later = list(range(len(entries) - 1, 0, -1))
    steps = [(later, "packages"), (later, "details"), ([0], "packages"), (later, "id"), ([0], "details"), ([0], "id")]
    gone: set[int] = set()
    for number, what in ((number, what) for numbers, what in steps for number in numbers if number < len(entries)):
        if total <= LARGEST:
            break
        if what == "packages":
            entries[number].vulnerable_packages = None
        elif what == "details":
            entries[number] = CveEntry(entries[number].id)
        else:
            gone.add(number)
        size = 0 if number in gone else len(msgspec.json.encode(entries[number])) + 1
        total, sizes[number] = total - sizes[number] + size, size
    left = [entry for number, entry in enumerate(entries) if number not in gone]
    if left and len(left) < len(entries):
        finding.product_fields[f"{PREFIX}cve_kept"] = str(len(left))
    finding.vulnerabilities = left or UNSET
    line = msgspec.json.encode(finding)
    if len(line) > LARGEST:
        raise UnmappableError(f"it has {len(line)} bytes; the limit is {LARGEST}")
    return line
