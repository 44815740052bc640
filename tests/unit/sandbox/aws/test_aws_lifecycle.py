"""What becomes of a stored finding: newer imports replace it, the customer's work on it stays."""

from collections.abc import Callable
from typing import Any

import pytest

MakeFinding = Callable[..., dict[str, Any]]

FIRST, SECOND, THIRD = "2024-03-01T00:00:00Z", "2024-03-02T00:00:00Z", "2024-03-03T00:00:00Z"
TOP = {"FindingProviderFields": None}


def provider(label: str, **more: Any) -> dict[str, Any]:
    return {"Severity": {"Label": label}, "Types": ["Effects"], **more}


def customer(sandbox: Any, finding: dict[str, Any], **changes: Any) -> None:
    identifier = {"Id": finding["Id"], "ProductArn": finding["ProductArn"]}
    answer = sandbox.client().batch_update_findings(FindingIdentifiers=[identifier], **changes)
    assert answer["UnprocessedFindings"] == []


def test_what_was_left_out_is_filled_in(sandbox: Any, make_finding: MakeFinding) -> None:
    sent = make_finding(RecordState=None, ProductName="Mine", CompanyName="Ours")
    sandbox.send(sent)
    stored = sandbox.stored(sent["Id"])
    assert (stored["CompanyName"], stored["ProductName"]) == ("Tenable", "Vulnerability Management")
    assert stored["Region"] == "us-east-1"
    assert stored["RecordState"] == "ACTIVE"
    assert stored["Workflow"] == {"Status": "NEW"}
    assert stored["Severity"] == {"Label": "CRITICAL", "Normalized": 90, "Original": "critical"}
    assert stored["Types"] == sent["FindingProviderFields"]["Types"]
    assert stored["Criticality"] == 70
    assert stored["ProductFields"]["aws/securityhub/FindingId"] == f"{sent['ProductArn']}/{sent['Id']}"


def test_names_of_the_default_product_are_the_senders(sandbox: Any, make_finding: MakeFinding) -> None:
    arn = "arn:aws:securityhub:us-east-1:111122223333:product/111122223333/default"
    sandbox.send(make_finding(ProductArn=arn, ProductName="Mine"))
    stored = sandbox.stored(make_finding()["Id"])
    assert (stored["CompanyName"], stored["ProductName"]) == ("Personal", "Mine")


@pytest.mark.parametrize("updated", [FIRST, "2024-02-29T00:00:00Z", "2024-03-01T01:00:00+01:00"])
def test_update_that_is_not_newer_is_ignored(sandbox: Any, make_finding: MakeFinding, updated: str) -> None:
    sandbox.send(make_finding(UpdatedAt=FIRST))
    before = sandbox.stored(make_finding()["Id"])
    assert sandbox.send(make_finding(UpdatedAt=updated, Title="another"))["SuccessCount"] == 1
    assert sandbox.stored(make_finding()["Id"]) == before


