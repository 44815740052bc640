"""Texts of Tenable, Security Hub and STS that would begin a log line of their own, or steer a terminal: they are quoted
on one line, and act on nothing.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.faults import hostile
from tests.faults.pipeline import Pipeline, Result
from tests.faults.universe import Sandbox

#: Line breaks of every kind, terminal sequences, bidirectional overrides, and more than anybody wants to read.
MARK = "INJECTED"
TEXT = (
    f"words\n{MARK} "
    f"ERROR\r\n{MARK}\r{MARK}\u2028{MARK}\u2029{MARK}\x85{MARK}\x0b{MARK}\x0c{MARK}\x1c\x1b[2J\x1b]0;title\x07\x9b31m\u202eLRO\u2066\x00\x08"
    + "long "
    * 2_000
)


def assert_one_line_each(pipeline: Pipeline, result: Result) -> None:
    assert MARK in pipeline.log + result.message, "the control: the text was quoted"
    assert result.message.isprintable()
    for line in pipeline.log.split("\n"):
        assert line.isprintable(), repr(line[:500])
        assert not line.lstrip(" |").startswith(MARK), line[:500]
        assert len(line) < 8_000, line[:500]


def outcomes(pipeline: Pipeline) -> str:
    return json.dumps(json.loads((pipeline.folder / "xcom" / "run-1.json").read_text()), ensure_ascii=False)


#: What Tenable says, and where.
TENABLE: dict[str, list[dict[str, Any]]] = {
    "error of a refused request": [{"on": "vulns_export", "do": "status", "status": 400, "body": {"error": TEXT}}],
    "error of a request that is tried again": [
        {"on": "vulns_status", "do": "status", "status": 500, "body": TEXT, "times": 3}
    ],
    "page in plain text": [
        {"on": "vulns_chunk", "do": "status", "status": 503, "body": TEXT, "headers": {"Content-Type": "text/plain"}}
    ],
    "reason of a job": [{"on": "job", "kind": "vulns", "do": "error", "keep_chunks": 0, "reason": TEXT}],
    "reason of a job that is finished": [
        {"on": "vulns_status", "do": "body", "body": {"status": "FINISHED", "chunks_available": [], "reason": TEXT}}
    ],
    "reason that is not a text": [
        {"on": "vulns_status", "do": "body", "body": {"status": "ERROR", "reason": {"a": [TEXT]}}}
    ],
    "status of a job": [{"on": "vulns_status", "do": "body", "body": {"status": TEXT}}],
    "id of an export": [{"on": "vulns_export", "do": "body", "body": {"export_uuid": TEXT}}],
    "ids of chunks": [{"on": "vulns_status", "do": "body", "body": {"status": "FINISHED", "chunks_available": [TEXT]}}],
    "list of jobs": [
        {"on": "vulns_export", "do": "status", "status": 409, "body": {"active_job_id": TEXT, "failure_reason": TEXT}},
        {"on": "jobs", "do": "body", "body": {"exports": [{"uuid": TEXT, "status": TEXT, "filters": {TEXT: TEXT}}]}},
    ],
    "who we are": [
        {"on": "session", "do": "status", "status": 403, "body": {"error": TEXT}},
        {"on": "session", "do": "status", "status": 400, "body": {"error": TEXT}},
    ],
}


@pytest.mark.parametrize("where", TENABLE)
def test_text_of_tenable_is_quoted_on_one_line(pipeline: Pipeline, sandbox: Sandbox, where: str) -> None:
    sandbox.fault(*TENABLE[where])
    result = pipeline.run(tenable_retries=0)
    if where == "who we are":
        # What comes with 401 and 403 is not quoted at all.
        assert MARK not in result.message
        result = pipeline.run("run-2", tenable_retries=0)
    assert_one_line_each(pipeline, result)


def test_text_of_records_is_quoted_on_one_line(pipeline: Pipeline, sandbox: Sandbox) -> None:
    """Ids of assets, and what is wrong with a record: counted, parked, put aside, and told where too many are."""
    good = [hostile.record(number, 100_000 + number) for number in range(4)]
    good[0]["asset"]["uuid"] = TEXT
    good[1]["plugin"] = {"id": TEXT, TEXT: TEXT}
    good[2]["severity_id"], good[2]["severity"] = TEXT, TEXT
    good[3]["last_found"] = good[3]["first_found"] = good[3]["indexed"] = TEXT
    sandbox.fault({"on": "vulns_chunk", "do": "body", "body": [*good, {TEXT: TEXT}, TEXT]})
    result = pipeline.run(params={"max_rejected_ratio": 0.0}, env={"AIRFLOW__TENABLE__PARKED_DAYS": "0"})
    assert result.error
    assert result.message.isprintable()
    for line in pipeline.log.split("\n"):
        assert line.isprintable(), repr(line[:500])
        assert not line.lstrip(" |").startswith(MARK), line[:500]


HUB: dict[str, list[dict[str, Any]]] = {
    "code and message of a finding": [
        {"on": "BatchImportFindings", "do": "fail_findings", "code": TEXT, "message": TEXT, "times": None}
    ],
    "message of a rejected finding": [
        {"on": "BatchImportFindings", "do": "fail_findings", "code": "InvalidInput", "message": TEXT, "times": None}
    ],
    "message of a hub that is off": [
        {"on": "BatchImportFindings", "do": "fail_findings", "code": "InvalidAccess", "message": TEXT}
    ],
    "message of a refused call": [
        {
            "on": "BatchImportFindings",
            "do": "status",
            "status": 403,
            "body": {"Code": "AccessDeniedException", "Message": TEXT},
        },
    ],
    "code of a refused call": [
        {"on": "BatchImportFindings", "do": "status", "status": 403, "body": {"Code": TEXT, "Message": TEXT}}
    ],
    "message of a call that is tried again": [
        {
            "on": "BatchImportFindings",
            "do": "status",
            "status": 500,
            "body": {"Code": "InternalException", "Message": TEXT},
            "times": 3,
        }
    ],
    "message of a call that is halved": [
        {"on": "BatchImportFindings", "do": "poison_call", "ids_containing": "/", "message": TEXT, "times": None}
    ],
    "preflight": [{"on": "DescribeHub", "do": "status", "status": 400, "body": {"Code": TEXT, "Message": TEXT}}],
    "products": [
        {
            "on": "ListEnabledProductsForImport",
            "do": "status",
            "status": 500,
            "body": {"Code": "InternalException", "Message": TEXT},
        }
    ],
}


@pytest.mark.parametrize("where", HUB)
def test_text_of_security_hub_is_quoted_on_one_line(pipeline: Pipeline, sandbox: Sandbox, where: str) -> None:
    sandbox.hub_fault(*HUB[where])
    result = pipeline.run(params={"max_rejected_ratio": 0.0})
    assert_one_line_each(pipeline, result)
    # Codes are keys of the ledger, of the XCom and of the report.
    assert all(char.isprintable() for char in outcomes(pipeline))


@pytest.mark.parametrize("operation", ["GetCallerIdentity", "AssumeRole"])
@pytest.mark.parametrize("status", [400, 403])
def test_text_of_sts_is_quoted_on_one_line(pipeline: Pipeline, sandbox: Sandbox, operation: str, status: int) -> None:
    text = "".join(char for char in TEXT if char.isprintable() or char in "\n\r\u2028\u2029\x85\u202e\u2066")
    body = (
        f"<ErrorResponse><Error><Type>Sender</Type><Code>{text}</Code><Message>{text}</Message></Error></ErrorResponse>"
    )
    sandbox.hub_fault(
        {"on": operation, "do": "status", "status": status, "body": body, "headers": {"Content-Type": "text/xml"}}
    )
    assert_one_line_each(pipeline, pipeline.run())


def test_account_that_sts_names_is_quoted_on_one_line(pipeline: Pipeline, sandbox: Sandbox) -> None:
    text = (
        TEXT.replace("\x1b", "")
        .replace("\x00", "")
        .replace("\x08", "")
        .replace("\x07", "")
        .replace("\x0b", "")
        .replace("\x0c", "")
        .replace("\x1c", "")
    )
    result = f"<GetCallerIdentityResult><Account>{text}</Account></GetCallerIdentityResult>"
    body = f"<GetCallerIdentityResponse>{result}</GetCallerIdentityResponse>"
    sandbox.hub_fault(
        {"on": "GetCallerIdentity", "do": "body", "body": body, "headers": {"Content-Type": "text/xml"}, "times": None}
    )
    result = pipeline.run(defaults={"destinations": [{"aws_conn_id": "aws_default", "accounts": ["111122223333"]}]})
    assert result.error
    assert result.message.isprintable()
    assert all(line.isprintable() for line in pipeline.log.split("\n"))
