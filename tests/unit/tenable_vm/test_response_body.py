"""Reading a streamed answer: a chunk is passed on while it arrives."""

from __future__ import annotations

import gzip
import re
import threading
import tracemalloc

import pytest
import requests

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.export import chunks
from airflow_provider_tenable.export.store import StagedExport
from airflow_provider_tenable.staging.location import open_path
from airflow_provider_tenable.tenable_vm import response_body
from airflow_provider_tenable.tenable_vm.response_body import read_bytes, read_chunk
from airflow_provider_tenable.tenable_vm.session import GuardedSession


@pytest.fixture
def session(server):
    with GuardedSession(server.url) as guarded:
        yield guarded


def breaks_off(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"x" * 1_000)
    handler.close_connection = True
    handler.connection.close()


def chunk_from(server, session, body, **headers):
    server.answer(200, body, **headers)
    return in_memory(session.get(f"{server.url}/anything", stream=True))


def in_memory(response):
    size, body = read_chunk(response, b"".join)
    assert size == len(body)
    return body


def test_a_chunk_is_passed_on_piece_by_piece(server, session):
    content = b"".join(b"%07d" % number for number in range(100_000))
    for body, headers in ((content, {}), (gzip.compress(content), {"Content_Encoding": "gzip"})):
        server.answer(200, body, **headers)
        size, pieces = read_chunk(session.get(server.url, stream=True), list)
        assert size == len(content)
        assert b"".join(pieces) == content
        assert max(map(len, pieces)) <= 2 * response_body._PIECE_BYTES


def test_a_piece_is_passed_on_before_the_next_one_has_arrived(server, session):
    seen = threading.Event()

    def slowly(handler):
        piece = b"x" * 200_000
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n" + piece)
        handler.wfile.flush()
        assert seen.wait(20)
        handler.wfile.write(piece)

    def receive(pieces):
        size = 0
        for piece in pieces:
            size += len(piece)
            if size >= 100_000:
                seen.set()
        return size

    server.answers = [slowly]
    assert read_chunk(session.get(server.url, stream=True), receive) == (400_000, 400_000)


def test_an_empty_chunk_is_empty(server, session):
    assert chunk_from(server, session, b"") == b""


def test_what_receives_a_chunk_sees_that_it_breaks_off(server, session):
    server.answers = [breaks_off]
    seen = []

    def receive(pieces):
        try:
            return b"".join(pieces)
        except requests.exceptions.RequestException as error:
            seen.append(error)
            raise

    with pytest.raises(requests.exceptions.ChunkedEncodingError) as raised:
        read_chunk(session.get(server.url, stream=True), receive)
    assert seen == [raised.value]


@pytest.mark.parametrize("length", [b"zz", b""])
def test_a_length_that_is_not_a_number_is_a_broken_connection(server, session, length):
    """And not a ValueError, which would mean that the content is not a list."""

    def answer(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1,2,\r\n%b\r\n3]" % length)
        handler.close_connection = True
        handler.connection.close()

    server.answers = [answer]
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        read_chunk(session.get(server.url, stream=True), b"".join)


def test_an_error_of_what_receives_a_chunk_is_its_own(server, session):
    server.answers = [(200, {}, b"x" * 900_000), (200, {}, b"{}")]

    def receive(pieces):
        next(pieces)
        raise ValueError("not a list")

    with pytest.raises(ValueError, match="not a list"):
        read_chunk(session.get(server.url, stream=True), receive)
    # Left of the chunk in the connection, the last answer would be x's.
    assert session.get(server.url).content == b"{}"


def test_the_connection_of_a_chunk_is_used_again_after_it_was_read_and_never_after_it_was_not(
    server, session, monkeypatch
):
    monkeypatch.setattr(response_body, "LARGEST_CHUNK_BYTES", 500_000)
    server.answers = [(200, {}, b"x" * 500_000), (200, {}, b"y" * 900_000), (200, {}, b"{}")]
    in_memory(session.get(server.url, stream=True))
    with pytest.raises(ConfigurationError, match="has more than 0 MB"):
        in_memory(session.get(server.url, stream=True))
    # Left of the chunk in the connection, the last answer would be y's.
    assert session.get(server.url).content == b"{}"


@pytest.mark.parametrize(("read", "bound"), [(in_memory, "LARGEST_CHUNK_BYTES"), (read_bytes, "LARGEST_JSON_BYTES")])
def test_an_answer_without_end_is_broken_off(server, session, monkeypatch, read, bound):
    monkeypatch.setattr(response_body, bound, 5_000_000)
    server.answer(200, gzip.compress(b" " * 20_000_000), Content_Encoding="gzip")
    host = re.escape(server.url.removeprefix("http://"))
    with pytest.raises(
        ConfigurationError, match=rf"A response of {host} has more than 5 MB\. Lower \[tenable\] num_assets"
    ):
        read(session.get(server.url, stream=True))


@pytest.mark.parametrize(
    ("frame_bytes", "most"), [(1_000_000, 5_000_000), (chunks._FRAME_BYTES, 2.5 * chunks._FRAME_BYTES)]
)
def test_memory_for_a_chunk_does_not_grow_with_it(server, session, tmp_path, monkeypatch, frame_bytes, most):
    """From the socket to the staged part: what is compressed together, and once more while it is joined."""
    monkeypatch.setattr(chunks, "_FRAME_BYTES", frame_bytes)
    record = b'{"asset":{"uuid":"a"},"output":"%b"}' % (b"},{" * 300)
    store = StagedExport(open_path(f"file://{tmp_path}"), "vulnerabilities")
    # What is imported late.
    store.put("job", 1, store.encode([b"[]"]))
    peaks = []
    for records in (10_000, 40_000):
        # Some 10 and 40 MB.
        # Not compressed: before 2.6, urllib3 decompresses in one go what it has read, however much that becomes.
        server.answer(200, b"[" + b",".join([record] * records) + b"]")
        tracemalloc.start()
        _, chunk = read_chunk(session.get(server.url, stream=True), store.encode)
        part = store.put("job", 1, chunk)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert part.records == records
    assert part.bytes > 36_000_000
    assert max(peaks) < most
    assert peaks[1] < 1.2 * peaks[0]
