"""Faults that can be ordered, as a boto3 client sees them."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from botocore.parsers import ResponseParserError

from tests.faults.canary import repeats

MakeFinding = Callable[..., dict[str, Any]]

IMPORT = {"on": "BatchImportFindings"}


def code_of(call: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(ClientError) as raised:
        call(*arguments, **named)
    return str(raised.value.response["Error"]["Code"])


def test_status_is_answered_once_and_nothing_carried_out(sandbox: Any, make_finding: MakeFinding) -> None:
    body = {"Code": "InternalException", "Message": "sorry"}
    sandbox.control("faults", {**IMPORT, "do": "status", "status": 500, "body": body})
    assert code_of(sandbox.send, make_finding()) == "InternalException"
    assert sandbox.control("summary")["total"] == 0
    assert sandbox.send(make_finding())["SuccessCount"] == 1


def test_reset_carries_nothing_out(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.control("faults", {**IMPORT, "do": "reset"})
    with pytest.raises(ConnectionClosedError):
        sandbox.send(make_finding())
    assert sandbox.control("summary")["total"] == 0


def test_lost_answer_was_carried_out(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.control("faults", {**IMPORT, "do": "lose_answer"})
    with pytest.raises(ConnectionClosedError):
        sandbox.send(make_finding())
    assert sandbox.control("summary")["total"] == 1
    assert sandbox.send(make_finding())["FailedCount"] == 0
    assert sandbox.control("summary")["imports"]["ignored"] == 1


def test_cut_answer_passes_botocore_without_counts(sandbox: Any, make_finding: MakeFinding) -> None:
    """botocore raises nothing here, so a caller must look for the counts."""
    sandbox.control("faults", {**IMPORT, "do": "truncate", "keep_bytes": 10})
    assert "FailedCount" not in sandbox.send(make_finding())
    assert sandbox.control("summary")["total"] == 1


def test_answer_shorter_than_it_says_gives_no_counts(sandbox: Any, make_finding: MakeFinding) -> None:
    """Whether botocore notices depends on the version of urllib3: 2.6 reports it, 2.8 does not."""
    sandbox.control("faults", {**IMPORT, "do": "truncate", "keep_bytes": 10, "declare_full": True})
    with suppress(ConnectionClosedError):
        assert "FailedCount" not in sandbox.send(make_finding())
    assert sandbox.control("summary")["total"] == 1


@pytest.mark.parametrize("body", ["", "{}", '{"FailedCount": 0'])
def test_ordered_body_is_answered_as_it_is(sandbox: Any, make_finding: MakeFinding, body: str) -> None:
    sandbox.control("faults", {**IMPORT, "do": "body", "body": body})
    assert "FailedCount" not in sandbox.send(make_finding())
    assert sandbox.control("summary")["total"] == 0


def test_null_as_answer_breaks_botocore(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.control("faults", {**IMPORT, "do": "body", "body": "null"})
    with pytest.raises(TypeError):
        sandbox.send(make_finding())


def test_slow_answer_takes_its_time(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.control("faults", {**IMPORT, "do": "slow", "seconds": 0.3})
    began = time.monotonic()
    sandbox.send(make_finding())
    assert time.monotonic() - began >= 0.3


def test_fault_strikes_only_the_account_and_region_it_names(sandbox: Any, make_finding: MakeFinding) -> None:
    where = {"account": "222233334444", "region": "us-east-1"}
    sandbox.control("faults", {**IMPORT, "do": "status", "status": 503, "match": where})
    assert sandbox.send(make_finding())["SuccessCount"] == 1
    other = sandbox.client(key=sandbox.assume())
    assert code_of(other.batch_import_findings, Findings=[make_finding(AwsAccountId="222233334444")]) == "503"


@pytest.mark.parametrize(
    "operation", ["AssumeRole", "GetCallerIdentity", "DescribeHub", "ListEnabledProductsForImport"]
)
def test_every_operation_can_be_struck(sandbox: Any, operation: str) -> None:
    sandbox.control("faults", {"on": operation, "do": "status", "status": 503, "body": ""})
    role = "arn:aws:iam::222233334444:role/TenableSecurityHubImport"
    calls: dict[str, Callable[[], Any]] = {
        "AssumeRole": lambda: sandbox.assume(role),
        "GetCallerIdentity": lambda: sandbox.client("sts").get_caller_identity(),
        "DescribeHub": lambda: sandbox.client().describe_hub(),
        "ListEnabledProductsForImport": lambda: sandbox.client().list_enabled_products_for_import(),
    }
    with pytest.raises((ClientError, ResponseParserError)):
        calls[operation]()
    assert calls[operation]()


def test_findings_fail_by_a_part_of_their_id(sandbox: Any, make_finding: MakeFinding) -> None:
    fault = {**IMPORT, "do": "fail_findings", "code": "InternalFailure", "ids_containing": "/tcp/443"}
    sandbox.control("faults", fault)
    batch = [make_finding(Id="a/tcp/443"), make_finding(Id="a/tcp/80")]
    assert sandbox.send(make_finding(Id="b/udp/53"))["FailedCount"] == 0
    answer = sandbox.send(*batch)
    assert answer["FailedFindings"] == [
        {"Id": "a/tcp/443", "ErrorCode": "InternalFailure", "ErrorMessage": "Ordered fault"}
    ]
    assert sandbox.send(*batch)["FailedCount"] == 0
    assert sandbox.control("summary")["total"] == 3


def test_a_share_of_findings_fails_the_same_ones_each_time(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.control("faults", {**IMPORT, "do": "fail_findings", "code": "InternalFailure", "share": 0.2, "times": None})
    batch = [make_finding(Id=f"finding/{number}") for number in range(100)]
    first = {failed["Id"] for failed in sandbox.send(*batch)["FailedFindings"]}
    assert 5 <= len(first) <= 40
    assert {failed["Id"] for failed in sandbox.send(*batch)["FailedFindings"]} == first


def test_poison_refuses_the_call_until_it_is_alone(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.control("faults", {**IMPORT, "do": "poison_call", "ids_containing": "/37", "times": None})
    batch = [make_finding(Id=f"finding/{number}") for number in range(30, 40)]
    assert code_of(sandbox.send, *batch) == "InvalidInputException"
    assert sandbox.send(*batch[:7])["SuccessCount"] == 7
    assert code_of(sandbox.send, batch[7]) == "InvalidInputException"
    assert sandbox.send(*batch[8:])["SuccessCount"] == 2
    sandbox.http.delete("/_sandbox/faults")
    assert sandbox.send(batch[7])["SuccessCount"] == 1


def test_credentials_expire_when_ordered(sandbox: Any) -> None:
    hub = sandbox.client(key=sandbox.assume())
    sandbox.control("faults", {"on": "DescribeHub", "do": "expire_credentials"})
    assert code_of(hub.describe_hub) == "ExpiredTokenException"
    assert code_of(hub.describe_hub) == "ExpiredTokenException"
    assert sandbox.client(key=sandbox.assume()).describe_hub()
    assert sandbox.client().describe_hub()


def test_pending_faults_are_listed_and_cleared(sandbox: Any) -> None:
    faults = [{**IMPORT, "do": "reset"}, {**IMPORT, "do": "fail_findings", "code": "InternalFailure", "skip": 1}]
    assert sandbox.control("faults", faults) == {"pending": 2}
    assert [fault["do"] for fault in sandbox.control("faults")] == ["reset", "fail_findings"]
    sandbox.http.delete("/_sandbox/faults")
    assert sandbox.control("faults") == []


def test_skipped_fault_lets_calls_pass_first(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.control("faults", {**IMPORT, "do": "fail_findings", "code": "InternalFailure", "skip": 1})
    outcomes = [sandbox.send(make_finding(Id=str(number)))["FailedCount"] for number in range(3)]
    assert outcomes == [0, 1, 0]


@pytest.mark.parametrize(
    "fault",
    [
        {"on": "Nothing", "do": "reset"},
        {"on": "DescribeHub", "do": "fail_findings", "code": "x"},
        {**IMPORT, "do": "fail_findings"},
        {**IMPORT, "do": "fail_findings", "code": "x", "share": 2},
        {**IMPORT, "do": "poison_call", "ids_containing": 5},
        {**IMPORT, "do": "poison_call", "ids_containing": "x", "http": 200},
        [],
    ],
)
def test_fault_that_makes_no_sense_is_refused(sandbox: Any, fault: Any) -> None:
    answer = sandbox.http.post("/_sandbox/faults", json=[fault])
    assert answer.status_code == 400
    assert sandbox.control("faults") == []


@pytest.mark.parametrize("form", ["header", "lines", "json", "percent", "base64"])
def test_secrets_of_the_caller_are_repeated_in_the_message(sandbox: Any, make_finding: MakeFinding, form: str) -> None:
    sandbox.control("faults", {**IMPORT, "do": "repeat_secrets", "status": 403, "form": form})
    with pytest.raises(ClientError) as raised:
        sandbox.send(make_finding())
    assert raised.value.response["Error"]["Code"] == "InvalidSignatureException"
    assert repeats(raised.value.response["Error"]["Message"], *sandbox.control("secrets"))
