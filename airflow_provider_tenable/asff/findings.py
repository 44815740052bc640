"""The mapping: one Tenable record and its resource become one ASFF finding, as the JSON line that Security Hub gets.

Pure and deterministic: the same record gives the same bytes. Never sent: Workflow, Note, UserDefinedFields, VerificationState; they belong to
the customer. Severity and Types go in FindingProviderFields, so that a customer's own change to them stays.

What a record means is decided here; :mod:`airflow_provider_tenable.asff.assembly` joins the line.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from airflow_provider_tenable.asff import limits, product_fields, times
from airflow_provider_tenable.asff.assembly import UnmappableError, assembled, id_piece, kept
from airflow_provider_tenable.asff.plugins import PluginParts
from airflow_provider_tenable.asff.records import Port, Vulnerability
from airflow_provider_tenable.asff.resources import Resource

#: Tenable's severity_id -> ASFF's label.
SEVERITY_LABELS = ("INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL")
#: Tenable's words in the order of severity_id.
SEVERITIES = ("info", "low", "medium", "high", "critical")

PRODUCT_FIELD_PREFIX = product_fields.PREFIX


class MappingOptions(Struct, frozen=True):
    """What the user can choose about the mapping.

    :ivar plugin_output: whether findings have an excerpt of the plugin's output (never that of plugins that print
        credentials).
    """

    accepted_risks: str = "archive"
    id_scheme: str = "port"
    plugin_output: bool = True


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
    port = record.port or _NO_PORT
    # Most say their state in one of three words, and nobody has changed their severity.
    usual = record.state in _PLAIN_STATES and record.severity_modification_type in _UNCHANGED and not record.recast_reason
    key = (severity, record.severity, resource.criticality, plugin.types)
    place = (options.id_scheme, record.state, port.port, port.protocol, port.service, record.source)
    return assembled(
        record,
        plugin,
        resource,
        product_arn,
        options.id_scheme,
        _severities.get(key) or _encode_severity(key),
        record.state == "FIXED" if usual else _is_archived(record, options),
        _wheres.get(place) or _encode_where(place),
        b"" if usual else _changed_product_fields(record),
        options.plugin_output and plugin.shows_output,
    )


def _provider_fields(severity: int, word: str | None, criticality: int | None, types: tuple[str, ...]) -> bytes:
    """``FindingProviderFields``: what a customer may override, as we see it."""
    original = limits.text(word, limits.SEVERITY_ORIGINAL) or SEVERITIES[severity]
    fields: dict[str, Any] = {"Severity": {"Label": SEVERITY_LABELS[severity], "Original": original}, "Types": types}
    return _encoder.encode(fields if criticality is None else {**fields, "Criticality": criticality})


def _is_archived(record: Vulnerability, options: MappingOptions) -> bool:
    return is_fixed(record) or (options.accepted_risks == "archive" and _modification(record) == "ACCEPTED")


def _modification(record: Vulnerability) -> str:
    """RECASTED, ACCEPTED; empty where nobody changed the severity."""
    kind = (record.severity_modification_type or "").strip().upper()
    return "" if kind == "NONE" else kind


def _changed_product_fields(record: Vulnerability) -> bytes:
    modified = _modification(record)
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


def _where(scheme: str, state: str | None, port: int | str | None, protocol: str | None, service: str | None, source: str | None) -> tuple[bytes, bytes]:
    return id_piece(scheme, protocol, port), _where_product_fields(state, port, protocol, service, source)


_wheres, _encode_where = kept(_where)
_severities, _encode_severity = kept(_provider_fields)

__all__ = [
    "PRODUCT_FIELD_PREFIX",
    "SEVERITIES",
    "SEVERITY_LABELS",
    "MappingOptions",
    "UnmappableError",
    "finding_json",
    "is_fixed",
    "own_time",
    "severity_id_of",
]
