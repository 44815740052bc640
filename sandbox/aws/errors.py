"""Errors as AWS answers them: rest-json for Security Hub, XML for STS."""

import json
from uuid import uuid4
from xml.sax.saxutils import escape

from starlette.responses import Response

STS_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"


class AwsError(Exception):
    """A refused call.

    :param code: the exception's name in the API model, e.g. `AccessDeniedException`
    :param status: HTTP status
    :param plain: an error of the API's front door, whose JSON body is only `{"message"}`; those of the service have
        Code and Message
    """

    def __init__(self, code: str, status: int, message: str, *, plain: bool = False) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.status, self.message, self.plain = code, status, message, plain


def invalid_input(message: str) -> AwsError:
    """InvalidInputException, HTTP 400."""
    return AwsError("InvalidInputException", 400, message)


def not_subscribed(account: str) -> AwsError:
    """The hub is off in this account and Region: InvalidAccessException, HTTP 401."""
    return AwsError("InvalidAccessException", 401, f"Account {account} is not subscribed to AWS Security Hub")


def access_denied(caller_arn: str, action: str, resource: str) -> AwsError:
    """AccessDeniedException, HTTP 403, with the text that IAM gives."""
    return AwsError(
        "AccessDeniedException",
        403,
        f"User: {caller_arn} is not authorized to perform: {action} on resource: {resource}",
    )


def throttled() -> AwsError:
    """TooManyRequestsException, HTTP 429: what throttled callers see; it is not in the API model."""
    return AwsError("TooManyRequestsException", 429, "Too Many Requests", plain=True)


def rest_json(error: AwsError) -> Response:
    """The answer of Security Hub."""
    body = {"message": error.message} if error.plain else {"Code": error.code, "Message": error.message}
    return Response(
        json.dumps(body),
        error.status,
        {"x-amzn-ErrorType": error.code, "x-amzn-RequestId": str(uuid4())},
        "application/json",
    )


def query_xml(error: AwsError) -> Response:
    """The answer of STS (AWS query protocol)."""
    request_id = str(uuid4())
    fault = "Sender" if error.status < 500 else "Receiver"
    body = (
        f'<ErrorResponse xmlns="{STS_NAMESPACE}"><Error><Type>{fault}</Type><Code>{escape(error.code)}</Code>'
        f"<Message>{escape(error.message)}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    )
    return Response(body, error.status, {"x-amzn-RequestId": request_id}, "text/xml")