def test_whether_ignored_updates_count_as_success_is_an_option(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.control("options", {"count_ignored": False})
    assert sandbox.send(make_finding())["SuccessCount"] == 1
    assert sandbox.send(make_finding())["SuccessCount"] == 0


def test_newer_update_replaces_the_whole_document(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.send(make_finding(UpdatedAt=FIRST))
    sandbox.send(make_finding(UpdatedAt=SECOND, Vulnerabilities=None, Title="another"))
    stored = sandbox.stored(make_finding()["Id"])
    assert stored["Title"] == "another"
    assert "Vulnerabilities" not in stored


def test_same_id_of_another_product_is_another_finding(sandbox: Any, make_finding: MakeFinding) -> None:
    arn = "arn:aws:securityhub:us-east-1:111122223333:product/111122223333/default"
    sandbox.send(make_finding(), make_finding(ProductArn=arn))
    assert sandbox.control("summary")["total"] == 2


def test_customers_fields_survive_an_update(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.send(make_finding(UpdatedAt=FIRST))
    work = {
        "Workflow": {"Status": "NOTIFIED"},
        "VerificationState": "TRUE_POSITIVE",
        "UserDefinedFields": {"team": "a"},
    }
    customer(sandbox, make_finding(), Note={"Text": "ours", "UpdatedBy": "me"}, **work)
    note = {"Text": "theirs", "UpdatedBy": "x", "UpdatedAt": SECOND}
    sandbox.send(make_finding(UpdatedAt=SECOND, Workflow={"Status": "NEW"}, Note=note, UserDefinedFields={"a": "b"}))
    stored = sandbox.stored(make_finding()["Id"])
    assert stored["UpdatedAt"] == SECOND
    assert stored["Note"]["Text"] == "ours"
    assert {name: stored[name] for name in work} == work


def test_customers_work_leaves_updated_at_alone(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.send(make_finding(UpdatedAt=FIRST))
    customer(sandbox, make_finding(), Workflow={"Status": "SUPPRESSED"})
    assert sandbox.stored(make_finding()["Id"])["UpdatedAt"] == FIRST


def test_top_level_follows_the_provider_until_the_customer_changes_it(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.send(make_finding(UpdatedAt=FIRST, FindingProviderFields=provider("LOW")))
    sandbox.send(make_finding(UpdatedAt=SECOND, FindingProviderFields=provider("HIGH")))
    assert sandbox.stored(make_finding()["Id"])["Severity"] == {"Label": "HIGH", "Normalized": 70}
    customer(sandbox, make_finding(), Severity={"Label": "INFORMATIONAL"})
    sandbox.send(make_finding(UpdatedAt=THIRD, FindingProviderFields=provider("CRITICAL", Confidence=5)))
    stored = sandbox.stored(make_finding()["Id"])
    assert stored["Severity"] == {"Label": "INFORMATIONAL", "Normalized": 0}
    assert stored["FindingProviderFields"]["Severity"] == {"Label": "CRITICAL"}
    assert stored["Confidence"] == 5


def test_top_level_values_overwrite_the_providers_too(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.send(make_finding(UpdatedAt=FIRST))
    sent = make_finding(**TOP, UpdatedAt=SECOND, Severity={"Label": "LOW", "Original": "2"}, Types=["TTPs"])
    sandbox.send(sent)
    stored = sandbox.stored(sent["Id"])
    assert stored["FindingProviderFields"]["Severity"] == {"Label": "LOW", "Original": "2"}
    assert stored["Severity"]["Label"] == "LOW"
    customer(sandbox, make_finding(), Severity={"Label": "HIGH"}, Types=["Effects/Theirs"])
    sandbox.send({**sent, "UpdatedAt": THIRD, "Severity": {"Label": "MEDIUM"}})
    stored = sandbox.stored(sent["Id"])
    assert (stored["Severity"]["Label"], stored["Types"]) == ("HIGH", ["Effects/Theirs"])
    assert stored["FindingProviderFields"]["Severity"] == {"Label": "MEDIUM"}


def test_of_both_levels_the_providers_wins_when_the_finding_is_new(sandbox: Any, make_finding: MakeFinding) -> None:
    both = {"FindingProviderFields": provider("LOW"), "Severity": {"Label": "HIGH"}}
    sandbox.send(make_finding(UpdatedAt=FIRST, **both))
    assert sandbox.stored(make_finding()["Id"])["Severity"]["Label"] == "LOW"
    sandbox.send(make_finding(UpdatedAt=SECOND, **both))
    stored = sandbox.stored(make_finding()["Id"])
    assert (stored["Severity"]["Label"], stored["FindingProviderFields"]["Severity"]["Label"]) == ("HIGH", "LOW")


@pytest.mark.parametrize(
    ("status", "after"), [("NOTIFIED", "NEW"), ("RESOLVED", "NEW"), ("SUPPRESSED", "SUPPRESSED"), ("NEW", "NEW")]
)
def test_reopened_finding_is_new_again_unless_suppressed(
    sandbox: Any, make_finding: MakeFinding, status: str, after: str
) -> None:
    sandbox.send(make_finding(UpdatedAt=FIRST, RecordState="ARCHIVED"))
    customer(sandbox, make_finding(), Workflow={"Status": status})
    sandbox.send(make_finding(UpdatedAt=SECOND, RecordState="ACTIVE"))
    assert sandbox.stored(make_finding()["Id"])["Workflow"] == {"Status": after}


def test_archiving_leaves_the_workflow_alone(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.send(make_finding(UpdatedAt=FIRST))
    customer(sandbox, make_finding(), Workflow={"Status": "NOTIFIED"})
    sandbox.send(make_finding(UpdatedAt=SECOND, RecordState="ARCHIVED"))
    assert sandbox.stored(make_finding()["Id"])["Workflow"] == {"Status": "NOTIFIED"}
    (row,) = sandbox.control("summary")["by"]
    assert row["record_state"] == "ARCHIVED"


def test_check_that_fails_again_is_new_again(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.send(make_finding(UpdatedAt=FIRST, Compliance={"Status": "PASSED"}))
    customer(sandbox, make_finding(), Workflow={"Status": "RESOLVED"})
    sandbox.send(make_finding(UpdatedAt=SECOND, Compliance={"Status": "FAILED"}))
    assert sandbox.stored(make_finding()["Id"])["Workflow"] == {"Status": "NEW"}


def test_customer_can_be_played_by_a_control_call(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.send(make_finding())
    where = {"account": "111122223333", "region": "us-east-1", "id": make_finding()["Id"]}
    sandbox.control("customer", {**where, "set": {"Workflow": {"Status": "SUPPRESSED"}, "Note": {"Text": "known"}}})
    stored = sandbox.stored(make_finding()["Id"])
    assert (stored["Workflow"], stored["Note"]["Text"]) == ({"Status": "SUPPRESSED"}, "known")
    bad = sandbox.http.post("/_sandbox/customer", json={**where, "set": {"RecordState": "ARCHIVED"}})
    assert bad.status_code == 400
    missing = sandbox.http.post("/_sandbox/customer", json={**where, "id": "none", "set": {"Criticality": 1}})
    assert missing.status_code == 404
