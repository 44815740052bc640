"""Results of audits as findings: Tenable's own examples, golden ids, ASFF's limits, and what cannot be mapped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_provider_tenable.asff import row
from airflow_provider_tenable.asff.check import audit_number
from airflow_provider_tenable.asff.compliance import AuditOptions
from airflow_provider_tenable.asff.mapper import AsffComplianceMapper
from airflow_provider_tenable.exceptions import UnmappableError
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow
from airflow_provider_tenable.tenable_vm.compliance import Compliance, asset_of, audit_name_of, is_aws_audit
from airflow_provider_tenable.tenable_vm.decode import decode_chunk
from tests.unit.asff.asff_limits import problems

PREFIX = "tenable/vulnerability-management/"
CHUNK = (Path(__file__).resolve().parents[2] / "data" / "compliance_chunk_official_example.json").read_bytes()
PRODUCT = "arn:aws:securityhub:eu-west-1::product/tenable/vulnerability-management"
MAPPER = AsffComplianceMapper(AuditOptions(), "tenable/vulnerability-management")
ACCOUNT = MAPPER.account_resource("111122223333", region="eu-west-1", partition="aws", asset="a" * 8)
HOST = MAPPER.ec2_resource(
    AssetRow(
        id="e5e6fa1b-243f-45b7-82cb-285c271cbaa6",
        owner_id="111122223333",
        region="eu-west-1",
        instance_id="i-0123456789abcdef0",
    )
)


def record(**changed: Any) -> Compliance:
    """Tenable's first example with changes; None removes a field."""
    fields = {**json.loads(CHUNK)[0], **changed}
    data = json.dumps([{name: value for name, value in fields.items() if value is not None}]).encode()
    (found,), unreadable = decode_chunk(data, Compliance)
    assert not unreadable
    return found


def mapped(record: Compliance, resource: Any = ACCOUNT) -> tuple[dict[str, Any], Any]:
    # With checks of its own: what another test has left in the memo must not hide a mistake.
    mapper = AsffComplianceMapper(AuditOptions(), "tenable/vulnerability-management")
    line, packed, _ = mapper.compliance(record, resource, PRODUCT)
    finding: dict[str, Any] = json.loads(line)
    assert problems(line) == []
    return finding, row.LAYOUT.unpack(packed)


def test_both_of_tenables_examples_become_findings() -> None:
    records, unreadable = decode_chunk(CHUNK, Compliance)
    assert not unreadable
    for each in records:
        finding, _ = mapped(each, HOST)
        assert finding["Compliance"]["Status"] == "PASSED"
        assert finding["Resources"][0]["Type"] == "AwsEc2Instance"
        assert finding["RecordState"] == "ACTIVE"
    first = mapped(records[0], HOST)[0]
    assert first["Compliance"] == {
        "Status": "PASSED",
        "RelatedRequirements": ["800-171 3.1.1", "800-53 AC-2"],
        "SecurityControlId": "5.5.4",
        "AssociatedStandards": [{"StandardsId": "CIS SQL Server 2019 1.2.0"}],
    }
    assert first["Title"] == "5.5.4 Ensure default group for the root account is GID 0"
    assert first["Remediation"]["Recommendation"]["Url"] == "https://workbench.cisecurity.org/files/2518"
    assert first["ProductFields"][f"{PREFIX}expected_value"].startswith("expect: ^root")
    assert first["ProductFields"][f"{PREFIX}actual_value"].startswith("Compliant file(s):")
    assert first["UpdatedAt"] == "2024-01-05T15:54:59.839Z"


@pytest.mark.parametrize(
    ("resource", "changed", "identity"),
    [
        (ACCOUNT, {}, "eu-west-1/111122223333/audit/{full}/CIS_CentOS_8_Server_L1_v1.0.0.audit"),
        (HOST, {}, "eu-west-1/111122223333/i-0123456789abcdef0/audit/{full}/CIS_CentOS_8_Server_L1_v1.0.0.audit"),
        (ACCOUNT, {"compliance_full_id": None, "audit_file": "a"}, "eu-west-1/111122223333/audit/{check}/a"),
        (ACCOUNT, {"audit_file": "a/b c.audit"}, "eu-west-1/111122223333/audit/{full}/a%2Fb%20c.audit"),
    ],
)  # fmt: skip
def test_ids_are_golden(resource: Any, changed: dict[str, Any], identity: str) -> None:
    sample = json.loads(CHUNK)[0]
    expected = identity.format(full=sample["compliance_full_id"], check=sample["check_id"])
    finding, packed = mapped(record(**changed), resource)
    assert finding["Id"] == expected
    # The row has the key that is made of the id alone.
    assert packed[0] == row.key_of(expected)


