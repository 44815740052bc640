"""AWS STS: GetCallerIdentity and AssumeRole (STS API reference; query protocol, XML answers)."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from uuid import uuid4
from xml.sax.saxutils import escape

from starlette.responses import Response

from sandbox.aws.errors import STS_NAMESPACE, AwsError
from sandbox.aws.identities import IdentityBook
from sandbox.aws.sigv4 import Caller

API_VERSION = "2011-06-15"
OPERATIONS = ("GetCallerIdentity", "AssumeRole")
# A path may have any printable character of ASCII (IAM API reference: CreateRole), a name may not.
_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/(?:[!-~]+/)?[\w+=,.@-]+", re.ASCII)
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII)
# A role session that assumes another role gets an hour at most (role chaining).
_CHAINED_SESSION_SECONDS = 3_600


def operation_of(form: Mapping[str, str]) -> str:
    """Which of `OPERATIONS` a request's form names; AwsError for anything else."""
    action, version = form.get("Action", ""), form.get("Version", "")
    if action not in OPERATIONS or version != API_VERSION:
        raise AwsError("InvalidAction", 400, f"Could not find operation {action} for version {version}")
    return action


def get_caller_identity(caller: Caller) -> Response:
    """The account, ARN and user id of the caller. No permission is needed for it, and none can be denied."""
    fields = {"Arn": caller.arn, "UserId": caller.credentials.user_id, "Account": caller.account}
    return _answer("GetCallerIdentity", _elements(fields))


def assume_role(caller: Caller, form: Mapping[str, str], book: IdentityBook, session_seconds: float | None) -> Response:
    """Temporary credentials of a role.

    :param session_seconds: how long they really last, in place of DurationSeconds, so that tests can see them expire;
        the Expiration in the answer agrees
    """
    arn, session_name = form.get("RoleArn", ""), form.get("RoleSessionName", "")
    _validate("RoleArn", arn, _ROLE_ARN)
    _validate("RoleSessionName", session_name, _SESSION_NAME)
    external_id = form.get("ExternalId")
    if external_id is not None:
        _validate("ExternalId", external_id, _EXTERNAL_ID)
    duration = _duration(form.get("DurationSeconds", "3600"))
    role = book.role(arn)
    allowed = any(fnmatchcase(arn, pattern) for pattern in caller.credentials.may_assume)
    # One answer for all three, so that a stranger does not learn which roles exist.
    if role is None or not allowed or (role.external_id is not None and role.external_id != external_id):
        raise AwsError(
            "AccessDenied", 403, f"User: {caller.arn} is not authorized to perform: sts:AssumeRole on resource: {arn}"
        )
    if caller.credentials.session_token and duration > _CHAINED_SESSION_SECONDS:
        raise _invalid(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
        )
    if duration > role.max_session_seconds:
        raise _invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    allow = _allowed_by(form["Policy"]) if "Policy" in form else None
    session = book.open_session(
        role,
        session_name,
        duration if session_seconds is None else session_seconds,
        allow=allow,
        issued_in=caller.region,
    )
    expiration = datetime.fromtimestamp(session.expires or 0, UTC)
    credentials = {
        "AccessKeyId": session.access_key_id,
        "SecretAccessKey": session.secret_access_key,
        "SessionToken": session.session_token or "",
        "Expiration": expiration.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    user = {"AssumedRoleId": session.user_id, "Arn": session.arn}
    return _answer(
        "AssumeRole",
        f"<Credentials>{_elements(credentials)}</Credentials><AssumedRoleUser>{_elements(user)}</AssumedRoleUser>",
    )


def _allowed_by(policy: str) -> tuple[str, ...]:
    """The actions that a session policy allows; AwsError when it is not a policy document."""
    try:
        statements = json.loads(policy)["Statement"]
        allowed = [each["Action"] for each in statements if each["Effect"] == "Allow"]
    except (ValueError, KeyError, TypeError):
        raise AwsError("MalformedPolicyDocument", 400, "This policy contains invalid Json") from None
    return tuple(action for each in allowed for action in ([each] if isinstance(each, str) else each))


def _duration(text: str) -> int:
    if not text.isdecimal():
        raise AwsError("MalformedInput", 400, f"DurationSeconds is not an integer: {text}")
    seconds = int(text)
    if not 900 <= seconds <= 43_200:
        bound = "greater than or equal to 900" if seconds < 900 else "less than or equal to 43200"
        raise _constraint("durationSeconds", text, f"Member must have value {bound}")
    return seconds


def _validate(name: str, value: str, pattern: re.Pattern[str]) -> None:
    if pattern.fullmatch(value) is None:
        member = name[0].lower() + name[1:]
        raise _constraint(member, value, f"Member must satisfy regular expression pattern: {pattern.pattern}")


def _constraint(member: str, value: str, constraint: str) -> AwsError:
    return _invalid(
        f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {constraint}"
    )


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationError", 400, message)


def _elements(fields: Mapping[str, str]) -> str:
    return "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())


def _answer(operation: str, result: str) -> Response:
    request_id = str(uuid4())
    body = (
        f'<{operation}Response xmlns="{STS_NAMESPACE}"><{operation}Result>{result}</{operation}Result>'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation}Response>"
    )
    return Response(body, 200, {"x-amzn-RequestId": request_id}, "text/xml")
