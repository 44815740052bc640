"""What each response of AWS means: retry, halve the batch, stop, or reject the finding. All of it is in one table, with
the numbers of retries above.

:data:`ANSWERS` is read from the top, and the first matching row decides. A row may require codes, statuses, an
operation, and words of the message. It contains both the action and the advice for the user.

Sources: the texts of the service model, the user guide (BatchImportFindings), AWS's common errors, IAM's texts for
denied requests, and public issue threads that quote real responses.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from botocore.exceptions import ClientError

from airflow_provider_tenable.exceptions import ConfigurationError, DestinationRefusedError, HubOffError
from airflow_provider_tenable.guards.foreign_text import LONGEST_CODE, LONGEST_MESSAGE, safe
from airflow_provider_tenable.security_hub import advice

RETRY, HALVE, STOP, REJECT = "retry", "halve", "stop", "reject"

# The numbers.

#: Seconds for which a batch is retried during throttling, outages and time-outs before the task fails (its retry
#: resumes).
RETRY_SECONDS = 600.0
#: Seconds for which a denied call is retried after this import has subscribed the account to the product: a
#: subscription takes effect with a delay.
SUBSCRIBED_SECONDS = 60.0
#: Attempts of each call before the import (STS, DescribeHub, subscriptions).
PREFLIGHT_ATTEMPTS = 6
#: How often a finding is sent again that failed for a temporary reason, or for an unknown one.
FINDING_RETRIES = 5
UNKNOWN_FINDING_RETRIES = 1
#: Seconds of the first pause, and of the longest: each pause is twice as long as the previous one.
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0

# The operations that have rows of their own.

IMPORT, READ, ASSUME_ROLE = "BatchImportFindings", "GetFindings", "AssumeRole"
DESCRIBE_HUB, SUBSCRIBE = "DescribeHub", "EnableImportFindingsForProduct"
#: Not an operation: an entry of FailedFindings.
FINDING = "FailedFindings"


@dataclass(frozen=True)
class Answer:
    """A row: what it matches, what to do, and what a person should do.

    :ivar codes: error codes; empty for any. ``foreign``: a response without AWS's error code.
    :ivar statuses: HTTP statuses; empty for any.
    :ivar operation: API operation, or :data:`FINDING`; None for any operation.
    :ivar message: what the message must contain; None for anything.
    :ivar hint: advice; ``{action}`` becomes the IAM action of the operation.
    :ivar of_place: the refusal concerns this account and Region only; calls to others may succeed.
    """

    verdict: str
    codes: Collection[str] = ()
    statuses: Collection[int] = ()
    operation: str | None = None
    message: re.Pattern[str] | None = None
    foreign: bool = False
    hint: str = ""
    of_place: bool = False

    def fits(self, operation: str, status: int, code: str, message: str) -> bool:
        if (self.operation or operation) != operation or (operation == FINDING) != (self.operation == FINDING):
            return False
        if self.foreign and not _is_foreign(code):
            return False
        return (
            (not self.codes or code in self.codes)
            and (not self.statuses or status in self.statuses)
            and (self.message is None or bool(self.message.search(message)))
        )


_DENIED = ("AccessDeniedException", "AccessDenied", "NotAuthorized", "UnauthorizedOperation")
#: Error codes of calls while a new subscription has not taken effect yet.
JUST_SUBSCRIBED = ("AccessDeniedException", "InvalidAccessException")
_UNSIGNED = ("InvalidSignatureException", "SignatureDoesNotMatch")

ANSWERS: tuple[Answer, ...] = (
    # Throttling comes as 429 and as 400.
    Answer(
        RETRY,
        (
            "TooManyRequestsException",
            "ThrottlingException",
            "Throttling",
            "RequestLimitExceeded",
            "LimitExceededException",
        ),
    ),
    Answer(RETRY, ("InternalException", "InternalFailure", "InternalServerError", "InternalServerException")),
    Answer(RETRY, ("ServiceUnavailable", "ServiceUnavailableException")),
    # It concerns the request, not its content: a new request gets a new signature.
    Answer(
        RETRY,
        (
            "RequestTimeout",
            "RequestTimeoutException",
            "RequestAborted",
            "RequestAbortedException",
            "MalformedHttpRequestException",
        ),
    ),
    Answer(RETRY, ("RequestExpired", "RequestExpiredException"), hint=advice.CLOCK),
    # The session renews its credentials before the next attempt; if that is impossible, the hook raises its own error.
    Answer(RETRY, ("ExpiredTokenException", "ExpiredToken")),
    # STS: the identity provider is temporarily out of reach.
    Answer(RETRY, ("IDPCommunicationError",)),
    # Of the input.
    Answer(
        HALVE,
        ("InvalidInputException", "InvalidInput", "ValidationException", "ValidationError", "SerializationException"),
        operation=IMPORT,
    ),
    Answer(
        STOP,
        ("InvalidInputException", "InvalidInput", "ValidationException", "ValidationError", "SerializationException"),
        operation=READ,
        hint=advice.OLD_PAGE,
    ),
    Answer(HALVE, ("RequestEntityTooLarge", "RequestEntityTooLargeException")),
    # Of the caller.
    *(
        Answer(STOP, _DENIED, message=re.compile(words, re.I), hint=hint, of_place=True)
        for words, hint in advice.POLICIES.items()
    ),
    Answer(STOP, _DENIED, operation=IMPORT, hint=advice.CAUSES, of_place=True),
    Answer(STOP, _DENIED, operation=READ, hint=advice.READING, of_place=True),
    Answer(STOP, _DENIED, operation=ASSUME_ROLE, hint=advice.TRUST, of_place=True),
    *(
        Answer(STOP, _DENIED, operation=f"{ASSUME_ROLE}{way}", hint=advice.FEDERATED_TRUST, of_place=True)
        for way in ("WithWebIdentity", "WithSAML")
    ),
    Answer(
        STOP,
        _DENIED,
        hint=advice.ALLOW,
        of_place=True,
    ),
    Answer(STOP, ("InvalidAccessException",), hint=advice.HUB_OFF, of_place=True),
    Answer(STOP, ("ResourceNotFoundException",), operation=DESCRIBE_HUB, hint=advice.HUB_OFF, of_place=True),
    # The only input is the product's ARN, which is made of the Region and the account: the run's other accounts and
    # Regions are not affected.
    Answer(
        STOP,
        ("InvalidInputException", "InvalidInput", "ResourceNotFoundException"),
        operation=SUBSCRIBE,
        hint=advice.NO_SUCH_PRODUCT,
        of_place=True,
    ),
    Answer(
        STOP,
        ("OptInRequired", "RegionDisabledException", "SubscriptionRequiredException"),
        hint=advice.NOT_ENABLED,
        of_place=True,
    ),
    Answer(STOP, _UNSIGNED, message=re.compile("expired|not yet current", re.I), hint=advice.CLOCK),
    Answer(STOP, ("RequestTimeTooSkewed",), hint=advice.CLOCK),
    Answer(STOP, _UNSIGNED, hint=advice.OTHER_KEY),
    # A Region that an account has not enabled does not know its credentials. Where the keys themselves are wrong, the
    # run has failed before: plan_run asks STS whose they are.
    Answer(STOP, ("UnrecognizedClientException", "InvalidClientTokenId"), hint=advice.UNKNOWN_KEY, of_place=True),
    Answer(
        STOP,
        (
            "IncompleteSignature",
            "IncompleteSignatureException",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
        ),
        hint=advice.UNSIGNED,
    ),
    # Without a code of AWS: by the status alone.
    Answer(HALVE, statuses=(413,), operation=IMPORT),
    Answer(RETRY, statuses=(408, 429, *range(500, 600))),
    Answer(RETRY, foreign=True, hint=advice.FOREIGN),
    # An unknown code: the words of the message distinguish rejected input from a failed request.
    Answer(
        HALVE,
        statuses=(400,),
        operation=IMPORT,
        message=re.compile(r"adhere|invalid parameter|\bdata\.|productArn|validation", re.I),
    ),
    Answer(RETRY, statuses=(400,), operation=IMPORT),
    # Entries of FailedFindings. The service model does not list their codes.
    Answer(RETRY, ("InternalFailure", "InternalException", "ConcurrentUpdateError"), operation=FINDING),
    Answer(RETRY, ("Throttling", "ThrottlingException", "TooManyRequestsException"), operation=FINDING),
    Answer(REJECT, ("InvalidInput", "FindingSizeExceeded", "DuplicatedFindingIdentifier"), operation=FINDING),
    Answer(
        STOP,
        ("InvalidAccess",),
        operation=FINDING,
        hint=advice.DISABLED,
        of_place=True,
    ),
)


def answer_of(operation: str, code: str, *, status: int = 0, message: str = "") -> Answer | None:
    """The first matching row, or None."""
    return next((row for row in ANSWERS if row.fits(operation, status, code, message)), None)


def code_of(error: ClientError) -> str:
    """The error's code, without the namespace that precedes it in some responses."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    return safe(code.rsplit("#", maxsplit=1)[-1].split(":", maxsplit=1)[0], LONGEST_CODE)


