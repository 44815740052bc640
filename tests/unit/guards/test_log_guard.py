"""Secrets in responses of AWS do not reach the log, even those that nobody knew before botocore logged them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from airflow_provider_tenable.guards import log_guard

CANARY = "canary-5e2f<91>tail"
#: As people store the credentials of a proxy or a database in Secrets Manager.
NESTED = json.dumps({"username": "nessus", "password": CANARY, "note": 'a "quoted" word \\'})


@pytest.fixture(autouse=True)
def _guarded() -> Iterator[None]:
    previous = logging.getLogRecordFactory()
    log_guard.install()
    yield
    logging.setLogRecordFactory(previous)


def logged(body: object, caplog: pytest.LogCaptureFixture) -> str:
    """What the log shows when botocore logs a response at DEBUG, as its parsers do."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("botocore.parsers").debug("Response body:\n%s", body)
    return caplog.text


@pytest.mark.parametrize("as_bytes", [False, True], ids=["text", "bytes"])
@pytest.mark.parametrize(
    "answer",
    [
        {"ARN": "arn", "SecretString": CANARY, "VersionId": "v1"},
        {"ARN": "arn", "SecretString": NESTED, "VersionId": "v1"},
        {"SecretBinary": CANARY, "VersionId": "v1"},
        {"Parameter": {"Name": "/n", "Type": "SecureString", "Value": CANARY, "VersionId": "v1"}},
        {"Parameter": {"Name": "/n", "Type": "SecureString", "Value": NESTED, "VersionId": "v1"}},
        {"Credentials": {"SecretAccessKey": CANARY, "SessionToken": CANARY, "VersionId": "v1"}},
    ],
    ids=["secret", "nested secret", "binary", "parameter", "nested parameter", "credentials"],
)
def test_values_in_json(answer: dict[str, object], as_bytes: bool, caplog: pytest.LogCaptureFixture) -> None:
    body = json.dumps(answer)
    text = logged(body.encode() if as_bytes else body, caplog)
    assert "canary" not in text
    assert "tail" not in text
    assert "***" in text
    assert '"VersionId": "v1"' in text, "the rest stays readable"


@pytest.mark.parametrize("tag", ["SecretAccessKey", "SessionToken", "keyMaterial"])
def test_values_in_xml(tag: str, caplog: pytest.LogCaptureFixture) -> None:
    text = logged(f'<r><{tag}>canary "5e2f" tail</{tag}><id>r-1</id></r>'.encode(), caplog)
    assert "canary" not in text
    assert "tail" not in text
    assert "<id>r-1</id>" in text
