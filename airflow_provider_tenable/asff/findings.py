"""The mapping: one Tenable record and its resource become one ASFF finding, as the JSON line that Security Hub gets.

Pure and deterministic: the same record gives the same bytes. Never sent: Workflow, Note, UserDefinedFields, VerificationState; they belong to
the customer. Severity and Types go in FindingProviderFields, so that a customer's own change to them stays.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import UNSET, Struct, UnsetType

from airflow_provider_tenable.asff import limits, product_fields, times
from airflow_provider_tenable.asff.assembly import assembled, id_tail, kept
from airflow_provider_tenable.asff.identity import finding_id
from airflow_provider_tenable.asff.plugins import PluginParts, vulnerabilities_json, with_packages
from airflow_provider_tenable.asff.records import NULL, Port, Vulnerability
from airflow_provider_tenable.asff.resources import Resource

#: Tenable's severity_id -> ASFF's label.
SEVERITY_LABELS = ("INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL")
#: Tenable's words in the order of severity_id.
SEVERITIES = ("info", "low", "medium", "high", "critical")

PRODUCT_FIELD_PREFIX = product_fields.PREFIX


class Severity(Struct, rename="pascal", gc=False):
    """``FindingProviderFields.Severity``."""

    label: str
    original: str | UnsetType = UNSET


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
    product_fields: msgspec.Raw
    resources: msgspec.Raw
    vulnerabilities: msgspec.Raw | UnsetType = UNSET


class MappingOptions(Struct, frozen=True):
    """What the user can choose about the mapping.

    :ivar plugin_output: whether findings have an excerpt of the plugin's output (never that of plugins that print
        credentials).
    """

    accepted_risks: str = "archive"
    id_scheme: str = "port"
    plugin_output: bool = True


class UnmappableError(ValueError):
    """The record lacks something that a finding cannot be without, or is over a limit that cannot be cut to."""


_NO_PORT = Port()
_PLAIN_STATES = ("OPEN", "REOPENED", "FIXED")
_UNCHANGED = (None, "NONE")
_encoder = msgspec.json.Encoder()


def severity_id_of(record: Vulnerability) -> int | None:
    """Tenable's severity 0 to 4, after recast. The number is preferred to the word: they can disagree."""
    if record.severity_id is not None and 0 <= record.severity_id <= 4:
        return record.severity_id
    word = (record.severity or "").strip().lower()
    return SEVERITIES.index(word) if word in SEVERITIES else None


def is_fixed(record: Vulnerability) -> bool:
    """Whether Tenable says that the vulnerability is gone."""
    # Compared first: nearly all say it in one of three ways.
    state = record.state
    return state == "FIXED" or bool(state and state not in ("OPEN", "REOPENED") and state.strip().upper() == "FIXED")


def own_time(record: Vulnerability) -> datetime | None:
    """The time that ``since`` looks at: last_fixed of a fixed record, else last_found."""
    if is_fixed(record):
        return times.parse(record.last_fixed) or times.parse(record.last_found)
    return times.parse(record.last_found)


def finding_json(
    record: Vulnerability, plugin: PluginParts, resource: Resource, product_arn: str, options: MappingOptions, severity: int | None = None
) -> bytes:
    """Map a record to the JSON of its finding (no newline in it).

    :param severity: what :func:`severity_id_of` gives, where the caller has it.
    :raises UnmappableError: with the reason in words.
    """
    if severity is None:
        severity = severity_id_of(record)
    if severity is None:
        raise UnmappableError("it has no severity")
    if options.id_scheme == "port":
        port = record.port
        usual = record.state in _PLAIN_STATES and record.severity_modification_type in _UNCHANGED and not record.recast_reason
        key = (severity, record.severity, resource.criticality, plugin.types)
        where = (record.state, port.port, port.protocol, port.service, record.source) if port else (record.state, None, None, None, record.source)
        line = assembled(
            record,
            plugin,
            resource,
            product_arn,
            _severities.get(key) or _encode_severity(key),
            # Most say it in few words, and nobody has changed their severity.
            record.state == "FIXED" if usual else _record_state(record, options) == "ARCHIVED",
            _wheres.get(where) or _encode_where(where),
            b"" if usual else _changed_product_fields(record),
            output=options.plugin_output and plugin.shows_output,
        )
        if line is not None and len(line) <= limits.FINDING_BYTES:
            return line
    return _finding_json(record, severity, plugin, resource, product_arn, options)


