"""Memo tables for parts of findings that repeat among records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

#: Entries per table; a table that is full is cleared.
MAX_ENTRIES = 8192
#: Longest text, in characters, that a key may hold. A hostile record may have far longer ones.
LONGEST_TEXT = 64

_Value = TypeVar("_Value")


def memo_table(
    make: Callable[..., _Value],
) -> tuple[dict[tuple[Any, ...], _Value], Callable[[tuple[Any, ...]], _Value]]:
    """A memo table for ``make``, and the function that computes and stores a missing entry.

    The table is a plain dict, so that the hot path costs one lookup: ``table.get(key) or fill(key)``. Keys are the
    arguments of ``make``; keys with texts over :data:`LONGEST_TEXT` are computed each time and never stored.
    """
    table: dict[tuple[Any, ...], _Value] = {}

    def fill(key: tuple[Any, ...]) -> _Value:
        value = make(*key)
        if all(not isinstance(item, str) or len(item) <= LONGEST_TEXT for item in key):
            if len(table) >= MAX_ENTRIES:
                table.clear()
            table[key] = value
        return value

    return table, fill
