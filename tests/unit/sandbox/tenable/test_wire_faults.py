"""The faults that any operation can be struck with, as a client on the other end of a socket sees them."""

import time

import httpx
import pytest
from running_tenable import Running
from starlette.responses import Response

from sandbox.repeating import FORMS, PLACES
from sandbox.tenable.access import ACCESS_KEY, SECRET_KEY
from sandbox.tenable.large_chunks import swollen
from tests.faults.canary import repeats


def test_status_answers_without_carrying_out(running: Running) -> None:
    order = {"on": "vulns_export", "do": "status", "status": 503, "headers": {"Retry-After": "7"}, "body": {"oops": 1}}
    running.control("faults", order)
    answer = running.http.post("/vulns/export", json={})
    assert (answer.status_code, answer.headers["retry-after"], answer.json()) == (503, "7", {"oops": 1})
    assert running.control("stats")["jobs"]["vulns"]["created"] == 0


def test_late_status_carries_out_all_the_same(running: Running) -> None:
    running.control("faults", {"on": "vulns_export", "do": "late_status", "status": 504})
    assert running.http.post("/vulns/export", json={}).status_code == 504
    assert running.control("stats")["jobs"]["vulns"]["created"] == 1


def test_reset_closes_the_connection_without_carrying_out(running: Running) -> None:
    running.control("faults", {"on": "vulns_export", "do": "reset"})
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        running.http.post("/vulns/export", json={})
    assert running.control("stats")["jobs"]["vulns"]["created"] == 0


def test_lose_answer_carries_out_and_closes_the_connection(running: Running) -> None:
    running.control("faults", {"on": "vulns_export", "do": "lose_answer"})
    with pytest.raises(httpx.RemoteProtocolError):
        running.http.post("/vulns/export", json={})
    assert running.control("stats")["jobs"]["vulns"]["created"] == 1


def test_truncate_cuts_the_body_of_one_chunk(running: Running) -> None:
    uuid = running.start(num_assets=50, filters={"since": 1})
    first, *rest = running.status(uuid)["chunks_available"]
    running.control("faults", {"on": "vulns_chunk", "do": "truncate", "keep_bytes": 1000, "match": {"chunk_id": first}})
    if rest:
        assert len(running.chunk(uuid, rest[0]).content) > 1000
    assert len(running.chunk(uuid, first).content) == 1000
    assert len(running.chunk(uuid, first).content) > 1000


def test_truncate_with_the_full_length_declared_is_an_incomplete_read(running: Running) -> None:
    running.control("faults", {"on": "session", "do": "truncate", "keep_bytes": 10, "declare_full": True})
    with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection"):
        running.http.get("/session")


@pytest.mark.parametrize("body", ["null", "", "{}", '[{"asset": '])
def test_body_is_sent_as_it_is(running: Running, body: str) -> None:
    running.control("faults", {"on": "session", "do": "body", "body": body})
    answer = running.http.get("/session")
    assert (answer.status_code, answer.text) == (200, body)


def test_slow_and_drip_take_their_time(running: Running) -> None:
    running.control(
        "faults",
        [
            {"on": "session", "do": "slow", "seconds": 0.2},
            {"on": "session", "do": "drip", "bytes": 100, "seconds": 0.05},
        ],
    )
    for _ in range(2):
        begun = time.monotonic()
        assert running.http.get("/session").json()["name"] == "Sandbox user"
        assert time.monotonic() - begun > 0.1


def test_faults_are_listed_and_cleared(running: Running) -> None:
    assert running.control("faults", {"on": "session", "do": "reset"}) == {"pending": 1}
    assert [fault["do"] for fault in running.control("faults")] == ["reset"]
    assert running.http.delete("/_sandbox/faults").json() == {"pending": 0}
    assert running.http.get("/session").status_code == 200


def test_a_wrong_fault_is_refused_with_the_reason(running: Running) -> None:
    answer = running.http.post("/_sandbox/faults", json={"on": "sesion", "do": "reset"})
    assert answer.status_code == 400
    assert "Unknown operation 'sesion'" in answer.json()["error"]


@pytest.mark.parametrize("gzipped", [False, True])
def test_swell_repeats_the_records_of_one_chunk(running: Running, gzipped: bool) -> None:
    uuid = running.start(num_assets=50, filters={"since": 1})
    chunk = running.status(uuid)["chunks_available"][0]
    small = running.chunk(uuid, chunk).json()
    running.control("faults", {"on": "vulns_chunk", "do": "swell", "bytes": 5_000_000, "gzip": gzipped})
    answer = running.chunk(uuid, chunk)
    assert answer.headers.get("content-encoding") == ("gzip" if gzipped else None)
    assert 5_000_000 <= len(answer.content) < 5_000_000 + 2 * len(running.chunk(uuid, chunk).content)
    records = answer.json()
    assert records[: len(small)] == small == records[-len(small) :]
    assert len(records) % len(small) == 0
    assert running.chunk(uuid, chunk).json() == small


def test_swell_leaves_an_error_and_a_chunk_without_records_as_they_are(running: Running) -> None:
    running.control("faults", {"on": "vulns_chunk", "do": "swell", "bytes": 5_000_000, "times": None})
    assert running.chunk("nonsense", 1).status_code == 404
    assert swollen(Response(b" [ ]"), 5_000_000, gzipped=True).body == b" [ ]"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", PLACES)
def test_secrets_of_the_request_are_repeated_in_the_form_and_place_that_is_ordered(
    running: Running, form: str, place: str
) -> None:
    running.control("faults", {"on": "session", "do": "repeat_secrets", "status": 400, "form": form, "place": place})
    with httpx.Client(base_url=running.url, headers=running.http.headers) as client:
        answer = client.get("/session")
    head = {
        "reason": answer.reason_phrase,
        "location": answer.headers.get("location"),
        "retry-after": answer.headers.get("retry-after"),
    }
    text = {"body": answer.text, "header": answer.headers.get("x-request"), **head}[place]
    assert answer.status_code == 400
    assert text
    assert repeats(text, ACCESS_KEY, SECRET_KEY)
    assert running.http.get("/session").status_code == 200
