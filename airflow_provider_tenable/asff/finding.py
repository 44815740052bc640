"""Maps a Tenable record and its resource to an ASFF finding: the JSON line that Security Hub receives.

Pure and deterministic: the same record gives the same bytes. Workflow, Note, UserDefinedFields and VerificationState
are never sent, because they belong to the customer. Severity and Types are sent in FindingProviderFields, so that a
customer's own changes to them are preserved.

The line is joined from pieces that are encoded once and reused: pieces of the plugin, of the resource, and of values
that repeat among records. Nothing else writes findings. The tests contain a second, independent implementation of the
mapping (``tests/unit/asff/oracle.py``) and compare the two byte for byte.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

import msgspec
from msgspec import Struct

from airflow_provider_tenable.asff import identity, limits, product_fields, row
from airflow_provider_tenable.asff.fitting import RESOURCES, VULNERABILITIES, cut_to_fit
from airflow_provider_tenable.asff.identity import ID_OPENING
from airflow_provider_tenable.asff.memo import LONGEST_TEXT
from airflow_provider_tenable.asff.plugin import PluginParts
from airflow_provider_tenable.asff.record_fields import (
    ID_CLOSING,
    SUPPRESS,
    encode_location,
    encode_provider_fields,
    encode_times,
    has_accepted_risk,
    is_archived,
    location_memo,
    modification_product_fields,
    provider_fields_memo,
    times_memo,
)
from airflow_provider_tenable.asff.resource import Resource
from airflow_provider_tenable.asff.severity import shown_severity
from airflow_provider_tenable.asff.title import text_fields
from airflow_provider_tenable.asff.vulnerabilities import with_packages
from airflow_provider_tenable.aws import DEFAULT_PRODUCT
from airflow_provider_tenable.exceptions import UnmappableError
from airflow_provider_tenable.tenable_vm.records import NULL, Port, Vulnerability, is_fixed, severity_id_of
from airflow_provider_tenable.tenable_vm.severities import TENABLE

_encode = msgspec.json.Encoder().encode
_NO_PORT = Port()
_PLAIN_STATES = ("OPEN", "REOPENED", "FIXED")
_UNMODIFIED = (None, "NONE")

_ACTIVE, _ARCHIVED = b',"RecordState":"ACTIVE",', b',"RecordState":"ARCHIVED",'
#: Active and archived as pieces of a content.
_STATE = (b"0", b"1")
_PRODUCT_FIELDS = b',"ProductFields":{'
#: Why a finding is archived, unless its asset's fields say so. Not part of the content, which has the state: what is
#: archived already need not be sent again to give the reason.
_BECAUSE = {
    reason: product_fields.piece({"archived_because": reason}) for reason in (row.BECAUSE_FIXED, row.RISK_ACCEPTED)
}
_FINDING_ID = _PRODUCT_FIELDS + product_fields.key("finding_id")
_OUTPUT = b"," + product_fields.key("output")
#: JSON around an id in its first and last piece.
_AROUND_ID = len(ID_OPENING) + len(ID_CLOSING)
#: Unless a record is hostile, the two pieces of an id are shorter than this, and no plugin id makes the id too long.
_SHORT_ID = 400


class MappingOptions(Struct, frozen=True):
    """The user's options for the mapping.

    :ivar accepted_risks: ``archive``, ``import`` or ``suppress``.
    :ivar id_scheme: ``port`` or ``tvm2aws``.
    :ivar plugin_output: whether findings have an excerpt of the plugin's output (never for plugins that print
        credentials).
    :ivar severity_source: where severities come from (:mod:`~airflow_provider_tenable.asff.severity`).
    :ivar title_format: ``[tenable] title_format``, checked (:mod:`~airflow_provider_tenable.asff.title`); empty: the
        plugin's name.
    :ivar latest: Tenable's clock, or somewhat later; times after it are ignored. None: unknown.
    """

    accepted_risks: str = "archive"
    id_scheme: str = "port"
    plugin_output: bool = True
    severity_source: str = TENABLE
    title_format: str = ""
    latest: datetime | None = None


def finding_and_row(
    record: Vulnerability,
    plugin: PluginParts,
    resource: Resource,
    product_arn: str,
    options: MappingOptions,
    severity: int | None = None,
) -> tuple[bytes, bytes]:
    """Map a record to the JSON of its finding, without newlines, and to its row
    (:mod:`~airflow_provider_tenable.asff.row`).

    :param severity: the result of :func:`severity_id_of`, if the caller already has it. By ``severity_source``, the
        finding may show another one.
    :raises UnmappableError: the record cannot be mapped; the message contains the reason.
    """
    if severity is None:
        severity = severity_id_of(record)
    if severity is None:
        raise UnmappableError("it has no severity")
    if options.severity_source != TENABLE:
        severity = shown_severity(record, plugin, severity, options.severity_source)
    title = text_fields(plugin, resource, options.title_format) if options.title_format else b""
    port, scheme = record.port or _NO_PORT, options.id_scheme

    key = (
        options.latest,
        record.first_found,
        record.last_found,
        record.last_fixed,
        record.resurfaced_date,
        record.indexed,
        record.indexed_at,
    )
    times = times_memo.get(key) or encode_times(key)
    if not times:
        raise UnmappableError("it has no usable time (readable and not in the future)")
    place = (scheme, record.state, port.port, port.protocol, port.service, record.source)
    id_tail, location, place_digest = location_memo.get(place) or encode_location(place)
    id_head = resource.id_heads[scheme]
    if len(id_head) + len(id_tail) > _SHORT_ID:
        _check_id(len(id_head) + len(plugin.id_text) + len(id_tail) - _AROUND_ID)
    label = (severity, record.severity, resource.criticality, plugin.types)

    # Nearly all records have one of three states, and an unmodified severity.
    if record.state in _PLAIN_STATES and record.severity_modification_type in _UNMODIFIED and not record.recast_reason:
        archived, modified, to_suppress = record.state == "FIXED" or resource.gone != "", b"", 0
    else:
        archived, modified, to_suppress = _modified_state(record, resource, options.accepted_risks)
    because, flags = _state_of(record, resource, severity) if archived else (b"", severity | to_suppress)
    excerpt = (
        limits.text(record.output, limits.PRODUCT_FIELD_VALUE)
        if options.plugin_output and plugin.shows_output
        else None
    )
    output_key, output = (_OUTPUT, _encode(excerpt)) if excerpt else (b"", b"")
    of_plugin, of_resource = plugin.encoded_product_fields, resource.encoded_product_fields
    own_id = record.finding_id
    # A UUID needs no cleaning: it is short, printable and without blanks. This saves a call for nearly every record.
    if not own_id or len(own_id) > LONGEST_TEXT or not own_id.isprintable() or " " in own_id:
        own_id = limits.text(own_id, limits.PRODUCT_FIELD_VALUE)
    own = _encode(own_id) if own_id else b""
    found, packages = (
        (plugin.encoded_vulnerabilities, b"")
        if record.software_vulns is NULL
        else with_packages(plugin, record.software_vulns)
    )
    provider_fields, label_digest = provider_fields_memo.get(label) or encode_provider_fields(label)
    arn, arn_digest = encoded_arn(product_arn)
    content = row.content_of(
        b"\0".join(
            (
                plugin.material,
                resource.material,
                times.material,
                place_digest,
                label_digest,
                arn_digest,
                packages,
                own,
                modified,
                output,
                title,
                _STATE[archived],
            )
        )
    )
    if own:
        opening, first = _FINDING_ID, own
    else:
        # Every entry begins with a comma, except the first entry of the object.
        opening, first = (
            _PRODUCT_FIELDS,
            b"".join((location, of_plugin, of_resource, modified, because, output_key, output))[1:],
        )
        location = of_plugin = of_resource = modified = because = output_key = output = b""
    line = b"".join(
        (
            id_head,
            plugin.id_text,
            id_tail,
            arn,
            plugin.id_field,
            resource.account_field,
            times.encoded,
            title or plugin.text_fields,
            provider_fields,
            _ARCHIVED if archived else _ACTIVE,
            plugin.link_fields,
            opening,
            first,
            location,
            of_plugin,
            of_resource,
            modified,
            because,
            output_key,
            output,
            RESOURCES,
            resource.encoded,
            VULNERABILITIES if found else b"",
            found or b"",
            b"}",
        )
    )
    if len(line) > limits.FINDING_BYTES:
        line = cut_to_fit(line, found, plugin, record.software_vulns)
        if len(line) > limits.FINDING_BYTES:
            raise UnmappableError(f"it has {len(line)} bytes; the limit is {limits.FINDING_BYTES}")
    id_end = len(id_head) + len(plugin.id_text) + len(id_tail) - len(ID_CLOSING)
    return line, row.LAYOUT.pack(
        resource.keys[scheme] + row.id_key(line[len(ID_OPENING) : id_end]),
        content,
        resource.asset_key,
        plugin.row_number,
        flags,
        times.updated_at,
        times.first_observed,
    )


def _modified_state(record: Vulnerability, resource: Resource, accepted_risks: str) -> tuple[bool, bytes, int]:
    """Whether a finding is archived, its entries of ``ProductFields`` about its modified severity, and the bit of its
    row by which it is suppressed.
    """
    archived = bool(resource.gone) or is_archived(record, accepted_risks)
    suppresses = accepted_risks == SUPPRESS and not archived and has_accepted_risk(record)
    return archived, modification_product_fields(record), row.BECAUSE[row.RISK_ACCEPTED] if suppresses else 0


def _state_of(record: Vulnerability, resource: Resource, severity: int) -> tuple[bytes, int]:
    """The entry of ``ProductFields`` that says why a finding is archived, and the flags of its row."""
    fixed = is_fixed(record)
    reason = f"asset_{resource.gone}" if resource.gone else row.BECAUSE_FIXED if fixed else row.RISK_ACCEPTED
    return _BECAUSE.get(reason, b""), row.flags(severity, archived=True, fixed=fixed, because=reason)


def _check_id(length: int) -> None:
    if length > limits.ID:
        raise UnmappableError(identity.too_long(length))


@lru_cache(maxsize=1024)
def encoded_arn(product_arn: str) -> tuple[bytes, bytes]:
    """The product's ARN, followed by company and product for the default product, and the digest of both. Any
    integration can use that product, and only its findings may name them (ASFF: ``CompanyName``, ``ProductName``).
    """
    named = (
        b',"CompanyName":"Tenable","ProductName":"Vulnerability Management"'
        if product_arn.endswith(f"/{DEFAULT_PRODUCT}")
        else b""
    )
    encoded = _encode(product_arn) + named
    return encoded, row.digest(encoded)


__all__ = ["MappingOptions", "UnmappableError", "finding_and_row"]
