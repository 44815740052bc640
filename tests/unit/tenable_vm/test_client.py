"""Tenable's API over real sockets: what each answer becomes."""

from __future__ import annotations

import json
import socket

import pytest

from airflow_provider_tenable.exceptions import (
    ChunkNotReadyError,
    ConfigurationError,
    DuplicateExportError,
    ExportLimitError,
    ExportNotFoundError,
    TemporaryError,
    TenableAuthError,
    TenablePermissionError,
    TenableProviderError,
    TenableRequestError,
)
from airflow_provider_tenable.hooks.tenable import new_client
from airflow_provider_tenable.tenable_vm.client import TenableApi
from airflow_provider_tenable.tenable_vm.decode import count_blocks
from airflow_provider_tenable.tenable_vm.jobs import Job, JobStatus
from tests.local_server import ACCESS, SECRET, client_arguments
from tests.plain_ids import plain

JOB = "1d896500-2f92-467c-aa4d-6fe8d007b127"
ASSET = "5d0e6bd6-2b7b-4f4c-9a3e-0d5c9f0a7b11"
HTML = b"<html><body><h1>nginx says no</h1></body></html>"


def api_at(url, *, retries=0, **options):
    return TenableApi(
        new_client(client_arguments(url, **options), retries=retries),
        name="connection 'tenable_default'",
        repeats=retries,
    )


@pytest.fixture
def api(server):
    made = api_at(server.url)
    yield made
    made._client._session.close()


CALLS = {
    "start": lambda api: api.start("vulnerabilities", {"num_assets": 50, "filters": {}}),
    "status": lambda api: api.status("vulnerabilities", JOB),
    "chunk": lambda api: api.chunk("vulnerabilities", JOB, 1),
    "cancel": lambda api: api.cancel("vulnerabilities", JOB),
    "jobs": lambda api: api.jobs("vulnerabilities"),
    "who_am_i": lambda api: api.who_am_i(),
    "asset": lambda api: api.asset(ASSET),
}
T, C, A, R, N, D, K = (
    TemporaryError,
    ConfigurationError,
    TenableAuthError,
    TenableRequestError,
    ExportNotFoundError,
    DuplicateExportError,
    ChunkNotReadyError,
)
#: Status -> the error's exact class, by call; None where the call bears it.
TABLE = {
    400: {"start": R, "status": R, "chunk": K, "cancel": None, "jobs": R, "who_am_i": R, "asset": None},
    401: dict.fromkeys(CALLS, A),
    403: {**dict.fromkeys(CALLS, TenablePermissionError), "asset": None},
    404: {"start": N, "status": N, "chunk": N, "cancel": None, "jobs": N, "who_am_i": N, "asset": None},
    405: {"start": R, "status": R, "chunk": K, "cancel": None, "jobs": R, "who_am_i": R, "asset": None},
    408: dict.fromkeys(CALLS, T),
    409: {**dict.fromkeys(CALLS, T), "start": D},
    410: {"start": N, "status": N, "chunk": N, "cancel": None, "jobs": N, "who_am_i": N, "asset": None},
    415: {"start": R, "status": R, "chunk": K, "cancel": None, "jobs": R, "who_am_i": R, "asset": None},
    422: {"start": R, "status": R, "chunk": K, "cancel": None, "jobs": R, "who_am_i": R, "asset": None},
    425: dict.fromkeys(CALLS, T),
    429: {**dict.fromkeys(CALLS, T), "start": ExportLimitError},
    500: dict.fromkeys(CALLS, T),
    502: dict.fromkeys(CALLS, T),
    503: dict.fromkeys(CALLS, T),
    504: dict.fromkeys(CALLS, T),
    599: dict.fromkeys(CALLS, T),
}


