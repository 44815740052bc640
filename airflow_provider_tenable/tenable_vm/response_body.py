"""Reads the body of a response requested with ``stream=True``: a small one at once, a chunk piece by piece."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TypeVar
from urllib.parse import urlsplit

import requests

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.redaction import scrub_pieces

_T = TypeVar("_T")

#: The largest response that is not a chunk, decompressed.
LARGEST_JSON_BYTES = 200_000_000
#: The largest chunk, decompressed.
LARGEST_CHUNK_BYTES = 4_000_000_000
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


def read_chunk(response: requests.Response, receive: Callable[[Iterator[bytes]], _T]) -> tuple[int, _T]:
    """Pass the body of a chunk to ``receive``, piece by piece, while it arrives.

    :param receive: reads all pieces; what it raises is raised.
    :return: the size of the body in bytes, and what ``receive`` returns.
    :raises requests.exceptions.RequestException: it is cut off, cannot be decompressed, or takes too long. ``receive``
        sees the error, too.
    :raises ConfigurationError: it is too large. ``receive`` sees this error as well.
    """
    size = 0

    def pieces() -> Iterator[bytes]:
        nonlocal size
        for piece in _pieces(response, LARGEST_CHUNK_BYTES):
            size += len(piece)
            yield piece

    with closing(response):
        received = receive(pieces())
    return size, received


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
