"""Maps a compliance record and its resource to an ASFF finding with ``Compliance.Status``.

Joined from pieces that repeat among records, as findings of vulnerabilities are (:mod:`.finding`); nothing else writes
findings of audits.

Ids: ``{region}/{account}/audit/{check}/{audit file}`` of an AWS account, ``{region}/{account}/{instance}/audit/{check}/
{audit file}`` of a host. A plugin's id is a number, so they never meet those of vulnerabilities.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Struct

from airflow_provider_tenable.asff import identity, limits, product_fields, row
from airflow_provider_tenable.asff.check import CheckParts, check_parts, key_of
from airflow_provider_tenable.asff.finding import encoded_arn
from airflow_provider_tenable.asff.fitting import RESOURCES
from airflow_provider_tenable.asff.identity import ID_OPENING
from airflow_provider_tenable.asff.record_fields import (
    ID_CLOSING,
    SEVERITY_LABELS,
    encode_provider_fields,
    encode_times,
    provider_fields_memo,
    times_memo,
)
from airflow_provider_tenable.asff.resource import Resource
from airflow_provider_tenable.exceptions import UnmappableError
from airflow_provider_tenable.tenable_vm.compliance import (
    FAILED,
    NOT_AVAILABLE,
    PASSED,
    WARNING,
    Compliance,
    check_of,
    is_fixed,
    status_of,
)

#: What stands for the resource in the id of an AWS account's finding, and after the resource in that of a host's.
AUDIT = "audit"
#: ASFF's severity by result, where ``[tenable] audit_severity`` says nothing else.
SEVERITY: Mapping[str, str] = MappingProxyType(
    {FAILED: "MEDIUM", WARNING: "LOW", PASSED: "INFORMATIONAL", NOT_AVAILABLE: "INFORMATIONAL"}
)
#: The scheme of the resource's part of the id: it always has the account.
_SCHEME = "port"
_ASFF_STATUS = {PASSED: b"PASSED", FAILED: b"FAILED", WARNING: b"WARNING", NOT_AVAILABLE: b"NOT_AVAILABLE"}
_MAX_CHECKS, _MAX_BYTES = 20_000, 64_000_000


class AuditOptions(Struct, frozen=True):
    """The user's options for the mapping of audits.

    :ivar severity: result -> ASFF's label, for all of them.
    :ivar actual_value: whether findings have an excerpt of what was found.
    :ivar latest: as in :class:`~airflow_provider_tenable.asff.finding.MappingOptions`.
    """

    severity: Mapping[str, str] = SEVERITY
    actual_value: bool = True
    latest: datetime | None = None


class Checks:
    """A bounded cache of what checks give to their findings."""

    def __init__(self) -> None:
        self._parts: dict[tuple[Any, ...], CheckParts] = {}
        self._bytes = 0

    def get(self, record: Compliance) -> CheckParts:
        key = key_of(record)
        found = self._parts.get(key)
        if found is None:
            found = check_parts(record)
            size = sum(len(text) for text in key if isinstance(text, (str, bytes)))
            if len(self._parts) >= _MAX_CHECKS or self._bytes + size > _MAX_BYTES:
                self._parts.clear()
                self._bytes = 0
            self._parts[key] = found
            self._bytes += size
        return found


def finding_and_row(
    record: Compliance,
    checks: Checks,
    resource: Resource,
    product_arn: str,
    options: AuditOptions,
) -> tuple[bytes, bytes, int]:
    """Map a record to the JSON of its finding, to its row (:mod:`.row`), and to its severity, 0 to 4.

    :raises UnmappableError: the record cannot be mapped; the message contains the reason.
    """
    status = status_of(record)
    if status is None:
        raise UnmappableError("it has no status that Tenable documents")
    if not check_of(record):
        raise UnmappableError("it has neither compliance_full_id nor check_id")
    if not (record.audit_file or "").strip():
        raise UnmappableError("it has no audit_file")
    key = (
        options.latest,
        record.first_seen,
        record.last_observed or record.last_seen,
        record.last_fixed,
        record.last_seen,
        None,
        record.indexed_at,
    )
    times = times_memo.get(key) or encode_times(key)
    if not times:
        raise UnmappableError("it has no usable time (readable and not in the future)")
    check = checks.get(record)
    between = b"" if resource.resource == AUDIT else b"audit/"
    finding_id = resource.id_heads[_SCHEME] + between + check.id_end
    if len(finding_id) - len(ID_OPENING) > limits.ID:
        raise UnmappableError(identity.too_long(len(finding_id) - len(ID_OPENING)))
    severity = SEVERITY_LABELS.index(options.severity[status])
    # Never without a word for the severity: the record has a status.
    label = (severity, record.status, resource.criticality, check.types)
    provider_fields, _ = provider_fields_memo.get(label) or encode_provider_fields(label)
    fixed = is_fixed(record)
    archived = fixed or bool(resource.gone)
    because = f"asset_{resource.gone}" if resource.gone else row.BECAUSE_FIXED if fixed else ""
    own = product_fields.piece(
        {
            "state": record.state,
            "actual_value": record.actual_value if options.actual_value else None,
            "archived_because": because if fixed and not resource.gone else None,
        }
    )
    compliance = b'{"Status":"%b"%b%b}' % (_ASFF_STATUS[status], check.compliance, _reasons(record, status))
    arn, arn_digest = encoded_arn(product_arn)
    fields = check.product_fields + resource.encoded_product_fields + own
    line = b"".join(
        (
            finding_id,
            ID_CLOSING,
            arn,
            check.generator,
            resource.account_field,
            times.encoded,
            check.text_fields,
            provider_fields,
            b',"RecordState":"ARCHIVED"' if archived else b',"RecordState":"ACTIVE"',
            b"," + check.link_fields if check.link_fields else b"",
            b',"ProductFields":{',
            fields[1:],
            RESOURCES,
            resource.encoded,
            b',"Compliance":',
            compliance,
            b"}",
        )
    )
    if len(line) > limits.FINDING_BYTES:
        raise UnmappableError(f"it has {len(line)} bytes; the limit is {limits.FINDING_BYTES}")
    content = row.content_of(
        b"\0".join(
            (
                check.material,
                resource.material,
                times.material,
                provider_fields,
                arn_digest,
                own,
                compliance,
                b"1" if archived else b"0",
            )
        )
    )
    return (
        line,
        row.LAYOUT.pack(
            resource.keys[_SCHEME] + row.id_key(finding_id[len(ID_OPENING) :]),
            content,
            resource.asset_key,
            check.number,
            row.flags(severity, archived=archived, fixed=fixed, because=because if archived else ""),
            times.updated_at,
            times.first_observed,
        ),
        severity,
    )


def _reasons(record: Compliance, status: str) -> bytes:
    """Why a check was neither passed nor failed."""
    if status not in (WARNING, NOT_AVAILABLE):
        return b""
    reason = {"ReasonCode": f"TENABLE_{(record.status or '').strip().upper()}"}
    if text := limits.prose(record.check_error, limits.DESCRIPTION):
        reason["Description"] = text
    return b',"StatusReasons":' + msgspec.json.encode([reason])
