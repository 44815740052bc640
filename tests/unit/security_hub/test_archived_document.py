"""The document that archives a finding: everything that the provider sent, and nothing that belongs to others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_tenable.security_hub.archived_document import (
    PRODUCT_FIELDS,
    archived_document,
    milliseconds_of,
    timestamp_of,
)

REASON = "tenable/vulnerability-management/archived_because"
DEFAULT = "arn:aws:securityhub:eu-west-1:111122223333:product/111122223333/default"
HELD: dict[str, Any] = {
    "SchemaVersion": "2018-10-08",
    "Id": "eu-west-1/111122223333/i-1/2/tcp/443",
    "ProductArn": "arn:aws:securityhub:eu-west-1::product/tenable/vulnerability-management",
    "GeneratorId": "2",
    "AwsAccountId": "111122223333",
    "CreatedAt": "2026-01-01T00:00:00.000Z",
    "UpdatedAt": "2026-02-01T00:00:00.000Z",
    "Title": "t",
    "Description": "d",
    "Resources": [{"Type": "Other", "Id": "i-1", "Details": {"Other": {"a": "b"}}}],
    "FindingProviderFields": {"Severity": {"Label": "HIGH", "Original": "high"}, "Types": ["Effects"]},
    "ProductFields": {
        "tenable/vulnerability-management/port": "443",
        "aws/securityhub/FindingId": "x",
        "aws/securityhub/ProductName": "Vulnerability Management",
    },
    "RecordState": "ACTIVE",
    "FieldOfTheFuture": {"a": [1, 2.5, None]},
}
OTHERS: dict[str, Any] = {
    "Region": "eu-west-1",
    "ProcessedAt": "2026-02-01T00:00:01.000Z",
    "WorkflowState": "NEW",
    "AwsAccountName": "production",
    "Sample": False,
    "ProductName": "Vulnerability Management",
    "CompanyName": "Tenable",
    "Note": {"Text": "ours", "UpdatedBy": "me", "UpdatedAt": "2026-02-01T00:00:00.000Z"},
    "UserDefinedFields": {"team": "a"},
    "VerificationState": "TRUE_POSITIVE",
    "Workflow": {"Status": "SUPPRESSED"},
    "Severity": {"Label": "LOW", "Normalized": 1},
    "Types": ["TTPs"],
    "Confidence": 10,
    "Criticality": 20,
    "RelatedFindings": [{"Id": "x", "ProductArn": "y"}],
}


def document(finding: dict[str, Any], updated_at: int = 1_800_000_000_000) -> dict[str, Any]:
    data = archived_document(finding, reason_field=REASON, reason="not_reported", updated_at=updated_at)
    found: dict[str, Any] = json.loads(data)
    return found


def test_what_the_provider_sent_is_sent_again_with_the_state_the_time_and_the_reason() -> None:
    assert document(HELD | OTHERS) == HELD | {
        "RecordState": "ARCHIVED",
        "UpdatedAt": "2027-01-15T08:00:00.000Z",
        "ProductFields": {"tenable/vulnerability-management/port": "443", REASON: "not_reported"},
    }


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_what_security_hub_fills_or_the_customer_owns_is_left_out(name: str) -> None:
    assert name not in document(HELD | {name: OTHERS[name]})


@pytest.mark.parametrize("name", ["ProductName", "CompanyName"])
def test_the_names_of_the_default_product_are_the_senders_own_and_stay(name: str) -> None:
    assert document(HELD | {"ProductArn": DEFAULT, name: "Mine"})[name] == "Mine"


def test_a_finding_without_provider_fields_keeps_its_severity_and_types() -> None:
    finding = {name: value for name, value in (HELD | OTHERS).items() if name != "FindingProviderFields"}
    found = document(finding)
    assert (found["Severity"], found["Types"]) == (OTHERS["Severity"], OTHERS["Types"])


@pytest.mark.parametrize("fields", [None, {}])
def test_a_finding_without_product_fields_gets_the_reason(fields: Any) -> None:
    assert document(HELD | {"ProductFields": fields})["ProductFields"] == {REASON: "not_reported"}


def test_a_finding_with_all_product_fields_is_archived_without_a_reason() -> None:
    full = {f"k{number}": "v" for number in range(PRODUCT_FIELDS)}
    assert document(HELD | {"ProductFields": full})["ProductFields"] == full
    again = {**dict(list(full.items())[1:]), REASON: "fixed"}
    assert document(HELD | {"ProductFields": again})["ProductFields"][REASON] == "not_reported"


def test_the_bytes_do_not_depend_on_the_order_of_the_hubs_answer() -> None:
    def made(finding: dict[str, Any]) -> bytes:
        return archived_document(finding, reason_field=REASON, reason="r", updated_at=1)

    assert made(HELD) == made(dict(reversed(HELD.items())))


def test_the_hubs_document_is_not_changed() -> None:
    finding = json.loads(json.dumps(HELD | OTHERS))
    document(finding)
    assert finding == HELD | OTHERS


@given(st.integers(0, 253_402_300_799_999))
def test_a_time_is_read_as_it_was_written(milliseconds: int) -> None:
    assert milliseconds_of(timestamp_of(milliseconds)) == milliseconds


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1970-01-01T00:00:01Z", 1_000),
        ("1970-01-01T00:00:01.9999Z", 1_999),
        ("1970-01-01T01:00:00.5+01:00", 500),
        ("1970-01-01T01:00:00.123456789+0100", 123),
        ("1970-01-01t00:00:00z", 0),
        ("1970-01-01T00:00:60Z", 59_000),
        ("yesterday", None),
        ("1970-13-01T00:00:00Z", None),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_every_form_of_a_timestamp_is_read(text: object, milliseconds: int | None) -> None:
    assert milliseconds_of(text) == milliseconds
