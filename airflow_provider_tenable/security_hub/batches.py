"""Splits staged findings into batches for BatchImportFindings.

A batch holds at most ``batch_size`` findings, 5.5 MB, and distinct ids (FailedFindings names only the id).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

BATCH_BYTES = 5_500_000
#: Maximum number of findings in a call.
BATCH_FINDINGS = 100


class _Identified(Struct):
    """All that is read of a staged finding."""

    Id: str


_decode_identified = msgspec.json.Decoder(_Identified).decode
# The transform writes the id at the front, usually without an escape.
_ID = re.compile(rb'\{"SchemaVersion":"2018-10-08","Id":"([ !#-\[\]-~]*)"')


def identify(data: bytes) -> str:
    """The id of a staged finding."""
    match = _ID.match(data)
    return match[1].decode() if match else _decode_identified(data).Id


class _Produced(Struct):
    ProductArn: str | None = None


_decode_produced = msgspec.json.Decoder(_Produced).decode


def product_of(data: bytes) -> str | None:
    """The product ARN of a staged finding, or None."""
    try:
        return _decode_produced(data).ProductArn
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


class Item(Struct, frozen=True, gc=False):
    """A staged finding and its position: part, line number."""

    part: str
    line: int
    id: str
    data: bytes


def batches(items: Iterable[Item], *, size: int, max_bytes: int = BATCH_BYTES) -> Iterator[list[Item]]:
    """Split a stream of findings into batches, which together contain all of them.

    A finding whose id is already in the batch waits for a later batch; the order of the two does not matter, because
    Security Hub keeps the newer ``UpdatedAt``.
    """
    batch: list[Item] = []
    ids: set[str] = set()
    length = 0
    # `held`: findings whose id is already in this batch; `waiting` is read before the source.
    held: list[Item] = []
    waiting: deque[Item] = deque()
    source = iter(items)
    while True:
        item = waiting.popleft() if waiting else next(source, None)
        if (
            item is not None
            and item.id not in ids
            and len(batch) < size
            and (not batch or length + len(item.data) + 1 <= max_bytes)
        ):
            batch.append(item)
            ids.add(item.id)
            length += len(item.data) + 1
            continue
        if item is not None:
            held.append(item)
            if item.id in ids and len(held) < size:
                continue
        if not batch:
            return
        yield batch
        waiting.extendleft(reversed(held))
        batch, ids, length, held = [], set(), 0, []
