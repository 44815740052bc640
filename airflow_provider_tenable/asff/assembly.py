"""The line of a finding, put together from parts that are encoded once and kept: plugin, resource, and what repeats among records.

Byte for byte what encoding :class:`airflow_provider_tenable.asff.findings.Finding` gives, in less than half the time. A record that is unusual in any way that
matters here is left to that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from airflow_provider_tenable.asff import limits, times
from airflow_provider_tenable.asff.identity import port_of, protocol_of
from airflow_provider_tenable.asff.plugins import PluginParts, with_packages
from airflow_provider_tenable.asff.product_fields import PREFIX
from airflow_provider_tenable.asff.records import NULL, Vulnerability
from airflow_provider_tenable.asff.resources import Resource

#: Entries in each table of repeating parts, and the longest text that one is looked up by.
_KEPT, _LONGEST = 8192, 64
#: An id so long is checked against its limit by the other way.
_ID_BYTES = 400

_encode = msgspec.json.Encoder().encode
_FINDING_ID = b'"%bfinding_id":' % PREFIX.encode()
_OUTPUT = b',"%boutput":' % PREFIX.encode()

_Value = TypeVar("_Value")


def kept(make: Callable[..., _Value]) -> tuple[dict[tuple[Any, ...], _Value], Callable[[tuple[Any, ...]], _Value]]:
    """A table of what ``make`` gives, and the function that fills it. Long texts, which a hostile record may have, are not kept."""
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


def id_tail(protocol: str | None, port: int | str | None) -> bytes:
    """The end of an id, and the key that follows it."""
    return f'/{protocol_of(protocol)}/{port_of(port)}","ProductArn":'.encode()


@lru_cache(maxsize=1024)
def _arn(product_arn: str) -> bytes:
    return _encode(product_arn)


def assembled(
    record: Vulnerability,
    plugin: PluginParts,
    resource: Resource,
    product_arn: str,
    severity: bytes,
    archived: bool,
    where: tuple[bytes, bytes],
    changed: bytes,
    *,
    output: bool,
) -> bytes | None:
    """The line of a finding with an id of the scheme ``port``; None where it has to be made the other way.

    :param severity: the JSON of ``FindingProviderFields``.
    :param where: the end of the id (:func:`id_tail`), and the entries of ``ProductFields`` between its id and those of the plugin.
    :param changed: those that say who changed its severity, and why.
    :param output: whether the plugin's output may stand in it.
    """
    tail, fields = where
    moments = (record.first_found, record.last_found, record.last_fixed, record.resurfaced_date, record.indexed)
    written = _times.get(moments) or _write_times(moments)
    own = record.finding_id
    # A call less for what is a UUID, and no end of a blank.
    if not own or len(own) > _LONGEST or not own.isprintable() or " " in own:
        own = limits.text(own, limits.PRODUCT_FIELD_VALUE)
    if not written or not own or len(resource.id_head) + len(tail) > _ID_BYTES:
        return None
    excerpt = limits.text(record.output, limits.PRODUCT_FIELD_VALUE) if output else None
    found = with_packages(plugin, record.software_vulns) if record.software_vulns is not NULL else plugin.encoded_vulnerabilities
    return b"".join(
        (
            resource.id_head,
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
            b',"ProductFields":{',
            _FINDING_ID,
            _encode(own),
            fields,
            plugin.encoded_product_fields,
            resource.encoded_product_fields,
            changed,
            _OUTPUT if excerpt else b"",
            _encode(excerpt) if excerpt else b"",
            b'},"Resources":',
            resource.encoded,
            b',"Vulnerabilities":' if found else b"",
            found or b"",
            b"}",
        )
    )