def told(call, api):
    """The error of a call, which must never hold a key."""
    try:
        CALLS[call](api)
    except TenableProviderError as error:
        for text in (str(error), repr(error), repr(error.__cause__), repr(api), repr(vars(error))):
            assert ACCESS not in text
            assert SECRET not in text
        return error
    return None


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", TABLE)
def test_each_status_of_each_call_means_what_the_table_says(server, api, call, status):
    server.answer(status, {"error": "some words of Tenable's"})
    error = told(call, api)
    assert type(error) is (TABLE[status][call] or type(None))
    assert len(server.requests) == 1
    if error is not None and not isinstance(error, DuplicateExportError):
        assert f"Tenable returned {status}" in str(error)
        assert str(error).startswith("Cannot ")
        if status not in (401, 403):
            assert "some words of Tenable's" in str(error)


def test_an_asset_that_the_user_may_not_see_is_one_that_is_not_known_and_said_once(server, api, caplog):
    server.answer(403, {"error": "Forbidden"})
    assert [api.asset(ASSET), api.asset(ASSET)] == [None, None]
    (record,) = [record for record in caplog.records if "parked" in record.getMessage()]
    assert f"Cannot look up asset {ASSET}: Tenable returned 403" in record.getMessage()
    assert "'Can View'" in record.getMessage()
    # Keys that are not valid stop the task.
    server.answer(401, {"error": "Invalid Credentials"})
    with pytest.raises(TenableAuthError):
        api.asset(ASSET)


def test_refused_keys_say_where_new_ones_go(server, api):
    server.answer(401, {"error": "secret words"})
    text = str(told("status", api))
    assert (
        "The API keys of connection 'tenable_default' are not valid (any more). Generate a pair for the API user and "
        "put it into the connection." in text
    )


def test_a_missing_right_names_the_rights_that_are_needed(server, api):
    server.answer(403)
    text = str(told("start", api))
    assert (
        "The API user of connection 'tenable_default' lacks permission for this. It needs 'Can View' on the assets, "
        "and the right to export" in text
    )


@pytest.mark.parametrize("status", [400, 429, 500, 503])
def test_a_page_of_html_stays_out_of_the_message(server, api, status):
    server.answer(status, HTML, Content_Type="text/html")
    text = str(told("jobs", api))
    assert text.startswith(f"Cannot list the vulnerabilities exports: Tenable returned {status}")
    assert "nginx" not in text


def test_a_long_answer_is_quoted_in_part_and_on_one_line(server, api):
    server.answer(400, b'{"error":\n\n  "' + b"x" * 100_000 + b'"}')
    text = str(told("start", api))
    assert len(text) < 500
    assert "\n" not in text


@pytest.mark.parametrize("status", [400, 409, 429, 500])
@pytest.mark.parametrize("call", ["start", "status"])
def test_an_answer_that_repeats_the_request_does_not_bring_the_keys_into_the_message(server, api, status, call):
    server.answer(status, {"request": {"X-ApiKeys": f"accessKey={ACCESS};secretKey={SECRET}"}})
    assert told(call, api) is not None


# Duplicates.


@pytest.mark.parametrize(
    ("status", "body", "job"),
    [
        (409, {"active_job_id": JOB, "failure_reason": "duplicate"}, JOB),
        (409, {"failure_reason": "duplicate"}, None),
        (409, HTML, None),
        (409, b"", None),
        (
            429,
            {
                "error": "Duplicate export not allowed. Please modify request or wait until existing export is "
                f"complete. (job_uuid={JOB})"
            },
            JOB,
        ),
        (429, b'{"error":"Duplicate export","values":["' + JOB.upper().encode() + b'"]}', JOB.upper()),
    ],
    ids=str,
)
def test_a_duplicate_names_the_running_job_where_tenable_does(server, api, status, body, job):
    server.answer(status, body)
    error = told("start", api)
    assert type(error) is DuplicateExportError
    assert error.job_uuid == job


@pytest.mark.parametrize("body", [HTML, {"error": "Too many requests"}, {"job_uuid": "no uuid"}])
def test_a_429_that_names_no_job_says_that_no_export_slot_is_free(server, api, body):
    server.answer(429, body)
    assert type(told("start", api)) is ExportLimitError
    server.answer(429, body)
    assert type(told("status", api)) is TemporaryError


