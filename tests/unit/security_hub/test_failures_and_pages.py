"""What a task says of accounts that failed, what refuses a run's findings, and what counts as a page of findings."""

from __future__ import annotations

import pytest

from airflow_provider_tenable.exceptions import (
    ConfigurationError,
    DestinationRefusedError,
    StagingError,
    TemporaryError,
)
from airflow_provider_tenable.security_hub.failures import kind_of, listed, words_of
from airflow_provider_tenable.security_hub.page import keep_body, page_of
from airflow_provider_tenable.security_hub.refusals import forget_refusal, note_refusal, refusal_of_place
from airflow_provider_tenable.staging.layout import RunFolder
from tests.plain_ids import plain

A, REGION = "111122223333", "eu-west-1"


@pytest.mark.parametrize(
    ("errors", "kind"),
    [
        ([ConfigurationError("a")], ConfigurationError),
        ([ConfigurationError("a"), DestinationRefusedError("b")], ConfigurationError),
        # A retry can help one of them.
        ([ConfigurationError("a"), TemporaryError("b")], TemporaryError),
        ([StagingError("a")], TemporaryError),
        ([OSError("a")], TemporaryError),
    ],
    ids=str,
)
def test_a_task_is_retried_unless_no_retry_can_help_any_account(errors, kind):
    assert kind_of({str(number): error for number, error in enumerate(errors)}) is kind


def test_errors_of_others_are_foreign_text_and_our_own_stay_as_they_are():
    assert words_of(OSError("a\x1b[31m\nb")) == r"a\x1b[31m b"
    long = "word " * 1000
    assert words_of(TemporaryError(long)) == str(TemporaryError(long))
    assert len(words_of(OSError(long))) < len(long)


@pytest.mark.parametrize(
    ("count", "more"),
    [
        (1, ""),
        (5, ""),
        (6, " The log has the errors of the other 1 too."),
        (8, " The log has the errors of the other 3 too."),
    ],
)
def test_all_accounts_that_failed_are_named_with_the_errors_of_the_first_five(count, more):
    failed = {f"a{number}": TemporaryError(f"error {number}") for number in range(count)}
    names = ", ".join(failed)
    errors = " ".join(f"a{number}: error {number}" for number in range(min(count, 5)))
    assert listed(failed) == f"Failed: {names}. {errors}{more}"


def test_a_refusal_is_of_one_account_and_region_until_it_is_forgotten(tmp_path):
    run = RunFolder(f"file://{tmp_path}", "dag", "run")
    note_refusal(run, A, REGION, "no permission")
    note_refusal(run, A, "us-east-1", "off")
    assert refusal_of_place(run, A, REGION) == "no permission"
    assert refusal_of_place(run, "444455556666", REGION) is None
    forget_refusal(run, A, REGION)
    forget_refusal(run, A, REGION)
    assert [refusal_of_place(run, A, region) for region in (REGION, "us-east-1")] == [None, "off"]


def page(body):
    answer: dict[str, bytes] = {}
    keep_body({"body": body, "status_code": 200}, answer)
    return page_of(answer, REGION)


def test_a_page_has_all_fields_of_its_findings_also_those_that_botocore_does_not_know():
    body = b'{"Findings":[{"Id":"1","Unheard":{"a":[1]}}],"NextToken":"t","More":1}'
    assert page(body) == ([{"Id": "1", "Unheard": {"a": [1]}}], "t")


@pytest.mark.parametrize(
    "body", [b'{"Findings":[]}', b'{"Findings":[],"NextToken":null}', b'{"Findings":[],"NextToken":""}']
)
def test_the_last_page_has_no_token(body):
    assert page(body) == ([], None)


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"{}", b"<html>", b'{"Findings":[{"Id":"1"}', b'{"Findings":{}}', b'{"Findings":[1]}', None, b"\xff",
     b'{"Findings":[' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"]}", b'{"Findings":[],"NextToken":5}'],
    ids=plain,
)  # fmt: skip
def test_what_is_not_a_page_of_findings_is_temporary_and_names_the_region(body):
    with pytest.raises(TemporaryError) as error:
        page(body)
    assert str(error.value) == (
        f"Cannot read findings in {REGION}: the response is not from AWS, or was truncated. It may come from a proxy, "
        "a firewall or a login page."
    )


def test_a_response_without_its_body_is_temporary():
    with pytest.raises(TemporaryError, match=r"^Cannot read findings in None:"):
        page_of({}, None)
