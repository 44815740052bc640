"""Every answer of the session is bounded, whoever reads it, and is otherwise requests' own."""

from __future__ import annotations

import gzip
import io
import pathlib
import threading
import tracemalloc
from functools import partial

import pytest
import requests
import urllib3
from tenable.errors import APIError

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.hooks.tenable import new_client
from airflow_provider_tenable.tenable_vm import bounds, response_body
from airflow_provider_tenable.tenable_vm.session import GuardedSession
from tests.local_server import client_arguments

# pyTenable, and the library below it, use what they have deprecated themselves.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CHUNK = "vulns/export/0000/chunks/1"
LARGE = b"".join(b"%07d\n" % number for number in range(400_000))


@pytest.fixture
def session(server):
    with GuardedSession(server.url) as guarded:
        yield guarded


@pytest.fixture
def tio(server):
    client = new_client(client_arguments(server.url), retries=2)
    yield client
    client._session.close()


def raw(handler, data):
    handler.wfile.write(data)
    handler.wfile.flush()
    handler.close_connection = True
    handler.connection.close()


@pytest.mark.parametrize("encoding", [None, "gzip"])
@pytest.mark.parametrize("path", [CHUNK, "session"])
def test_an_answer_is_read_whatever_its_path_and_size(server, session, path, encoding):
    body = LARGE * 8
    assert len(body) > 25_000_000
    server.answer(
        200, gzip.compress(body, 1) if encoding else body, **({"Content_Encoding": encoding} if encoding else {})
    )
    assert session.get(f"{server.url}/{path}").content == body
    assert b"".join(session.get(f"{server.url}/{path}", stream=True).iter_content(1024 * 1024)) == body


@pytest.mark.parametrize("stream", [False, True])
def test_nothing_is_added_to_a_response(server, session, stream):
    server.answer(200, b"[]")
    url = f"{server.url}/{CHUNK}"
    # Closed, since a socket that the garbage collector closes is a warning in whichever test runs then.
    with session.get(url, stream=stream) as ours, requests.get(url, stream=stream, timeout=5) as plain:
        assert set(vars(ours)) == set(vars(plain))


# Size.


@pytest.mark.parametrize(("stream", "bound"), [(False, "LARGEST_ANSWER_BYTES"), (True, "LARGEST_STREAM_BYTES")])
@pytest.mark.parametrize("path", [CHUNK, "session"])
def test_an_answer_without_end_is_broken_off(server, session, monkeypatch, path, stream, bound):
    monkeypatch.setattr(bounds, bound, 5_000_000)
    server.answers = [(200, {"Content-Encoding": "gzip"}, gzip.compress(b" " * 20_000_000)), (200, {}, b"{}")]
    with pytest.raises(
        ConfigurationError,
        match=rf"^A response of 127\.0\.0\.1:{server.port} has more than 5 MB and was aborted\. Ask for less at a "
        r"time",
    ):
        list(session.get(f"{server.url}/{path}", stream=stream).iter_content(1000))
    assert session.get(server.url).content == b"{}"


def test_what_a_caller_streams_may_be_larger_than_what_is_read_into_memory(server, session, monkeypatch):
    monkeypatch.setattr(bounds, "LARGEST_ANSWER_BYTES", 1_000_000)
    server.answer(200, LARGE)
    assert sum(map(len, session.get(server.url, stream=True).iter_content(1000))) == len(LARGE)


def test_a_bomb_takes_the_memory_of_its_bound_at_most(server, session, monkeypatch):
    monkeypatch.setattr(bounds, "LARGEST_ANSWER_BYTES", 20_000_000)
    server.answer(200, gzip.compress(b" " * 200_000_000, 1), Content_Encoding="gzip")
    tracemalloc.start()
    with pytest.raises(ConfigurationError):
        session.get(server.url)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Before 2.6, urllib3 decompresses in one go what it has read: 10 KB become 10 MB.
    assert peak < 45_000_000


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [300, 302, 400, 404, 429, 500, 503])
def test_of_an_errors_body_only_the_beginning_is_read(server, session, monkeypatch, status, stream):
    server.answers = [(status, {"Content-Encoding": "gzip"}, gzip.compress(b"word " * 4_000_000)), (200, {}, b"{}")]
    response = session.get(server.url, stream=stream)
    assert response.status_code == status
    assert response.content == (b"word " * 20_000)[: bounds.LARGEST_ERROR_BYTES]
    assert (response.raw.read1(1), response.raw.closed) == (b"", True)
    # What was left unread is not taken for the next answer.
    assert session.get(server.url).content == b"{}"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("size", [bounds.LARGEST_ERROR_BYTES - 1, bounds.LARGEST_ERROR_BYTES])