# What goes over the wire.


def test_the_request_for_an_export_is_sent_as_it_is_with_the_keys_and_our_name(server, api):
    server.answer(200, {"export_uuid": JOB})
    body = {"num_assets": 50, "include_unlicensed": True, "filters": {"state": ["OPEN"], "since": 1}}
    assert api.start("vulnerabilities", body) == JOB
    ((method, path, headers, sent),) = server.requests
    assert (method, path, json.loads(sent)) == ("POST", "/vulns/export", body)
    keys = {name.lower(): value for name, value in headers.items()}
    assert ACCESS in keys["x-apikeys"]
    assert SECRET in keys["x-apikeys"]
    assert "airflow-provider-tenable" in keys["user-agent"]


@pytest.mark.parametrize(
    ("kind", "start", "base"),
    [
        ("vulnerabilities", "/vulns/export", "/vulns/export"),
        ("assets", "/assets/v2/export", "/assets/export"),
        ("compliance", "/compliance/export", "/compliance/export"),
        ("was", "/was/v1/export/vulns", "/was/v1/export/vulns"),
    ],
)
def test_each_kind_has_its_paths(server, api, kind, start, base):
    server.answer(200, {"export_uuid": JOB, "status": "QUEUED"})
    api.start(kind, {})
    api.status(kind, JOB)
    api.chunk(kind, JOB, 12)
    api.cancel(kind, JOB)
    api.jobs(kind)
    assert [(method, path) for method, path, _, _ in server.requests] == [
        ("POST", start),
        ("GET", f"{base}/{JOB}/status"),
        ("GET", f"{base}/{JOB}/chunks/12"),
        ("POST", f"{base}/{JOB}/cancel"),
        ("GET", f"{base}/status"),
    ]
    # An empty body is refused (415) where Tenable wants JSON.
    assert json.loads(server.requests[0][3]) == {}


WAS_CALLS = {
    "start": lambda api: api.start("was", {"num_assets": 50, "filters": {}}),
    "status": lambda api: api.status("was", JOB),
    "chunk": lambda api: api.chunk("was", JOB, 1),
    "cancel": lambda api: api.cancel("was", JOB),
    "jobs": lambda api: api.jobs("was"),
}


@pytest.mark.parametrize("call", sorted(WAS_CALLS.keys() - {"cancel"}))
def test_a_refusal_of_web_app_scanning_says_that_it_may_be_about_the_licence(server, api, call):
    server.answer(403, {"error": "Forbidden"})
    with pytest.raises(TenablePermissionError) as caught:
        WAS_CALLS[call](api)
    text = str(caught.value)
    assert "'Can View' on the assets" in text
    assert "no licence of Tenable Web App Scanning, or that the role of the API user does not include it" in text
    assert text.endswith("pause this DAG.")
    # The other kinds need no such licence.
    with pytest.raises(TenablePermissionError) as caught:
        CALLS[call](api)
    assert "Web App Scanning" not in str(caught.value)


def test_a_container_whose_api_does_not_know_web_applications_is_not_asked_again_and_again(server, api):
    server.answer(404, {"message": "no such path"})
    with pytest.raises(
        TenablePermissionError, match=r"404 .*: .*no such path.*\. This can also mean that the container"
    ):
        WAS_CALLS["start"](api)
    # A job that is gone is requested again, as of the other kinds.
    for call in ("status", "chunk"):
        with pytest.raises(ExportNotFoundError):
            WAS_CALLS[call](api)
    assert WAS_CALLS["cancel"](api) is None


def test_duplicates_and_limits_of_web_app_scanning_are_those_of_the_other_exports(server, api):
    server.answer(409, {"active_job_id": JOB, "failure_reason": "conflict"})
    with pytest.raises(DuplicateExportError) as caught:
        WAS_CALLS["start"](api)
    assert caught.value.job_uuid == JOB
    server.answer(429)
    with pytest.raises(ExportLimitError):
        WAS_CALLS["start"](api)


