"""Turns a finding as GetFindings returns it into the document that archives it.

An update replaces the complete document (user guide: BatchImportFindings), so everything that the provider sent has to
be sent again. Left out is what Security Hub CSPM fills itself, and what belongs to the customer:

=========================================  =============================================================================
``Region``, ``ProcessedAt``,               set by Security Hub (API reference: AwsSecurityFinding); ``WorkflowState`` is
``WorkflowState``, ``AwsAccountName``,     the deprecated form of ``Workflow``
``Sample``
``ProductName``, ``CompanyName``           set by Security Hub, but for the account's default product, whose senders
                                           choose them: left out, they would become "Default" and "Personal"
``ProductFields`` ``aws/...``              set by Security Hub; providers may not send this prefix
``Note``, ``UserDefinedFields``,           the customer's: an import cannot change them once the finding exists
``VerificationState``, ``Workflow``
``Severity``, ``Types``, ``Confidence``,   the provider's values are in ``FindingProviderFields``; at the top level are
``Criticality``, ``RelatedFindings``       the customer's, where they changed them
=========================================  =============================================================================
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from airflow_provider_tenable.aws import DEFAULT_PRODUCT

#: The largest finding (service model: 240 KB).
LARGEST_BYTES = 240_000
#: Largest number of entries in ProductFields.
PRODUCT_FIELDS = 50

_FILLED = ("Region", "ProcessedAt", "WorkflowState", "AwsAccountName", "Sample")
_OF_CUSTOMER = ("Note", "UserDefinedFields", "VerificationState", "Workflow")
_OF_PROVIDER = ("Severity", "Types", "Confidence", "Criticality", "RelatedFindings")
_NAMES = ("ProductName", "CompanyName")

_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:?\d\d)", re.ASCII)


def milliseconds_of(timestamp: object) -> int | None:
    """A timestamp of a finding as unix milliseconds, rounded down; None if it is not a timestamp."""
    match = _TIMESTAMP.fullmatch(timestamp) if isinstance(timestamp, str) else None
    if match is None:
        return None
    date, clock, fraction, zone = match.groups()
    try:
        # A leap second counts as the second before it; the millisecond is added by the caller.
        moment = datetime.fromisoformat(f"{date}T{clock.replace(':60', ':59')}{zone.upper()}")
        return int(moment.timestamp()) * 1000 + int((fraction or "").ljust(9, "0")) // 1_000_000
    except (ValueError, OverflowError):
        return None


def timestamp_of(milliseconds: int) -> str:
    """Unix milliseconds as a timestamp of a finding."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


def archived_document(finding: dict[str, Any], *, reason_field: str, reason: str, updated_at: int) -> bytes:
    """The JSON that archives a finding: the same bytes for the same finding and arguments.

    :param finding: the complete document, as GetFindings returns it; it is not changed.
    :param reason_field: the key in ``ProductFields`` for the reason.
    :param updated_at: its new ``UpdatedAt``, unix milliseconds; newer than every one before, or Security Hub ignores
        the document.
    """
    left_out = {*_FILLED, *_OF_CUSTOMER}
    if isinstance(finding.get("FindingProviderFields"), dict):
        left_out.update(_OF_PROVIDER)
    if not _is_default_product(finding):
        left_out.update(_NAMES)
    document = {name: value for name, value in finding.items() if name not in left_out}
    document["UpdatedAt"] = timestamp_of(updated_at)
    document["RecordState"] = "ARCHIVED"
    fields = {
        name: value for name, value in (finding.get("ProductFields") or {}).items() if not name.startswith("aws/")
    }
    # A finding with the largest number of fields is archived without a reason.
    if reason_field in fields or len(fields) < PRODUCT_FIELDS:
        fields[reason_field] = reason
    document["ProductFields"] = fields
    return msgspec.json.encode(document, order="deterministic")


def _is_default_product(finding: dict[str, Any]) -> bool:
    return f":product/{finding.get('AwsAccountId')}/{DEFAULT_PRODUCT}" in str(finding.get("ProductArn"))
