"""The mapping: one Tenable record and its resource become one ASFF finding, as the JSON line that Security Hub gets.

Pure and deterministic: the same record gives the same bytes. Never sent: Workflow, Note, UserDefinedFields, VerificationState; they belong to
the customer. Severity and Types go in FindingProviderFields, so that a customer's own change to them stays.

The line is joined from pieces that are encoded once and kept: plugin, resource, and what repeats among records. There is no other way to a
line. What it must be is written down a second time in the tests (``tests/unit/asff/oracle.py``), and compared with this byte for byte.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct

from airflow_provider_tenable.asff import identity, limits, product_fields
from airflow_provider_tenable.asff.memo import _LONGEST, kept
from airflow_provider_tenable.asff.plugin import PluginParts, vulnerabilities_json, with_packages
from airflow_provider_tenable.asff.resource import ID_OPENING, Resource
from airflow_provider_tenable.tenable_vm import times
from airflow_provider_tenable.tenable_vm.records import NULL, Port, Vulnerability, is_fixed, severity_id_of
from airflow_provider_tenable.tenable_vm.severities import SEVERITIES

_encode = msgspec.json.Encoder().encode
_ID_CLOSING = b'","ProductArn":'
#: What stands around an id in its first and last piece.
_AROUND_ID = len(ID_OPENING) + len(_ID_CLOSING)
#: First and last pieces of ids that are so short that no plugin's number makes them too long.
_SHORT = 400
_PRODUCT_FIELDS = b',"ProductFields":{'
_FINDING_ID = _PRODUCT_FIELDS + product_fields.key("finding_id")
_OUTPUT = b"," + product_fields.key("output")
_VULNERABILITIES = b',"Vulnerabilities":'
#: Bytes left free in a finding that is made to fit.
_SPARE = 100


class UnmappableError(ValueError):
    """The record lacks something that a finding cannot be without, or is over a limit that it cannot be cut to."""


def _written(*moments: str | int | None) -> bytes:
    """The four times of a finding, from first_found, last_found, last_fixed, resurfaced, indexed; empty where none can be read."""
    first, last, *others = [times.stamp(moment) if moment else None for moment in moments]
    known = [stamp for stamp in (first, last, *others) if stamp]
    if not known:
        return b""
    created, updated = (first or min(known))[1], max(known)[1]
    observed = (f',"FirstObservedAt":"{first[1]}"' if first else "") + (f',"LastObservedAt":"{last[1]}"' if last else "")
    # Our own writing of times needs no escaping.
    return f',"CreatedAt":"{created}","UpdatedAt":"{updated}"{observed},'.encode()


_times, _write_times = kept(_written)


def id_piece(scheme: str, protocol: str | None, port: int | str | None) -> bytes:
    """The end of an id, and the key that follows it."""
    return identity.id_tail(scheme, protocol=protocol, port=port).encode() + _ID_CLOSING


@lru_cache(maxsize=1024)
def _arn(product_arn: str) -> bytes:
    return _encode(product_arn)


def assembled(
    record: Vulnerability,
    plugin: PluginParts,
    resource: Resource,
    product_arn: str,
    scheme: str,
    severity: bytes,
    archived: bool,
    where: tuple[bytes, bytes],
    changed: bytes,
    output: bool,
) -> bytes:
    """The line of a finding.

    :param scheme: the scheme of its id.
    :param severity: the JSON of ``FindingProviderFields``.
    :param where: the end of the id (:func:`id_piece`), and the entries of ``ProductFields`` between the finding's own id and
        those of the plugin.
    :param changed: the entries of ``ProductFields`` that say who changed its severity, and why.
    :param output: whether the plugin's output may stand in it.
    :raises UnmappableError: with the reason in words.
    """
    tail, fields = where
    head = resource.id_heads[scheme]
    moments = (record.first_found, record.last_found, record.last_fixed, record.resurfaced_date, record.indexed)
    written = _times.get(moments) or _write_times(moments)
    if not written:
        raise UnmappableError("it has no time that can be read")
    if len(head) + len(tail) > _SHORT:
        _check_id(len(head) + len(plugin.id_text) + len(tail) - _AROUND_ID)
    own = record.finding_id
    # A call less for what is a UUID: it is printable and has no blank at its ends.
    if not own or len(own) > _LONGEST or not own.isprintable() or " " in own:
        own = limits.text(own, limits.PRODUCT_FIELD_VALUE)
    excerpt = limits.text(record.output, limits.PRODUCT_FIELD_VALUE) if output else None
    plugin_fields, resource_fields = plugin.encoded_product_fields, resource.encoded_product_fields
    output_key, shown = (_OUTPUT, _encode(excerpt)) if excerpt else (b"", b"")
    if not own:
        # Each entry begins with a comma; the first one of an object has none.
        fields = b"".join((fields, plugin_fields, resource_fields, changed, output_key, shown))[1:]
        plugin_fields = resource_fields = changed = output_key = shown = b""
    found = with_packages(plugin, record.software_vulns) if record.software_vulns is not NULL else plugin.encoded_vulnerabilities
    line = b"".join(
        (
            head,
            plugin.id_text,
            tail,
            _arn(product_arn),
            plugin.id_field,
            resource.account_field,
            written,
            plugin.text_fields,
            severity,
            b',"RecordState":"ARCHIVED",' if archived else b',"RecordState":"ACTIVE",',
            plugin.link_fields,
            _FINDING_ID if own else _PRODUCT_FIELDS,
            _encode(own) if own else b"",
            fields,
            plugin_fields,
            resource_fields,
            changed,
            output_key,
            shown,
            b'},"Resources":',
            resource.encoded,
            _VULNERABILITIES if found else b"",
            found or b"",
            b"}",
        )
    )
    return line if len(line) <= limits.FINDING_BYTES else _that_fits(line, found, plugin)


def _check_id(length: int) -> None:
    if length > limits.ID:
        raise UnmappableError(identity.too_long(length))


def _that_fits(line: bytes, found: msgspec.Raw | None, plugin: PluginParts) -> bytes:
    """A finding made to fit 240 KB: without packages, and with as many CVEs as fit (``cve_count`` tells how many there are)."""
    bare = line[: -1 - (len(_VULNERABILITIES) + len(found) if found else 0)]
    room = limits.FINDING_BYTES - len(bare) - 1 - _SPARE
    fitting: list[bytes] = []
    for entry in plugin.vulnerabilities.values():
        # With its closing brace and a comma.
        room -= len(entry) + 2
        if room < 0:
            break
        fitting.append(entry)
    line = bare + (_VULNERABILITIES + bytes(vulnerabilities_json(fitting)) if fitting else b"") + b"}"
    if len(line) > limits.FINDING_BYTES:
        raise UnmappableError(f"it has {len(line)} bytes, the limit is {limits.FINDING_BYTES}")
    return line


#: Tenable's severity_id -> ASFF's label.
SEVERITY_LABELS = ("INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL")

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