def test_a_path_of_the_connections_url_is_kept(server):
    server.answer(200, {"username": "u"})
    api = api_at(server.url + "/proxy")
    assert api.who_am_i() == "u"
    assert server.requests[0][1] == "/proxy/session"
    api._client._session.close()


# Answers.


def test_a_status_is_read(server, api):
    import pathlib

    sample = json.loads(
        (pathlib.Path(__file__).resolve().parents[2] / "data" / "vulns_export_status_official_example.json").read_text()
    )
    server.answer(200, sample)
    assert api.status("vulnerabilities", JOB) == JobStatus(
        "FINISHED", frozenset(range(1, 11)), frozenset(), None, sample["filters"], 50, 1_732_582_396.387, 10, 10
    )


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"status": "processing"}, JobStatus("PROCESSING")),
        (
            {
                "status": "FINISHED",
                "chunks_available": [3, 1],
                "chunks_failed": [2],
                "chunks_cancelled": [4],
                "reason": "r",
            },
            JobStatus("FINISHED", frozenset({1, 3}), frozenset({2, 4}), "r"),
        ),
        (
            {"status": "QUEUED", "chunks_available": None, "chunks_failed": None, "reason": "", "created": 0},
            JobStatus("QUEUED"),
        ),
        (
            {"status": "FINISHED", "chunks_available": ["7"], "chunks_failed": ["8"]},
            JobStatus("FINISHED", frozenset({7}), frozenset({8})),
        ),
        ({"status": "READY", "num_findings": 500, "created": 1500}, JobStatus("READY", chunk_size=500, created=1.5)),
        (
            {"status": "FINISHED", "chunks_available": [], "created": "soon", "num_assets_per_chunk": "many"},
            JobStatus("FINISHED"),
        ),
    ],
    ids=str,
)
def test_a_status_may_lack_nearly_everything(server, api, answer, status):
    server.answer(200, answer)
    assert api.status("vulnerabilities", JOB) == status


@pytest.mark.parametrize(
    "listed", [{}, {"chunks_available": None}, {"chunks_available": {}}, {"chunks_available": ""}], ids=str
)
def test_a_finished_job_that_does_not_list_its_chunks_is_asked_again(server, api, listed):
    server.answer(200, {"status": "finished", **listed})
    with pytest.raises(TemporaryError, match=f"{JOB} as FINISHED without a list chunks_available"):
        api.status("vulnerabilities", JOB)


@pytest.mark.parametrize(
    ("counts", "counted"),
    [
        ({"total_chunks": 3, "chunks_available_count": 3, "empty_chunks_count": 0}, 3),
        ({"total_chunks": 5, "chunks_failed": [4], "chunks_cancelled": [5], "empty_chunks_count": 1}, 2),
        ({"total_chunks": 2, "chunks_available_count": 4}, 4),
        ({"total_chunks": 4, "chunks_available_count": 4, "empty_chunks_count": 1}, 4),
        ({"total_chunks": True, "chunks_available_count": "3", "empty_chunks_count": None}, 0),
        ({"total_chunks": -1, "chunks_available_count": 10**12}, 0),
        ({}, 0),
    ],
    ids=str,
)
def test_a_job_counts_the_chunks_that_it_must_list(server, api, counts, counted):
    server.answer(200, {"status": "FINISHED", "chunks_available": [1], **counts})
    assert max(api.status("vulnerabilities", JOB).counted_chunks, 0) == counted


@pytest.mark.parametrize("listed", [5, {"a": 1}, ["x"], [[1]], [None], [{}], "abc"], ids=str)
@pytest.mark.parametrize("field", ["chunks_available", "chunks_failed", "chunks_cancelled"])
def test_chunks_that_cannot_be_read_are_never_taken_for_none(server, api, field, listed):
    server.answer(200, {"status": "PROCESSING", field: listed})
    with pytest.raises(TemporaryError, match="lists invalid chunks"):
        api.status("vulnerabilities", JOB)


