"""Reads the body of a response requested with ``stream=True`` into memory, or into a temporary file if it is large."""

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

#: The largest response that is not a chunk, decompressed.
LARGEST_JSON_BYTES = 200_000_000
#: The largest chunk, decompressed.
LARGEST_CHUNK_BYTES = 4_000_000_000
#: The largest chunk that is kept in memory. A larger one is written to a temporary file, which takes a quarter more
#: CPU. A chunk of 100 assets with 50 records of 5 KB each has 25 MB.
CHUNK_IN_MEMORY_BYTES = 32_000_000
#: Bytes that are read at a time. Before 2.6, urllib3 decompresses everything that it has read at once: at most a
#: thousand times as much.
_PIECE_BYTES = 64 * 1024


def read_bytes(response: requests.Response) -> bytes:
    """The body of a small response.

    :raises requests.exceptions.RequestException: it is cut off, cannot be decompressed, or takes too long.
    :raises ConfigurationError: it is too large.
    """
    memory = io.BytesIO()
    with closing(response):
        for piece in _pieces(response, LARGEST_JSON_BYTES):
            memory.write(piece)
    return memory.getvalue()


def read_chunk(response: requests.Response) -> bytes | IO[bytes]:
    """The body of a chunk: bytes, or a file that is read from its beginning and closed by the caller.

    :raises requests.exceptions.RequestException: it is cut off, cannot be decompressed, or takes too long.
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
    """The body without our own keys: it will be staged, and a gateway may return the request in its response."""
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
    """Bytes in memory, moved into a temporary file once there are too many.

    Not :class:`tempfile.SpooledTemporaryFile`, which copies its content when it is read from memory.
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
                # The file has no name and disappears when it is closed, which the caller does after staging the chunk.
                self._file = tempfile.TemporaryFile(prefix="tenable-chunk-")  # noqa: SIM115
                self._file.write(self._memory.getbuffer())
                self._memory = io.BytesIO()
            self._file.write(data)

    def finish(self) -> bytes | IO[bytes]:
        if self._file is None:
            return self._memory.getvalue()
        with _room():
            # This flushes the buffer, so a full disk may show up only here.
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
                f"({words_of(error)}). Free space there, set TMPDIR to another folder, or lower [tenable] num_assets."
            ) from error
        raise ConfigurationError(
            f"A chunk of an export cannot be written to the worker's temporary folder {tempfile.tempdir or ''} "
            f"({words_of(error)}). Set TMPDIR to a folder with enough space, in which the user that runs Airflow may "
            "write."
        ) from error