def _finding_json(record: Vulnerability, severity: int, plugin: PluginParts, resource: Resource, product_arn: str, options: MappingOptions) -> bytes:
    first, last = times.stamp(record.first_found), times.stamp(record.last_found)
    moments = (first, last, times.stamp(record.last_fixed), times.stamp(record.resurfaced_date), times.stamp(record.indexed))
    known = [moment for moment in moments if moment]
    if not known:
        raise UnmappableError("it has no time that can be read")
    protocol, port = (record.port.protocol, record.port.port) if record.port else (None, None)
    try:
        identity = finding_id(
            options.id_scheme,
            region=resource.region,
            account=resource.account,
            resource=resource.resource,
            plugin=plugin.id,
            protocol=protocol,
            port=port,
        )
    except ValueError as error:
        raise UnmappableError(str(error)) from None
    packages = with_packages(plugin, record.software_vulns) if record.software_vulns is not NULL else plugin.encoded_vulnerabilities
    finding = Finding(
        schema_version="2018-10-08",
        id=identity,
        product_arn=product_arn,
        generator_id=plugin.generator_id,
        aws_account_id=resource.account,
        created_at=(first or min(known))[1],
        updated_at=max(known)[1],
        first_observed_at=first[1] if first else UNSET,
        last_observed_at=last[1] if last else UNSET,
        title=plugin.title,
        description=plugin.description,
        finding_provider_fields=_provider_fields(severity, record.severity, resource.criticality, plugin.types),
        record_state=_record_state(record, options),
        source_url=plugin.source_url,
        remediation=plugin.remediation,
        product_fields=_product_fields(record, plugin, resource, output=options.plugin_output and plugin.shows_output),
        resources=resource.encoded,
        vulnerabilities=packages or UNSET,
    )
    encoded = _encoder.encode(finding)
    return encoded if len(encoded) <= limits.FINDING_BYTES else _shrunk(finding, plugin)


def _provider_fields(severity: int, word: str | None, criticality: int | None, types: tuple[str, ...]) -> FindingProviderFields:
    original = limits.text(word, limits.SEVERITY_ORIGINAL) or SEVERITIES[severity]
    return FindingProviderFields(Severity(SEVERITY_LABELS[severity], original), types, UNSET if criticality is None else criticality)


def _record_state(record: Vulnerability, options: MappingOptions) -> str:
    if is_fixed(record) or (options.accepted_risks == "archive" and _modification(record) == "ACCEPTED"):
        return "ARCHIVED"
    return "ACTIVE"


def _modification(record: Vulnerability) -> str:
    """RECASTED, ACCEPTED; empty where nobody changed the severity."""
    kind = record.severity_modification_type
    if not kind or kind == "NONE":
        return ""
    kind = kind.strip().upper()
    return "" if kind == "NONE" else kind


def _product_fields(record: Vulnerability, plugin: PluginParts, resource: Resource, *, output: bool) -> msgspec.Raw:
    port = record.port or _NO_PORT
    # Far fewer than the 50 that a finding may have, and keys that fit: only the values need looking at.
    return product_fields.joined(
        product_fields.piece({"finding_id": record.finding_id}),
        _where_product_fields(record.state, port.port, port.protocol, port.service, record.source),
        plugin.encoded_product_fields,
        resource.encoded_product_fields,
        _changed_product_fields(record),
        product_fields.piece({"output": record.output if output else None}),
    )


def _changed_product_fields(record: Vulnerability) -> bytes:
    modified = _modification(record)
    if not modified and not record.recast_reason:
        return b""
    default = record.severity_default_id if modified else None
    return product_fields.piece(
        {
            "severity_modification": modified,
            "severity_default_id": None if default is None else str(default),
            "recast_reason": record.recast_reason,
        }
    )


def _where_product_fields(state: str | None, port: int | str | None, protocol: str | None, service: str | None, source: str | None) -> bytes:
    number = None if port is None else str(port)
    return product_fields.piece({"state": state, "port": number, "protocol": protocol, "service": service, "source": source})


_wheres, _encode_where = kept(
    lambda state, port, protocol, service, source: (id_tail(protocol, port), _where_product_fields(state, port, protocol, service, source))
)
_severities, _encode_severity = kept(lambda *key: _encoder.encode(_provider_fields(*key)))


def _shrunk(finding: Finding, plugin: PluginParts) -> bytes:
    """Make a finding fit 240 KB: first without packages, then with as many CVEs as fit (``cve_count`` tells how many there are)."""
    finding.vulnerabilities = UNSET
    room = limits.FINDING_BYTES - len(_encoder.encode(finding)) - 100
    kept: list[bytes] = []
    for entry in plugin.vulnerabilities.values():
        # With its closing brace and a comma.
        room -= len(entry) + 2
        if room < 0:
            break
        kept.append(entry)
    if kept:
        finding.vulnerabilities = vulnerabilities_json(kept)
    encoded = _encoder.encode(finding)
    if len(encoded) > limits.FINDING_BYTES:
        raise UnmappableError(f"it has {len(encoded)} bytes, the limit is {limits.FINDING_BYTES}")
    return encoded
