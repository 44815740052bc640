"""What we read of Tenable's compliance records: results of audits of hosts and of cloud accounts (API docs: compliance
export chunks).

As with vulnerabilities, every key may be absent or null, and what does not fit its type is left out
(:mod:`airflow_provider_tenable.tenable_vm.lenient`). The identity of a result is its asset, the full id of its check,
and its audit file. Some records lack the full id.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import datetime

import msgspec
from msgspec import Struct

from airflow_provider_tenable.tenable_vm import times
from airflow_provider_tenable.tenable_vm.records import NULL, Integer

#: The plugin of Tenable's audits of AWS accounts ("Amazon AWS Compliance Checks").
AWS_AUDIT_PLUGIN = 72426
PASSED, FAILED, WARNING, NOT_AVAILABLE = "passed", "failed", "warning", "not_available"
#: What a check may result in, as ASFF tells results apart.
STATUSES = (PASSED, FAILED, WARNING, NOT_AVAILABLE)
_STATUS_OF = {
    "PASSED": PASSED,
    "FAILED": FAILED,
    "WARNING": WARNING,
    # Not applicable, could not be made, undecided (API docs: compliance_results).
    "SKIPPED": NOT_AVAILABLE,
    "ERROR": NOT_AVAILABLE,
    "UNKNOWN": NOT_AVAILABLE,
}
_AWS_FILE = re.compile(r"amazon[ _-]?(?:web[ _-]?services|aws)|(?:^|[_ -])aws(?:[_ .-]|$)", re.IGNORECASE)


class ComplianceAsset(Struct, gc=False):
    """The asset inside a compliance record. The rest of it comes from the asset export."""

    id: str | None = None
    ipv4_addresses: list[str] | None = None


class Compliance(Struct, kw_only=True):
    """A record of a compliance export. ``reference`` stays undecoded, to be decoded once for all records of a check."""

    asset_uuid: str | None = None
    first_seen: str | Integer | None = None
    last_seen: str | Integer | None = None
    audit_file: str | None = None
    check_id: str | None = None
    check_name: str | None = None
    check_info: str | None = None
    expected_value: str | None = None
    actual_value: str | None = None
    status: str | None = None
    # A list of Reference.
    reference: msgspec.Raw = NULL
    # A text, unlike that of a plugin.
    see_also: str | list[str] | None = None
    solution: str | None = None
    plugin_id: Integer | None = None
    # Null before December 2021.
    state: str | None = None
    description: str | None = None
    synopsis: str | None = None
    compliance_benchmark_name: str | None = None
    compliance_benchmark_version: str | None = None
    compliance_control_id: str | None = None
    compliance_full_id: str | None = None
    profile_name: str | None = None
    check_error: str | None = None
    last_fixed: str | Integer | None = None
    last_observed: str | Integer | None = None
    indexed_at: str | Integer | None = None
    plugin_name: str | None = None
    # The schema calls it `assets`, the example `asset`.
    asset: ComplianceAsset | None = None
    assets: ComplianceAsset | None = None


class Reference(Struct, gc=False):
    """A requirement that a check is about: ``800-53``, ``AC-2``."""

    framework: str | None = None
    control: str | None = None


def asset_of(record: Compliance) -> str:
    """The id of a record's asset, as the asset export has it; empty where it has none.

    ``asset.id`` differs from it in Tenable's own example, so it counts only where there is no other.
    """
    found = (record.asset_uuid or "").strip()
    if found:
        return found
    asset = record.asset or record.assets
    return (asset.id or "").strip() if asset else ""


def check_of(record: Compliance) -> str:
    """The id of a record's check: the full id, or ``check_id``; empty where it has none."""
    return (record.compliance_full_id or "").strip() or (record.check_id or "").strip()


def status_of(record: Compliance) -> str | None:
    """One of :data:`STATUSES`; None if the record has no status, or one that Tenable does not document."""
    return _STATUS_OF.get((record.status or "").strip().upper())


def is_fixed(record: Compliance) -> bool:
    """Whether Tenable says that the result is gone."""
    return (record.state or "").strip().upper() == "FIXED"


def is_aws_audit(record: Compliance) -> bool:
    """Whether a record is about an AWS account, and not about a host: by its plugin, or because its asset is the
    loopback address, which all audits of cloud accounts have, and its audit file is one for AWS.
    """
    if record.plugin_id == AWS_AUDIT_PLUGIN:
        return True
    asset = record.asset or record.assets
    addresses = (asset.ipv4_addresses or []) if asset else []
    return any(map(_is_loopback, addresses)) and _AWS_FILE.search(record.audit_file or "") is not None


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.strip()).is_loopback
    except ValueError:
        return False


def own_time(record: Compliance) -> datetime | None:
    """The time that ``since`` looks at: when the result was indexed (API docs), else when it was last seen."""
    return (
        times.parse(record.indexed_at)
        or (times.parse(record.last_fixed) if is_fixed(record) else None)
        or times.parse(record.last_observed)
        or times.parse(record.last_seen)
    )


# The version in the name of an audit file, with what is around it: CIS_Amazon_Web_Services_Foundations_v7.0.0_L1.audit.
_VERSION = re.compile(r"(?<![a-z0-9])v\d+(?:[._-]\d+)*(?![a-z0-9])", re.IGNORECASE)


def audit_name_of(audit_file: str) -> str:
    """The name of an audit file without its version: the same for all versions of an audit."""
    return _VERSION.sub("v", audit_file.strip())
