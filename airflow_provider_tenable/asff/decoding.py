"""From the bytes of a chunk to its records, and to the reasons why some are none.

A record that does not fit its types is read field by field (:mod:`airflow_provider_tenable.asff.salvage`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from airflow_provider_tenable.asff.salvage import loads, salvage

_T = TypeVar("_T", bound=Struct)


@cache
def _list_decoder(record: type[_T]) -> Any:
    return msgspec.json.Decoder(list[record] | None)  # type: ignore[valid-type]


@cache
def _decoder(record: type[_T]) -> Any:
    return msgspec.json.Decoder(record)


def decode_chunk(data: bytes, record: type[_T]) -> tuple[list[_T], list[tuple[bytes, str]]]:
    """Decode a chunk: the records that can be used, and (bytes, reason) of those that cannot.

    An empty body and ``null`` are no records (both are served in practice).

    :raises ValueError: the chunk is no JSON array.
    """
    if not data.strip():
        return [], []
    try:
        # The way of nearly every chunk: all records in one go.
        return _list_decoder(record).decode(data) or [], []
    except (msgspec.ValidationError, UnicodeDecodeError, RecursionError):
        pass
    except msgspec.DecodeError as error:
        # Broken JSON, or text that is no Unicode: json takes the latter.
        try:
            loads(data)
        except RecursionError:
            pass
        except ValueError:
            raise ValueError(str(error)) from None
    records: list[_T] = []
    unreadable: list[tuple[bytes, str]] = []
    for raw in split_chunk(data):
        try:
            try:
                records.append(_decoder(record).decode(raw))
            except (msgspec.DecodeError, UnicodeDecodeError):
                records.append(salvage(raw, record))
        except (ValueError, RecursionError) as error:
            unreadable.append((raw, str(error)))
    return records, unreadable


#: So much of a chunk is decoded at a time.
PIECE_BYTES = 300_000
# Where one record may end and the next begin, looked for in the last bytes of a piece.
_SEAM = re.compile(rb"\}\s*,\s*(?=\{)")
_SEAM_WITHIN = 12_000
_SEAMS_TRIED = 10


def decode_blocks(blocks: Iterable[bytes], record: type[_T]) -> Iterator[tuple[list[_T], list[tuple[bytes, str]]]]:
    """As :func:`decode_chunk`, a piece at a time: a chunk of hundreds of MB takes no more memory than a small one.

    :param blocks: the bytes of a chunk in order, some MB each.
    :raises ValueError: the chunk is no JSON array.
    """
    pending, enough = bytearray(), PIECE_BYTES
    for block in blocks:
        pending += block
        if len(pending) < enough:
            continue
        # Where no seam is found, or the JSON is so strange that only Python's own parser reads it, more is read, at worst the whole chunk.
        enough = 2 * len(pending)
        for end, begin in _seams(pending):
            decoded = _closed_at(pending, end, record)
            if decoded is not None:
                # A new one: records point into the old one.
                pending, enough = bytearray(b"[") + pending[begin:], PIECE_BYTES
                yield decoded
                break
    yield decode_chunk(bytes(pending), record)


def _seams(data: bytearray) -> list[tuple[int, int]]:
    """Places near the end of an array that is cut off where one record may end and the next begin, the likeliest first.

    An array that is closed at a wrong one is no JSON, so a guess is good enough here: records mostly begin with the same key.
    """
    opening = re.match(rb"\s*\[\s*(\{\s*\"[^\"]{1,100}\")", data)
    if not opening:
        return []
    seams = [(match.start() + 1, match.end()) for match in _SEAM.finditer(data, max(0, len(data) - _SEAM_WITHIN))]
    likely = [(end, begin) for end, begin in seams if data.startswith(opening[1], begin)]
    return (likely or seams)[: -_SEAMS_TRIED - 1 : -1]


def _closed_at(data: bytearray, end: int, record: type[_T]) -> tuple[list[_T], list[tuple[bytes, str]]] | None:
    """The records of an array that is closed at a place; None where it is no whole JSON array then."""
    after, data[end] = data[end], ord("]")
    piece = memoryview(data)[: end + 1]
    try:
        return _list_decoder(record).decode(piece) or [], []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        msgspec.json.decode(piece, type=list[msgspec.Raw])
        return decode_chunk(bytes(piece), record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        piece.release()
        data[end] = after
        return None


def split_chunk(data: bytes) -> list[bytes]:
    """The records of a chunk, undecoded. :raises ValueError: the chunk is no JSON array."""
    try:
        try:
            value = msgspec.json.decode(data, type=list[msgspec.Raw] | None)
            return [bytes(raw) for raw in value or []]
        except (msgspec.DecodeError, UnicodeDecodeError):
            loaded = loads(data)
    except RecursionError:
        return _split_deep(data)
    if not isinstance(loaded, list):
        raise ValueError("a chunk must be a JSON array")
    return [json.dumps(item).encode() for item in loaded]


def count_records(data: bytes) -> int:
    """The number of records in a chunk. :raises ValueError: the chunk is no JSON array."""
    if not data.strip():
        return 0
    try:
        return len(msgspec.json.decode(data, type=list[msgspec.Raw] | None) or [])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return len(split_chunk(data))


# A string as a whole, or what separates and nests.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{},]', re.DOTALL)


def _split_deep(data: bytes) -> list[bytes]:
    """As :func:`split_chunk`, for a chunk in which something is nested deeper than a parser goes: only brackets are counted.

    :raises ValueError: the chunk is no JSON array.
    """
    items: list[bytes] = []
    depth = start = end = 0
    for token in _TOKEN.finditer(data):
        mark = token[0]
        if mark in (b"[", b"{"):
            depth += 1
            start = token.end() if depth == 1 else start
        elif depth == 1 and mark in (b",", b"]"):
            items.append(data[start : token.start()].strip())
            start = token.end()
        if mark in (b"]", b"}"):
            depth -= 1
            end = token.end() if depth == 0 else end
    if depth or not data.lstrip().startswith(b"[") or data[end:].strip() or not all(items):
        raise ValueError("a chunk must be a JSON array")
    return items