@pytest.mark.parametrize("answer", [{}, {"status": None}, {"status": 7}, [], None, "FINISHED", 5], ids=str)
def test_an_answer_without_a_status_is_temporary(server, api, answer):
    server.answer(200, answer)
    with pytest.raises(TemporaryError, match=f"response about vulnerabilities export {JOB} contains no status"):
        api.status("vulnerabilities", JOB)


@pytest.mark.parametrize(
    "answer", [{}, {"export_uuid": None}, {"export_uuid": ""}, {"export_uuid": 7}, [], None], ids=str
)
def test_an_answer_without_a_job_is_temporary(server, api, answer):
    server.answer(200, answer)
    with pytest.raises(TemporaryError, match="contains no export_uuid"):
        api.start("assets", {})


def test_the_list_of_jobs_is_read(server, api):
    import pathlib

    sample = (
        pathlib.Path(__file__).resolve().parents[2] / "data" / "vulns_export_jobs_official_example.json"
    ).read_bytes()
    server.answer(200, sample)
    jobs = api.jobs("vulnerabilities")
    exports = json.loads(sample)["exports"]
    assert jobs[0] == Job(exports[0]["uuid"], "FINISHED", exports[0]["filters"], 50, 1_613_694_529.186)
    assert [job.uuid for job in jobs] == [entry["uuid"] for entry in exports]
    assert jobs[2].status == "ERROR"


@pytest.mark.parametrize(
    "answer",
    [{}, {"exports": None}, {"exports": 5}, {"exports": {}}, [], None, {"exports": [None, 7, {}, {"uuid": None}]}],
    ids=str,
)
def test_a_list_of_jobs_that_holds_none_is_empty(server, api, answer):
    server.answer(200, answer)
    assert api.jobs("assets") == []


def test_a_job_in_the_list_may_lack_nearly_everything(server, api):
    server.answer(200, {"exports": [{"uuid": JOB}]})
    assert api.jobs("assets") == [Job(JOB, "", None, None, None)]


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"[{", b"\xff\x00", HTML])
def test_a_chunk_is_handed_on_byte_by_byte(server, api, body):
    server.answer(200, body, Content_Type="application/octet-stream")
    assert api.chunk("vulnerabilities", JOB, 1) == body