def test_an_errors_body_within_the_bound_is_complete_and_its_connection_used_again(server, session, size, stream):
    clients = set()

    def refuse(handler):
        clients.add(handler.client_address)
        handler.send_response(500)
        handler.send_header("Content-Length", str(size))
        handler.end_headers()
        handler.wfile.write(b"e" * size)

    server.answers = [refuse]
    for _ in range(2):
        assert len(session.get(server.url, stream=stream).content) == size
    assert len(clients) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_an_errors_body_that_comes_in_a_piece_of_just_the_bound_is_closed_too(server, session, stream):
    """Else the socket stays open until the garbage collector comes by."""

    def pauses(handler):
        handler.send_response(503)
        handler.send_header("Content-Length", str(3 * bounds.LARGEST_ERROR_BYTES))
        handler.end_headers()
        handler.wfile.write(b"e" * bounds.LARGEST_ERROR_BYTES)
        handler.wfile.flush()
        read.wait(5)
        handler.wfile.write(b"e" * bounds.LARGEST_ERROR_BYTES)

    read = threading.Event()
    server.answers = [pauses, (200, {}, b"{}")]
    threading.Timer(0.3, read.set).start()
    response = session.get(server.url, stream=stream)
    assert len(response.content) == bounds.LARGEST_ERROR_BYTES
    assert response.raw.closed
    assert session.get(server.url).content == b"{}"


@pytest.mark.parametrize("stream", [False, True])
def test_what_pytenable_quotes_and_logs_of_an_error_is_bounded(server, tio, caplog, stream):
    server.answer(503, b"word " * 4_000_000, Retry_After="0")
    with pytest.raises(APIError) as failure:
        tio.get("session", stream=stream)
    assert len(server.requests) == 3
    assert len(str(failure.value)) < 100_000
    assert sum(len(record.getMessage()) for record in caplog.records) < 3 * 100_000


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 500, 503])
def test_an_error_whose_body_breaks_off_is_a_broken_connection_that_pytenable_repeats(server, tio, status, stream):
    cut = f"HTTP/1.1 {status} Oops\r\nContent-Length: 999\r\n\r\nnot all".encode()
    server.answers = [lambda handler: raw(handler, cut), (200, {}, b'{"a": 1}')]
    assert tio.get("session", stream=stream).json() == {"a": 1}


def test_a_redirect_whose_body_breaks_off_is_a_broken_connection(server, session):
    cut = (
        b"HTTP/1.1 302 Found\r\nLocation: /new\r\nContent-Encoding: gzip\r\nContent-Length: 999\r\n\r\n"
        + gzip.compress(b"x" * 99)
    )
    server.answers = [lambda handler: raw(handler, cut), (200, {}, b"{}")]
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        session.get(f"{server.url}/old")


# Time.


def trickle(handler, done, count=2_000):
    handler.send_response(200)
    handler.send_header("Content-Length", str(count))
    handler.end_headers()
    for _ in range(count):
        if done.wait(0.01):
            return
        handler.wfile.write(b".")
        handler.wfile.flush()


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_trickles_is_broken_off(server, session, monkeypatch, stream):
    monkeypatch.setattr(bounds, "LONGEST_ANSWER_SECONDS", 0.2)
    done = threading.Event()
    server.answers = [lambda handler: trickle(handler, done)]
    with pytest.raises(requests.exceptions.ReadTimeout, match="not complete after 0 seconds"):
        # 64 KB at a time: the bound must not wait until so many have come.
        list(session.get(server.url, stream=stream, timeout=5).iter_content(64 * 1024))
    done.set()


def test_each_mb_that_comes_gives_a_second_more(server, session, monkeypatch):
    monkeypatch.setattr(bounds, "LONGEST_ANSWER_SECONDS", 0.0)
    server.answer(200, LARGE)
    assert session.get(server.url).content == LARGE
    monkeypatch.setattr(bounds, "_SECONDS_PER_BYTE", 0.0)
    with pytest.raises(requests.exceptions.ReadTimeout):
        session.get(server.url)


