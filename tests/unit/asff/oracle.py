"""What a finding must be, written down a second time: a struct that msgspec encodes, field by field.

The package joins pieces that it has encoded before. Here nothing is kept and nothing is joined, and what matters most (id,
state, severity, times, product fields, CVEs) is worked out by code of its own. Tests compare the two byte for byte.
"""

from __future__ import annotations

from datetime import datetime
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Struct, UnsetType

from airflow_provider_tenable.asff import limits
from airflow_provider_tenable.asff.finding import MappingOptions, UnmappableError
from airflow_provider_tenable.asff.plugin import PluginParts
from airflow_provider_tenable.asff.resource import Resource
from airflow_provider_tenable.asff.vulnerabilities import _with_packages, decode_software
from airflow_provider_tenable.tenable_vm import times
from airflow_provider_tenable.tenable_vm.records import Vulnerability

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


class Finding(Struct, rename="pascal", gc=False):
    """An ASFF finding, in the order in which it is written. The id stands at the front, where the import looks for it."""

    schema_version: str
    id: str
    product_arn: str
    generator_id: str
    aws_account_id: str
    created_at: str
    updated_at: str
    first_observed_at: str | UnsetType
    last_observed_at: str | UnsetType
    title: str
    description: str
    finding_provider_fields: FindingProviderFields
    record_state: str
    source_url: str
    remediation: msgspec.Raw
    product_fields: dict[str, str]
    resources: msgspec.Raw
    vulnerabilities: msgspec.Raw | UnsetType = UNSET


def expected_line(record: Vulnerability, plugin: PluginParts, resource: Resource, product_arn: str, options: MappingOptions) -> bytes:
    """The line that the package must give for a record.

    :raises UnmappableError: with the reason that it must give.
    """
    severity = _severity(record)
    created, updated, first, last = _times(record)
    finding = Finding(
        schema_version="2018-10-08",
        id=_id(record, plugin, resource, options.id_scheme),
        product_arn=product_arn,
        generator_id=str(plugin.id),
        aws_account_id=resource.account,
        created_at=created,
        updated_at=updated,
        first_observed_at=first,
        last_observed_at=last,
        title=plugin.title,
        description=plugin.description,
        finding_provider_fields=FindingProviderFields(
            Severity(LABELS[severity], limits.text(record.severity, 64) or WORDS[severity]),
            plugin.types,
            UNSET if resource.criticality is None else resource.criticality,
        ),
        record_state="ARCHIVED" if _is_archived(record, options) else "ACTIVE",
        source_url=plugin.source_url,
        remediation=plugin.remediation,
        product_fields=_product_fields(record, plugin, resource, options),
        resources=resource.encoded,
        vulnerabilities=_vulnerabilities(record, plugin),
    )
    line = msgspec.json.encode(finding)
    return line if len(line) <= LARGEST else _that_fits(finding, plugin)


def _severity(record: Vulnerability) -> int:
    if record.severity_id is not None and record.severity_id in range(5):
        return record.severity_id
    word = (record.severity or "").strip().lower()
    if word not in WORDS:
        raise UnmappableError("it has no severity")
    return WORDS.index(word)


def _times(record: Vulnerability) -> tuple[str, str, str | UnsetType, str | UnsetType]:
    first, last = times.parse(record.first_found), times.parse(record.last_found)
    others = [times.parse(each) for each in (record.last_fixed, record.resurfaced_date, record.indexed)]
    known: list[datetime] = [moment for moment in (first, last, *others) if moment]
    if not known:
        raise UnmappableError("it has no time that can be read")
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
        raise UnmappableError(f"its id would have {len(value)} characters, the limit is 512")
    return value


def _is_archived(record: Vulnerability, options: MappingOptions) -> bool:
    fixed = (record.state or "").strip().upper() == "FIXED"
    accepted = (record.severity_modification_type or "").strip().upper() == "ACCEPTED"
    return fixed or (accepted and options.accepted_risks == "archive")


def _product_fields(record: Vulnerability, plugin: PluginParts, resource: Resource, options: MappingOptions) -> dict[str, str]:
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
        "output": record.output if options.plugin_output and plugin.shows_output else None,
    }
    return {PREFIX + name: text for name, value in fields.items() if (text := limits.text(value, 2048))}


def _vulnerabilities(record: Vulnerability, plugin: PluginParts) -> msgspec.Raw | UnsetType:
    if not plugin.vulnerabilities:
        return UNSET
    with_packages = _with_packages(plugin, decode_software(bytes(record.software_vulns)))
    # What has packages is longer than what has none, which is put together here.
    without = b"[%b]" % b",".join(entry + b"}" for entry in plugin.vulnerabilities.values())
    assert with_packages is not None
    return with_packages if len(bytes(with_packages)) > len(without) else msgspec.Raw(without)


def _that_fits(finding: Finding, plugin: PluginParts) -> bytes:
    """Without packages, and with the CVEs from the first on that fit, 100 bytes spared."""
    finding.vulnerabilities = UNSET
    bare = len(msgspec.json.encode(finding))
    entries: list[bytes] = []
    for entry in plugin.vulnerabilities.values():
        if bare + 100 + sum(len(each) + 1 for each in entries) + len(entry) + 2 > LARGEST:
            break
        entries.append(entry + b"}")
    if entries:
        finding.vulnerabilities = msgspec.Raw(b"[%b]" % b",".join(entries))
    line = msgspec.json.encode(finding)
    if len(line) > LARGEST:
        raise UnmappableError(f"it has {len(line)} bytes, the limit is {LARGEST}")
    return line
