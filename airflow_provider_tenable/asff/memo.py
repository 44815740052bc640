"""What is encoded once and kept, since it repeats among records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

#: Entries in each table of repeating parts, and the longest text that one is looked up by.
_KEPT, _LONGEST = 8192, 64

_Value = TypeVar("_Value")


def kept(make: Callable[..., _Value]) -> tuple[dict[tuple[Any, ...], _Value], Callable[[tuple[Any, ...]], _Value]]:
    """A table of what ``make`` gives, and the function that fills it. Long texts, as a hostile record may have, are not kept."""
    table: dict[tuple[Any, ...], _Value] = {}

    def fill(key: tuple[Any, ...]) -> _Value:
        value = make(*key)
        if all(not isinstance(each, str) or len(each) <= _LONGEST for each in key):
            if len(table) >= _KEPT:
                table.clear()
            table[key] = value
        return value

    return table, fill
