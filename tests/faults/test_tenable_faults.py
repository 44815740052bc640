"""What each fault at Tenable means. Nothing is lost, nothing is committed too early, the keys go nowhere else."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_tenable.tenable_vm.retry import BY_STATUS
from tests.faults.canary import ACCESS_KEY, SECRET_KEY
from tests.faults.pipeline import Pipeline, Result, Zygote
from tests.faults.proxy import FaultProxy, http_answer
from tests.faults.universe import Sandbox, differences, expected
from tests.plain_ids import plain

#: So that "for ever" is soon over: one look that fails, two fetches of a chunk, one restart.
IMPATIENT = {
    "airflow_provider_tenable.tenable_vm.retry:FAILED_POLLS": 1,
    "airflow_provider_tenable.tenable_vm.retry:CHUNK_FETCHES": 2,
}


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[FaultProxy]:
    """Another host, which must never see a key."""
    with FaultProxy() as proxy:
        yield proxy


@pytest.fixture
def proxy(sandbox: Sandbox) -> Iterator[FaultProxy]:
    with FaultProxy(sandbox.process.tenable) as proxy:
        yield proxy


@pytest.fixture
def through_proxy(pipeline: Pipeline, proxy: FaultProxy) -> Pipeline:
    """The DAG, its Tenable behind the proxy."""
    connection = json.loads(pipeline.env["AIRFLOW_CONN_TENABLE_DEFAULT"])
    pipeline.env["AIRFLOW_CONN_TENABLE_DEFAULT"] = json.dumps(
        {**connection, "host": proxy.url, "extra": {"timeout": 1}}
    )
    return pipeline


def assert_delivered(pipeline: Pipeline, sandbox: Sandbox) -> None:
    assert differences(sandbox.held(), expected(sandbox.truth(), sandbox.accounts)) == {}
    assert pipeline.watermark


def assert_nothing_committed(pipeline: Pipeline, sandbox: Sandbox, result: Result) -> None:
    assert result.error, "the run should have failed"
    assert pipeline.watermark is None
    assert sandbox.documents() == {}


# Operation, what it answers how often, and what becomes of the run.
GOES_ON, STARTS_AGAIN, FAILS = "goes on", "starts again", "fails at once"

TABLE: list[tuple[str, dict[str, Any], str]] = [
    ("vulns_export", {"status": 429, "headers": {}}, GOES_ON),
    ("vulns_export", {"status": 429, "headers": {"Retry-After": "0"}}, GOES_ON),
    ("vulns_status", {"status": 429, "headers": {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}}, GOES_ON),
    ("vulns_chunk", {"status": 429, "headers": {"Retry-After": "nonsense"}}, GOES_ON),
    ("assets_export", {"status": 429, "headers": {"Retry-After": "1"}}, GOES_ON),
    ("vulns_export", {"status": 400}, FAILS),
    ("vulns_export", {"status": 401}, FAILS),
    ("vulns_export", {"status": 403}, FAILS),
    ("vulns_export", {"status": 415}, FAILS),
    ("vulns_status", {"status": 401}, FAILS),
    ("vulns_chunk", {"status": 403}, FAILS),
    ("assets_export", {"status": 403}, FAILS),
    ("session", {"status": 401}, FAILS),
    ("vulns_chunk", {"status": 400}, GOES_ON),
    ("vulns_status", {"status": 404}, STARTS_AGAIN),
    ("vulns_status", {"status": 410}, STARTS_AGAIN),
    ("vulns_chunk", {"status": 404}, STARTS_AGAIN),
    ("vulns_chunk", {"status": 410}, STARTS_AGAIN),
    ("vulns_chunk", {"status": 408}, GOES_ON),
    ("vulns_status", {"status": 425}, GOES_ON),
    ("vulns_chunk", {"status": 500, "times": 3}, GOES_ON),
    ("vulns_status", {"status": 500, "times": 2}, GOES_ON),
    ("vulns_export", {"status": 502}, GOES_ON),
    ("vulns_chunk", {"status": 503, "times": 2}, GOES_ON),
    ("vulns_status", {"status": 504}, GOES_ON),
    ("vulns_status", {"status": 501}, GOES_ON),
    ("assets_chunk", {"status": 503}, GOES_ON),
    ("session", {"status": 503}, GOES_ON),
]


@pytest.mark.parametrize(("operation", "answer", "outcome"), TABLE)
def test_status_of_tenable_means_what_the_table_says(
    pipeline: Pipeline, sandbox: Sandbox, operation: str, answer: dict[str, Any], outcome: str
) -> None:
    sandbox.fault({"on": operation, "do": "status", **answer})
    result = pipeline.run()
    created = sandbox.jobs()["created"]
    if outcome == FAILS:
        assert_nothing_committed(pipeline, sandbox, result)
        assert result.error == "AirflowFailException", "a retry would be in vain"
    else:
        assert result.succeeded, result
        assert created == (2 if outcome == STARTS_AGAIN else 1)
        assert_delivered(pipeline, sandbox)


def test_every_status_in_the_code_is_in_the_table() -> None:
    assert set(BY_STATUS) - {409} <= {answer["status"] for _, answer, _ in TABLE}


@pytest.mark.parametrize(
    ("operation", "status"), [("vulns_status", 500), ("vulns_chunk", 500), ("vulns_chunk", 404), ("vulns_export", 500)]
)
def test_outage_of_tenable_that_does_not_end_commits_nothing_and_is_made_good_later(
    pipeline: Pipeline, sandbox: Sandbox, operation: str, status: int
) -> None:
    sandbox.fault({"on": operation, "do": "status", "status": status, "times": None})
    result = pipeline.run(patches=IMPATIENT)
    assert_nothing_committed(pipeline, sandbox, result)
    assert result.error != "AirflowFailException", "Airflow must try again by itself"
    sandbox.clear_faults()
    pipeline.succeed()
    assert_delivered(pipeline, sandbox)


BODIES = [
    "",
    "null",
    "{}",
    "[]",
    "<html>sign in</html>",
    '{"status": 7}',
    '{"export_uuid": ',
    '"text"',
    '{"export_uuid": null}',
]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("operation", ["vulns_export", "vulns_status"])
def test_answer_of_another_form_is_asked_for_again(
    pipeline: Pipeline, sandbox: Sandbox, operation: str, body: str
) -> None:
    sandbox.fault({"on": operation, "do": "body", "body": body})
    pipeline.succeed()
    assert_delivered(pipeline, sandbox)


@pytest.mark.parametrize("body", ["{}", "<html>sign in</html>", '"text"', "[{", '[{"asset": {"uuid": "a"}},'])
def test_chunk_that_is_no_list_is_fetched_again(pipeline: Pipeline, sandbox: Sandbox, body: str) -> None:
    sandbox.fault({"on": "vulns_chunk", "do": "body", "body": body}, {"on": "assets_chunk", "do": "body", "body": body})
    pipeline.succeed()
    assert_delivered(pipeline, sandbox)
    assert sandbox.jobs()["created"] == 1


def test_chunk_that_is_never_a_list_is_no_empty_one(pipeline: Pipeline, sandbox: Sandbox) -> None:
    sandbox.fault({"on": "vulns_chunk", "do": "body", "body": "<html>", "times": None})
    assert_nothing_committed(pipeline, sandbox, pipeline.run(patches=IMPATIENT))
    # Once in the beginning, and three times again.
    assert sandbox.jobs()["created"] == 4


@pytest.mark.parametrize("declared", [True, False])
def test_chunk_cut_anywhere_is_fetched_again(pipeline: Pipeline, sandbox: Sandbox, declared: bool) -> None:
    cuts = [1, 1024, 2 * 1024, 10 * 1024, 40 * 1024]
    for cut in cuts:
        sandbox.reset()
        (pipeline.folder / "watermark").unlink(missing_ok=True)
        sandbox.fault({"on": "vulns_chunk", "do": "truncate", "keep_bytes": cut, "declare_full": declared})
        pipeline.succeed(f"run-{cut}-{declared}")
        assert sandbox.jobs()["created"] == 1
    assert_delivered(pipeline, sandbox)


@pytest.mark.parametrize(
    "fault",
    [
        {"do": "reset"},
        {"do": "lose_answer"},
        {"do": "late_status", "status": 504},
        {"do": "late_status", "status": 500},
        {"do": "truncate", "keep_bytes": 10},
        {"do": "reset", "times": 3},
    ],
    ids=lambda fault: f"{fault['do']}-{fault.get('status', fault.get('times', 1))}",
)
@pytest.mark.parametrize("kind", ["vulns", "assets"])
def test_answer_lost_after_an_export_was_asked_for_leaves_no_orphan(
    pipeline: Pipeline, sandbox: Sandbox, kind: str, fault: dict[str, Any]
) -> None:
    """The job runs although we were never told its id: it is found again, by its filters."""
    sandbox.fault({"on": "job", "kind": kind, "do": "late", "seconds": 5.0}, {"on": f"{kind}_export", **fault})
    pipeline.succeed()
    assert sandbox.jobs(kind) == {"created": 1, "running": 0, "cancelled": 0}
    assert_delivered(pipeline, sandbox)


@pytest.mark.parametrize("operation", ["vulns_export", "vulns_status", "vulns_chunk", "session"])
def test_redirect_to_another_host_is_refused_and_the_keys_stay(
    pipeline: Pipeline, sandbox: Sandbox, elsewhere: FaultProxy, operation: str
) -> None:
    sandbox.fault({"on": operation, "do": "status", "status": 307, "headers": {"Location": f"{elsewhere.url}/stolen"}})
    result = pipeline.run()
    assert_nothing_committed(pipeline, sandbox, result)
    assert "The API keys are not sent there" in result.message
    assert elsewhere.requests == []


def test_keys_do_reach_tenable_itself(through_proxy: Pipeline, proxy: FaultProxy) -> None:
    """The control of the test above: a key that is sent would be seen."""
    through_proxy.succeed()
    assert all(ACCESS_KEY.encode() in request and SECRET_KEY.encode() in request for request in proxy.requests)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("reset_peer", {"amount": 0}),
        ("reset_peer", {"amount": 300}),
        ("reset_peer", {"amount": 20_000}),
        ("limit_data", {"amount": 5_000}),
        ("timeout", {}),
        ("slicer", {"amount": 7_000}),
        ("latency", {"amount": 0.3}),
        ("answer", {"answer": b""}),
        ("answer", {"answer": b"garbage\r\n\r\n"}),
        ("answer", {"answer": http_answer(b"no gzip at all", "Content-Encoding: gzip")}),
        ("answer", {"answer": http_answer(gzip.compress(b'[{"asset"' * 99)[:-20], "Content-Encoding: gzip")}),
        ("answer", {"answer": http_answer(b"zz\r\nnot chunked", "Transfer-Encoding: chunked")[:-3]}),
    ],
    ids=lambda value: plain(value if isinstance(value, str) else [*value.values()]),
)
def test_connection_that_is_spoilt_in_a_chunk_costs_no_record(
    through_proxy: Pipeline, proxy: FaultProxy, sandbox: Sandbox, kind: str, arguments: dict[str, Any]
) -> None:
    proxy.add(kind, "GET /vulns/export/.*/chunks/", **arguments)
    through_proxy.succeed()
    assert proxy.struck == 1
    assert_delivered(through_proxy, sandbox)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("reset_peer", {"amount": 20_000}),
        ("limit_data", {"amount": 5_000}),
        ("answer", {"answer": http_answer(gzip.compress(b'[{"asset"' * 99)[:-20], "Content-Encoding: gzip")}),
        ("answer", {"answer": http_answer(b'[{"asset"' * 99)}),
    ],
    ids=["reset", "cut", "bad gzip", "no array"],
)
def test_connection_that_is_spoilt_in_a_chunk_of_several_frames_costs_no_record(
    through_proxy: Pipeline, proxy: FaultProxy, sandbox: Sandbox, kind: str, arguments: dict[str, Any]
) -> None:
    proxy.add(kind, "GET /vulns/export/.*/chunks/", **arguments)
    through_proxy.succeed(patches={"airflow_provider_tenable.export.chunks:_FRAME_BYTES": 100})
    assert proxy.struck == 1
    assert_delivered(through_proxy, sandbox)


def test_slow_loris_is_broken_off_at_the_deadline(through_proxy: Pipeline, proxy: FaultProxy, sandbox: Sandbox) -> None:
    """One byte at a time never meets the time-out between two bytes: the answer as a whole has a deadline."""
    proxy.add("bandwidth", "GET /vulns/export/.*/chunks/", amount=20)
    result = through_proxy.run(
        seconds=40, patches={"airflow_provider_tenable.tenable_vm.bounds:LONGEST_ANSWER_SECONDS": 2.0}
    )
    assert result.succeeded, result
    assert_delivered(through_proxy, sandbox)


def test_gzip_bomb_is_refused_before_it_fills_the_memory(
    through_proxy: Pipeline, proxy: FaultProxy, sandbox: Sandbox
) -> None:
    bomb = gzip.compress(b" " * 600_000_000, compresslevel=1)
    proxy.add("answer", "GET /vulns/export/.*/chunks/", answer=http_answer(bomb, "Content-Encoding: gzip"), times=None)
    before = through_proxy.run(
        "run-0",
        patches={"airflow_provider_tenable.tenable_vm.retry:FAILED_POLLS": 0},
        params={"dry_run": True},
        env={"TENABLE_CRASH_AT": "plan_written"},
    )
    result = through_proxy.run(
        patches={"airflow_provider_tenable.tenable_vm.response_body:LARGEST_CHUNK_BYTES": 50_000_000}
    )
    assert_nothing_committed(through_proxy, sandbox, result)
    assert "Lower [tenable] num_assets" in result.message
    assert result.peak - before.peak < 150_000_000


# --- The states of a job ---


@pytest.mark.parametrize("kind", ["vulns", "assets"])
@pytest.mark.parametrize(
    "fault",
    [
        {"do": "error", "keep_chunks": 0},
        {"do": "error", "keep_chunks": 1, "reason": "An unexpected error occurred. Try again."},
        {"do": "cancelled", "keep_chunks": 1},
        {"do": "fail_chunks", "chunks": [1]},
        {"do": "fail_chunks", "chunks": [], "cancelled": [1]},
        {"do": "expire"},
        {"do": "expire", "after": 0},
    ],
    ids=lambda fault: "-".join(str(value) for value in fault.values())[:40],
)
def test_broken_job_is_never_taken_for_whole(
    pipeline: Pipeline, sandbox: Sandbox, kind: str, fault: dict[str, Any]
) -> None:
    sandbox.fault({"on": "job", "kind": kind, **fault})
    pipeline.succeed()
    assert sandbox.jobs(kind)["created"] == 2
    assert_delivered(pipeline, sandbox)


@pytest.mark.parametrize(
    "fault", [{"do": "repeat_chunks"}, {"do": "late", "seconds": 1.5}], ids=lambda fault: fault["do"]
)
def test_late_job_and_chunks_listed_twice_change_nothing(
    pipeline: Pipeline, sandbox: Sandbox, fault: dict[str, Any]
) -> None:
    sandbox.fault({"on": "job", "kind": "vulns", **fault})
    pipeline.succeed()
    assert sandbox.jobs()["created"] == 1
    assert_delivered(pipeline, sandbox)


def test_job_that_breaks_for_ever_fails_the_run_after_a_few_restarts(pipeline: Pipeline, sandbox: Sandbox) -> None:
    sandbox.fault({"on": "job", "kind": "vulns", "do": "fail_chunks", "chunks": [1], "times": None})
    result = pipeline.run()
    assert_nothing_committed(pipeline, sandbox, result)
    assert "could not be completed" in result.message
    assert sandbox.jobs() == {"created": 4, "running": 0, "cancelled": 0}


def test_stuck_job_is_cancelled_at_the_deadline(pipeline: Pipeline, sandbox: Sandbox) -> None:
    sandbox.fault({"on": "job", "kind": "vulns", "do": "stuck"})
    result = pipeline.run(export_timeout=1.0)
    assert_nothing_committed(pipeline, sandbox, result)
    assert "has been cancelled" in result.message
    assert sandbox.jobs() == {"created": 1, "running": 0, "cancelled": 1}
    pipeline.succeed()
    assert_delivered(pipeline, sandbox)


@pytest.mark.parametrize("mode", ["409", "429", "429-template", "cancel-old"])
def test_job_with_our_filters_that_runs_already_is_adopted(pipeline: Pipeline, sandbox: Sandbox, mode: str) -> None:
    """A worker is lost with its run's folder; the job that it had asked for still runs."""
    sandbox.tenable("options", {"duplicate_mode": mode})
    # pyTenable repeats a 429 before it tells us (with all its retries, for 15 seconds): the job has to run for longer
    # than that.
    sandbox.fault({"on": "job", "kind": "vulns", "do": "late", "seconds": 8.0 if mode.startswith("429") else 4.0})
    assert pipeline.run("run-lost", crash_at="export_asked_for:2").killed
    pipeline.succeed("run-2", tenable_retries=1)
    assert sandbox.jobs()["created"] == 1
    assert sandbox.jobs()["running"] == 0
    assert_delivered(pipeline, sandbox)


