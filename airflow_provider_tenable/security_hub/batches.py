"""Staged findings, cut into the batches that one call of BatchImportFindings takes.

A batch holds at most ``batch_size`` findings, 5.5 MB, and distinct ids (FailedFindings names only the id).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

BATCH_BYTES = 5_500_000
#: The most findings in a call.
BATCH_FINDINGS = 100


class _Identified(Struct):
    """All that is read of a staged finding."""

    Id: str


_decode_identified = msgspec.json.Decoder(_Identified).decode
# As the transform writes it: the id stands at the front, mostly without an escape.
_ID = re.compile(rb'\{"SchemaVersion":"2018-10-08","Id":"([ !#-\[\]-~]*)"')


def identify(data: bytes) -> str:
    """The id of a staged finding."""
    match = _ID.match(data)
    return match[1].decode() if match else _decode_identified(data).Id


class _Produced(Struct):
    ProductArn: str | None = None


_decode_produced = msgspec.json.Decoder(_Produced).decode


def product_of(data: bytes) -> str | None:
    """The product ARN of a staged finding; None where there is none."""
    try:
        return _decode_produced(data).ProductArn
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


class Item(Struct, frozen=True, gc=False):
    """A staged finding and where it stands: part, line number."""

    part: str
    line: int
    id: str
    data: bytes


def batches(items: Iterable[Item], *, size: int, max_bytes: int = BATCH_BYTES) -> Iterator[list[Item]]:
    """Cut a stream of findings into batches.

    All of them together are the input. A finding whose id the batch holds already waits for a later one; which of the
    two arrives last does not matter, since Security Hub keeps the newer ``UpdatedAt``.
    """
    batch: list[Item] = []
    ids: set[str] = set()
    length = 0
    # `held` met its own id in this batch; `waiting` is looked at before the source.
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
