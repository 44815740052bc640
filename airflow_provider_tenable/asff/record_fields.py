"""The fields of a finding that come from the record itself, as encoded pieces of its line.

Records repeat their times, ports and severities, so these pieces are encoded once and looked up in memo tables.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from airflow_provider_tenable.asff import identity, limits, product_fields, row
from airflow_provider_tenable.asff.memo import memo_table
from airflow_provider_tenable.tenable_vm import times
from airflow_provider_tenable.tenable_vm.records import Rated, is_fixed
from airflow_provider_tenable.tenable_vm.severities import SEVERITIES

#: ASFF's label for each of Tenable's severity ids, 0 to 4.
SEVERITY_LABELS = ("INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL")
#: What follows the id in a finding's line.
ID_CLOSING = b'","ProductArn":'
#: What becomes of findings whose risk is accepted (param ``accepted_risks``).
ARCHIVE, SUPPRESS = "archive", "suppress"

_encode = msgspec.json.Encoder().encode


class Times(NamedTuple):
    """The four times of a finding as pieces of its line, and what its row holds of them.

    :ivar material: a digest of those that count as content: not when it was last seen.
    :ivar updated_at: ``UpdatedAt``, unix milliseconds.
    :ivar first_observed: unix milliseconds.
    """

    encoded: bytes
    material: bytes
    updated_at: int
    first_observed: int


def _times(latest: datetime | None, *moments: str | int | None) -> Times | None:
    """The four times of a finding; None if none can be read.

    A scanner's clock may be ahead. Security Hub ignores updates that are not newer, so a time in the future would
    freeze the finding, including its fix. The index time comes from Tenable's own clock, and no other event of the
    record can be later: a later time is replaced by the index time.

    :param latest: Tenable's clock. Times after it are ignored, so that an implausible index time does no harm.
    :param moments: first_found, last_found, last_fixed, resurfaced_date, indexed, indexed_at.
    """
    stamps = [stamp if stamp and (latest is None or stamp[0] <= latest) else None for stamp in map(_stamp, moments)]
    indexed = max((stamp for stamp in stamps[-2:] if stamp), default=None)
    first, last, *others = [min(stamp, indexed) if stamp and indexed else stamp for stamp in stamps]
    known = [stamp for stamp in (first, last, *others) if stamp]
    if not known:
        return None
    begin, end = first or min(known), max(known)
    created, updated = begin[1], end[1]
    observed = (f',"FirstObservedAt":"{first[1]}"' if first else "") + (
        f',"LastObservedAt":"{last[1]}"' if last else ""
    )
    # RFC 3339 needs no escaping in JSON.
    encoded = f',"CreatedAt":"{created}","UpdatedAt":"{updated}"{observed},'.encode()
    material = row.digest(created.encode(), first[1].encode() if first else b"")
    return Times(encoded, material, times.milliseconds(end[0]), times.milliseconds(begin[0]))


def _stamp(moment: str | int | None) -> tuple[datetime, str] | None:
    return times.stamp(moment) if moment else None


def _location(
    scheme: str,
    state: str | None,
    port: int | str | None,
    protocol: str | None,
    service: str | None,
    source: str | None,
) -> tuple[bytes, bytes, bytes]:
    """The location on the resource: the end of the id, its entries of ``ProductFields``, and their digest."""
    id_tail = identity.id_tail(scheme, protocol=protocol, port=port).encode() + ID_CLOSING
    fields = _location_product_fields(state, port, protocol, service, source)
    return id_tail, fields, row.digest(fields)


def _location_product_fields(
    state: str | None, port: int | str | None, protocol: str | None, service: str | None, source: str | None
) -> bytes:
    number = None if port is None else str(port)
    return product_fields.piece(
        {"state": state, "port": number, "protocol": protocol, "service": service, "source": source}
    )


def _provider_fields(
    severity: int, word: str | None, criticality: int | None, types: tuple[str, ...]
) -> tuple[bytes, bytes]:
    """``FindingProviderFields``: the values that a customer may override, as Tenable reports them; and their digest."""
    original = limits.text(word, limits.SEVERITY_ORIGINAL) or SEVERITIES[severity]
    fields: dict[str, Any] = {"Severity": {"Label": SEVERITY_LABELS[severity], "Original": original}, "Types": types}
    encoded = _encode(fields if criticality is None else {**fields, "Criticality": criticality})
    return encoded, row.digest(encoded)


times_memo, encode_times = memo_table(_times)
location_memo, encode_location = memo_table(_location)
provider_fields_memo, encode_provider_fields = memo_table(_provider_fields)


def is_archived(record: Rated, accepted_risks: str) -> bool:
    """Whether the finding of a record is archived.

    :param accepted_risks: ``archive``, ``import`` or ``suppress``.
    """
    return is_fixed(record) or (accepted_risks == ARCHIVE and has_accepted_risk(record))


def has_accepted_risk(record: Rated) -> bool:
    """Whether a user of Tenable has accepted the risk."""
    return _modification(record) == "ACCEPTED"


def modification_product_fields(record: Rated) -> bytes:
    """The entries of ``ProductFields`` about a modified severity: how a user of Tenable modified it, and why."""
    modification = _modification(record)
    default = record.severity_default_id if modification else None
    return product_fields.piece(
        {
            "severity_modification": modification,
            "severity_default_id": None if default is None else str(default),
            "recast_reason": record.recast_reason,
        }
    )


def _modification(record: Rated) -> str:
    """RECASTED or ACCEPTED; empty if the severity was not modified."""
    kind = (record.severity_modification_type or "").strip().upper()
    return "" if kind == "NONE" else kind