@pytest.mark.parametrize(
    ("status", "shown", "label"),
    [
        ("PASSED", "PASSED", "INFORMATIONAL"),
        ("failed", "FAILED", "MEDIUM"),
        ("WARNING", "WARNING", "LOW"),
        ("SKIPPED", "NOT_AVAILABLE", "INFORMATIONAL"),
        ("ERROR", "NOT_AVAILABLE", "INFORMATIONAL"),
    ],
)
def test_status_and_severity(status: str, shown: str, label: str) -> None:
    finding, packed = mapped(record(status=status, check_error="no access"))
    assert finding["Compliance"]["Status"] == shown
    assert finding["FindingProviderFields"]["Severity"] == {"Label": label, "Original": status}
    assert ("StatusReasons" in finding["Compliance"]) == (shown in ("WARNING", "NOT_AVAILABLE"))
    assert packed[1] != mapped(record(status="PASSED" if status != "PASSED" else "FAILED"))[1][1]


def test_a_fixed_result_is_archived_and_an_old_one_without_state_is_not() -> None:
    fixed, packed = mapped(record(state="FIXED"))
    assert fixed["RecordState"] == "ARCHIVED"
    assert fixed["ProductFields"][f"{PREFIX}archived_because"] == "fixed"
    assert packed[4] & row.FIXED
    assert mapped(record(state=None))[0]["RecordState"] == "ACTIVE"


def test_limits_hold_for_hostile_texts() -> None:
    huge = "\x1b[31m<script>\U0001f600" * 50_000
    references = [{"framework": "f", "control": f"{number} {huge}"} for number in range(100)]
    finding, _ = mapped(
        record(
            check_name=huge, check_info=huge, expected_value=huge, actual_value=huge, solution=huge, see_also=huge,
            reference=references, check_error=huge, status="WARNING", compliance_benchmark_name=huge, profile_name=huge,
        )
    )  # fmt: skip
    assert len(finding["Compliance"]["RelatedRequirements"]) == 32
    assert "\x1b" not in json.dumps(finding, ensure_ascii=False)


def test_the_order_of_requirements_is_no_change() -> None:
    references = [{"framework": "800-53", "control": f"AC-{number}"} for number in range(40)]
    assert mapped(record(reference=references)) == mapped(record(reference=references[::-1]))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"status": "MAYBE"}, "no status"),
        ({"status": None}, "no status"),
        ({"check_id": None, "compliance_full_id": None}, "neither"),
        ({"audit_file": " "}, "no audit_file"),
        ({"audit_file": "a" * 600}, "limit is 512"),
        (dict.fromkeys(("first_seen", "last_seen", "last_fixed", "last_observed", "indexed_at")), "no usable time"),
    ],
)  # fmt: skip
def test_what_cannot_be_mapped_says_why(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(UnmappableError, match=why):
        MAPPER.compliance(record(**changed), ACCOUNT, PRODUCT)


def test_which_records_are_of_an_aws_account() -> None:
    aws = "CIS_Amazon_Web_Services_Foundations_v7.0.0_L1.audit"
    loopback = {"ipv4_addresses": ["127.0.0.1"]}
    assert is_aws_audit(record(plugin_id=72426))
    assert is_aws_audit(record(audit_file=aws, asset=loopback))
    assert is_aws_audit(record(audit_file=aws, asset=None, assets=loopback))
    assert not is_aws_audit(record(audit_file=aws))
    assert not is_aws_audit(record(audit_file="CIS_Azure_v1.audit", asset=loopback))
    assert not is_aws_audit(record(audit_file="Laws.audit", asset=loopback))
    assert asset_of(record(asset_uuid=None)) == "037bb045-2c31-5a3a-9b19-8832b9a00210"


def test_versions_of_an_audit_file() -> None:
    one, two = (
        "CIS_Amazon_Web_Services_Foundations_v7.0.0_L1.audit",
        "CIS_Amazon_Web_Services_Foundations_v10.0_L1.audit",
    )
    assert audit_name_of(one) == audit_name_of(two) != audit_name_of(one.replace("L1", "L2"))
    assert audit_number(one) >> 32 == audit_number(two) >> 32
    assert audit_number(one) != audit_number(two)
    assert 0 <= audit_number(one) < 2**63


def test_records_as_they_wait_are_the_same_records() -> None:
    found = record()
    again = msgspec.json.decode(msgspec.json.encode(found), type=Compliance)
    assert mapped(again) == mapped(found)