def test_job_with_other_filters_is_not_adopted(pipeline: Pipeline, sandbox: Sandbox) -> None:
    """The refusal names a job that is not ours, as may happen with filters that Tenable takes for the same."""
    sandbox.tenable("options", {"prepare_seconds": 1.0})
    assert pipeline.run("run-lost", crash_at="export_asked_for:2", params={"severities": ["critical"]}).killed
    other = sandbox.tenable("stats")["exports"][-1]["uuid"]
    body = {
        "active_job_id": other,
        "failure_reason": "Duplicate export not allowed. Please modify the request or wait until existing export is "
        "complete.",
    }
    sandbox.fault({"on": "vulns_export", "do": "status", "status": 409, "body": body, "times": 2})
    pipeline.succeed("run-2")
    assert sandbox.jobs()["created"] == 2
    assert_delivered(pipeline, sandbox)


@pytest.mark.parametrize(
    "path", ["assets/export", "assets/v2/export"], ids=["version 1", "version 2 without resource tags"]
)
def test_export_of_another_tool_with_our_filters_is_left_alone(pipeline: Pipeline, sandbox: Sandbox, path: str) -> None:
    """The task dies before its request; then another tool requests the same filters in a form that we cannot use."""
    # The worker's clock is Tenable's: only a job that was created after the lost request is taken for ours.
    clock = float(sandbox.tenable("clock")["now"]) - time.time()
    assert pipeline.run(crash_at="export_request_noted", clock=clock).killed
    ours = json.loads((pipeline.run_folder() / "assets" / "export.json").read_text())["body"]
    answer = sandbox.client.post(
        f"{sandbox.process.tenable}/{path}",
        headers={"X-ApiKeys": f"accessKey={ACCESS_KEY};secretKey={SECRET_KEY}"},
        json={"chunk_size": ours["chunk_size"], "filters": ours["filters"]},
    )
    foreign = answer.json()["export_uuid"]
    pipeline.succeed(clock=clock)
    assert f"The assets export {foreign} has our filters, but somebody else requested it" in pipeline.log
    assert sandbox.jobs("assets") == {"created": 2, "running": 0, "cancelled": 0}
    assert_delivered(pipeline, sandbox)
    assert any(finding["Resources"][0].get("Tags") for finding in sandbox.documents().values())


