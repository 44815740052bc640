"""What has become worse since the committed results.

Seconds of CPU depend on the machine, and vary by some percent on the same one. So they are compared in relation to the
peer's of the same run: if the peer takes twice as long as when the results were committed, so may we. Counts, bytes and
memory, and ratios of two measurements in one run, depend on neither.
"""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

Rows = list[tuple[str, ...]]


class Kind(StrEnum):
    """What a figure is, which decides how much worse it may be."""

    COUNT = "count"
    RATIO = "ratio"
    MEMORY = "memory"
    TIME = "CPU, by the peer's"
    #: Without a peer in the same suite. Shown, and not judged.
    ALONE = "CPU"


#: By which factor a figure may be worse before it is flagged. What is not here is never flagged.
TOLERATED: Mapping[Kind, float] = {Kind.COUNT: 1.02, Kind.RATIO: 1.15, Kind.MEMORY: 1.15, Kind.TIME: 1.25}
#: Figures of which more is better.
_MORE_IS_BETTER = ("times_peer", "share")
#: Words in the names of figures, or of what they are part of. A figure with none of them (a size of what was measured,
#: seconds on the clock) is not compared.
_WORDS: Mapping[str, Kind] = {
    **dict.fromkeys(("times_peer", "times_floor", "share"), Kind.RATIO),
    **dict.fromkeys(
        ("bytes", "calls", "files", "modules", "tasks", "xcoms", "polls", "sent", "late", "never"), Kind.COUNT
    ),
    "mb": Kind.MEMORY,
    **dict.fromkeys(("cpu", "us", "ms"), Kind.TIME),
}
#: Names of the measurements that ours are compared with. A figure with nothing but such a name is CPU time.
_PEERS = ("peer", "boto3's default", "peer_us_per_finding", "imports from Airflow only")


@dataclass(frozen=True)
class Change:
    """A figure of a suite, before and after.

    :ivar factor: how many times worse it is; below 1 if it is better.
    """

    name: str
    kind: Kind
    before: float
    after: float
    factor: float

    @property
    def is_worse(self) -> bool:
        """Whether it is worse by more than is tolerated."""
        return self.kind in TOLERATED and self.factor > TOLERATED[self.kind]


def changes(before: Any, after: Any) -> list[Change]:
    """Every figure that both have and that can be compared, those that are too much worse first, then by factor.

    :param before: figures of a suite, in dicts and lists.
    :param after: the same of a later run.
    """
    old, new = dict(_leaves(before)), dict(_leaves(after))
    common = [(name, kind) for name in new if name in old and (kind := _kind(name)) is not None]
    peers = [new[name] / old[name] for name, kind in common if kind is Kind.TIME and _of_peer(name) and old[name]]
    slower = statistics.median(peers) if peers else None
    found = []
    for name, kind in common:
        if _of_peer(name):
            continue
        factor = _factor(name, old[name], new[name])
        if kind is not Kind.TIME:
            found.append(Change(name, kind, old[name], new[name], factor))
        elif slower is None:
            found.append(Change(name, Kind.ALONE, old[name], new[name], factor))
        else:
            found.append(Change(name, kind, old[name], new[name], factor / slower))
    return sorted(found, key=lambda change: (not change.is_worse, -change.factor))


def rows(found: list[Change]) -> Rows:
    """The changes as a table."""
    lines: Rows = [("case", "kind", "committed", "now", "times as bad", "")]
    for each in found:
        flag = f"WORSE (over {TOLERATED[each.kind]:g})" if each.is_worse else ""
        lines.append((each.name, each.kind.value, _text(each.before), _text(each.after), f"{each.factor:.2f}", flag))
    return lines


def committed(file: Path) -> dict[str, Any]:
    """The results in the last commit; those on disk may be of an earlier run today. Without git, those on disk."""
    place = f"HEAD:./{file.name}"
    shown = subprocess.run(["git", "show", place], cwd=file.parent, capture_output=True, check=False)
    text = shown.stdout if shown.returncode == 0 else file.read_bytes() if file.exists() else b"{}"
    results: dict[str, Any] = json.loads(text)
    return results


def _factor(name: str, before: float, after: float) -> float:
    if name.rpartition("/")[2] in _MORE_IS_BETTER:
        before, after = after, before
    if before:
        return after / before
    return 1.0 if not after else float("inf")


def _kind(name: str) -> Kind | None:
    """By the last part of the name that says it."""
    parts = name.split("/")
    for part in reversed(parts):
        for word in (part, *part.split("_")):
            if word in _WORDS:
                return _WORDS[word]
    return Kind.TIME if parts[-1] in ("ours", *_PEERS) else None


def _of_peer(name: str) -> bool:
    return not set(_PEERS).isdisjoint(name.split("/"))


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


__all__ = ["TOLERATED", "Change", "Kind", "changes", "committed", "rows"]