def test_an_empty_chunk_is_one_only_where_the_answer_says_so(server, api):
    server.answers = [
        lambda handler: _raw(handler, b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n")
    ]
    with pytest.raises(TemporaryError, match="was cut off"):
        api.chunk("vulnerabilities", JOB, 1)
    server.answers = [lambda handler: _raw(handler, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")]
    assert api.chunk("vulnerabilities", JOB, 1) == b""


@pytest.mark.parametrize("answer", [{"username": "u", "name": "n", "uuid": "x"}, {"name": "u"}, {"uuid": "u"}])
def test_the_user_is_called_by_the_first_name_there_is(server, api, answer):
    server.answer(200, answer)
    assert api.who_am_i() == "u"


def test_a_user_without_a_name_is_one_still(server, api):
    server.answer(200, {})
    assert api.who_am_i() == "an unnamed user"


@pytest.mark.parametrize("answer", [[], None, "x", 5], ids=str)
def test_an_answer_that_is_no_object_is_temporary(server, api, answer):
    server.answer(200, answer)
    with pytest.raises(TemporaryError):
        api.who_am_i()


def test_tenables_clock_is_read_from_its_answer(server, api):
    server.answers = [
        lambda handler: _raw(
            handler, b"HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 14:02:03 GMT\r\nContent-Length: 2\r\n\r\n{}"
        )
    ]
    assert api.server_time() == 1_795_442_523


def test_an_answer_without_a_readable_date_tells_no_time(server, api):
    server.answers = [
        lambda handler: _raw(handler, b"HTTP/1.1 200 OK\r\nDate: long ago\r\nContent-Length: 2\r\n\r\n{}")
    ]
    assert api.server_time() is None


@pytest.mark.parametrize(
    ("answer", "details"),
    [({"id": ASSET}, {"id": ASSET}), ({"id": ASSET.upper()}, {"id": ASSET.upper()}), ([], None), (None, None)],
)
def test_an_asset_is_looked_up(server, api, answer, details):
    server.answer(200, answer)
    assert api.asset(ASSET) == details
    assert server.requests[0][1] == f"/assets/{ASSET}"


# Ids that Tenable, or a record, tells.


NO_UUIDS = [
    "../users",
    "..%2fusers",
    "",
    ".",
    "a",
    ASSET[:-1],
    ASSET + "0",
    ASSET + "/../../users",
    f"../{ASSET}",
    ASSET + "?x=1",
    ASSET + "#",
    ASSET + "\n",
    "\n" + ASSET,
    ASSET.replace("-", ""),
    "{" + ASSET + "}",
    f"urn:uuid:{ASSET}",
    ASSET.replace("5", "\u0665"),
    ASSET.replace("-", "\u2010"),
    "session",
    "x" * 10_000,
]


@pytest.mark.parametrize("asset_id", [*NO_UUIDS, None, 7, ["a"]], ids=plain)
def test_an_asset_whose_id_is_not_a_uuid_is_not_asked_for(server, api, asset_id):
    server.answer(200, {"id": asset_id})
    assert api.asset(asset_id) is None
    assert server.requests == []


@pytest.mark.parametrize(
    "answered",
    [JOB, "", None, 7, "../users", ASSET[:-1] + "0", [ASSET], {"id": ASSET}, "line\nbreak \x1b[31m"],
    ids=plain,
)
def test_an_answer_about_another_asset_is_not_believed_and_said_once(server, api, caplog, answered):
    server.answer(200, {"id": answered, "aws_owner_id": ["111122223333"]})
    for _ in range(3):
        assert api.asset(ASSET) is None
    assert len(server.requests) == 3
    (record,) = [record for record in caplog.records if "was asked for asset" in record.getMessage()]
    assert record.getMessage().startswith(f"Tenable was asked for asset {ASSET} but returned asset ")
    assert "records of the asset are parked" in record.getMessage()
    assert record.getMessage().isprintable()


@pytest.mark.parametrize("job", NO_UUIDS, ids=plain)
def test_an_export_whose_id_is_not_a_uuid_is_neither_taken_nor_asked_for(server, api, job):
    server.answer(200, {"export_uuid": job})
    with pytest.raises(
        TemporaryError, match=r"contains no export_uuid|contains the export_uuid .*, which is not a UUID\.$"
    ) as failure:
        api.start("vulnerabilities", {})
    assert len(str(failure.value)) < 300
    assert str(failure.value).isprintable()
    server.answer(200, {"status": "FINISHED"})
    asked = len(server.requests)
    for call in (api.status, lambda kind, job: api.chunk(kind, job, 1)):
        with pytest.raises(ExportNotFoundError, match="an export id must be a UUID"):
            call("vulnerabilities", job)
    api.cancel("vulnerabilities", job)
    assert len(server.requests) == asked


def test_jobs_whose_ids_are_not_uuids_are_left_out_and_said_once(server, api, caplog):
    server.answer(
        200,
        {
            "exports": [
                {"uuid": JOB, "status": "PROCESSING"},
                *({"uuid": job, "status": "PROCESSING"} for job in [*NO_UUIDS, 7, ["a"]]),
            ]
        },
    )
    for _ in range(2):
        assert [job.uuid for job in api.jobs("vulnerabilities")] == [JOB]
    (record,) = [record for record in caplog.records if "not UUIDs" in record.getMessage()]
    assert "vulnerabilities exports whose ids are not UUIDs, such as '../users'" in record.getMessage()


@pytest.mark.parametrize("body", [f"job_uuid=../{JOB[:-1]}", "../users", f"x{JOB[:20]}"])
def test_a_duplicate_that_names_no_uuid_names_no_job(server, api, body):
    server.answer(409, {"active_job_id": body})
    assert told("start", api).job_uuid is None


@pytest.mark.parametrize(
    "chunk",
    [
        -1,
        "-1",
        1.5,
        1.0,
        True,
        False,
        "../../users",
        "1/../2",
        "1 ",
        " 1",
        "+1",
        "1_0",
        "\u0661",
        "",
        "9" * 10,
        10**9,
        10**30,
        "1\n",
        None,
        [1],
        {"a": 1},
    ],
    ids=plain,
)
@pytest.mark.parametrize("field", ["chunks_available", "chunks_failed", "chunks_cancelled"])
def test_a_chunk_whose_id_is_no_whole_number_is_neither_fetched_nor_forgotten(server, api, field, chunk):
    server.answer(200, {"status": "FINISHED", "chunks_available": [], field: [1, chunk]})
    with pytest.raises(TemporaryError, match="lists invalid chunks") as failure:
        api.status("vulnerabilities", JOB)
    assert str(failure.value).isprintable()


@pytest.mark.parametrize("chunk", [0, 1, 999_999_999, "0", "1", "007"])
def test_a_chunk_with_a_number_is_listed(server, api, chunk):
    server.answer(200, {"status": "FINISHED", "chunks_available": [chunk]})
    assert api.status("vulnerabilities", JOB).chunks == {int(chunk)}


@pytest.mark.parametrize("chunk", ["1/../../users", "..", None])
def test_only_a_number_is_asked_for_as_a_chunk(server, api, chunk):
    server.answer(200, b"[]")
    with pytest.raises((ValueError, TypeError)):
        api.chunk("vulnerabilities", JOB, chunk)
    assert server.requests == []


# The way there.


def _raw(handler, data, *, reset=False):
    handler.wfile.write(data)
    handler.wfile.flush()
    handler.close_connection = True
    if reset:
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    handler.connection.close()


BROKEN_WAYS = {
    "reset": lambda handler: _raw(handler, b"", reset=True),
    "closed": lambda handler: _raw(handler, b""),
    "truncated head": lambda handler: _raw(handler, b"HTTP/1.1 200 OK\r\nContent-Le"),
    "truncated body": lambda handler: _raw(
        handler, b'HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{"status": "FINISHED"}'
    ),
    "truncated chunked": lambda handler: _raw(
        handler, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1,2"
    ),
    "bad chunked": lambda handler: _raw(handler, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfive\r\n[1,2"),
    "bad gzip": lambda handler: _raw(
        handler, b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"
    ),
    "no http": lambda handler: _raw(handler, b"SSH-2.0-OpenSSH_9.6\r\n"),
}


@pytest.mark.parametrize("way", BROKEN_WAYS)
@pytest.mark.parametrize("call", [call for call in CALLS if call != "cancel"])
def test_an_answer_that_is_cut_off_is_temporary_and_never_half_an_answer(server, api, call, way):
    server.answers = [BROKEN_WAYS[way]]
    assert type(told(call, api)) is TemporaryError


@pytest.mark.parametrize("body", [b"", b"{", b'{"status": "FINI', HTML, b"\xff\xfe", b"[" * 100_000])
@pytest.mark.parametrize("call", ["start", "status", "jobs", "who_am_i", "asset"])
def test_an_answer_that_is_no_json_is_temporary(server, api, call, body):
    server.answer(200, body)
    assert type(told(call, api)) is TemporaryError


BROKEN_BODIES = {
    **{way: BROKEN_WAYS[way] for way in ("truncated body", "truncated chunked", "bad chunked")},
    "bad gzip": (200, {"Content-Encoding": "gzip"}, b"hello"),
}


@pytest.mark.parametrize("way", BROKEN_BODIES)
@pytest.mark.parametrize("call", [call for call in CALLS if call != "cancel"])
def test_a_body_that_breaks_off_is_asked_for_as_often_as_pytenable_repeats_a_request(server, naps, call, way):
    """pyTenable has handed the answer on by then: its own retries are over."""
    api = api_at(server.url, retries=2)
    server.answers = [BROKEN_BODIES[way]] * 2 + [
        (
            200,
            {},
            b'{"status": "FINISHED", "chunks_available": [], "export_uuid": "%s", "exports": [], "username": "u"}'
            % JOB.encode(),
        )
    ]
    CALLS[call](api)
    assert len(server.requests) == 3
    assert naps == [1, 1]
    server.answers = [BROKEN_BODIES[way]]
    assert type(told(call, api)) is TemporaryError
    assert len(server.requests) == 6
    api._client._session.close()


@pytest.mark.parametrize("way", BROKEN_BODIES)
def test_a_chunk_that_breaks_off_is_received_again_from_its_first_piece_on(server, way):
    api = api_at(server.url, retries=1)
    server.answers = [BROKEN_BODIES[way], (200, {}, b"[{}, {}, {}]")]
    begun = []

    def receive(pieces):
        begun.append(1)
        return count_blocks(pieces)

    assert api.receive_chunk("vulnerabilities", JOB, 1, receive) == 3
    assert len(begun) == 2
    api._client._session.close()


def test_a_host_that_is_not_there_says_what_to_check():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    api = api_at(f"http://127.0.0.1:{port}")
    text = str(told("who_am_i", api))
    assert f"Cannot identify the user: http://127.0.0.1:{port} is not reachable (" in text
    assert "Check the URL of connection 'tenable_default' and the network path." in text
    api._client._session.close()


def test_an_answer_that_takes_too_long_is_temporary(server):
    import threading

    done = threading.Event()
    server.answers = [lambda handler: done.wait(5)]
    api = api_at(server.url, timeout=0.2)
    error = told("status", api)
    done.set()
    assert type(error) is TemporaryError
    assert "not reachable" in str(error)
    api._client._session.close()


def test_a_server_without_tls_behind_https_is_told(server):
    server.answer()
    api = api_at(server.url.replace("http:", "https:"))
    error = told("status", api)
    assert type(error) in (ConfigurationError, TemporaryError)
    assert "https://127.0.0.1" in str(error)
    api._client._session.close()


def test_a_ca_bundle_that_is_not_there_is_a_configuration_error():
    api = api_at("https://127.0.0.1:1", ssl_verify="/no/such/bundle.pem")
    error = told("status", api)
    assert type(error) is ConfigurationError
    assert "Extra 'verify' of connection 'tenable_default' must be true, false, or the path of a CA bundle" in str(
        error
    )
    api._client._session.close()


def test_a_dead_proxy_is_temporary_and_its_password_stays_secret():
    api = api_at("https://cloud.tenable.invalid", proxies={"https": "http://user:canaryProxyPassword@127.0.0.1:1"})
    error = told("status", api)
    assert type(error) is TemporaryError
    assert "the proxy of connection 'tenable_default' does not respond" in str(error)
    assert "canaryProxyPassword" not in str(error) + repr(error)
    api._client._session.close()


def test_a_redirect_elsewhere_is_a_configuration_error_through_pytenable_too(server, other_server, api):
    server.answer(302, Location=other_server.url)
    assert type(told("status", api)) is ConfigurationError
    assert other_server.requests == []


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_pytenable_repeats_what_may_pass_and_sleeps_as_the_capped_header_says(server, naps, status):
    api = TenableApi(new_client(client_arguments(server.url), retries=3), name="c")
    busy = (status, {"Retry-After": "86400"}, b"")
    server.answers = [busy, busy, (200, {}, b'{"status": "QUEUED"}')]
    assert api.status("assets", JOB).status == "QUEUED"
    assert naps == [300.0, 300.0]
    api._client._session.close()
