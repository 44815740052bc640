"""What each answer of Security Hub means."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from airflow_provider_tenable.security_hub.responses import BY_CODE, FINDING_CODES, code_of, explain, verdict_of


def error(code="", status=None, message="m"):
    response = {"Error": {"Code": code, "Message": message}}
    if status is not None:
        response["ResponseMetadata"] = {"HTTPStatusCode": status}
    return ClientError(response, "BatchImportFindings")


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("TooManyRequestsException", "retry"),
        ("ThrottlingException", "retry"),
        ("LimitExceededException", "retry"),
        ("InternalException", "retry"),
        ("ServiceUnavailable", "retry"),
        ("ExpiredTokenException", "retry"),
        ("InvalidInputException", "halve"),
        ("RequestEntityTooLarge", "halve"),
        ("AccessDeniedException", "stop"),
        ("AccessDenied", "stop"),
        ("InvalidAccessException", "stop"),
        ("UnrecognizedClientException", "stop"),
        ("SignatureDoesNotMatch", "stop"),
    ],
)
@pytest.mark.parametrize("status", [400, 403, 429, 500, None])
def test_a_known_code_decides_whatever_the_status(code, verdict, status):
    assert verdict_of(error(code, status)) == verdict


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (400, "halve"),
        (413, "halve"),
        (408, "retry"),
        (429, "retry"),
        (500, "retry"),
        (502, "retry"),
        (599, "retry"),
        (401, "stop"),
        (403, "stop"),
        (404, "stop"),
        (409, "stop"),
        (499, "stop"),
        (301, "stop"),
        (None, "stop"),
    ],
)
def test_an_unknown_code_is_judged_by_its_status(status, verdict):
    assert verdict_of(error("Unheard", status)) == verdict


@pytest.mark.parametrize("code", ["com.amazonaws.securityhub#InvalidInputException", "InvalidInputException:http://internal/", "a#InvalidInputException:b"])
def test_a_code_is_freed_from_what_surrounds_it(code):
    assert code_of(error(code)) == "InvalidInputException"
    assert verdict_of(error(code, 500)) == "halve"


def test_an_answer_without_any_error_in_it_is_no_crash():
    empty = ClientError({}, "BatchImportFindings")
    assert code_of(empty) == ""
    assert verdict_of(empty) == "stop"
    assert isinstance(explain(empty), str)


def test_a_refusal_of_access_names_the_four_causes():
    text = explain(error("AccessDeniedException", 403, "User is not authorized."))
    assert text.startswith("AccessDeniedException: User is not authorized. ")
    for cause in ("account", "Region", "subscribed", "securityhub:BatchImportFindings"):
        assert cause in text
    for number in "1234":
        assert f"({number})" in text


def test_every_code_that_stops_says_what_to_do():
    for code in [code for table in (BY_CODE, FINDING_CODES) for code, verdict in table.items() if verdict == "stop"]:
        assert len(explain(error(code, message=""))) > len(code) + 20, code


def test_a_message_gets_one_full_stop():
    assert explain(error("Unheard", message="Too bad.")) == "Unheard: Too bad."
    assert explain(error("Unheard", message="")) == "Unheard."
