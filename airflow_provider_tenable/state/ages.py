"""How many findings are active in the hub of an account and Region, by severity and age: from the finding index,
without a call to anyone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from airflow_provider_tenable.state.latest import latest_rows
from airflow_provider_tenable.tenable_vm.severities import SEVERITIES

if TYPE_CHECKING:
    from airflow_provider_tenable.state.snapshot import Snapshot

DAY = 86_400_000
#: Days of an age at most: a record may claim any time.
_OLDEST = 36_500

#: (severity id, age in full days) -> active findings.
ByAge = Counter[tuple[int, int]]


class Active(Struct, frozen=True):
    """Active findings.

    :ivar by_severity: severity -> findings, the worst first; without those that have none.
    :ivar median_days: the age in full days that half of them have reached; None where there is none.
    :ivar oldest_days: that of the oldest one.
    :ivar overdue: severity -> findings that are older than their service level.
    """

    by_severity: dict[str, int]
    median_days: int | None
    oldest_days: int | None
    overdue: dict[str, int]

    @property
    def findings(self) -> int:
        """How many there are."""
        return sum(self.by_severity.values())


def active_by_age(index: Snapshot, *, now: int) -> ByAge:
    """The active findings of an index.

    :param now: unix milliseconds. An age is counted from when a finding was first observed.
    :raises LostIndexError: the index cannot be relied on.
    """
    import numpy as np

    found: ByAge = Counter()
    for table in latest_rows(index, ("severity", "first_observed")):
        active = ~table["archived"].to_numpy()
        ages = np.clip((now - table["first_observed"].to_numpy()[active]) // DAY, 0, _OLDEST)
        pairs, counts = np.unique(
            table["severity"].to_numpy()[active].astype("i8") * (_OLDEST + 1) + ages, return_counts=True
        )
        for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
            found[divmod(pair, _OLDEST + 1)] += count
    return found


def summary(by_age: ByAge, levels: Mapping[str, int]) -> Active:
    """What is said of active findings.

    :param levels: severity -> days within which its findings are to be fixed.
    """
    by_severity: Counter[str] = Counter()
    overdue: Counter[str] = Counter()
    for (severity, age), count in by_age.items():
        name = SEVERITIES[severity]
        by_severity[name] += count
        if name in levels and age >= levels[name]:
            overdue[name] += count
    return Active(
        by_severity=_worst_first(by_severity),
        median_days=_median(by_age),
        oldest_days=max((age for _, age in by_age), default=None),
        overdue=_worst_first(overdue),
    )


def _worst_first(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: counts[name] for name in reversed(SEVERITIES) if counts.get(name)}


def _median(by_age: ByAge) -> int | None:
    """The lower median."""
    total, reached = by_age.total(), 0
    for age, count in _by_days(by_age.items()):
        reached += count
        if 2 * reached >= total:
            return age
    return None


def _by_days(items: Iterable[tuple[tuple[int, int], int]]) -> list[tuple[int, int]]:
    return sorted((age, count) for (_, age), count in items)


__all__ = ["Active", "ByAge", "active_by_age", "summary"]
