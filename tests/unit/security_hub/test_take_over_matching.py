"""What becomes of the findings of the old tools: which decisions are carried to which findings, and what stays."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_tenable.exceptions import TemporaryError
from airflow_provider_tenable.security_hub.old_tool_ids import Vulnerability, sechubingest_arns
from airflow_provider_tenable.security_hub.take_over_matching import (
    CONFLICT,
    NOT_IN_TENABLE,
    TAKEN_OVER,
    UNMATCHED,
    Estate,
    Match,
)

ACCOUNT, REGION = "123456789012", "eu-west-1"
OURS, OLD = f"arn:aws:securityhub:{REGION}::product/tenable/vulnerability-management", sechubingest_arns(REGION)[1]
REASON = "x/archived_because"
SUPPRESSED = {"Workflow": {"Status": "SUPPRESSED"}}
NOTE = {"Note": {"Text": "accepted", "UpdatedBy": "jo"}}
EARLY, LATE = 1_767_225_600_000, 1_767_225_601_000


def instance(number: int) -> str:
    return f"i-{number:017x}"


def finding(finding_id: str, arn: str, number: int, change: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "Id": finding_id,
        "ProductArn": arn,
        "AwsAccountId": ACCOUNT,
        "Region": REGION,
        "UpdatedAt": "2026-01-01T00:00:00.000Z",
        "RecordState": "ACTIVE",
        "Resources": [{"Id": f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/{instance(number)}"}],
        "ProductFields": {},
        "FindingProviderFields": {"Severity": {"Label": "HIGH"}},
        **(change or {}),
    }


def old(number: int, change: dict[str, Any] | None = None, *, plugin: int = 10, arn: str = OLD) -> dict[str, Any]:
    return finding(f"{REGION}/{instance(number)}/{plugin}", arn, number, change)


def ours(number: int, change: dict[str, Any] | None = None, *, port: int = 443) -> dict[str, Any]:
    return finding(f"{REGION}/{ACCOUNT}/{instance(number)}/10/tcp/{port}", OURS, number, change)


def estate(*findings: dict[str, Any], same_ids: bool = False) -> Estate:
    found = Estate(
        ACCOUNT,
        REGION,
        old_arns=sechubingest_arns(REGION),
        our_arns=[OURS],
        ids_like_tvm2aws=same_ids,
        reason_field=REASON,
    )
    for each in findings:
        found.add(each)
    return found


def matched(*findings: dict[str, Any], same_ids: bool = False) -> Match:
    (match,) = estate(*findings, same_ids=same_ids).matches(lambda key, severities: pytest.fail("one of ours is there"))
    return match


def updates(match: Match) -> dict[str, dict[str, Any]]:
    return {each.id.rpartition("/")[2]: fields for each, fields in match.updates}


def test_each_of_ours_gets_the_decisions_that_it_does_not_have():
    match = matched(
        old(1, {**SUPPRESSED, **NOTE}),
        old(1, {"VerificationState": "FALSE_POSITIVE"}, arn=OURS),
        ours(1, port=80),
        ours(1, SUPPRESSED, port=443),
        ours(1, {**SUPPRESSED, **NOTE, "VerificationState": "FALSE_POSITIVE"}, port=22),
    )
    assert (match.outcome, match.vulnerability) == (TAKEN_OVER, Vulnerability(REGION, instance(1), 10))
    verified = {"VerificationState": "FALSE_POSITIVE"}
    assert updates(match) == {"80": {**SUPPRESSED, **NOTE, **verified}, "443": {**NOTE, **verified}}
    assert {each.product_arn for each in match.old} == {OLD, OURS}
    assert match.fields == []


def test_decisions_that_differ_are_named_and_nothing_is_carried():
    match = matched(
        old(1, {**SUPPRESSED, **NOTE, "VerificationState": "FALSE_POSITIVE"}),
        old(1, {"Workflow": {"Status": "RESOLVED"}}, arn=OURS),
        ours(1, {"Note": {"Text": "mine", "UpdatedBy": "al"}, "VerificationState": "FALSE_POSITIVE"}),
    )
    assert (match.outcome, match.fields, match.updates) == (CONFLICT, ["Note", "Workflow"], [])
    assert match.vulnerability == Vulnerability(REGION, instance(1), 10)
    # Both tools' findings may have the same decision.
    match = matched(old(1, NOTE), old(1, NOTE, arn=OURS), ours(1))
    assert (match.outcome, updates(match)) == (TAKEN_OVER, {"443": NOTE})
    # A decision that only our finding has does not conflict with any other.
    assert matched(old(1), ours(1, SUPPRESSED)).outcome == TAKEN_OVER
    assert matched(old(1, NOTE), ours(1, SUPPRESSED)).outcome == TAKEN_OVER


def test_one_of_ours_that_cannot_be_read_is_in_the_way_of_decisions_only():
    unreadable = ours(1, {"VerificationState": ["?"]})
    assert matched(old(1), unreadable).outcome == TAKEN_OVER
    match = matched(old(1, SUPPRESSED), unreadable, ours(1, port=80))
    assert (match.outcome, match.fields) == (CONFLICT, ["VerificationState"])
    # Its time and state are of no account, but say that something is wrong.
    assert matched(old(1, SUPPRESSED), ours(1, {"UpdatedAt": "soon"})).fields == ["UpdatedAt"]
    assert matched(old(1, SUPPRESSED), ours(1, {"RecordState": "GONE"})).fields == ["RecordState"]


def test_what_has_none_of_ours_is_gone_from_tenable_or_stays():
    asked: dict[int, frozenset[str]] = {}

    def is_gone(key: Vulnerability, severities: frozenset[str]) -> bool:
        asked[key.plugin] = severities
        return key.plugin == 30

    found = estate(
        old(
            2,
            plugin=30,
            change={"FindingProviderFields": {"Severity": {"Label": "LOW"}}, "Severity": {"Label": "CRITICAL"}},
        ),
        old(2, plugin=30, arn=OURS),
        *(
            old(2, plugin=9, arn=arn, change={"FindingProviderFields": provider, "Severity": {"Label": label}})
            for arn, provider, label in (
                (OLD, {"Severity": 5}, "MEDIUM"),
                (OURS, {"Severity": {"Label": 5}}, "LOW"),
            )
        ),
        old(1, plugin=40, change={"FindingProviderFields": None}),
        old(1),
        ours(1),
    )
    assert sorted(found.unmatched()) == [
        Vulnerability(REGION, instance(1), 40),
        Vulnerability(REGION, instance(2), 9),
        Vulnerability(REGION, instance(2), 30),
    ]
    matches = [(match.vulnerability.plugin, match.outcome, len(match.old)) for match in found.matches(is_gone)]
    assert matches == [(10, TAKEN_OVER, 1), (40, UNMATCHED, 1), (9, UNMATCHED, 2), (30, NOT_IN_TENABLE, 2)]
    assert asked == {30: frozenset({"LOW", "HIGH"}), 9: frozenset({"MEDIUM", "LOW"}), 40: frozenset({""})}


def test_what_an_earlier_run_has_taken_over_is_done():
    archived = {"RecordState": "ARCHIVED"}
    found = estate(
        *(
            old(number, {**archived, "ProductFields": {REASON: why}})
            for number, why in enumerate((TAKEN_OVER, NOT_IN_TENABLE))
        ),
        # Active again, archived for another reason, and one that cannot be read.
        old(2, {"ProductFields": {REASON: TAKEN_OVER}}),
        old(3, {**archived, "ProductFields": {REASON: "fixed"}}),
        old(4, {**archived, "ProductFields": None}),
        old(5, {**archived, "ProductFields": [TAKEN_OVER]}),
    )
    assert found.done == 2
    assert {key.instance for key in found.unmatched()} == {instance(number) for number in (2, 3, 4, 5)}


def test_when_the_old_tools_last_wrote_is_that_of_active_findings():
    late = {"UpdatedAt": "2026-01-01T00:00:01Z"}
    assert estate(ours(1, late)).last_written == 0
    assert estate(old(1, late), old(2)).last_written == LATE
    assert estate(old(1), old(2, late), old(3)).last_written == LATE
    found = estate(old(1), old(2, {**late, "RecordState": "ARCHIVED"}))
    assert found.last_written == EARLY
    states = [(each.updated_at, each.is_archived) for match in found.matches(lambda *_: False) for each in match.old]
    assert states == [(EARLY, False), (LATE, True)]
    stateless = old(1, late)
    del stateless["RecordState"]
    assert estate(stateless).last_written == LATE


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"Resources": []}, "Resources"),
        ({"UpdatedAt": "soon"}, "UpdatedAt"),
        ({"RecordState": "GONE"}, "RecordState"),
        ({"Workflow": {"Status": "ODD"}}, "Workflow"),
    ],
)
def test_what_cannot_be_read_is_left_and_hides_nothing(change, why):
    found = estate(old(1, change), old(2))
    assert found.unreadable == {f"{REGION}/{instance(1)}/10": why}
    assert [key.instance for key in found.unmatched()] == [instance(2)]


def test_a_finding_that_two_pages_return_counts_once_and_as_it_was_last():
    match = matched(old(1), ours(1), old(1, SUPPRESSED), ours(1))
    assert (len(match.old), updates(match)) == (1, {"443": SUPPRESSED})


def test_with_the_ids_of_tvm2aws_one_of_ours_has_such_an_id():
    match = matched(old(1, SUPPRESSED), old(1, arn=OURS), same_ids=True)
    assert [each.product_arn for each in match.old] == [OLD]
    assert updates(match) == {"10": SUPPRESSED}
    found = estate(ours(1), finding("x", OLD, 1), finding("x", OURS, 1), same_ids=True)
    assert (found.others, list(found.unmatched())) == (3, [])


def test_other_findings_of_these_products_are_left():
    elsewhere = ours(1)
    elsewhere["Id"] = elsewhere["Id"].replace(ACCOUNT, "999988887777")
    found = estate(finding("x", OLD, 1), finding("x", OURS, 1), elsewhere, finding(ours(1)["Id"], OLD, 1))
    assert (found.others, list(found.unmatched()), found.unreadable) == (4, [], {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AwsAccountId", "999988887777"),
        ("AwsAccountId", None),
        ("Region", "us-east-1"),
        ("ProductArn", OURS.replace("tenable/", "other/")),
        ("ProductArn", None),
        ("ProductArn", [OURS]),
        ("Id", 5),
    ],
)
def test_what_was_not_asked_for_ends_it(name, value):
    with pytest.raises(TemporaryError) as error:
        estate(old(1, {name: value}))
    assert str(error.value) == (
        f"GetFindings returned a finding with another {name} than it was asked for: does something else answer in "
        "place of AWS?"
    )
