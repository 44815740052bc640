"""Reads the body of an answer within bounds of time and size; a large chunk of an export goes to a temporary file and not into memory."""

from __future__ import annotations

import io
import tempfile
import time
from typing import IO
from urllib.parse import urlsplit

import requests
import urllib3.exceptions

from airflow_provider_tenable.exceptions import ConfigurationError

#: The longest that one answer may take. The connection's ``timeout`` bounds only the silence between two bytes.
LONGEST_ANSWER_SECONDS = 900.0
#: The largest answer that is no chunk, decompressed.
LARGEST_ANSWER_BYTES = 200_000_000
#: The largest chunk, decompressed. One of 100 assets has some 20 MB.
LARGEST_CHUNK_BYTES = 4_000_000_000
#: What of a chunk is kept in memory; a larger one is a temporary file.
CHUNK_IN_MEMORY_BYTES = 20_000_000
_PIECE_BYTES = 256 * 1024


def read_answer(response: requests.Response) -> None:
    """Read a body, which requests would do without a bound. That of a large chunk is :func:`body_of` the response, and its ``content`` is empty.

    :raises requests.exceptions.RequestException: it breaks off, cannot be decompressed, or takes too long.
    :raises ConfigurationError: it is too large, or the disk is full.
    """
    if response._content_consumed:
        return
    chunk = response.status_code == 200 and "/chunks/" in urlsplit(response.url).path
    largest = LARGEST_CHUNK_BYTES if chunk else LARGEST_ANSWER_BYTES
    # Not a list that is joined in the end: it would be in memory twice. What getvalue() gives is not copied.
    deadline, memory, size = time.monotonic() + LONGEST_ANSWER_SECONDS, io.BytesIO(), 0
    body: IO[bytes] = memory
    try:
        while piece := response.raw.read1(_PIECE_BYTES, decode_content=True):
            size += len(piece)
            if size > largest:
                raise ConfigurationError(
                    f"An answer of {urlsplit(response.url).netloc} has more than {largest / 1e6:.0f} MB. Lower [tenable] num_assets, so that chunks are smaller."
                )
            if chunk and body is memory and size > CHUNK_IN_MEMORY_BYTES:
                body = _spilled(memory)
                memory.close()
            _write(body, piece)
            if time.monotonic() > deadline:
                raise requests.exceptions.ReadTimeout(f"the answer was not whole after {LONGEST_ANSWER_SECONDS:.0f} seconds")
        if body is memory:
            response._content = memory.getvalue()
        else:
            response._content = b""
            body.seek(0)
            response.file = body  # type: ignore[attr-defined]
    except urllib3.exceptions.ProtocolError as error:
        raise requests.exceptions.ChunkedEncodingError(error) from error
    except urllib3.exceptions.DecodeError as error:
        raise requests.exceptions.ContentDecodingError(error) from error
    except urllib3.exceptions.ReadTimeoutError as error:
        raise requests.exceptions.ConnectionError(error) from error
    finally:
        if body is not memory and not hasattr(response, "file"):
            body.close()
        # Not to be used again: what is left unread would be taken for the next answer. A whole answer has given its connection back already.
        response.close()
        response._content_consumed = True


def body_of(response: requests.Response) -> bytes | IO[bytes]:
    """The body of an answer that was read: bytes, or a file that is read from its beginning and closed by the caller."""
    file: IO[bytes] | None = getattr(response, "file", None)
    return response.content if file is None else file


def _spilled(memory: io.BytesIO) -> IO[bytes]:
    try:
        # It has no name, and is gone when it is closed. Whoever stages the chunk does that.
        file = tempfile.TemporaryFile(prefix="tenable-chunk-")  # noqa: SIM115
    except OSError as error:
        raise _no_room(error) from error
    try:
        _write(file, memory.getbuffer())
    except ConfigurationError:
        file.close()
        raise
    return file


def _write(body: IO[bytes], data: bytes | memoryview) -> None:
    try:
        body.write(data)
    except OSError as error:
        raise _no_room(error) from error


def _no_room(error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"A chunk of an export does not fit into the worker's temporary folder {tempfile.tempdir or ''} ({error.strerror}). "
        "Make room there, set TMPDIR to another folder, or lower [tenable] num_assets."
    )