def verdict_of(error: ClientError) -> str:
    """What to do about a failed call: ``retry``, ``halve`` or ``stop``. Unknown errors stop the import."""
    row = _row_of(error)
    return row.verdict if row else STOP


def verdict_of_finding(code: str) -> str | None:
    """What to do about an entry of FailedFindings: ``retry``, ``reject``, ``stop``, or None for an unknown code."""
    row = answer_of(FINDING, code)
    return row.verdict if row else None


def denied_action(error: ClientError) -> str | None:
    """The IAM action that a refused call needs; None if it was refused for another reason."""
    return f"{_service_of(error)}:{error.operation_name}" if code_of(error) in _DENIED else None


def refusal_of(error: ClientError, text: str) -> ConfigurationError:
    """The error for a call whose verdict is to stop: of this account and Region, where others are not affected."""
    row = _row_of(error)
    if row and row.hint == advice.HUB_OFF:
        return HubOffError(text)
    return (DestinationRefusedError if row and row.of_place else ConfigurationError)(text)


def refusal_of_finding(code: str, text: str) -> ConfigurationError:
    """The same for an entry of FailedFindings."""
    row = answer_of(FINDING, code)
    return (DestinationRefusedError if row and row.of_place else ConfigurationError)(text)


def codes_with(verdict: str, operation: str) -> list[str]:
    """The codes that the table names for a verdict, sorted."""
    rows = (
        row
        for row in ANSWERS
        if row.verdict == verdict and (row.operation == operation or (row.operation is None and operation != FINDING))
    )
    return sorted({code for row in rows for code in row.codes})


