"""What the customer has decided about a finding: what counts as a decision, what does not, and what cannot be read."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_tenable.security_hub.customer_decisions import (
    UnreadableDecisionError,
    content_of,
    decisions_of,
)

RELATED = {"ProductArn": "arn", "Id": "x"}


def of(provider: Any = None, **finding: Any) -> dict[str, Any]:
    """The decisions about a finding; ``provider``: its FindingProviderFields."""
    return decisions_of(finding if provider is None else {**finding, "FindingProviderFields": provider})


@pytest.mark.parametrize(
    ("name", "value", "decided"),
    [
        ("Workflow", {"Status": "NEW"}, None),
        ("Workflow", {"Status": "NOTIFIED"}, {"Status": "NOTIFIED"}),
        ("Workflow", {"Status": "RESOLVED"}, {"Status": "RESOLVED"}),
        ("Workflow", {"Status": "SUPPRESSED", "More": 1}, {"Status": "SUPPRESSED"}),
        ("Note", {"Text": "t", "UpdatedBy": "u", "UpdatedAt": "now"}, {"Text": "t", "UpdatedBy": "u"}),
        ("UserDefinedFields", {}, None),
        ("UserDefinedFields", {"a": "b", "c": ""}, {"a": "b", "c": ""}),
        ("VerificationState", "UNKNOWN", None),
        ("VerificationState", "TRUE_POSITIVE", "TRUE_POSITIVE"),
        ("VerificationState", "FALSE_POSITIVE", "FALSE_POSITIVE"),
        ("VerificationState", "BENIGN_POSITIVE", "BENIGN_POSITIVE"),
    ],
    ids=str,
)
@pytest.mark.parametrize("provider", [None, {}])
def test_what_belongs_to_the_customer_alone_is_a_decision_but_for_what_every_finding_begins_with(
    name: str, value: Any, decided: Any, provider: Any
) -> None:
    assert of(provider, **{name: value}) == ({} if decided is None else {name: decided})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Workflow", "SUPPRESSED"),
        ("Workflow", {}),
        ("Workflow", {"Status": None}),
        ("Workflow", {"Status": ["NEW"]}),
        ("Workflow", {"Status": "suppressed"}),
        ("Note", "text"),
        ("Note", {"Text": "t"}),
        ("Note", {"UpdatedBy": "u"}),
        ("Note", {"Text": "", "UpdatedBy": "u"}),
        ("Note", {"Text": "t", "UpdatedBy": ""}),
        ("Note", {"Text": 5, "UpdatedBy": "u"}),
        ("Note", {"Text": "t", "UpdatedBy": 5}),
        ("UserDefinedFields", "text"),
        ("UserDefinedFields", {"a": 5}),
        ("UserDefinedFields", {"a": "b", "c": None}),
        ("VerificationState", "ODD"),
        ("VerificationState", ["UNKNOWN"]),
        ("FindingProviderFields", "text"),
        ("FindingProviderFields", [1]),
    ],
    ids=str,
)
def test_what_aws_does_not_document_could_not_be_carried_over(name: str, value: Any) -> None:
    with pytest.raises(UnreadableDecisionError) as error:
        of(**{name: value})
    assert str(error.value) == name


@pytest.mark.parametrize(
    ("name", "provided", "value", "decided"),
    [
        ("Severity", {"Label": "HIGH"}, {"Label": "HIGH", "Normalized": 99}, None),
        ("Severity", {"Label": "HIGH"}, {"Label": "LOW"}, {"Label": "LOW"}),
        # Where the number says no more than the label, the label is enough.
        ("Severity", {"Label": "HIGH"}, {"Label": "INFORMATIONAL", "Normalized": 0}, {"Label": "INFORMATIONAL"}),
        ("Severity", {"Label": "HIGH"}, {"Label": "LOW", "Normalized": 1}, {"Label": "LOW"}),
        ("Severity", {"Label": "HIGH"}, {"Label": "MEDIUM", "Normalized": 40}, {"Label": "MEDIUM"}),
        ("Severity", {"Label": "LOW"}, {"Label": "HIGH", "Normalized": 70}, {"Label": "HIGH"}),
        ("Severity", {"Label": "LOW"}, {"Label": "CRITICAL", "Normalized": 90}, {"Label": "CRITICAL"}),
        ("Severity", {"Label": "HIGH"}, {"Label": "MEDIUM", "Normalized": 55}, {"Normalized": 55}),
        ("Severity", {"Label": "HIGH"}, {"Label": "CRITICAL", "Normalized": 100}, {"Normalized": 100}),
        ("Severity", {"Label": "HIGH"}, {"Label": "LOW", "Normalized": 0}, {"Normalized": 0}),
        ("Severity", {"Label": "HIGH"}, {"Label": "LOW", "Normalized": 101}, {"Label": "LOW"}),
        ("Severity", {"Label": "HIGH"}, {"Label": "LOW", "Normalized": -1}, {"Label": "LOW"}),
        ("Severity", {"Label": "HIGH"}, {"Label": "MEDIUM", "Normalized": True}, {"Label": "MEDIUM"}),
        ("Severity", {"Label": "HIGH"}, {"Label": "LOW", "Normalized": "7"}, {"Label": "LOW"}),
        # A provider's severity of which only the number is known is the one that AWS made the label of.
        ("Severity", {"Original": "9"}, {"Label": "LOW"}, None),
        ("Severity", None, {"Label": "LOW"}, None),
        ("Severity", {"Label": 5}, {"Label": "LOW"}, None),
        ("Confidence", 40, 40, None),
        ("Confidence", 40, 41, 41),
        ("Confidence", None, 0, 0),
        ("Confidence", None, 100, 100),
        ("Criticality", 7, 8, 8),
        ("Types", ["a"], ["a"], None),
        ("Types", ["a"], ["b", "c"], ["b", "c"]),
        ("Types", ["a"], [], None),
        # Without the provider's it cannot be told whose they are.
        ("Types", None, ["b"], None),
        ("RelatedFindings", None, [RELATED], [RELATED]),
        ("RelatedFindings", [], [{**RELATED, "More": 1}], [RELATED]),
        ("RelatedFindings", [RELATED], [RELATED], None),
        ("RelatedFindings", [RELATED], [], None),
    ],
    ids=str,
)
def test_what_the_provider_sends_too_is_a_decision_where_it_differs(
    name: str, provided: Any, value: Any, decided: Any
) -> None:
    provider = {} if provided is None else {name: provided}
    assert of(provider, **{name: value}) == ({} if decided is None else {name: decided})
    # Without FindingProviderFields it counts as the provider's.
    assert of(**{name: value}) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Severity", "LOW"),
        ("Severity", {}),
        ("Severity", {"Label": "ODD"}),
        ("Severity", {"Label": ["LOW"]}),
        ("Confidence", -1),
        ("Confidence", 101),
        ("Confidence", True),
        ("Confidence", 5.5),
        ("Criticality", "5"),
        ("Criticality", 101),
        ("Types", "a"),
        ("Types", [5]),
        ("Types", ["a", None]),
        ("RelatedFindings", {}),
        ("RelatedFindings", ["x"]),
        ("RelatedFindings", [{"Id": "x"}]),
        ("RelatedFindings", [{"ProductArn": "arn"}]),
        ("RelatedFindings", [{"ProductArn": "arn", "Id": 5}]),
        ("RelatedFindings", [{"ProductArn": 5, "Id": "x"}]),
    ],
    ids=str,
)
def test_a_changed_field_of_a_wrong_form_could_not_be_carried_over(name: str, value: Any) -> None:
    with pytest.raises(UnreadableDecisionError) as error:
        of({}, **{name: value})
    assert str(error.value) == name


def test_all_decisions_of_a_finding_are_found() -> None:
    found = of(
        {"Severity": {"Label": "HIGH"}, "Confidence": 1},
        Workflow={"Status": "NEW"},
        Note={"Text": "t", "UpdatedBy": "u"},
        VerificationState="UNKNOWN",
        UserDefinedFields={"a": "b"},
        Severity={"Label": "LOW"},
        Confidence=1,
        Criticality=2,
    )
    assert found == {
        "Note": {"Text": "t", "UpdatedBy": "u"},
        "UserDefinedFields": {"a": "b"},
        "Severity": {"Label": "LOW"},
        "Criticality": 2,
    }
    assert decisions_of({}) == {}


def test_the_same_decision_has_the_same_content_whatever_the_order_of_its_keys() -> None:
    assert content_of({"a": 1, "b": [1, 2]}) == content_of({"b": [1, 2], "a": 1})
    assert content_of({"a": [1, 2]}) != content_of({"a": [2, 1]})
