"""Compares the staged findings of an account and Region with its finding index, some hundred thousand at a time.

Both sides are arrays in the order of their keys, so nothing is done per finding in Python.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_tenable.asff import row
from airflow_provider_tenable.state.buckets import ArrayBuckets, halves, needed
from airflow_provider_tenable.state.lookup import ROW, Columns, LookedUp, PartStream
from airflow_provider_tenable.state.verdicts import Held, Moments, Verdict, decide

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

#: Staged findings that are compared at a time.
AT_ONCE = 300_000
#: What becomes of a finding, and the ``UpdatedAt`` that it is sent with (unix milliseconds; 0: its own).
DECISION = [("verdict", "u1"), ("stamp", "<i8")]
#: Among the reasons for which findings are archived: how many are active again.
REOPENED = "reopened"
#: Beside them: how many have the state of before, and were mapped by a release with another mapping.
REMAPPED = "remapped"
#: What is compared of a staged finding: the halves of its key, and its place among all of them.
_STAGED = [
    ("hi", "<u8"),
    ("lo", "<u8"),
    ("content", "<u8"),
    ("flags", "u1"),
    ("updated_at", "<i8"),
    ("as_of", "<i8"),
    ("number", "<i8"),
]


class Compared(NamedTuple):
    """What becomes of findings.

    :ivar decisions: :data:`DECISION` of each, in their order.
    :ivar changed_states: how many are archived, by reason (:func:`airflow_provider_tenable.asff.row.because`), and how
        many are active again (:data:`REOPENED`), or mapped anew (:data:`REMAPPED`).
    """

    decisions: Array
    changed_states: Counter[str]


def compare(
    counts: Sequence[int],
    staged: Callable[[int], Array],
    parts: Iterable[Columns],
    deltas: Iterable[Columns],
    moments: Moments,
    delta_rows: int = 0,
) -> Compared:
    """What becomes of each finding.

    Of several findings with one id, which an id scheme without ports makes, the latest counts: the others are
    superseded, or each run would send one after the other.

    :param counts: how many findings each staged part has.
    :param staged: number of a part -> its rows (:data:`~airflow_provider_tenable.state.staged.FIELDS`).
    :param parts: the parts of the index, in the order of their keys.
    :param deltas: its deltas, in any order.
    :param delta_rows: about how many rows the deltas have.
    """
    import numpy as np

    total = sum(counts)
    decisions = np.zeros(total, np.dtype(DECISION))
    changed_states: Counter[str] = Counter()
    if not total:
        return Compared(decisions, changed_states)
    buckets = needed(max(total, delta_rows), AT_ONCE)
    with ExitStack() as files:
        rows, late = ArrayBuckets(np.dtype(_STAGED), buckets), ArrayBuckets(np.dtype(ROW), buckets)
        files.callback(rows.close)
        files.callback(late.close)
        begin = 0
        for number, count in enumerate(counts):
            rows.add(_numbered(staged(number), begin, moments.as_of))
            begin += count
        for delta in deltas:
            late.add(delta.as_rows())
        stream = PartStream(parts)
        for some, changed in zip(rows.arrays(), late.arrays(), strict=True):
            if len(some):
                changed_states.update(_decide_some(some, changed, stream, moments, decisions))
    return Compared(decisions, changed_states)


def _numbered(rows: Array, begin: int, as_of: int) -> Array:
    import numpy as np

    numbered = np.empty(len(rows), np.dtype(_STAGED))
    numbered["hi"], numbered["lo"] = halves(np.ascontiguousarray(rows["key"]).view("u1"))
    for name in ("content", "flags", "updated_at"):
        numbered[name] = rows[name]
    numbered["as_of"] = np.where(rows["as_of"] == 0, as_of, rows["as_of"])
    numbered["number"] = np.arange(begin, begin + len(rows))
    return numbered


def _decide_some(rows: Array, changed: Array, stream: PartStream, moments: Moments, decisions: Array) -> Counter[str]:
    """Decide about some of the findings, and write that down at their numbers.

    :return: ``changed_states``, of these findings.
    """
    import numpy as np

    rows = rows[sorted_by_key(rows["hi"], rows["lo"])]
    hi, lo = rows["hi"], rows["lo"]
    same = (hi[1:] == hi[:-1]) & (lo[1:] == lo[:-1])
    if same.any():
        # The last of equal keys is the one that counts; the content makes the choice the same in every run.
        rows = rows[np.lexsort((rows["number"], rows["content"], rows["updated_at"], rows["as_of"], lo, hi))]
        last = np.append(~same, True)
        decisions["verdict"][rows["number"][~last]] = Verdict.SUPERSEDED
        rows = rows[last]
    hi, lo = np.ascontiguousarray(rows["hi"]), np.ascontiguousarray(rows["lo"])
    held = LookedUp(hi, lo)
    for part in stream.up_to(hi[-1]):
        held.add(part)
    held.add(Columns.latest_of(changed))
    known = Held(found=held.found, **held.values)
    verdicts, stamps = decide(rows, known, moments)
    decisions["verdict"][rows["number"]] = verdicts
    decisions["stamp"][rows["number"]] = stamps
    return _changed_states(rows, known, verdicts)


def _changed_states(rows: Array, held: Held, verdicts: Array) -> Counter[str]:
    """How many findings are archived, by reason, and how many are active again, or mapped anew."""
    import numpy as np

    reasons, counts = np.unique(
        rows["flags"][verdicts == Verdict.ARCHIVED] & ~np.uint8(row.SEVERITY), return_counts=True
    )
    changed: Counter[str] = Counter()
    for flags, count in zip(reasons.tolist(), counts.tolist(), strict=True):
        changed[row.because(flags)] += count
    reopened = (verdicts == Verdict.UPDATED) & held.archived & (rows["flags"] & row.ARCHIVED == 0)
    changed[REOPENED] = int(reopened.sum())
    changed[REMAPPED] = int(((verdicts == Verdict.UPDATED) & ~reopened & row.of_another_version(held.content)).sum())
    return +changed


def sorted_by_key(hi: Array, lo: Array) -> Array:
    """The order of keys that are given by their halves."""
    import numpy as np

    order = np.argsort(hi)
    sorted_hi, sorted_lo = hi[order], lo[order]
    if ((sorted_hi[1:] == sorted_hi[:-1]) & (sorted_lo[1:] < sorted_lo[:-1])).any():
        return np.lexsort((lo, hi))
    return order