def test_time_that_the_caller_takes_does_not_count(server, session, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(bounds.time, "monotonic", lambda: clock[0])
    server.answer(200, LARGE)
    pieces = []
    for piece in session.get(server.url, stream=True).iter_content(100_000):
        pieces.append(piece)
        clock[0] += 10_000
    assert b"".join(pieces) == LARGE


# What pyTenable downloads, and what else a caller may do with a body.


def scan_export(server, body, **headers):
    """A scan whose export is ready; pyTenable asks for the filters first."""

    def answer(handler):
        step = handler.path.partition("?")[0].rpartition("/")[2]
        sent = {"export": b'{"file": 5}', "status": b'{"status": "ready"}', "download": body}.get(
            step, b'{"filters": []}'
        )
        handler.send_response(200)
        for name, value in {"Content-Length": str(len(sent)), **(headers if step == "download" else {})}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(sent)

    server.answers = [answer]


@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_a_scan_is_exported_into_the_callers_file(server, tio, tmp_path, encoding):
    scan_export(
        server, gzip.compress(LARGE) if encoding else LARGE, **({"Content_Encoding": encoding} if encoding else {})
    )
    with open(tmp_path / "scan.nessus", "w+b") as file:
        assert tio.scans.export(7, fobj=file) is file
        assert file.read() == LARGE
    assert server.requests[-1][1] == "/scans/7/export/5/download"


def test_a_scan_is_exported_by_the_callers_stream_hook(server, tio):
    def hook(response, fobj, chunk_size):
        for piece in response.iter_content(chunk_size=chunk_size):
            fobj.write(piece)

    scan_export(server, LARGE)
    assert tio.scans.export(7, stream_hook=hook).read() == LARGE


def test_a_scans_export_without_end_is_broken_off(server, tio, monkeypatch):
    monkeypatch.setattr(bounds, "LARGEST_STREAM_BYTES", 1_000_000)
    scan_export(server, LARGE)
    with pytest.raises(ConfigurationError, match="has more than 1 MB"):
        tio.scans.export(7)


def test_large_json_is_read_with_and_without_stream(server, tio):
    server.answer(200, b"[" + b",".join([b'"%d"' % number for number in range(1_000_000)]) + b"]")
    assert len(tio.get("anything").json()) == 1_000_000
    assert len(tio.get("anything", stream=True).json()) == 1_000_000


def test_a_piece_is_not_larger_than_was_asked_for(server, session):
    server.answer(200, LARGE)
    pieces = list(session.get(server.url, stream=True).iter_content(1_000))
    assert b"".join(pieces) == LARGE
    assert max(map(len, pieces)) <= 1_000


def test_a_body_that_is_closed_before_its_end_is_not_taken_for_the_next_answer(server, session):
    server.answers = [(200, {}, LARGE), (200, {}, b"{}")]
    body = session.get(server.url, stream=True).raw
    assert body.read(10) == LARGE[:10]
    body.close()
    assert body.closed
    assert session.get(server.url).content == b"{}"


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_body_is_a_file_for_those_who_read_it_as_one(server, session, framing):
    lines = LARGE[:80_000]
    heads = {
        "length": b"Content-Length: 80000\r\n\r\n" + lines,
        "chunked": b"Transfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"c8\r\n" + lines[at : at + 200] + b"\r\n" for at in range(0, 80_000, 200))
        + b"0\r\n\r\n",
        "close": b"\r\n" + lines,
    }
    server.answers = [lambda handler: raw(handler, b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + heads[framing])]

    def body():
        return session.get(server.url, stream=True).raw

    assert body().read() == lines
    assert list(body()) == lines.splitlines(keepends=True)
    assert io.TextIOWrapper(body()).read() == lines.decode()
    assert b"".join(body().read_chunked(1000)) == lines
    with body() as file:
        assert (file.readable(), file.status, file.tell()) == (True, 200, 0)
        assert (file.read(12_345), file.read(5)) == (lines[:12_345], lines[12_345:12_350])
        buffer = bytearray(10)
        assert (file.readinto(buffer), bytes(buffer)) == (10, lines[12_350:12_360])
        assert (file.read(0), file.readline()) == (b"", lines[12_360:12_368])
        assert file.read(100_000) == lines[12_368:]
        assert file.read(1) == b""
    assert file.closed


def test_a_body_that_is_read_as_a_file_is_bounded_too(server, session, monkeypatch):
    monkeypatch.setattr(bounds, "LARGEST_STREAM_BYTES", 1_000_000)
    for read in (
        lambda file: file.read(),
        lambda file: file.read(2_000_000),
        list,
        lambda file: io.TextIOWrapper(file).read(),
        lambda file: list(file.stream()),
    ):
        server.answer(200, LARGE)
        with pytest.raises(ConfigurationError, match="has more than 1 MB"):
            read(session.get(server.url, stream=True).raw)


# The same of a single body, with urllib3's response and without a server.


def body_of(data, largest=1_000_000, *, cut=False, encoding=None):
    headers = {"Content-Encoding": encoding} if encoding else {}
    response = urllib3.HTTPResponse(io.BytesIO(data), headers=headers, preload_content=False)
    return bounds.BoundedBody(response, host="cloud.example", largest=largest, cut=cut)


@pytest.mark.parametrize("pieces", [None, 3])
def test_body_of_just_the_bound_is_complete_and_a_byte_more_is_refused_in_full_words(pieces):
    def read(body):
        return b"".join(body.stream(pieces)) if pieces else body.read()

    assert read(body_of(b"0123456789", 10)) == b"0123456789"
    refused = body_of(b"0123456789", 9)
    with pytest.raises(ConfigurationError) as failure:
        read(refused)
    assert str(failure.value) == (
        "A response of cloud.example has more than 0 MB and was aborted. Ask for less at a time (an export: for fewer "
        "assets in a chunk), or check that the URL is Tenable's."
    )
    assert refused.closed


@pytest.mark.parametrize("pieces", [None, 3])
def test_cut_body_ends_at_its_bound_and_is_closed(pieces):
    for largest in (4, 6, 9):
        body = body_of(b"0123456789", largest, cut=True)
        read = b"".join(body.stream(pieces)) if pieces else body.read()
        assert read == b"0123456789"[:largest]
        assert (body.read1(), body.closed) == (b"", True)
    complete = body_of(b"0123456789", 10, cut=True)
    assert complete.read() == b"0123456789"


def test_every_way_to_read_a_body_decompresses_it_if_and_only_if_the_caller_wants_that():
    plain = b"one\ntwo\n" * 20
    packed = gzip.compress(plain)

    def packed_body():
        return body_of(packed, encoding="gzip")

    for wanted, expected in ((True, plain), (False, packed)):
        assert packed_body().read(decode_content=wanted) == expected
        assert packed_body().read(10_000, decode_content=wanted) == expected
        assert packed_body().read(len(expected) - 1, decode_content=wanted) == expected[:-1]
        assert b"".join(packed_body().stream(decode_content=wanted)) == expected
        assert b"".join(packed_body().stream(5, decode_content=wanted)) == expected
        assert b"".join(iter(partial(packed_body().read1, 5, wanted), b"")) == expected
        # The end of an error's body, too.
        cut = body_of(packed, len(expected) - 5, cut=True, encoding="gzip")
        assert b"".join(cut.stream(3, decode_content=wanted)) == expected[:-5]
    # Lines are text, so they are always those of the decompressed body.
    assert list(packed_body()) == plain.splitlines(keepends=True)
    assert list(body_of(b"one\ntwo, without an end")) == [b"one\n", b"two, without an end"]


def test_cookies_of_an_answer_are_kept(server, session):
    server.answer(200, b"{}", Set_Cookie="route=a; Path=/")
    session.get(server.url)
    session.get(server.url)
    assert server.requests[1][2]["Cookie"] == "route=a"


def test_the_documented_bounds_are_the_codes():
    docs = pathlib.Path(__file__).resolve().parents[3] / "docs"
    reliability, operators = ((docs / f"{name}.md").read_text() for name in ("reliability", "operators"))
    assert (
        f"a chunk larger than {response_body.LARGEST_CHUNK_BYTES / 1e9:.0f} GB decompressed, another response larger "
        f"than {response_body.LARGEST_JSON_BYTES / 1e6:.0f} MB" in reliability
    )
    assert f"its first {bounds.LARGEST_ERROR_BYTES // 1024} KB are read" in reliability
    assert (
        f"{bounds.LARGEST_ANSWER_BYTES / 1e9:.0f} GB for a response read into memory, "
        f"{bounds.LARGEST_STREAM_BYTES / 1e9:.0f} GB for a streamed one" in reliability
    )
    assert (
        f"too slow ({bounds.LONGEST_ANSWER_SECONDS / 60:.0f} minutes of waiting, plus a second for each MB)"
        in reliability
    )
    assert f"chunks of up to {bounds.LARGEST_ANSWER_BYTES / 1e9:.0f} GB" in operators
