"""Reads the body of a response that was asked for with ``stream=True``: into memory, or, if it is large, into a
temporary file.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import IO
from urllib.parse import urlsplit

import requests

from airflow_provider_tenable.disk_errors import FULL, words_of
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.redaction import scrub_pieces

#: The largest answer that is not a chunk, decompressed.
LARGEST_JSON_BYTES = 200_000_000
#: The largest chunk, decompressed. One of 100 assets has some 20 MB.
LARGEST_CHUNK_BYTES = 4_000_000_000
#: What of a chunk is kept in memory; a larger one is a temporary file.
CHUNK_IN_MEMORY_BYTES = 20_000_000
#: Bytes that are read at a time. Before 2.6, urllib3 decompresses in one go what it has read: at most a thousand times
#: as much.
_PIECE_BYTES = 64 * 1024


def read_bytes(response: requests.Response) -> bytes:
    """The body of an answer that is small.

    :raises requests.exceptions.RequestException: it breaks off, cannot be decompressed, or takes too long.
    :raises ConfigurationError: it is too large.
    """
    memory = io.BytesIO()
    with closing(response):
        for piece in _pieces(response, LARGEST_JSON_BYTES):
            memory.write(piece)
    return memory.getvalue()


def read_chunk(response: requests.Response) -> bytes | IO[bytes]:
    """The body of a chunk: bytes, or a file that is read from its beginning and closed by the caller.

    :raises requests.exceptions.RequestException: it breaks off, cannot be decompressed, or takes too long.
    :raises ConfigurationError: it is too large, or the disk is full.
    """
    spool = _Spool()
    try:
        with closing(response):
            for piece in _pieces(response, LARGEST_CHUNK_BYTES):
                spool.write(piece)
        body = spool.finish()
    except BaseException:
        spool.discard()
        raise
    return body


def _pieces(response: requests.Response, largest: int) -> Iterator[bytes]:
    """The body, without our own keys: it will be staged, and a gateway may answer with the request."""
    return scrub_pieces(_bounded(response, largest))


def _bounded(response: requests.Response, largest: int) -> Iterator[bytes]:
    size = 0
    for piece in response.iter_content(_PIECE_BYTES):
        size += len(piece)
        if size > largest:
            raise ConfigurationError(
                f"A response of {urlsplit(response.url).netloc} has more than {largest / 1e6:.0f} MB. Lower [tenable] "
                "num_assets, so that chunks are smaller."
            )
        yield piece


class _Spool:
    """Bytes in memory, and in a temporary file once there are many.

    Not :class:`tempfile.SpooledTemporaryFile`, which does not give what it holds in memory without a copy.
    """

    def __init__(self) -> None:
        self._memory = io.BytesIO()
        self._file: IO[bytes] | None = None

    def write(self, data: bytes) -> None:
        if self._file is None and self._memory.tell() + len(data) <= CHUNK_IN_MEMORY_BYTES:
            self._memory.write(data)
            return
        with _room():
            if self._file is None:
                # It has no name, and is gone when it is closed. Whoever stages the chunk does that.
                self._file = tempfile.TemporaryFile(prefix="tenable-chunk-")  # noqa: SIM115
                self._file.write(self._memory.getbuffer())
                self._memory = io.BytesIO()
            self._file.write(data)

    def finish(self) -> bytes | IO[bytes]:
        if self._file is None:
            return self._memory.getvalue()
        with _room():
            # Writes what is still buffered: the disk may be full only now.
            self._file.seek(0)
        return self._file

    def discard(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise ConfigurationError(
                f"A chunk of an export does not fit into the worker's temporary folder {tempfile.tempdir or ''} "
                f"({words_of(error)}). "
                "Free space there, set TMPDIR to another folder, or lower [tenable] num_assets."
            ) from error
        raise ConfigurationError(
            f"A chunk of an export cannot be written to the worker's temporary folder {tempfile.tempdir or ''} "
            f"({words_of(error)}). "
            "Set TMPDIR to a folder with enough space, in which the user that runs Airflow may write."
        ) from error
