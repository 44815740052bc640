"""Reading a streamed answer: a large chunk goes to a temporary file, because its caller asks for that."""

from __future__ import annotations

import errno
import gzip
import io
import re
import tempfile
import tracemalloc

import pytest
import requests

from airflow_provider_tenable.exceptions import ConfigurationError
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
    return read_chunk(session.get(f"{server.url}/anything", stream=True))


@pytest.fixture
def files(monkeypatch):
    """The temporary files that were made."""
    made, real = [], tempfile.TemporaryFile

    def make(**options):
        made.append(real(**options))
        return made[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", make)
    return made


def test_a_large_chunk_is_a_file_and_a_small_one_is_not(server, session, monkeypatch, files):
    monkeypatch.setattr(response_body, "CHUNK_IN_MEMORY_BYTES", 1_000_000)
    small, large = b"s" * 1_000_000, b"".join(b"%07d" % number for number in range(500_000))
    assert chunk_from(server, session, small) == small
    assert files == []
    with chunk_from(server, session, large) as file:
        assert file.read() == large
    with chunk_from(server, session, gzip.compress(large), Content_Encoding="gzip") as file:
        assert file.read() == large
    assert len(files) == 2


def test_a_chunk_of_no_bytes_is_bytes(server, session):
    assert chunk_from(server, session, b"") == b""


def test_a_chunk_that_breaks_off_is_not_a_file_and_leaves_none(server, session, monkeypatch, files):
    monkeypatch.setattr(response_body, "CHUNK_IN_MEMORY_BYTES", 10)
    server.answers = [breaks_off]
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        read_chunk(session.get(server.url, stream=True))
    assert [file.closed for file in files] == [True]


def test_the_connection_of_a_chunk_is_used_again_after_it_was_read_and_never_after_it_was_not(
    server, session, monkeypatch
):
    monkeypatch.setattr(response_body, "LARGEST_CHUNK_BYTES", 500_000)
    server.answers = [(200, {}, b"x" * 500_000), (200, {}, b"y" * 900_000), (200, {}, b"{}")]
    read_chunk(session.get(server.url, stream=True))
    with pytest.raises(ConfigurationError, match="has more than 0 MB"):
        read_chunk(session.get(server.url, stream=True))
    # Left of the chunk in the connection, the last answer would be y's.
    assert session.get(server.url).content == b"{}"


class Full(io.BytesIO):
    """A disk without room, which is noticed when so many bytes were written, or when what is buffered must go."""

    def __init__(self, room=0):
        super().__init__()
        self.room = room

    def write(self, data):
        if self.room < len(data):
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)

    def seek(self, *_):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("room", [0, 1_000_000], ids=["at a write", "at the last flush"])
def test_a_disk_that_is_full_is_told(server, session, monkeypatch, room):
    disk = Full(room)
    monkeypatch.setattr(response_body, "CHUNK_IN_MEMORY_BYTES", 10)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: disk)
    with pytest.raises(
        ConfigurationError,
        match=r"does not fit into the worker's temporary folder .* \(No space left on device\)\. Free space there",
    ):
        chunk_from(server, session, b"x" * 1_000)
    assert disk.closed


def test_an_error_at_the_close_of_the_file_does_not_hide_why_the_chunk_was_given_up(server, session, monkeypatch):
    class Worse(Full):
        def close(self):
            super().close()
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(response_body, "CHUNK_IN_MEMORY_BYTES", 10)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Worse())
    with pytest.raises(ConfigurationError, match=r"No space left on device"):
        chunk_from(server, session, b"x" * 1_000)


def test_a_worker_without_a_temporary_folder_is_told(server, session, monkeypatch):
    def none(**_):
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(response_body, "CHUNK_IN_MEMORY_BYTES", 10)
    monkeypatch.setattr(tempfile, "TemporaryFile", none)
    with pytest.raises(
        ConfigurationError,
        match=r"cannot be written to .* \(No usable temporary directory found\)\. Set TMPDIR to a folder with enough "
        r"space",
    ):
        chunk_from(server, session, b"x" * 1_000)


@pytest.mark.parametrize(("read", "bound"), [(read_chunk, "LARGEST_CHUNK_BYTES"), (read_bytes, "LARGEST_JSON_BYTES")])
def test_an_answer_without_end_is_broken_off(server, session, monkeypatch, read, bound, files):
    monkeypatch.setattr(response_body, bound, 5_000_000)
    monkeypatch.setattr(response_body, "CHUNK_IN_MEMORY_BYTES", 1_000_000)
    server.answer(200, gzip.compress(b" " * 20_000_000), Content_Encoding="gzip")
    host = re.escape(server.url.removeprefix("http://"))
    with pytest.raises(
        ConfigurationError, match=rf"A response of {host} has more than 5 MB\. Lower \[tenable\] num_assets"
    ):
        read(session.get(server.url, stream=True))
    assert all(file.closed for file in files)


def test_memory_for_a_large_chunk_does_not_grow_with_it(server, session, tmp_path, monkeypatch):
    """From the socket to the staged part."""
    monkeypatch.setattr(response_body, "CHUNK_IN_MEMORY_BYTES", 1_000_000)
    record = b'{"asset":{"uuid":"a"},"output":"%b"}' % (b"},{" * 300)
    # What is imported late.
    StagedExport(open_path(f"file://{tmp_path}"), "vulnerabilities").put("job", 1, b"[]")
    peaks = []
    for records in (5_000, 20_000):
        # Some 5 and 20 MB.
        # Not compressed: before 2.6, urllib3 decompresses in one go what it has read, however much that becomes.
        server.answer(200, b"[" + b",".join([record] * records) + b"]")
        tracemalloc.start()
        body = read_chunk(session.get(server.url, stream=True))
        part = StagedExport(open_path(f"file://{tmp_path}"), "vulnerabilities").put("job", 1, body)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert part.records == records
    assert part.bytes > 18_000_000
    assert max(peaks) < 5_000_000
    assert peaks[1] < 1.2 * peaks[0]
