"""What has become worse since the committed results.

CPU times depend on the machine, and vary by some percent on the same one. Ratios of two measurements in one run,
counts, bytes and memory depend on neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

#: Changes up to this share are noise.
TOLERATED = 0.1
#: Figures of which more is better.
_MORE_IS_BETTER = ("times_peer", "share")
#: Parts of the names of figures of which less is better. All others (sizes of what was measured, wall-clock times)
#: are not compared.
_LESS_IS_BETTER = ("cpu", "us", "ms", "mb", "bytes", "calls", "files", "modules", "ours", "times_floor", "sent")


def worse(before: Any, after: Any) -> list[str]:
    """A line for each figure that has become worse by more than :data:`TOLERATED`, worst first.

    :param before: figures of a suite, in dicts and lists.
    :param after: the same of a later run.
    """
    old = dict(_leaves(before))
    found = []
    for name, value in _leaves(after):
        change = _change(name, old.get(name), value)
        if change > TOLERATED:
            found.append((change, f"{name}: {_text(old[name])} -> {_text(value)} ({100 * change:.0f} % worse)"))
    return [line for _, line in sorted(found, reverse=True)]


def _change(name: str, before: float | None, after: float) -> float:
    """By which share a figure became worse; negative where it became better."""
    figure = name.rpartition("/")[2]
    if before is None:
        return 0.0
    if figure in _MORE_IS_BETTER:
        return before / after - 1 if after else float(before > 0)
    if not {figure, *figure.split("_")}.isdisjoint(_LESS_IS_BETTER):
        return after / before - 1 if before else float(after > 0)
    return 0.0


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """(path, number) of each number."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _leaves(each, f"{name}/{key}".strip("/"))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _leaves(each, f"{name}/{number}".strip("/"))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, float(value)


def _text(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
