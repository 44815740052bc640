"""GetFindings and BatchUpdateFindings: filters, order, pages."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from sandbox.aws.errors import AwsError
from sandbox.aws.filters import predicate

CENTRAL_KEY = ("AKIASANDBOXHUB000001", "sandbox-aws-secret-000000000000000000001")
MakeFinding = Callable[..., dict[str, Any]]


def refusal(call: Any, **arguments: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    answer = raised.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


@pytest.fixture
def hub(sandbox: Any, make_finding: MakeFinding) -> Any:
    """A client of a hub with 12 findings: a/0..a/5 are critical, b/0..b/5 low and archived."""
    low = {"Severity": {"Label": "LOW"}, "Types": ["Effects"]}
    fixed = {"FindingProviderFields": low, "RecordState": "ARCHIVED"}
    findings = [
        make_finding(
            Id=f"{group}/{number}",
            UpdatedAt=f"2024-03-0{number + 1}T00:00:00Z",
            ProductFields={"n": str(number)},
            **(fixed if group == "b" else {}),
        )
        for group in "ab"
        for number in range(6)
    ]
    sandbox.control("options", {"throttle": False})
    assert sandbox.send(*findings)["FailedCount"] == 0
    return sandbox.client()


def ids(hub: Any, **arguments: Any) -> list[str]:
    return [finding["Id"] for finding in hub.get_findings(**arguments)["Findings"]]


def equals(*values: str, comparison: str = "EQUALS") -> list[dict[str, str]]:
    return [{"Value": value, "Comparison": comparison} for value in values]


_REST = {f"b/{number}" for number in range(1, 6)}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"Id": equals("a/1", "b/2", "c")}, {"a/1", "b/2"}),
        ({"Id": equals("a/", comparison="PREFIX"), "UpdatedAt": [{"End": "2024-03-02T00:00:00Z"}]}, {"a/0", "a/1"}),
        ({"Id": equals("a/", comparison="PREFIX_NOT_EQUALS") + equals("b/0", comparison="NOT_EQUALS")}, _REST),
        ({"RecordState": equals("ACTIVE"), "Id": equals("/3", comparison="CONTAINS")}, {"a/3"}),
        ({"SeverityLabel": equals("LOW"), "Id": equals("/3", comparison="CONTAINS")}, {"b/3"}),
        ({"SeverityNormalized": [{"Gte": 90}], "UpdatedAt": [{"Start": "2024-03-06T00:00:00Z"}]}, {"a/5"}),
        ({"WorkflowStatus": equals("SUPPRESSED")}, set()),
        ({"AwsAccountId": equals("222233334444")}, set()),
        (
            {"Region": equals("us-east-1"), "ProductFields": [{"Key": "n", "Value": "2", "Comparison": "EQUALS"}]},
            {"a/2", "b/2"},
        ),
        ({"Type": equals("Effects"), "Id": equals("/0", comparison="CONTAINS")}, {"b/0"}),
        ({"UpdatedAt": [{"DateRange": {"Value": 1, "Unit": "DAYS"}}]}, set()),
        ({"ResourceTags": [{"Key": "Name", "Value": "web-1", "Comparison": "NOT_EQUALS"}]}, set()),
    ],
)
def test_filters_are_honoured(hub: Any, filters: dict[str, Any], expected: set[str]) -> None:
    assert set(ids(hub, Filters=filters)) == expected


def test_findings_are_read_back_as_they_were_sent(hub: Any, make_finding: MakeFinding) -> None:
    (found,) = hub.get_findings(Filters={"Id": equals("a/0")})["Findings"]
    sent = make_finding(Id="a/0", UpdatedAt="2024-03-01T00:00:00Z", ProductFields={"n": "0"})
    assert {name: found[name] for name in sent if name != "ProductFields"} == {
        name: value for name, value in sent.items() if name != "ProductFields"
    }
    assert sent["ProductFields"].items() < found["ProductFields"].items()


def test_pages_hold_every_finding_once(hub: Any) -> None:
    pages = list(hub.get_paginator("get_findings").paginate(PaginationConfig={"PageSize": 5}))
    assert [len(page["Findings"]) for page in pages] == [5, 5, 2]
    assert len({finding["Id"] for page in pages for finding in page["Findings"]}) == 12


def test_token_belongs_to_its_filters(hub: Any) -> None:
    token = hub.get_findings(MaxResults=5)["NextToken"]
    assert refusal(hub.get_findings, Filters={"Id": equals("a/0")}, NextToken=token) == ("InvalidInputException", 400)


def test_order_is_honoured(hub: Any) -> None:
    newest = [{"Field": "UpdatedAt", "SortOrder": "desc"}, {"Field": "Id", "SortOrder": "asc"}]
    assert ids(hub, SortCriteria=newest, MaxResults=3) == ["a/5", "b/5", "a/4"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"MaxResults": 101},
        {"MaxResults": 0},
        {"Filters": {"Id": equals(*map(str, range(21)))}},
        {"Filters": {"Id": equals("x", comparison="LIKE")}},
        {"Filters": {"UpdatedAt": [{"Start": "yesterday"}]}},
        {"Filters": {"UpdatedAt": [{}]}},
        {"Filters": {"Confidence": [{}]}},
        {"NextToken": "x"},
        {"Filters": {"Id": equals("x") + equals("y", comparison="NOT_EQUALS")}},
        {"Filters": {"Id": equals("x") + equals("y", comparison="PREFIX_NOT_EQUALS")}},
        {"Filters": {"Id": equals("x") + equals("y", comparison="CONTAINS")}},
        {"Filters": {"Id": equals("x", comparison="PREFIX") + equals("y", comparison="NOT_CONTAINS")}},
        {"Filters": {"Id": equals("x", comparison="CONTAINS_WORD")}},
        {"Filters": {"Id": equals("x", comparison="NOT_CONTAINS")}},
        {"SortCriteria": [{"Field": "Id", "SortOrder": "up"}]},
    ],
)
def test_malformed_request_is_refused(sandbox: Any, arguments: dict[str, Any]) -> None:
    assert refusal(sandbox.client(parameter_validation=False).get_findings, **arguments) == (
        "InvalidInputException",
        400,
    )


@pytest.mark.parametrize("name", ["Nonsense", "MalwareName"])
def test_unknown_filter_is_refused(name: str) -> None:
    with pytest.raises(AwsError, match=name):
        predicate({name: equals("x")})


def test_more_than_ten_attributes_are_refused(sandbox: Any) -> None:
    names = [
        "Id",
        "ProductArn",
        "AwsAccountId",
        "Region",
        "GeneratorId",
        "Title",
        "Type",
        "SeverityLabel",
        "RecordState",
    ]
    filters = {name: equals("x") for name in (*names, "WorkflowStatus", "ResourceId")}
    assert refusal(sandbox.client().get_findings, Filters=filters) == ("InvalidInputException", 400)


def test_findings_of_other_accounts_and_regions_are_not_seen(hub: Any, sandbox: Any) -> None:
    assert ids(sandbox.client(region="eu-west-1")) == []
    assert ids(sandbox.client(key=sandbox.assume())) == []


def test_new_findings_can_be_seen_late(hub: Any, sandbox: Any) -> None:
    sandbox.control("options", {"visibility_seconds": 60})
    assert ids(hub) == []
    sandbox.control("options", {"visibility_seconds": 0})
    assert len(ids(hub)) == 12


def test_customers_update_names_what_it_could_not_find(hub: Any, make_finding: MakeFinding) -> None:
    product = make_finding()["ProductArn"]
    identifiers = [{"Id": "a/0", "ProductArn": product}, {"Id": "none", "ProductArn": product}]
    answer = hub.batch_update_findings(FindingIdentifiers=identifiers, Workflow={"Status": "SUPPRESSED"})
    assert answer["ProcessedFindings"] == identifiers[:1]
    (unprocessed,) = answer["UnprocessedFindings"]
    assert (unprocessed["FindingIdentifier"], unprocessed["ErrorCode"]) == (identifiers[1], "FindingNotFound")
    assert ids(hub, Filters={"WorkflowStatus": equals("SUPPRESSED")}) == ["a/0"]


def test_finding_that_is_named_twice_is_updated_once(hub: Any, make_finding: MakeFinding) -> None:
    identifier = {"Id": "a/0", "ProductArn": make_finding()["ProductArn"]}
    answer = hub.batch_update_findings(FindingIdentifiers=[identifier, identifier], Criticality=1)
    assert answer["ProcessedFindings"] == [identifier]
    assert [each["ErrorCode"] for each in answer["UnprocessedFindings"]] == ["DuplicatedFindingIdentifier"]


@pytest.mark.parametrize(("number", "accepted"), [(100, True), (101, False)])
def test_customers_update_takes_a_hundred_findings(sandbox: Any, number: int, accepted: bool) -> None:
    identifiers = [{"Id": str(each), "ProductArn": "x" * 12} for each in range(number)]
    client = sandbox.client(parameter_validation=False)
    if accepted:
        answer = client.batch_update_findings(FindingIdentifiers=identifiers, Criticality=1)
        assert len(answer["UnprocessedFindings"]) == number
    else:
        arguments = {"FindingIdentifiers": identifiers, "Criticality": 1}
        assert refusal(client.batch_update_findings, **arguments) == ("InvalidInputException", 400)


def test_reading_is_held_to_three_calls_a_second_with_a_burst_of_six(sandbox: Any) -> None:
    client = sandbox.client()
    answers = []
    for _ in range(12):
        try:
            client.get_findings(MaxResults=1)
            answers.append("ok")
        except ClientError as error:
            answers.append(error.response["Error"]["Code"])
    assert answers[:6] == ["ok"] * 6
    assert "TooManyRequestsException" in answers[6:]


@pytest.mark.parametrize(
    "changes",
    [
        {"Workflow": {"Status": "DONE"}},
        {"Note": {"Text": "x" * 513, "UpdatedBy": "me"}},
        {"Note": {"Text": "x"}},
        {"Confidence": 101},
    ],
)
def test_customers_update_is_checked(sandbox: Any, changes: dict[str, Any]) -> None:
    client = sandbox.client(parameter_validation=False)
    body = {"FindingIdentifiers": [{"Id": "x", "ProductArn": "x"}], **changes}
    assert refusal(client.batch_update_findings, **body) == ("InvalidInputException", 400)


def test_customer_cannot_set_the_record_state(sandbox: Any) -> None:
    """botocore would leave it out, so that the request is signed here."""
    body = json.dumps({"FindingIdentifiers": [{"Id": "x", "ProductArn": "x"}], "RecordState": "ARCHIVED"})
    request = AWSRequest("PATCH", f"{sandbox.url}/findings/batchupdate", data=body)
    SigV4Auth(Credentials(*CENTRAL_KEY), "securityhub", "us-east-1").add_auth(request)
    answer = sandbox.http.patch(request.url, content=body, headers=dict(request.headers))
    assert (answer.status_code, answer.headers["x-amzn-errortype"].split(":")[0]) == (400, "InvalidInputException")
    assert "additional properties" in answer.text
