"""Decodes a chunk into records, and reports the items that cannot be decoded, with the reason.

A record that does not fit its types is read field by field (:mod:`airflow_provider_tenable.tenable_vm.lenient`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from airflow_provider_tenable.tenable_vm.lenient import loads, salvage

_T = TypeVar("_T", bound=Struct)


@cache
def _list_decoder(record: type[_T]) -> Any:
    return msgspec.json.Decoder(list[record] | None)  # type: ignore[valid-type]


@cache
def _decoder(record: type[_T]) -> Any:
    return msgspec.json.Decoder(record)


def decode_chunk(data: bytes, record: type[_T]) -> tuple[list[_T], list[tuple[bytes, str]]]:
    """Decode a chunk: the usable records, and (bytes, reason) for each unusable one.

    An empty body and ``null`` contain no records (both occur in practice).

    :raises ValueError: the chunk is not a JSON array.
    """
    if not data.strip():
        return [], []
    try:
        # The usual case: all records can be decoded at once.
        return _list_decoder(record).decode(data) or [], []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
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


#: Bytes of a chunk that are decoded at a time.
PIECE_BYTES = 300_000
# A possible boundary between two records, searched in the last bytes of a piece; and one that ends where a record
# begins as the first one does.
_SEAM = re.compile(rb"\}\s*,\s*(?=\{)")
_SEAM_BEFORE = re.compile(rb"\}\s*,\s*\Z")
_SEAM_WITHIN = 12_000
_SEAMS_TRIED = 10
#: Longest boundary that is searched from the beginning of the next record. A longer one is found with the others.
_SEAM_BYTES = 200


def decode_blocks(blocks: Iterable[bytes], record: type[_T]) -> Iterator[tuple[list[_T], list[tuple[bytes, str]]]]:
    """Like :func:`decode_chunk`, but a piece at a time: a chunk of hundreds of MB needs no more memory than a small
    one.

    :param blocks: the bytes of a chunk in order, about 100 KB each.
    :raises ValueError: the chunk is not a JSON array.
    """
    # A list, because a bytearray is copied repeatedly as it grows.
    pending: list[bytes | bytearray] = []
    size, enough = 0, PIECE_BYTES
    for block in blocks:
        pending.append(block)
        size += len(block)
        if size < enough:
            continue
        # A new buffer each time, because the records point into it.
        piece = bytearray().join(pending)
        # If no boundary is found, more is read, in the worst case the complete chunk.
        pending, enough = [piece], 2 * size
        for end, begin in _seams(piece):
            decoded = _closed_at(piece, end, record)
            if decoded is not None:
                pending, size, enough = [b"[", piece[begin:]], 1 + len(piece) - begin, PIECE_BYTES
                yield decoded
                break
    yield decode_chunk(b"".join(pending), record)


def _seams(data: bytearray) -> Iterator[tuple[int, int]]:
    """Possible record boundaries near the end of a truncated array, the most likely first.

    An array that is closed at a wrong place is not valid JSON, so a guess is sufficient here: records usually begin
    with the same key.
    """
    opening = re.match(rb"\s*\[\s*(\{\s*\"[^\"]{1,100}\")", data)
    if not opening:
        return
    within, tried = max(0, len(data) - _SEAM_WITHIN), 0
    begin = data.rfind(opening[1], within)
    while begin >= 0 and tried < _SEAMS_TRIED:
        if seam := _SEAM_BEFORE.search(data, max(within, begin - _SEAM_BYTES), begin):
            tried += 1
            yield seam.start() + 1, begin
        begin = data.rfind(opening[1], within, begin)
    seams = [(match.start() + 1, match.end()) for match in _SEAM.finditer(data, within)]
    yield from seams[: -_SEAMS_TRIED - 1 : -1]


def _closed_at(data: bytearray, end: int, record: type[_T]) -> tuple[list[_T], list[tuple[bytes, str]]] | None:
    """The records of an array that is closed at ``end``; None if the result is not a complete JSON array."""
    after, data[end] = data[end], ord("]")
    piece = memoryview(data)[: end + 1]
    try:
        return _list_decoder(record).decode(piece) or [], []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        msgspec.json.decode(piece, type=list[msgspec.Raw])
        complete = True
    except msgspec.DecodeError as error:
        complete = not _ends_too_early(str(error), end)
    except (UnicodeDecodeError, RecursionError):
        complete = True
    if complete:
        with suppress(ValueError):
            return decode_chunk(bytes(piece), record)
    piece.release()
    data[end] = after
    return None


_BYTE = re.compile(r"\(byte (\d+)\)$")


def _ends_too_early(error: str, end: int) -> bool:
    """Whether msgspec's error is only about the end, because the array was closed within a record. An error before that
    is about the record itself.
    """
    found = _BYTE.search(error)
    return int(found[1]) >= end if found else error == "Input data was truncated"


def split_chunk(data: bytes) -> list[bytes]:
    """The records of a chunk, undecoded. :raises ValueError: the chunk is not a JSON array."""
    try:
        value = msgspec.json.decode(data, type=list[msgspec.Raw] | None)
        return [bytes(raw) for raw in value or []]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        items = _split_at_brackets(data)
    for item in items:
        _check(item)
    return items


def _check(item: bytes) -> None:
    """:raises ValueError: no parser can read it as JSON."""
    try:
        msgspec.json.decode(item, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Nesting beyond the parser's depth is not the chunk's fault: only that record cannot be read.
        with suppress(RecursionError):
            loads(item)


#: Bytes of a chunk whose records are enough to recognise its format.
HEAD_BYTES = 1_000_000


def first_records(head: bytes | bytearray) -> list[dict[str, Any]]:
    """The records at the beginning of a chunk that are objects, as far as they can be decoded.

    :param head: the first bytes of the chunk.
    """
    text = head.decode("utf-8", "replace")
    opening = re.match(r"\s*\[", text)
    position, records = (opening.end() if opening else len(text)), []
    while separator := re.compile(r"[\s,]*").match(text, position):
        try:
            record, position = json.JSONDecoder().raw_decode(text, separator.end())
        except (ValueError, RecursionError):
            break
        if isinstance(record, dict):
            records.append(record)
    return records


class Anything(Struct):
    """A record of which nothing is read."""


def count_blocks(blocks: Iterable[bytes]) -> int:
    """The number of records in a chunk.

    :param blocks: the bytes of the chunk in order.
    :raises ValueError: the chunk is not a JSON array.
    """
    return sum(len(records) + len(unreadable) for records, unreadable in decode_blocks(blocks, Anything))


# A complete string, a bracket or separator, or the start of an unterminated string.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{},"]', re.DOTALL)


def _split_at_brackets(data: bytes) -> list[bytes]:
    """Like :func:`split_chunk`, but based only on strings and brackets: for a chunk with an invalid number, or nested
    deeper than a parser supports.

    :raises ValueError: the chunk is not a JSON array.
    """
    items: list[bytes] = []
    depth = start = end = 0
    for token in _TOKEN.finditer(data):
        mark = token[0]
        if mark == b'"' or end:
            raise ValueError("a chunk must be a JSON array")
        if mark in (b"[", b"{"):
            depth += 1
            start = token.end() if depth == 1 else start
        elif depth == 1 and mark in (b",", b"]"):
            items.append(data[start : token.start()].strip())
            start = token.end()
        if mark in (b"]", b"}"):
            depth -= 1
            end = token.end() if depth == 0 else end
    if (
        depth
        or not data.lstrip().startswith(b"[")
        or not end
        or data[end:].strip()
        or not all(items)
        or data[end - 1 : end] != b"]"
    ):
        raise ValueError("a chunk must be a JSON array")
    return items
