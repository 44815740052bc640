"""The line of a finding, joined from pieces that are encoded once and kept: plugin, resource, and what repeats among records.

There is no other way to a line. What it must be is written down a second time in the tests (``tests/unit/asff/oracle.py``),
and compared with this byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from airflow_provider_tenable.asff import identity, limits, product_fields, times
from airflow_provider_tenable.asff.plugins import PluginParts, vulnerabilities_json, with_packages
from airflow_provider_tenable.asff.records import NULL, Vulnerability
from airflow_provider_tenable.asff.resources import ID_OPENING, Resource

#: Entries in each table of repeating parts, and the longest text that one is looked up by.
_KEPT, _LONGEST = 8192, 64

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

_Value = TypeVar("_Value")


class UnmappableError(ValueError):
    """The record lacks something that a finding cannot be without, or is over a limit that it cannot be cut to."""


def kept(make: Callable[..., _Value]) -> tuple[dict[tuple[Any, ...], _Value], Callable[[tuple[Any, ...]], _Value]]:
    """A table of what ``make`` gives, and the function that fills it. Long texts, as a hostile record may have, are not kept."""
    table: dict[tuple[Any, ...], _Value] = {}

    def fill(key: tuple[Any, ...]) -> _Value:
        value = make(*key)
        if all(not isinstance(each, str) or len(each) <= _LONGEST for each in key):
            if len(table) >= _KEPT:
                table.clear()
            table[key] = value
        return value

    return table, fill


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
