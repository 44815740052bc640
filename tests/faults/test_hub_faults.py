"""What each fault at Security Hub means. What it acknowledged is there once, what it refused is on record, the rest is
sent again.
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_tenable.security_hub.responses import FINDING, REJECT, RETRY, STOP, codes_with
from airflow_provider_tenable.staging.layout import RunFolder
from tests.faults.pipeline import Pipeline
from tests.faults.proxy import FaultProxy, http_answer
from tests.faults.universe import Sandbox, differences, expected, identity_of
from tests.polling import until

#: So that "for minutes" is soon over.
QUICK = {"airflow_provider_tenable.security_hub.responses:LONGEST_PAUSE": 0.05}
IMPATIENT = 1.0
IMPORT = "BatchImportFindings"


def assert_delivered(pipeline: Pipeline, sandbox: Sandbox, *, but: frozenset[str] = frozenset()) -> None:
    wanted = {key: value for key, value in expected(sandbox.truth(), sandbox.accounts).items() if key not in but}
    assert differences(sandbox.held(), wanted) == {}
    assert pipeline.watermark


def rejected(pipeline: Pipeline, run_id: str = "run-1") -> list[dict[str, Any]]:
    """What the run has put aside, by id."""
    lines = [
        line
        for file in sorted((pipeline.run_folder(run_id) / "rejected").glob("*.gz"))
        for line in gzip.decompress(file.read_bytes()).splitlines()
    ]
    return [json.loads(line) for line in lines]


def wanted_ids(sandbox: Sandbox) -> list[str]:
    """What a first run sends: not what was fixed or accepted before it."""
    wanted = expected(sandbox.truth(), sandbox.accounts)
    return sorted(key for key, version in wanted.items() if version.record_state == "ACTIVE")


def lose_index(pipeline: Pipeline) -> None:
    """From now on nobody knows what the hubs hold, so that a run delivers it a second time."""
    shutil.rmtree(pipeline.run_folder().parent / RunFolder.FINDING_INDEX)


# --- The hub has the batch, and we are not told ---


@pytest.mark.parametrize(
    "fault",
    [
        {"do": "lose_answer"},
        {"do": "late_status", "status": 504},
        {"do": "late_status", "status": 500},
        {"do": "truncate", "keep_bytes": 5},
        {"do": "lose_answer", "times": 3},
    ],
    ids=lambda fault: f"{fault['do']}-{fault.get('status', fault.get('times', 1))}",
)
def test_answer_lost_after_the_batch_was_stored_changes_nothing(
    pipeline: Pipeline, sandbox: Sandbox, fault: dict[str, Any]
) -> None:
    sandbox.hub_fault({"on": IMPORT, **fault})
    pipeline.succeed(patches=QUICK)
    assert_delivered(pipeline, sandbox)
    imports = sandbox.aws("summary")["imports"]
    # Each stored once; what was sent again is no newer, and is ignored.
    assert imports["created"] == len(wanted_ids(sandbox))
    assert imports["updated"] == 0
    assert imports["ignored"] > 0


def test_second_delivery_keeps_the_times_and_the_customers_fields(pipeline: Pipeline, sandbox: Sandbox) -> None:
    pipeline.succeed()
    identity = wanted_ids(sandbox)[0]
    region, account, *_ = identity.split("/")
    customers = {
        "Workflow": {"Status": "SUPPRESSED"},
        "Note": {"Text": "ours", "UpdatedBy": "me"},
        "UserDefinedFields": {"team": "a"},
        "Severity": {"Label": "LOW"},
    }
    sandbox.aws("customer", {"account": account, "region": region, "id": identity, "set": customers})
    before = sandbox.documents()
    lose_index(pipeline)
    pipeline.succeed("run-2", params={"since": 1})
    assert pipeline.ledger("run-2")["accepted"] >= len(wanted_ids(sandbox))
    sandbox.advance(3600)
    asset = next(each["asset_id"] for each in sandbox.truth()["vulnerabilities"] if identity_of(each) == identity)
    sandbox.change({"do": "rescan", "asset_id": asset})
    pipeline.succeed("run-3")
    after = sandbox.documents()
    assert {key for key, value in after.items() if value["RecordState"] == "ACTIVE"} == before.keys()
    for name in ("CreatedAt", "FirstObservedAt"):
        assert {key: after[key][name] for key in before} == {key: value[name] for key, value in before.items()}
    for name in ("Workflow", "UserDefinedFields", "Severity"):
        assert after[identity][name] == before[identity][name]
    assert after[identity]["Note"]["Text"] == "ours"
    assert_delivered(pipeline, sandbox)


def test_second_delivery_is_acknowledged_where_the_hub_does_not_count_what_it_ignores(
    pipeline: Pipeline, sandbox: Sandbox
) -> None:
    sandbox.aws("options", {"count_ignored": False})
    sandbox.hub_fault({"on": IMPORT, "do": "lose_answer", "times": 2})
    pipeline.succeed(patches=QUICK)
    lose_index(pipeline)
    pipeline.succeed("run-2", params={"since": 1})
    assert_delivered(pipeline, sandbox)
    assert pipeline.ledger("run-2")["rejected"] == {}
    assert sandbox.aws("summary")["imports"]["ignored"] >= len(wanted_ids(sandbox))


# --- Refused calls ---

TRANSIENT = [
    {"status": 429, "body": {"__type": "TooManyRequestsException", "message": "slow down"}},
    {"status": 400, "body": {"__type": "ThrottlingException", "message": "Rate exceeded"}},
    {"status": 500, "body": {"__type": "InternalException", "message": "oops"}},
    {"status": 503, "body": "<html>Service Unavailable</html>"},
    {"status": 502, "body": ""},
    {"status": 408, "body": {"__type": "RequestTimeout"}},
]


@pytest.mark.parametrize("answer", TRANSIENT, ids=lambda answer: str(answer["status"]))
def test_passing_refusal_is_sent_again_until_it_passes(
    pipeline: Pipeline, sandbox: Sandbox, answer: dict[str, Any]
) -> None:
    headers = {"x-amzn-ErrorType": answer["body"]["__type"]} if isinstance(answer["body"], dict) else {}
    sandbox.hub_fault({"on": IMPORT, "do": "status", **answer, "headers": headers, "times": 6})
    pipeline.succeed(patches=QUICK)
    assert_delivered(pipeline, sandbox)
    assert pipeline.ledger()["rejected"] == {}


def test_reset_connections_are_sent_again(pipeline: Pipeline, sandbox: Sandbox) -> None:
    sandbox.hub_fault({"on": IMPORT, "do": "reset", "times": 5})
    pipeline.succeed(patches=QUICK)
    assert_delivered(pipeline, sandbox)


def test_throttling_without_end_fails_the_task_and_its_retry_resumes(pipeline: Pipeline, sandbox: Sandbox) -> None:
    sandbox.hub_fault({"on": IMPORT, "do": "status", "status": 429, "body": "", "times": None, "skip": 2})
    result = pipeline.run(patches=QUICK, retry_seconds=IMPATIENT, defaults={"batch_size": 2})
    assert result.error == "TemporaryError", result
    assert pipeline.watermark is None
    # By two calls, each of at most two findings; an account and Region may have a single one to be sent.
    assert sandbox.aws("summary")["imports"]["created"] in (2, 3, 4)
    sandbox.clear_faults()
    pipeline.succeed(defaults={"batch_size": 2})
    assert_delivered(pipeline, sandbox)
    # What has a receipt is not sent again.
    assert sandbox.aws("summary")["imports"]["ignored"] == 0


STOPPING = [
    (403, "AccessDeniedException"),
    (401, "InvalidAccessException"),
    (403, "UnrecognizedClientException"),
    (403, "InvalidSignatureException"),
]


@pytest.mark.parametrize(("status", "code"), STOPPING)
def test_refused_caller_stops_the_import_at_once_and_names_the_cause(
    pipeline: Pipeline, sandbox: Sandbox, status: int, code: str
) -> None:
    sandbox.hub_fault(
        {
            "on": IMPORT,
            "do": "status",
            "status": status,
            "headers": {"x-amzn-ErrorType": code},
            "body": {"__type": code, "message": "no"},
            "times": None,
        }
    )
    result = pipeline.run(patches=QUICK)
    assert result.error == "AirflowFailException"
    assert code in result.message
    assert pipeline.watermark is None
    assert sandbox.aws("stats")["calls"][IMPORT] <= 4
    sandbox.clear_faults()
    # Imports that were refused have ended as successes: settle has judged them.
    pipeline.succeed(clear=True)
    assert_delivered(pipeline, sandbox)


@pytest.mark.parametrize("state", ["off", "enabled"])
def test_hub_switched_off_in_mid_run_stops_it_and_the_rest_follows_later(
    pipeline: Pipeline, sandbox: Sandbox, state: str
) -> None:
    """After the preflight: the first batch lands, the next is refused."""
    sandbox.hub_fault({"on": IMPORT, "do": "slow", "seconds": 1.5, "times": 1})
    place = wanted_ids(sandbox)[0].split("/")
    pid = pipeline.start(patches=QUICK, retry_seconds=5.0, defaults={"batch_size": 1})
    until(lambda: sandbox.aws("stats")["calls"].get(IMPORT, 0) > 0, 60, pause=0.02)
    for region in sandbox.process.facts["regions"]:
        for account in sandbox.accounts:
            sandbox.aws("hub", {"account": account, "region": region, "state": state})
    result = pipeline.wait(pid)
    assert result.error == "AirflowFailException", result
    assert pipeline.watermark is None
    for region in sandbox.process.facts["regions"]:
        for account in sandbox.accounts:
            sandbox.aws("hub", {"account": account, "region": region, "state": "subscribed"})
    pipeline.succeed(clear=True)
    assert len(place) == 6
    assert_delivered(pipeline, sandbox)


def test_credentials_that_expire_in_mid_import_are_renewed(pipeline: Pipeline, sandbox: Sandbox) -> None:
    sandbox.hub_fault({"on": IMPORT, "do": "expire_credentials", "times": 2, "skip": 1})
    pipeline.succeed(patches=QUICK, defaults={"batch_size": 2})
    assert_delivered(pipeline, sandbox)


def test_short_sessions_outlast_a_long_import(pipeline: Pipeline, sandbox: Sandbox) -> None:
    sandbox.aws("options", {"session_seconds": 2, "latency_ms": 700, "throttle": False})
    pipeline.succeed(patches=QUICK, defaults={"batch_size": 1})
    assert_delivered(pipeline, sandbox)


# --- Refused findings ---


@pytest.mark.parametrize("code", codes_with(RETRY, FINDING))
def test_finding_that_fails_for_a_passing_reason_is_sent_again(pipeline: Pipeline, sandbox: Sandbox, code: str) -> None:
    sandbox.hub_fault({"on": IMPORT, "do": "fail_findings", "code": code, "share": 0.5, "times": 3})
    pipeline.succeed(patches=QUICK)
    assert_delivered(pipeline, sandbox)
    assert pipeline.ledger()["rejected"] == {}


@pytest.mark.parametrize("code", [*codes_with(REJECT, FINDING), "SomethingNew"])
def test_finding_that_is_refused_for_good_is_on_record_and_the_others_land(
    pipeline: Pipeline, sandbox: Sandbox, code: str
) -> None:
    bad = wanted_ids(sandbox)[3]
    sandbox.hub_fault(
        {
            "on": IMPORT,
            "do": "fail_findings",
            "code": code,
            "message": "not this one",
            "ids_containing": bad,
            "times": None,
        }
    )
    pipeline.succeed(patches=QUICK, defaults={"max_rejected_ratio": 0.5})
    assert_delivered(pipeline, sandbox, but=frozenset({bad}))
    assert pipeline.ledger()["rejected"] == {code: 1}
    (line,) = rejected(pipeline)
    assert (line["id"], line["code"], line["message"], line["finding"]["Id"]) == (bad, code, "not this one", bad)
    assert (line["account"], line["region"]) == (bad.split("/")[1], bad.split("/")[0])


def test_finding_that_never_passes_is_given_up_after_a_few_tries(pipeline: Pipeline, sandbox: Sandbox) -> None:
    bad = wanted_ids(sandbox)[0]
    sandbox.hub_fault(
        {"on": IMPORT, "do": "fail_findings", "code": "InternalFailure", "ids_containing": bad, "times": None}
    )
    pipeline.succeed(patches=QUICK, defaults={"max_rejected_ratio": 0.5})
    assert_delivered(pipeline, sandbox, but=frozenset({bad}))
    assert pipeline.ledger()["rejected"] == {"InternalFailure": 1}


def test_too_many_rejected_findings_hold_the_watermark_and_name_the_reasons(
    pipeline: Pipeline, sandbox: Sandbox
) -> None:
    sandbox.hub_fault(
        {
            "on": IMPORT,
            "do": "fail_findings",
            "code": "InvalidInput",
            "message": "no title",
            "share": 0.9,
            "times": None,
        }
    )
    result = pipeline.run(patches=QUICK)
    assert result.error == "AirflowFailException"
    assert "max_rejected_ratio" in result.message
    assert "x InvalidInput" in result.message
    assert "no title" in result.message
    assert pipeline.watermark is None
    # After the mending, a new run covers the same again.
    sandbox.clear_faults()
    pipeline.succeed("run-2")
    assert_delivered(pipeline, sandbox)


@pytest.mark.parametrize(
    ("code", "http", "message"),
    [
        ("InvalidInputException", 400, "no"),
        ("RequestEntityTooLarge", 413, "no"),
        ("Unheard", 400, "Invalid parameter 'Findings'. data.Title should NOT be longer than 256 characters"),
    ],
)
def test_poison_in_a_call_is_found_by_halving_and_the_good_ones_land(
    pipeline: Pipeline, sandbox: Sandbox, code: str, http: int, message: str
) -> None:
    bad = frozenset(wanted_ids(sandbox)[1:3])
    for each in bad:
        sandbox.hub_fault(
            {
                "on": IMPORT,
                "do": "poison_call",
                "ids_containing": each,
                "code": code,
                "http": http,
                "message": message,
                "times": None,
            }
        )
    pipeline.succeed(patches=QUICK, defaults={"max_rejected_ratio": 0.5})
    assert_delivered(pipeline, sandbox, but=bad)
    assert {line["id"] for line in rejected(pipeline)} == bad


@pytest.mark.parametrize("code", ["RequestExpired", "RequestAborted", "Unheard"])
def test_refusal_of_the_request_rejects_no_finding(pipeline: Pipeline, sandbox: Sandbox, code: str) -> None:
    """Also where it always strikes the same finding."""
    bad = wanted_ids(sandbox)[1]
    sandbox.hub_fault(
        {
            "on": IMPORT,
            "do": "poison_call",
            "ids_containing": bad,
            "code": code,
            "http": 400,
            "message": "no",
            "times": 4,
        }
    )
    pipeline.succeed(patches=QUICK)
    assert_delivered(pipeline, sandbox)
    assert pipeline.ledger()["rejected"] == {}


def test_finding_code_that_means_the_hub_is_off_stops_the_import(pipeline: Pipeline, sandbox: Sandbox) -> None:
    (code,) = codes_with(STOP, FINDING)
    sandbox.hub_fault({"on": IMPORT, "do": "fail_findings", "code": code, "times": None})
    result = pipeline.run(patches=QUICK)
    assert result.error == "AirflowFailException"
    assert pipeline.watermark is None
    sandbox.clear_faults()
    pipeline.succeed(clear=True)
    assert_delivered(pipeline, sandbox)


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        "null",
        '{"FailedCount": 0, "FailedFindings": []}',
        '{"FailedCount": 1, "SuccessCount": 0, "FailedFindings": []}',
        "[]",
        "<html>",
    ],
)
def test_answer_that_does_not_add_up_acknowledges_nothing(pipeline: Pipeline, sandbox: Sandbox, body: str) -> None:
    sandbox.hub_fault({"on": IMPORT, "do": "body", "body": body, "times": None})
    result = pipeline.run(patches=QUICK, retry_seconds=IMPATIENT)
    assert result.error, "an answer without its counts was taken for a success"
    assert pipeline.watermark is None
    sandbox.clear_faults()
    pipeline.succeed()
    assert_delivered(pipeline, sandbox)


# --- answers that are not from AWS ---

#: Form and status; tests/unit/hooks/test_security_hub_hook.py has them for each operation by itself.
FOREIGN = [
    {"do": "foreign", "form": form, "status": status}
    for form, status in (
        ("html", 200),
        ("tidy_html", 200),
        ("tidy_html", 302),
        ("html", 403),
        ("empty", 407),
        ("other_json", 200),
        ("null", 200),
    )
]
OPERATIONS = ["GetCallerIdentity", "AssumeRole", "DescribeHub", "ListEnabledProductsForImport", IMPORT]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("fault", FOREIGN, ids=lambda fault: f"{fault['form']}-{fault['status']}")
def test_answer_that_is_not_from_aws_is_asked_for_again_in_every_operation(
    pipeline: Pipeline, sandbox: Sandbox, operation: str, fault: dict[str, Any]
) -> None:
    sandbox.hub_fault({"on": operation, **fault, "times": 2})
    pipeline.succeed(patches=QUICK)
    assert_delivered(pipeline, sandbox)
    assert pipeline.ledger()["rejected"] == {}


@pytest.mark.parametrize("operation", ["GetCallerIdentity", "ListEnabledProductsForImport", IMPORT])
@pytest.mark.parametrize("fault", FOREIGN[::3], ids=lambda fault: f"{fault['form']}-{fault['status']}")
def test_answer_that_is_not_from_aws_without_end_is_a_temporary_error_in_words(
    pipeline: Pipeline, sandbox: Sandbox, operation: str, fault: dict[str, Any]
) -> None:
    sandbox.hub_fault({"on": operation, **fault, "times": None})
    result = pipeline.run(patches=QUICK, retry_seconds=IMPATIENT)
    assert result.error == "TemporaryError", result
    assert "not from AWS" in result.message
    assert "proxy" in result.message
    assert "subscribed to product" not in result.message
    assert pipeline.watermark is None
    sandbox.clear_faults()
    pipeline.succeed()
    assert_delivered(pipeline, sandbox)


@pytest.mark.parametrize(
    "operation", ["GetCallerIdentity", "AssumeRole", "DescribeHub", "ListEnabledProductsForImport"]
)
@pytest.mark.parametrize("answer", TRANSIENT[:3], ids=lambda answer: str(answer["status"]))
def test_call_before_the_import_is_repeated(
    pipeline: Pipeline, sandbox: Sandbox, operation: str, answer: dict[str, Any]
) -> None:
    code = answer["body"]["__type"]
    xml = (
        f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>later</Message></Error></ErrorResponse>"
    )
    body = xml if operation in ("GetCallerIdentity", "AssumeRole") else answer["body"]
    sandbox.hub_fault(
        {
            "on": operation,
            "do": "status",
            "status": answer["status"],
            "body": body,
            "headers": {"x-amzn-ErrorType": code},
            "times": 3,
        }
    )
    pipeline.succeed(patches=QUICK)
    assert_delivered(pipeline, sandbox)


def test_renewal_that_fails_for_a_while_is_waited_out(pipeline: Pipeline, sandbox: Sandbox) -> None:
    """The sessions are over after a few calls, and STS is out of order for more attempts than a call before the import
    would get.
    """
    # The second import call is the first one of the second place, after two sign-ins.
    sandbox.hub_fault(
        {"on": IMPORT, "do": "expire_credentials", "skip": 1},
        {"on": "AssumeRole", "do": "status", "status": 503, "body": "", "skip": 2, "times": 12},
    )
    pipeline.succeed(patches=QUICK, defaults={"batch_size": 2})
    assert_delivered(pipeline, sandbox)


# --- the wire ---


@pytest.fixture
def proxy(sandbox: Sandbox) -> Iterator[FaultProxy]:
    with FaultProxy(sandbox.process.aws) as proxy:
        yield proxy


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("reset_peer", {"amount": 0}),
        ("reset_peer", {"amount": 100}),
        ("limit_data", {"amount": 250}),
        ("timeout", {}),
        ("latency", {"amount": 0.4}),
        ("slicer", {"amount": 10}),
        ("answer", {"answer": b""}),
        ("answer", {"answer": b"SSH-2.0-OpenSSH\r\n"}),
        (
            "answer",
            {"answer": http_answer(b"<html>gateway</html>", "Content-Type: text/html", status="504 Gateway Timeout")},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(str(each)[:30] for each in value.values()),
)
def test_connection_that_is_spoilt_in_an_import_costs_no_finding(
    pipeline: Pipeline, proxy: FaultProxy, sandbox: Sandbox, kind: str, arguments: dict[str, Any]
) -> None:
    connection = json.loads(pipeline.env["AIRFLOW_CONN_AWS_DEFAULT"])
    connection["extra"] = {**connection["extra"], "endpoint_url": proxy.url, "config_kwargs": {"read_timeout": 1}}
    pipeline.env["AIRFLOW_CONN_AWS_DEFAULT"] = json.dumps(connection)
    proxy.add(kind, "POST /findings/import", times=2, **arguments)
    pipeline.succeed(patches=QUICK)
    assert proxy.struck == 2
    assert_delivered(pipeline, sandbox)
