"""What each answer of Security Hub means for an import: repeat, halve, stop, or put the finding aside.

Sources: the service model's texts, the user guide (BatchImportFindings), and public issue threads that quote real answers.
"""

from __future__ import annotations

from botocore.exceptions import ClientError

from airflow_provider_tenable.guards.foreign_text import LONGEST_CODE, LONGEST_MESSAGE, safe

RETRY, HALVE, STOP, REJECT = "retry", "halve", "stop", "reject"

#: Code of a refused call -> what to do. By code first, since throttling comes as 429 and as 400.
BY_CODE = {
    "TooManyRequestsException": RETRY,
    "ThrottlingException": RETRY,
    "Throttling": RETRY,
    "RequestLimitExceeded": RETRY,
    "LimitExceededException": RETRY,
    "InternalException": RETRY,
    "InternalFailure": RETRY,
    "InternalServerError": RETRY,
    "ServiceUnavailable": RETRY,
    "ServiceUnavailableException": RETRY,
    "RequestTimeout": RETRY,
    # Renewed by the session before the next attempt.
    "ExpiredTokenException": RETRY,
    "ExpiredToken": RETRY,
    "InvalidInputException": HALVE,
    "InvalidInput": HALVE,
    "RequestEntityTooLarge": HALVE,
    "AccessDeniedException": STOP,
    "AccessDenied": STOP,
    "InvalidAccessException": STOP,
    "UnrecognizedClientException": STOP,
    "InvalidClientTokenId": STOP,
    "InvalidSignatureException": STOP,
    "SignatureDoesNotMatch": STOP,
}

#: Code of a finding in FailedFindings -> what to do. The model knows no list of them; an unknown one is tried once more.
FINDING_CODES = {
    "InternalFailure": RETRY,
    "InternalException": RETRY,
    "ConcurrentUpdateError": RETRY,
    "Throttling": RETRY,
    "ThrottlingException": RETRY,
    "TooManyRequestsException": RETRY,
    "InvalidInput": REJECT,
    "FindingSizeExceeded": REJECT,
    "DuplicatedFindingIdentifier": REJECT,
    # The hub was switched off, or the product unsubscribed, while the import worked.
    "InvalidAccess": STOP,
}

_CAUSES = (
    "Security Hub answers so when (1) the credentials are not of the findings' account, (2) the hub is in another Region than the product's ARN, "
    "(3) the product is not subscribed in that account and Region, or (4) IAM does not allow securityhub:BatchImportFindings on the product's ARN."
)
_HINTS = {
    "AccessDeniedException": _CAUSES,
    "InvalidAccessException": "Security Hub is not switched on in that account and Region. Enable it there, or route the findings elsewhere.",
    "InvalidAccess": "Security Hub was switched off, or the product unsubscribed, in that account and Region.",
    "AccessDenied": "Check that the role exists, that its trust policy names the caller, and that the caller may sts:AssumeRole on it.",
    "InvalidClientTokenId": "The access key is unknown to AWS.",
    "UnrecognizedClientException": "The access key is unknown to AWS, or not valid in that Region.",
    "SignatureDoesNotMatch": "The secret key does not belong to the access key.",
    "InvalidSignatureException": "The secret key does not belong to the access key, or the worker's clock is wrong.",
}


def code_of(error: ClientError) -> str:
    """The error's code, without the namespace that some answers put before it."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    return safe(code.rsplit("#", maxsplit=1)[-1].split(":", maxsplit=1)[0], LONGEST_CODE)


def verdict_of(error: ClientError) -> str:
    """What to do about a refused call: ``retry``, ``halve`` or ``stop``."""
    known = BY_CODE.get(code_of(error))
    if known:
        return known
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status == 429 or status >= 500 or status == 408:
        return RETRY
    return HALVE if status in (400, 413) else STOP


def explain(error: ClientError) -> str:
    """The answer in words, with what to do about it."""
    code = code_of(error)
    message = safe(error.response.get("Error", {}).get("Message") or "", LONGEST_MESSAGE)
    hint = _HINTS.get(code, "")
    return " ".join(part for part in (f"{code}: {message}".rstrip(". :") + ".", hint) if part)