def explain(error: ClientError) -> str:
    """The error in words, with advice."""
    row, code = _row_of(error), code_of(error)
    message = safe(error.response.get("Error", {}).get("Message") or "", LONGEST_MESSAGE)
    words = f"HTTP {code or _status_of(error)}" if _is_foreign(code) else code
    hint = row.hint.format(action=f"{_service_of(error)}:{error.operation_name}") if row else ""
    return " ".join(part for part in (f"{words}: {message}".rstrip(". :") + ".", hint) if part)


def explain_finding(code: str, message: str) -> str:
    """The same for an entry of FailedFindings."""
    row = answer_of(FINDING, code)
    words = f"{safe(code, LONGEST_CODE)}: {safe(message, LONGEST_MESSAGE)}".rstrip(". :") + "."
    return " ".join(part for part in (words, row.hint if row else "") if part)


def _row_of(error: ClientError) -> Answer | None:
    message = str(error.response.get("Error", {}).get("Message") or "")
    return answer_of(error.operation_name, code_of(error), status=_status_of(error), message=message)


def _status_of(error: ClientError) -> int:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return int(status)


def _is_foreign(code: str) -> bool:
    """Whether the code is not AWS's: without an error code, botocore uses the HTTP status."""
    return not code or code.isdecimal()


def _service_of(error: ClientError) -> str:
    # The connection's own role may be assumed with a web identity or with SAML.
    is_sts = error.operation_name.startswith(ASSUME_ROLE) or error.operation_name == "GetCallerIdentity"
    return "sts" if is_sts else "securityhub"