@pytest.fixture(params=["1", "4"], ids=["one at a time", "both at once"])
def two_chunks(
    request: pytest.FixtureRequest, zygote: Zygote, small_sandbox: Sandbox, pipeline: Pipeline
) -> Iterator[Pipeline]:
    """The DAG with 60 hosts in chunks of 50, downloaded one after the other, or at the same time."""
    small_sandbox.reset()
    # Both are there when the export is polled first.
    small_sandbox.tenable("options", {"prepare_seconds": 0})
    env = {"AIRFLOW__TENABLE__NUM_ASSETS": "50", "AIRFLOW__TENABLE__CHUNK_DOWNLOADS": request.param}
    yield Pipeline(zygote, small_sandbox, pipeline.folder / "small", env=env)
    small_sandbox.reset()


@pytest.mark.parametrize(
    "fault",
    [
        {"do": "status", "status": 429, "headers": {"Retry-After": "1"}},
        {"do": "status", "status": 400},
        {"do": "status", "status": 410},
        {"do": "truncate", "keep_bytes": 2048},
        {"do": "body", "body": "[{"},
    ],
    ids=["too many requests", "not ready", "expired", "cut", "no array"],
)
def test_chunk_that_is_spoilt_beside_another_costs_no_record(
    two_chunks: Pipeline, small_sandbox: Sandbox, fault: dict[str, Any]
) -> None:
    small_sandbox.fault({"on": "vulns_chunk", **fault})
    two_chunks.succeed()
    assert_delivered(two_chunks, small_sandbox)
    assert small_sandbox.jobs()["created"] == (2 if fault.get("status") == 410 else 1)


def test_retry_of_an_export_fetches_no_chunk_twice(two_chunks: Pipeline, small_sandbox: Sandbox) -> None:
    assert two_chunks.run(
        crash_at="chunk_staged:2", patches={"airflow_provider_tenable.export.download:_SAVE_EVERY": 1}
    ).killed
    fetched = small_sandbox.tenable("stats")["calls"].get("vulns_chunk", 0)
    two_chunks.succeed()
    assert differences(small_sandbox.held(), expected(small_sandbox.truth(), small_sandbox.accounts)) == {}
    chunks = small_sandbox.tenable("stats")["exports"][-1]["chunks"]
    # Again: the one that was staged and not yet on record, and what was on its way beside it.
    again = min(chunks, int(two_chunks.env["AIRFLOW__TENABLE__CHUNK_DOWNLOADS"]))
    assert small_sandbox.tenable("stats")["calls"]["vulns_chunk"] <= chunks + again
    assert fetched <= chunks
