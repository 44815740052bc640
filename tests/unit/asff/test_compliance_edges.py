"""The edges of findings of audits: their ids' length, what they leave out, why they are archived, and the memo."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_tenable.asff import compliance as module
from airflow_provider_tenable.asff import row as finding_row
from airflow_provider_tenable.asff.compliance import AuditOptions, Checks
from airflow_provider_tenable.asff.mapper import AsffComplianceMapper
from airflow_provider_tenable.asff.resource import account_resource
from airflow_provider_tenable.exceptions import UnmappableError
from tests.unit.asff.test_compliance import PRODUCT, record


def made(gone: str = "", **changed: Any) -> tuple[dict[str, Any], Any]:
    """The finding of an account, and its row."""
    mapper = AsffComplianceMapper(AuditOptions(), "tenable/vulnerability-management")
    resource = account_resource("111122223333", region="eu-west-1", partition="aws", asset="a", gone=gone)
    line, packed, _ = mapper.compliance(record(**changed), resource, PRODUCT)
    return json.loads(line), finding_row.LAYOUT.unpack(packed)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"status": "MAYBE"}, "it has no status that Tenable documents"),
        ({"check_id": None, "compliance_full_id": " "}, "it has neither compliance_full_id nor check_id"),
        ({"audit_file": None}, "it has no audit_file"),
        ({"audit_file": " "}, "it has no audit_file"),
        (
            dict.fromkeys(("first_seen", "last_seen", "last_fixed", "last_observed", "indexed_at")),
            "it has no usable time (readable and not in the future)",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_mapped_says_why_in_full(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(UnmappableError) as error:
        made(**changed)
    assert str(error.value) == why


def test_an_id_may_be_as_long_as_security_hub_accepts_and_no_longer() -> None:
    short = len(made(audit_file="a")[0]["Id"])
    longest = "a" * (512 - short + 1)
    assert len(made(audit_file=longest)[0]["Id"]) == 512
    with pytest.raises(UnmappableError, match=r"^its id would have 513 characters; the limit is 512$"):
        made(audit_file=longest + "a")


def test_a_check_without_links_has_none() -> None:
    finding, _ = made(see_also=None, plugin_id=None, solution=None)
    assert not {"SourceUrl", "Remediation"} & set(finding)
    assert finding["RecordState"] == "ACTIVE"


@pytest.mark.parametrize(
    ("gone", "state", "because"),
    [
        ("", "FIXED", "fixed"),
        ("deleted", "OPEN", "asset_deleted"),
        ("terminated", "FIXED", "asset_terminated"),
        ("", "OPEN", None),
    ],
)
def test_the_row_and_the_finding_say_why_it_is_archived(gone: str, state: str, because: str | None) -> None:
    finding, packed = made(gone=gone, state=state)
    flags = packed[4]
    assert (finding["RecordState"] == "ARCHIVED") == bool(flags & finding_row.ARCHIVED) == (because is not None)
    assert finding["ProductFields"].get("tenable/vulnerability-management/archived_because") == because
    if because:
        assert finding_row.because(flags) == because


def test_checks_are_forgotten_once_there_are_too_many_or_too_large_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [record(check_id=str(number), compliance_full_id=str(number)) for number in range(5)]
    checks = Checks()
    first = checks.get(records[0])
    assert checks.get(records[0]) is first
    monkeypatch.setattr(module, "_MAX_CHECKS", 3)
    kept = []
    for each in records:
        checks.get(each)
        kept.append(len(checks._parts))
    assert kept == [1, 2, 3, 1, 2]
    monkeypatch.setattr(module, "_MAX_CHECKS", 1000)
    monkeypatch.setattr(module, "_MAX_BYTES", 5_000)
    small = Checks()
    for number in range(9):
        small.get(record(check_id=str(number), compliance_full_id=str(number), check_info="x" * 3_000))
        assert len(small._parts) == 1
