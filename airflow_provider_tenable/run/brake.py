"""The brake: how much of what a full run saw nothing of it may archive.

An export can be short without an error, a permission can shrink, a scope can be mistyped. Two comparisons with
``max_archived_ratio`` keep such a run from emptying the hubs: the findings of each account and Region, and those of all
together, since in many small ones a third is few everywhere. Fewer assets than in the full export before fail the run
much earlier (:mod:`~airflow_provider_tenable.run.shrunk`).
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from airflow_provider_tenable import config
from airflow_provider_tenable.run.plan_file import RunPlan
from airflow_provider_tenable.state.gone import BY_ABSENCE, Gone, is_by_absence

#: Findings that may be archived whatever their share is, unless ``max_archived_ratio`` is 0: of a few findings, some
#: are a large share.
TOLERATED = 50


def ratio_of(plan: RunPlan) -> float:
    """``max_archived_ratio`` of a run: its param, or the option."""
    own = plan["settings"].get("max_archived_ratio")
    return float(config.get("max_archived_ratio") if own is None else own)


def is_too_much(count: int, active: int, ratio: float) -> bool:
    """Whether so many findings of so many active ones are not archived."""
    return count > ratio * active and (count > TOLERATED or not ratio)


def applied(gone: Gone, *, alone: bool) -> Gone:
    """The same without what rests on nothing but absence.

    :param alone: whether that is too much in this account and Region.
    """
    return msgspec.structs.replace(
        gone,
        files=[file for file in gone.files if not is_by_absence(file[0])],
        reasons={reason: count for reason, count in gone.reasons.items() if reason not in BY_ABSENCE},
        alone=alone or gone.alone,
        stopped=gone.stopped | {reason: count for reason, count in gone.reasons.items() if reason in BY_ABSENCE},
    )


def is_too_much_together(decided: Collection[Gone], ratio: float) -> bool:
    """Whether nothing is archived by absence in any account and Region. Those where it is too much already do not
    count: one that is closed must not hold up all others. What a killed try has stopped counts, so that its retry
    decides the same.

    :param decided: what is decided for each of them alone.
    """
    others = [gone for gone in decided if not gone.alone]
    count, active = sum(gone.by_absence for gone in others), sum(gone.active for gone in others)
    return bool(count) and is_too_much(count, active, ratio)


__all__ = ["applied", "is_too_much", "is_too_much_together", "ratio_of"]
