"""Decisions of the customer on findings of ours: each is set, refused for good, or tried again, and none is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_provider_tenable.exceptions import ConfigurationError, DestinationRefusedError, HubOffError, TemporaryError
from airflow_provider_tenable.security_hub import customer_updates as module
from airflow_provider_tenable.security_hub.customer_updates import NOT_ANSWERED, CustomerUpdates, Update

ARN = "arn:aws:securityhub:eu-west-1::product/tenable/vulnerability-management"
SUPPRESSED = {"Workflow": {"Status": "SUPPRESSED"}}


def update(number: int, fields: dict[str, Any] | None = None, arn: str = ARN) -> Update:
    return Update(f"id-{number}", arn, SUPPRESSED if fields is None else fields)


def entry(finding_id: Any, code: Any = "Unheard", message: Any = "no", arn: str = ARN) -> dict[str, Any]:
    return {"FindingIdentifier": {"Id": finding_id, "ProductArn": arn}, "ErrorCode": code, "ErrorMessage": message}


def refusal(code: str, status: int = 400) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": "words"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "BatchUpdateFindings")


class Hub:
    """Each call is answered by the next of ``answers``: an error, or id -> code; what is not named is done."""

    def __init__(self, *answers: Any, retry_seconds: float = 60.0) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[list[str], Mapping[str, Any]]] = []
        self.now = 0.0
        self.updates = CustomerUpdates(self, retry_seconds=retry_seconds, clock=lambda: self.now, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def batch_update_findings(self, identifiers: Sequence[dict[str, str]], fields: Mapping[str, Any]) -> dict[str, Any]:
        assert all(set(each) == {"Id", "ProductArn"} for each in identifiers)
        self.calls.append(([each["Id"] for each in identifiers], fields))
        answer = self.answers.pop(0) if self.answers else {}
        if isinstance(answer, Exception):
            raise answer
        return {
            "ProcessedFindings": [each for each in identifiers if each["Id"] not in answer],
            "UnprocessedFindings": [entry(finding_id, code) for finding_id, code in answer.items() if code is not None],
        }


def test_findings_with_the_same_decisions_share_calls_of_at_most_a_hundred():
    hub = Hub()
    other = {"Workflow": {"Status": "RESOLVED"}, "Note": {"Text": "t", "UpdatedBy": "u"}}
    same_in_another_order = {"Note": {"UpdatedBy": "u", "Text": "t"}, "Workflow": {"Status": "RESOLVED"}}
    updates = [update(number) for number in range(201)]
    updates += [update(300, other), update(301, same_in_another_order)]
    assert hub.updates.run(updates) == {}
    assert [(len(ids), fields) for ids, fields in hub.calls] == [
        (100, SUPPRESSED),
        (100, SUPPRESSED),
        (1, SUPPRESSED),
        (2, other),
    ]
    assert [each for ids, _ in hub.calls for each in ids] == [each.id for each in updates]


def test_calls_keep_to_ten_a_second_from_the_first_on():
    hub = Hub()
    hub.updates.run(update(number, {"Confidence": number}) for number in range(20))
    assert hub.now == pytest.approx(2.0)


def test_nothing_to_update_makes_no_call():
    hub = Hub()
    assert (hub.updates.run([]), hub.calls) == ({}, [])


@pytest.mark.parametrize(
    ("code", "calls"),
    [
        # No repetition changes these.
        ("FindingNotFound", 1),
        ("InvalidInput", 1),
        # For a reason that passes: five more times.
        ("ConcurrentUpdateError", 6),
        ("InternalFailure", 6),
        ("Throttling", 6),
        # An unknown one: once more.
        ("Unheard", 2),
        # In neither of the two lists of the answer.
        (None, 6),
    ],
)
def test_a_finding_that_is_not_updated_is_tried_again_as_its_code_says(code, calls):
    hub = Hub(*[{"id-2": code}] * 9)
    expected = (NOT_ANSWERED, "The answer does not say what became of it.") if code is None else (code, "no")
    assert hub.updates.run([update(1), update(2), update(3)]) == {("id-2", ARN): expected}
    assert [ids for ids, _ in hub.calls] == [["id-1", "id-2", "id-3"], *[["id-2"]] * (calls - 1)]


def test_tries_of_one_finding_do_not_count_for_another():
    hub = Hub({"id-1": "Unheard"}, {"id-1": "Unheard"}, {"id-2": "Unheard"}, {})
    first = hub.updates.run([update(1)])
    assert (set(first), hub.updates.run([update(2)])) == ({("id-1", ARN)}, {})


def test_what_succeeds_in_the_end_is_not_refused():
    hub = Hub(*[{"id-1": "ConcurrentUpdateError"}] * 5)
    assert (hub.updates.run([update(1)]), len(hub.calls)) == ({}, 6)


def test_findings_of_one_id_and_two_products_are_two():
    hub = Hub()
    hub.batch_update_findings = lambda identifiers, fields: {  # type: ignore[method-assign]
        "ProcessedFindings": [each for each in identifiers if each["ProductArn"] == ARN],
        "UnprocessedFindings": [entry("id-1", "FindingNotFound", arn="arn:2")],
    }
    assert hub.updates.run([update(1), update(1, arn="arn:2")]) == {("id-1", "arn:2"): ("FindingNotFound", "no")}


@pytest.mark.parametrize("code", ["InvalidInputException", "InvalidInput", "ValidationException", "ValidationError"])
def test_a_call_that_is_refused_for_its_content_refuses_its_findings_and_no_others(code):
    hub = Hub({}, refusal(code), {})
    updates = [update(1, {"Confidence": 1}), update(2, {"Confidence": 2}), update(3, {"Confidence": 2})]
    refused = hub.updates.run([*updates, update(4, {"Confidence": 4})])
    assert set(refused) == {("id-2", ARN), ("id-3", ARN)}
    assert set(refused.values()) == {(code, f"{code}: words.")}
    assert len(hub.calls) == 3


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AccessDeniedException", DestinationRefusedError),
        ("InvalidAccessException", HubOffError),
        ("InvalidSignatureException", ConfigurationError),
    ],
)
def test_a_call_that_is_not_allowed_ends_it_and_says_why(code, kind):
    hub = Hub(refusal(code, 403))
    with pytest.raises(ConfigurationError) as error:
        hub.updates.run([update(1), update(2, {"Confidence": 2})])
    assert type(error.value) is kind
    assert str(error.value).startswith(f"Findings cannot be updated. {code}: words.")
    assert len(hub.calls) == 1
    if kind is DestinationRefusedError:
        assert "securityhub:BatchUpdateFindings" in str(error.value)


def test_a_finding_whose_account_may_not_be_written_to_ends_it():
    hub = Hub({"id-1": "InvalidAccess"})
    with pytest.raises(DestinationRefusedError, match=r"^Findings cannot be updated\. InvalidAccess: no\. .+"):
        hub.updates.run([update(1)])


def test_a_throttled_call_is_repeated_and_given_up_after_its_time():
    hub = Hub(refusal("ThrottlingException"), {})
    assert (hub.updates.run([update(1)]), len(hub.calls)) == ({}, 2)
    hub = Hub(*[refusal("ThrottlingException")] * 50, retry_seconds=30.0)
    with pytest.raises(TemporaryError) as error:
        hub.updates.run([update(1)])
    assert str(error.value).startswith("Security Hub CSPM did not update findings in 30 seconds and ")


@pytest.mark.parametrize("code", [None, 5, "x" * 10_000])
def test_whatever_stands_in_an_answer_is_no_longer_than_a_message(code):
    hub = Hub()
    hub.batch_update_findings = lambda identifiers, fields: {  # type: ignore[method-assign]
        "ProcessedFindings": [],
        "UnprocessedFindings": [entry("id-1", code, code)],
    }
    ((found, message),) = hub.updates.run([update(1)]).values()
    assert (len(found) <= module.LONGEST_CODE, len(message) <= module.LONGEST_MESSAGE) == (True, True)
    if code is None:
        assert (found, message) == ("", "")


@pytest.mark.parametrize("which", ["ProcessedFindings", "UnprocessedFindings"])
@pytest.mark.parametrize(
    "wrong",
    [
        None,
        5,
        {},
        {"Id": "other", "ProductArn": ARN},
        {"Id": ["x"], "ProductArn": ARN},
        {"Id": "id-1", "ProductArn": 5},
    ],
    ids=str,
)
def test_an_answer_about_a_finding_that_was_not_asked_for_is_not_from_aws(which, wrong):
    hub = Hub()
    answer = {"ProcessedFindings": [], "UnprocessedFindings": []}
    answer[which] = [wrong if which == "ProcessedFindings" else {"FindingIdentifier": wrong}]
    hub.batch_update_findings = lambda identifiers, fields: answer  # type: ignore[method-assign]
    with pytest.raises(TemporaryError, match="with a finding that it was not asked to update"):
        hub.updates.run([update(1)])


def test_an_entry_that_is_no_object_is_not_from_aws():
    hub = Hub()
    hub.batch_update_findings = lambda identifiers, fields: {  # type: ignore[method-assign]
        "ProcessedFindings": [],
        "UnprocessedFindings": ["id-1"],
    }
    with pytest.raises(TemporaryError, match="not asked to update"):
        hub.updates.run([update(1)])
