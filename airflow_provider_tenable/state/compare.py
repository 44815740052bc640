"""Compares the staged findings of an account and Region with its finding index, both in the order of their keys and
some hundred thousand at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable.state.buckets import ArrayBuckets, needed
from airflow_provider_tenable.state.parts import COMPARED
from airflow_provider_tenable.state.staged import FIELDS
from airflow_provider_tenable.state.verdicts import Held, Moments, Verdict, decide

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

#: Staged findings that are compared at a time.
AT_ONCE = 200_000
#: What becomes of a finding, and the ``UpdatedAt`` that it is sent with (unix milliseconds; 0: its own).
DECISION = [("verdict", "u1"), ("stamp", "<i8")]
_NUMBERED = [*FIELDS, ("number", "<i8")]


def compare(
    counts: Sequence[int],
    staged: Callable[[int], Array],
    held: Callable[[], Iterable[Array]],
    moments: Moments,
    held_rows: int = 0,
) -> Array:
    """What becomes of each finding (:data:`DECISION`), in their order.

    Of several findings with one id, which an id scheme without ports makes, the latest counts: the others are
    superseded, or each run would send one after the other.

    :param counts: how many findings each staged part has.
    :param staged: number of a part -> its rows.
    :param held: the rows of each part and delta of the index, each sorted by key; called once at most.
    :param held_rows: about how many rows these are.
    """
    import numpy as np

    total = sum(counts)
    decisions = np.zeros(total, np.dtype(DECISION))
    buckets = needed(max(total, held_rows), AT_ONCE) if total > AT_ONCE else 1
    with ExitStack() as files:
        rows = ArrayBuckets(np.dtype(_NUMBERED), buckets)
        files.callback(rows.close)
        begin = 0
        for number, count in enumerate(counts):
            rows.add(_numbered(staged(number), begin, moments.as_of))
            begin += count
        index: Iterable[Array] = held() if total else ()
        if buckets > 1:
            spilt = ArrayBuckets(np.dtype(COMPARED), buckets)
            files.callback(spilt.close)
            for part in index:
                spilt.add_sorted(part)
            pairs: Iterable[tuple[Array, Iterable[Array]]] = zip(
                rows.arrays(), ([each] for each in spilt.arrays()), strict=True
            )
        else:
            pairs = zip(rows.arrays(), iter([index]), strict=True)
        for some, parts in pairs:
            _decide_some(some, parts, moments, decisions)
    return decisions


def _numbered(rows: Array, begin: int, as_of: int) -> Array:
    import numpy as np

    numbered = np.empty(len(rows), np.dtype(_NUMBERED))
    for name, _ in FIELDS:
        numbered[name] = rows[name]
    numbered["as_of"][numbered["as_of"] == 0] = as_of
    numbered["number"] = np.arange(begin, begin + len(rows))
    return numbered


def _decide_some(rows: Array, parts: Iterable[Array], moments: Moments, decisions: Array) -> None:
    """Decide about some of the findings, and write that down at their numbers."""
    import numpy as np

    rows = rows[np.argsort(rows["key"], kind="stable")]
    if (rows["key"][1:] == rows["key"][:-1]).any():
        # The last of equal keys is the one that counts; the content makes the choice the same in every run.
        rows = rows[np.lexsort((rows["content"], rows["updated_at"], rows["as_of"], rows["key"]))]
        last = np.append(rows["key"][1:] != rows["key"][:-1], True)
        decisions["verdict"][rows["number"][~last]] = Verdict.SUPERSEDED
        rows = rows[last]
    verdicts, stamps = decide(rows, _looked_up(rows["key"], parts), moments)
    decisions["verdict"][rows["number"]] = verdicts
    decisions["stamp"][rows["number"]] = stamps


def _looked_up(keys: Array, parts: Iterable[Array]) -> Held:
    """What the index says of sorted keys: of each the latest row."""
    import numpy as np

    size = len(keys)
    best = np.zeros(size, np.dtype(COMPARED))
    found = np.zeros(size, bool)
    for part in parts:
        if not len(part) or not size:
            continue
        where = np.searchsorted(keys, part["key"])
        where[where == size] = 0
        hits = keys[where] == part["key"]
        where, rows = where[hits], part[hits]
        # A part has each key once, and they are sorted. A bucket holds the rows of several parts.
        if (where[1:] <= where[:-1]).any():
            rank = [rows[name] for name in ("content", "archived", "sent_at", "updated_at", "as_of")]
            order = np.lexsort((*rank, where))
            where, rows = where[order], rows[order]
            last = np.append(where[1:] != where[:-1], True)
            where, rows = where[last], rows[last]
        better = ~found[where] | _later(rows, best[where])
        best[where[better]] = rows[better]
        found[where[better]] = True
    columns = {name: best[name] for name, _ in COMPARED if name != "key"}
    return Held(found=found, **columns)


def _later(rows: Array, others: Array) -> Array:
    """Whether each row counts before the other one, by the rule of ``parts.latest``."""
    import numpy as np

    later = np.zeros(len(rows), bool)
    equal = np.ones(len(rows), bool)
    for name in ("as_of", "updated_at", "sent_at", "archived", "content"):
        later |= equal & (rows[name] > others[name])
        equal &= rows[name] == others[name]
    return later
