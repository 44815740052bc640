"""What each answer of AWS means: by operation, status, code and message."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from airflow_provider_tenable.exceptions import (
    ConfigurationError,
    DestinationRefusedError,
    HubOffError,
)
from airflow_provider_tenable.security_hub import responses
from airflow_provider_tenable.security_hub.responses import (
    ANSWERS,
    FINDING,
    HALVE,
    IMPORT,
    REJECT,
    RETRY,
    STOP,
    code_of,
    codes_with,
    denied_action,
    explain,
    explain_finding,
    refusal_of,
    refusal_of_finding,
    verdict_of,
    verdict_of_finding,
)


def error(code="", status=None, message="m", operation=IMPORT):
    response = {"Error": {"Code": code, "Message": message}}
    if status is not None:
        response["ResponseMetadata"] = {"HTTPStatusCode": status}
    return ClientError(response, operation)


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("TooManyRequestsException", "retry"),
        ("ThrottlingException", "retry"),
        ("Throttling", "retry"),
        ("RequestLimitExceeded", "retry"),
        ("LimitExceededException", "retry"),
        ("InternalException", "retry"),
        ("InternalFailure", "retry"),
        ("InternalServerError", "retry"),
        ("ServiceUnavailable", "retry"),
        ("ServiceUnavailableException", "retry"),
        ("ExpiredTokenException", "retry"),
        ("ExpiredToken", "retry"),
        # Of the request, not of what is in it.
        ("RequestTimeout", "retry"),
        ("RequestTimeoutException", "retry"),
        ("RequestExpired", "retry"),
        ("RequestAborted", "retry"),
        ("RequestAbortedException", "retry"),
        ("MalformedHttpRequestException", "retry"),
        # Of the input.
        ("InvalidInputException", "halve"),
        ("InvalidInput", "halve"),
        ("ValidationException", "halve"),
        ("ValidationError", "halve"),
        ("SerializationException", "halve"),
        ("RequestEntityTooLarge", "halve"),
        ("RequestEntityTooLargeException", "halve"),
        # Of the caller.
        ("AccessDeniedException", "stop"),
        ("AccessDenied", "stop"),
        ("NotAuthorized", "stop"),
        ("OptInRequired", "stop"),
        ("RegionDisabledException", "stop"),
        ("SubscriptionRequiredException", "stop"),
        ("InvalidAccessException", "stop"),
        ("UnrecognizedClientException", "stop"),
        ("InvalidClientTokenId", "stop"),
        ("SignatureDoesNotMatch", "stop"),
        ("InvalidSignatureException", "stop"),
        ("IncompleteSignature", "stop"),
        ("IncompleteSignatureException", "stop"),
        ("MissingAuthenticationTokenException", "stop"),
        ("RequestTimeTooSkewed", "stop"),
    ],
)
@pytest.mark.parametrize("status", [400, 403, 429, 500, None])
def test_a_known_code_decides_whatever_the_status(code, verdict, status):
    assert verdict_of(error(code, status)) == verdict


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        # Nobody knows what it is about: not enough to put a finding aside.
        (400, "retry"),
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


@pytest.mark.parametrize(
    "message",
    [
        "Finding does not adhere to Amazon Finding Format. data.Title should NOT be longer than 256 characters",
        "Invalid parameter 'Findings'. data.Findings should NOT have more than 100 items",
        'productArn: "arn:aws:securityhub:::product/a/b"',
        "1 validation error detected",
    ],
)
def test_an_unknown_code_of_a_400_is_about_the_input_where_its_message_says_so(message):
    assert verdict_of(error("Unheard", 400, message)) == HALVE
    assert verdict_of(error("Unheard", 400, message, "DescribeHub")) == STOP
    assert verdict_of(error("Unheard", 403, message)) == STOP


@pytest.mark.parametrize(
    "operation", [IMPORT, "DescribeHub", "AssumeRole", "GetCallerIdentity", "ListEnabledProductsForImport"]
)
@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 407, 503])
def test_an_answer_without_a_code_of_aws_is_temporary_in_every_operation(operation, status):
    # botocore makes a code of the status.
    foreign = error(str(status), status, "<html>Sign in</html>", operation)
    assert verdict_of(foreign) == RETRY
    text = explain(foreign)
    assert text.startswith(f"HTTP {status}: <html>Sign in</html>.")
    assert ("not from AWS" in text) == (status < 500)


def test_a_413_without_a_code_is_about_the_size_of_an_import_only():
    assert verdict_of(error("413", 413)) == HALVE
    assert verdict_of(error("413", 413, operation="DescribeHub")) == RETRY


@pytest.mark.parametrize(
    "code",
    [
        "com.amazonaws.securityhub#InvalidInputException",
        "InvalidInputException:http://internal/",
        "a#InvalidInputException:b",
    ],
)
def test_a_code_is_freed_from_what_surrounds_it(code):
    assert code_of(error(code)) == "InvalidInputException"
    assert verdict_of(error(code, 500)) == "halve"


def test_an_answer_without_any_error_in_it_is_no_crash_and_is_asked_for_again():
    empty = ClientError({}, "BatchImportFindings")
    assert code_of(empty) == ""
    assert verdict_of(empty) == RETRY
    assert "not from AWS" in explain(empty)


@pytest.mark.parametrize("code", ["AccessDeniedException", "AccessDenied"])
def test_a_refusal_of_an_import_names_the_four_causes(code):
    text = explain(error(code, 403, "User is not authorized."))
    assert text.startswith(f"{code}: User is not authorized. ")
    for cause in ("account", "Region", "subscribed", "securityhub:BatchImportFindings"):
        assert cause in text
    for number in "1234":
        assert f"({number})" in text


@pytest.mark.parametrize(
    ("operation", "action"),
    [
        ("DescribeHub", "securityhub:DescribeHub"),
        ("ListEnabledProductsForImport", "securityhub:ListEnabledProductsForImport"),
        ("EnableImportFindingsForProduct", "securityhub:EnableImportFindingsForProduct"),
        ("GetCallerIdentity", "sts:GetCallerIdentity"),
    ],
)
def test_a_refusal_elsewhere_names_the_action_to_allow(operation, action):
    text = explain(error("AccessDeniedException", 403, operation=operation))
    assert f"Allow {action} " in text
    assert "(1)" not in text


@pytest.mark.parametrize("operation", ["AssumeRole", "AssumeRoleWithWebIdentity", "AssumeRoleWithSAML"])
def test_a_role_that_cannot_be_assumed_is_about_its_trust(operation):
    text = explain(error("AccessDenied", 403, operation=operation))
    assert "trust policy" in text
    assert ("external id" in text) == (operation == "AssumeRole")
    assert ("identity provider" in text) == (operation != "AssumeRole")
    assert f"sts:{operation}" in text
    assert "securityhub:" not in text
    assert "(1)" not in text


@pytest.mark.parametrize(
    ("operation", "action"),
    [
        ("AssumeRole", "sts:AssumeRole"),
        ("AssumeRoleWithWebIdentity", "sts:AssumeRoleWithWebIdentity"),
        ("AssumeRoleWithSAML", "sts:AssumeRoleWithSAML"),
        ("GetCallerIdentity", "sts:GetCallerIdentity"),
        ("BatchUpdateFindings", "securityhub:BatchUpdateFindings"),
        (IMPORT, "securityhub:BatchImportFindings"),
    ],
)
def test_a_denied_call_names_the_action_of_its_service(operation, action):
    assert denied_action(error("AccessDenied", 403, operation=operation)) == action
    assert denied_action(error("ThrottlingException", 400, operation=operation)) is None


@pytest.mark.parametrize("operation", [IMPORT, "DescribeHub", "AssumeRole"])
@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            "User: x is not authorized to perform: a on resource: b with an explicit deny in a service control policy",
            "SCP",
        ),
        ("User: x is not authorized to perform: a because no service control policy allows the a action", "SCP"),
        ("User: x is not authorized to perform: a with an explicit deny in a resource control policy", "RCP"),
        ("User: x is not authorized to perform: a because no VPC endpoint policy allows the a action", "VPC endpoint"),
        (
            "User: x is not authorized to perform: a because no permissions boundary allows the a action",
            "permissions boundary",
        ),
        ("User: x is not authorized to perform: a because no session policy allows the a action", "session policy"),
    ],
)
def test_a_refusal_by_another_policy_is_about_that_policy(operation, message, words):
    denied = error("AccessDeniedException", 403, message, operation)
    assert verdict_of(denied) == STOP
    hint = explain(denied).partition(message + ".")[2]
    assert words in hint
    assert "(1)" not in hint


@pytest.mark.parametrize("code", ["InvalidSignatureException", "SignatureDoesNotMatch"])
def test_a_signature_that_expired_is_about_clocks_and_any_other_is_about_keys(code):
    assert "clock" in explain(
        error(code, 403, "Signature expired: 20240101T000000Z is now earlier than 20240101T000100Z")
    )
    assert "clock" in explain(error(code, 403, "Signature not yet current: 20240101T000000Z"))
    other = explain(error(code, 403, "The request signature we calculated does not match the signature you provided."))
    assert "secret key" in other
    assert "clock" not in other


SUBSCRIBE = "EnableImportFindingsForProduct"

#: Errors that stop an import, each with whether it concerns only its account and Region.
STOPPING = [
    *(
        (operation, "AccessDeniedException", message, True)
        for operation in (IMPORT, "AssumeRole", "AssumeRoleWithWebIdentity", "AssumeRoleWithSAML", "DescribeHub")
        for message in (
            "is not authorized",
            "with an explicit deny in a service control policy",
            "with an explicit deny in a resource control policy",
            "because no VPC endpoint policy allows it",
            "because no permissions boundary allows it",
            "because no session policy allows it",
        )
    ),
    ("GetCallerIdentity", "AccessDenied", "", True),
    ("GetFindings", "AccessDeniedException", "", True),
    (IMPORT, "NotAuthorized", "", True),
    (IMPORT, "UnauthorizedOperation", "", True),
    (IMPORT, "InvalidAccessException", "", True),
    ("DescribeHub", "InvalidAccessException", "", True),
    ("DescribeHub", "ResourceNotFoundException", "", True),
    (SUBSCRIBE, "InvalidInputException", "Invalid parameter 'ProductArn'", True),
    (SUBSCRIBE, "InvalidInput", "", True),
    (SUBSCRIBE, "ResourceNotFoundException", "", True),
    *(
        (operation, code, "", True)
        for operation in (IMPORT, "AssumeRole", "DescribeHub", "GetCallerIdentity")
        for code in (
            "OptInRequired",
            "RegionDisabledException",
            "SubscriptionRequiredException",
            "UnrecognizedClientException",
            "InvalidClientTokenId",
        )
    ),
    # The credentials, the clock or the network path of every destination.
    (IMPORT, "SignatureDoesNotMatch", "Signature expired: 1 is now earlier than 2", False),
    (IMPORT, "InvalidSignatureException", "Signature not yet current", False),
    (IMPORT, "RequestTimeTooSkewed", "", False),
    (IMPORT, "SignatureDoesNotMatch", "does not match the signature you provided", False),
    (IMPORT, "InvalidSignatureException", "does not match the signature you provided", False),
    (IMPORT, "IncompleteSignature", "", False),
    (IMPORT, "IncompleteSignatureException", "", False),
    (IMPORT, "MissingAuthenticationToken", "", False),
    (IMPORT, "MissingAuthenticationTokenException", "", False),
    *(
        ("GetFindings", code, "", False)
        for code in (
            "InvalidInputException",
            "InvalidInput",
            "ValidationException",
            "ValidationError",
            "SerializationException",
        )
    ),
    # Codes without a row.
    (IMPORT, "ResourceNotFoundException", "", False),
    ("DescribeHub", "InvalidInputException", "", False),
    ("AssumeRole", "ValidationError", "", False),
    (IMPORT, "Unheard", "", False),
]
STOPPING_FINDING = [("InvalidAccess", True), ("Unheard", False), ("AccessDeniedException", False)]


@pytest.mark.parametrize(("operation", "code", "message", "of_place"), STOPPING)
def test_an_error_that_stops_concerns_one_account_and_region_or_all(operation, code, message, of_place):
    stopping = error(code, 403, message, operation)
    assert verdict_of(stopping) == STOP
    refusal = refusal_of(stopping, "text")
    assert isinstance(refusal, ConfigurationError)
    assert (isinstance(refusal, DestinationRefusedError), str(refusal)) == (of_place, "text")


@pytest.mark.parametrize(("code", "of_place"), STOPPING_FINDING)
def test_an_entry_of_failed_findings_concerns_one_account_and_region_or_all(code, of_place):
    refusal = refusal_of_finding(code, "text")
    assert isinstance(refusal, ConfigurationError)
    assert (isinstance(refusal, DestinationRefusedError), str(refusal)) == (of_place, "text")


def test_every_row_that_stops_and_all_of_its_codes_have_an_example():
    """A row or a code that is added without one would be of all destinations by default, and hold the watermark."""
    found = [
        *(
            (responses.answer_of(operation, code, status=403, message=message), code)
            for operation, code, message, _ in STOPPING
        ),
        *((responses.answer_of(FINDING, code), code) for code, _ in STOPPING_FINDING),
    ]
    examples = {(id(row), code) for row, code in found}
    stopping = [row for row in ANSWERS if row.verdict == STOP]
    assert {id(row) for row in stopping} == {id(row) for row, _ in found} - {id(None)}
    # The rows of denials share their codes: one stands for the others.
    for row in stopping:
        if row.codes is not responses._DENIED and row.message is None:
            assert [code for code in row.codes if (id(row), code) not in examples] == [], row
    assert not any(row.of_place for row in ANSWERS if row.verdict != STOP)


@pytest.mark.parametrize("code", ["InvalidAccessException", "ResourceNotFoundException"])
def test_a_hub_that_is_off_has_an_error_of_its_own(code):
    """The hook then asks whether only the new Security Hub is on."""
    assert type(refusal_of(error(code, 404, "Hub not found", "DescribeHub"), "text")) is HubOffError
    assert "Security Hub CSPM is not enabled" in explain(error(code, 404, "Hub not found", "DescribeHub"))


def test_a_product_that_the_region_does_not_offer_is_about_the_product():
    text = explain(error("InvalidInputException", 400, "productArn", SUBSCRIBE))
    assert "does not offer this product in that Region. Set [tenable] product = default" in text


def test_every_code_that_stops_says_what_to_do():
    for code in codes_with(STOP, IMPORT):
        assert len(explain(error(code, message=""))) > len(code) + 20, code
    for code in codes_with(STOP, FINDING):
        assert len(explain_finding(code, "")) > len(code) + 20, code


def test_a_message_gets_one_full_stop():
    assert explain(error("Unheard", message="Too bad.")) == "Unheard: Too bad."
    assert explain(error("Unheard", message="")) == "Unheard."
    assert explain_finding("Unheard", "Too bad.") == "Unheard: Too bad."


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("InternalFailure", RETRY),
        ("InternalException", RETRY),
        ("ConcurrentUpdateError", RETRY),
        ("Throttling", RETRY),
        ("InvalidInput", REJECT),
        ("FindingSizeExceeded", REJECT),
        ("DuplicatedFindingIdentifier", REJECT),
        ("InvalidAccess", STOP),
        # Codes of calls mean nothing here, and an empty code is not an answer of a proxy.
        ("AccessDeniedException", None),
        ("ServiceUnavailable", None),
        ("Unheard", None),
        ("500", None),
        ("", None),
    ],
)
def test_an_entry_of_failed_findings_has_rows_of_its_own(code, verdict):
    assert verdict_of_finding(code) == verdict


def test_every_verdict_is_used_where_it_makes_sense():
    assert {row.verdict for row in ANSWERS if row.operation != FINDING} == {RETRY, HALVE, STOP}
    assert {row.verdict for row in ANSWERS if row.operation == FINDING} == {RETRY, REJECT, STOP}
    assert all(row.operation in (None, IMPORT) for row in ANSWERS if row.verdict == HALVE)


def test_the_numbers_are_those_of_the_docs():
    assert (responses.RETRY_SECONDS, responses.SUBSCRIBED_SECONDS, responses.PREFLIGHT_ATTEMPTS) == (600.0, 60.0, 6)
    assert (
        responses.FINDING_RETRIES,
        responses.UNKNOWN_FINDING_RETRIES,
        responses.FIRST_PAUSE,
        responses.LONGEST_PAUSE,
    ) == (5, 1, 0.5, 30.0)


@pytest.mark.parametrize(
    ("verdict", "operation", "named", "not_named"),
    [
        (RETRY, IMPORT, {"Throttling", "ServiceUnavailable"}, {"ConcurrentUpdateError"}),
        (HALVE, IMPORT, {"InvalidInputException", "RequestEntityTooLarge"}, {"FindingSizeExceeded"}),
        (HALVE, "DescribeHub", {"RequestEntityTooLarge"}, {"ValidationException"}),
        (STOP, "DescribeHub", {"AccessDenied", "OptInRequired"}, {"InvalidAccess"}),
        (REJECT, FINDING, {"FindingSizeExceeded"}, {"RequestEntityTooLarge"}),
        (STOP, FINDING, {"InvalidAccess"}, {"AccessDenied"}),
    ],
)
def test_codes_of_a_verdict_are_those_of_the_operation_and_of_every_operation(verdict, operation, named, not_named):
    codes = codes_with(verdict, operation)
    assert codes == sorted(set(codes))
    assert named <= set(codes)
    assert not not_named & set(codes)


def test_long_codes_and_messages_are_cut_and_only_the_stop_at_the_end_is_replaced():
    assert explain_finding("Unheard", "NO PREFIX") == "Unheard: NO PREFIX."
    assert explain(error("Unheard", message="NO PREFIX")) == "Unheard: NO PREFIX."
    long_code, long_message = "C" * 99 + "\u2026", "m" * 999 + "\u2026"
    assert code_of(error("C" * 9_000)) == long_code
    assert explain_finding("C" * 9_000, "") == f"{long_code}."
    assert explain_finding("Unheard", "m" * 9_000) == f"Unheard: {long_message}."
    assert explain(error("C" * 9_000, message="")) == f"{long_code}."
    assert explain(error("Unheard", message="m" * 9_000)) == f"Unheard: {long_message}."


def test_an_answer_that_names_no_code_is_called_by_its_status():
    assert explain(error("", 502, "Bad Gateway")).startswith("HTTP 502: Bad Gateway.")
    assert code_of(error("com.amazonaws#securityhub#InvalidInputException")) == "InvalidInputException"
