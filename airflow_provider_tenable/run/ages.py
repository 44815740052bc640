"""What the hubs hold at the end of a run: active findings by account, Region, severity and age."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any, TypedDict

import msgspec

from airflow_provider_tenable import config
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import quoted, safe
from airflow_provider_tenable.run.hubs import hubs_of
from airflow_provider_tenable.run.plan_file import RunPlan
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.state.ages import ByAge, active_by_age, summary
from airflow_provider_tenable.state.registry import read_state
from airflow_provider_tenable.state.snapshot import LostIndexError

log = logging.getLogger(__name__)

#: The severities of ``[tenable] service_levels``, in its order.
_OF_LEVELS = ("critical", "high", "medium", "low")
_LONGEST = 36_500


class ActiveEntry(TypedDict):
    """Active findings (:class:`~airflow_provider_tenable.state.ages.Active`), in the ledger and in ``status.json``."""

    by_severity: dict[str, int]
    median_days: int | None
    oldest_days: int | None
    overdue: dict[str, int]


class HubsEntry(TypedDict):
    """What the hubs hold.

    ``total``: in all of them; ``places``: in each, by ``account/region``; ``unknown``: those of which the finding index
    says nothing that could be relied on.
    """

    total: ActiveEntry
    places: dict[str, ActiveEntry]
    unknown: list[str]


def service_levels() -> dict[str, int]:
    """``[tenable] service_levels``: severity -> days within which its findings are to be fixed.

    :raises ConfigurationError: the option is not a list of four numbers of days.
    """
    text = str(config.get("service_levels"))
    days = [part.strip() for part in text.split(",")]
    if len(days) != len(_OF_LEVELS) or not all(map(_is_days, days)):
        raise ConfigurationError(
            f"Option [tenable] service_levels is {quoted(text, 80)}; it must be four whole numbers of days, for "
            f"critical, high, medium and low findings, such as 15, 30, 90, 180. 0: no service level."
        )
    return {name: int(day) for name, day in zip(_OF_LEVELS, days, strict=True) if int(day)}


def _is_days(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(_LONGEST)) and int(text) <= _LONGEST


def hubs_now(run: RunFolder, plan: RunPlan, *, now: float) -> HubsEntry | None:
    """What the hubs hold, as far as the finding index knows; None where a run has none.

    :param now: unix seconds.
    :raises StorageUnavailableError: the staging area does not answer.
    """
    hubs = hubs_of(plan)
    if hubs is None:
        return None
    state = read_state(run.finding_index, hubs.source)
    levels = plan.get("service_levels", {})
    everything: ByAge = Counter()
    places: dict[str, ActiveEntry] = {}
    unknown = []
    for name in sorted({*(state.registry.destinations if state.registry else ()), *state.written}):
        try:
            if name in state.lost:
                raise LostIndexError("an earlier run found it missing or damaged.")
            by_age = active_by_age(state.index(name).snapshot(), now=int(1000 * now))
        except LostIndexError as error:
            log.warning("%s: it is not known which findings are active: %s", name, safe(error))
            unknown.append(name)
            continue
        everything.update(by_age)
        places[name] = _entry(by_age, levels)
    return {"total": _entry(everything, levels), "places": places, "unknown": unknown}


def _entry(by_age: ByAge, levels: dict[str, int]) -> ActiveEntry:
    entry: Any = msgspec.to_builtins(summary(by_age, levels))
    return entry


__all__ = ["ActiveEntry", "HubsEntry", "hubs_now", "service_levels"]
