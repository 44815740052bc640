"""Checks of AWS Signature Version 4 (IAM user guide: Create a signed AWS API request), by computing the signature
again.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from posixpath import normpath
from urllib.parse import quote, unquote

from sandbox.aws.errors import AwsError
from sandbox.aws.identities import Credentials, IdentityBook

_ALGORITHM = "AWS4-HMAC-SHA256"
_AUTHORIZATION = re.compile(
    rf"{_ALGORITHM}\s+Credential=([^/,\s]+)/(\d{{8}})/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request,\s*"
    r"SignedHeaders=([a-z0-9;_-]+),\s*Signature=([0-9a-f]{64})",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What of an HTTP request enters the signature. `path` and `query` are as on the wire, not decoded."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Caller:
    """Who signed a request, and for which Region."""

    credentials: Credentials
    region: str

    @property
    def account(self) -> str:
        return self.credentials.account

    @property
    def arn(self) -> str:
        return self.credentials.arn


def authenticate(request: SignedRequest, service: str, book: IdentityBook, *, max_skew_seconds: float) -> Caller:
    """The caller of a request; AwsError when its signature is missing, unknown, wrong, stale or of an expired session.

    The errors are those of API Gateway (`securityhub`), of STS (`sts`) and of EC2 (`ec2`).
    """
    codes = _CODES[service]
    header = request.headers.get("authorization")
    if header is None:
        raise AwsError(codes["missing"], 403, "Missing Authentication Token", plain=True)
    match = _AUTHORIZATION.fullmatch(header.strip())
    if match is None:
        raise AwsError(
            "IncompleteSignatureException", 400, f"Authorization header is not a valid {_ALGORITHM} header.", plain=True
        )
    key, day, region, scope_service, signed_names, signature = match.groups()
    credentials = book.find(key)
    if credentials is None or credentials.session_token != request.headers.get("x-amz-security-token"):
        raise AwsError(codes["unknown"], 403, "The security token included in the request is invalid.", plain=True)
    if service != "sts" and not credentials.is_valid_in(region):
        raise AwsError(codes["unknown"], 403, "The security token included in the request is invalid.", plain=True)
    if scope_service != service:
        raise AwsError(codes["wrong"], 403, f"Credential should be scoped to correct service: '{service}'.", plain=True)
    stamp = request.headers.get("x-amz-date", "")
    _check_time(stamp, day, max_skew_seconds, codes["wrong"])
    names = signed_names.split(";")
    if "host" not in names or "x-amz-date" not in names:
        raise AwsError(codes["wrong"], 403, "'host' and 'x-amz-date' must be signed headers.", plain=True)
    expected = _signature(
        request, names, stamp, f"{day}/{region}/{service}/aws4_request", credentials.secret_access_key
    )
    if not hmac.compare_digest(expected, signature):
        raise AwsError(
            codes["wrong"],
            403,
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
            "Access Key and signing method. Consult the service documentation for details.",
            plain=True,
        )
    if credentials.expired:
        raise AwsError(codes["expired"], 403, "The security token included in the request is expired", plain=True)
    return Caller(credentials, region)


_CODES: Mapping[str, Mapping[str, str]] = {
    "securityhub": {
        "missing": "MissingAuthenticationTokenException",
        "unknown": "UnrecognizedClientException",
        "wrong": "InvalidSignatureException",
        "expired": "ExpiredTokenException",
    },
    "sts": {
        "missing": "MissingAuthenticationToken",
        "unknown": "InvalidClientTokenId",
        "wrong": "SignatureDoesNotMatch",
        "expired": "ExpiredToken",
    },
    # EC2 API reference: error codes.
    "ec2": {
        "missing": "MissingAuthenticationToken",
        "unknown": "AuthFailure",
        "wrong": "AuthFailure",
        "expired": "RequestExpired",
    },
}


def _check_time(stamp: str, day: str, max_skew_seconds: float, code: str) -> None:
    try:
        signed_at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise AwsError(code, 403, f"Date must be in ISO-8601 'basic format'. Got '{stamp}'.", plain=True) from None
    if not stamp.startswith(day):
        raise AwsError(
            code,
            403,
            f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date: {stamp}",
            plain=True,
        )
    now = datetime.now(UTC)
    if abs((now - signed_at).total_seconds()) > max_skew_seconds:
        raise AwsError(
            code, 403, f"Signature expired or not yet current: {stamp} against {now:%Y%m%dT%H%M%SZ}.", plain=True
        )


def _signature(request: SignedRequest, names: list[str], stamp: str, scope: str, secret: str) -> str:
    payload_hash = hashlib.sha256(request.body).hexdigest()
    canonical = "\n".join(
        (
            request.method,
            _canonical_path(request.path),
            _canonical_query(request.query),
            "".join(f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in names),
            ";".join(names),
            payload_hash,
        )
    )
    to_sign = "\n".join((_ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    return hmac.new(_signing_key(secret, scope), to_sign.encode(), hashlib.sha256).hexdigest()


@lru_cache(maxsize=1_024)
def _signing_key(secret: str, scope: str) -> bytes:
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _canonical_path(path: str) -> str:
    """The path, normalised, and encoded once more than on the wire, as all services but S3 want it."""
    if not path.startswith("/"):
        path = f"/{path}"
    normal = "/" + normpath(path).lstrip("/")
    if path.endswith("/") and normal != "/":
        normal += "/"
    return quote(normal, safe="/~")


def _canonical_query(query: str) -> str:
    pairs = []
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        pairs.append((_encode(name), _encode(value)))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _encode(text: str) -> str:
    return quote(unquote(text), safe="-_.~")
