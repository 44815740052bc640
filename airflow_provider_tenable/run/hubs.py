"""What a run knows of the hubs, and what it adds to that: the finding index of all accounts and Regions.

A run that may move the watermark is *full* (it asks for all that is open, and for everything fixed) where there is no
watermark, where the finding index is unknown or lost, ``[tenable] full_run_days`` after the last one, and by the param
``full``. A full run reaches what changed although none of Tenable's times moved, and makes a lost index true again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_tenable.exceptions import ConfigurationError, StagingError
from airflow_provider_tenable.export.store import StagedExport
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.run.ledger import shard_manifests, targets_of
from airflow_provider_tenable.run.plan_file import RunPlan
from airflow_provider_tenable.run.watermark import EVERYTHING, INCREMENTAL, Window
from airflow_provider_tenable.security_hub.receipts import Receipts
from airflow_provider_tenable.staging.files import names, read_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.state.choice import FIRST, KNOWN, UNKNOWN, Choice, HubsPlan
from airflow_provider_tenable.state.index import LostIndexError
from airflow_provider_tenable.state.parts import VERSION
from airflow_provider_tenable.state.record import is_recorded
from airflow_provider_tenable.state.registry import (
    Registry,
    forget_lost,
    index_of,
    lost_destinations,
    note_lost,
    read_registry,
    write_registry,
)

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath
    from airflow_provider_tenable.security_hub.assignment import Target

log = logging.getLogger(__name__)


def plan_hubs(
    run: RunFolder,
    *,
    source: str,
    window: Window,
    may_move: bool,
    asked: bool,
    full_run_days: float,
    refresh_days: float,
    lag: int,
    sent_before: bool,
    planned_at: float,
) -> HubsPlan:
    """Decide how a run comes to know what the hubs hold, and whether it is full.

    :param window: what the run would cover if it is not full.
    :param may_move: whether it may move the watermark.
    :param asked: the param ``full``.
    :param full_run_days: ``[tenable] full_run_days``; 0: only by hand.
    :param lag: ``[tenable] lag_seconds``.
    :param sent_before: whether a run of this DAG has sent something before.
    :param planned_at: unix seconds, by the earlier of our clock and Tenable's.
    :raises ConfigurationError: the run is to be full, and to cover a window.
    """
    if asked and window.kind != INCREMENTAL:
        raise ConfigurationError(
            "full is on, and since or until is given, or the run is a backfill. A full run covers everything: leave "
            "since and until empty, or switch full off."
        )
    registry, why = read_registry(run.finding_index, source)
    state = KNOWN if registry else UNKNOWN if sent_before else FIRST
    lost = lost_destinations(run.finding_index)
    full_why = ""
    if asked:
        full_why = "by the param full"
    elif may_move and window.kind == INCREMENTAL:
        full_why = _why_full(window, registry, why, lost, full_run_days, planned_at)
    if state == UNKNOWN or lost:
        said = why or f"the index of {', '.join(lost[:5])}{' and more' if len(lost) > 5 else ''} was lost"
        log.warning(
            "It is not known what the hubs hold: %s. %s",
            said,
            "This run is a full one: it sends everything that is not known to be there once, and makes the index."
            if full_why
            else "What is concerned is sent in any case, until a full run has made the index again.",
        )
    return HubsPlan(
        state=state,
        source=source,
        planned_at=planned_at,
        refresh_days=refresh_days,
        full=bool(full_why),
        full_as_of=registry.full_as_of if registry else None,
        delivered_until=max((window.watermark or 0) - lag, 0),
        why=why if state == UNKNOWN else "",
        full_why=full_why,
    )


def _why_full(
    window: Window, registry: Registry | None, why: str, lost: list[str], days: float, planned_at: float
) -> str:
    if window.watermark is None:
        return "there is no watermark"
    if registry is None:
        return why
    if lost:
        return f"the finding index of {len(lost)} accounts and Regions was lost"
    age = (planned_at - registry.full_at) / 86400
    if days and age >= days:
        return f"the last full run was {age:.1f} days ago, full_run_days is {days:g}"
    return ""


def full_window(window: Window) -> Window:
    """The window of a full run."""
    return Window(INCREMENTAL, EVERYTHING, window.until, window.bounded, window.watermark)


def hubs_of(plan: RunPlan) -> HubsPlan | None:
    """How a run comes to know what the hubs hold; None where an older release has planned it: it sends everything."""
    hubs = plan.get("hubs")
    return None if hubs is None else msgspec.convert(hubs, HubsPlan)


def index_root(run: RunFolder, plan: RunPlan) -> ObjectStoragePath:
    """The finding index that a run compares with; a replay has that of the run that it repeats."""
    repeated = plan.get("replays")
    return run.dag_root.parent / repeated.partition("/")[0] / RunFolder.FINDING_INDEX if repeated else run.finding_index


def as_of(run: RunFolder, plan: RunPlan) -> int:
    """For which moment the run's export speaks, unix milliseconds: that up to which it would move the watermark."""
    staged = (read_json(run.shards) or {}).get("as_of")
    if staged is not None:
        return int(staged)
    state = StagedExport(run.export("vulnerabilities"), "vulnerabilities").state()
    return moment_of(plan, state.data_from if state else None)


def moment_of(plan: RunPlan, data_from: float | None) -> int:
    """The same, of an export that is sure to hold everything before ``data_from``."""
    until = plan["window"]["until"]
    return int(1000 * (until if data_from is None else min(until, data_from)))


def choice_of(run: RunFolder, plan: RunPlan, target: Target) -> Choice | None:
    """Which findings of a target a run sends; None where it sends all."""
    hubs = hubs_of(plan)
    return None if hubs is None else Choice(run, target, hubs, as_of(run, plan), index_root(run, plan))


def record_all(run: RunFolder, plan: RunPlan) -> None:
    """Put all that was acknowledged into the finding index: an import may have been killed before it did. May be
    repeated.
    """
    if hubs_of(plan) is None or plan["settings"]["dry_run"]:
        return
    for target in targets_of(shard_manifests(run)):
        receipts = Receipts(run, target.account, target.region, [name for name, _ in target.parts])
        if receipts.accepted and not is_recorded(run, target, receipts):
            choice = choice_of(run, plan, target)
            assert choice is not None
            choice.record(receipts)


def record_left_over(run: RunFolder) -> None:
    """The same for runs that died, or failed for good, before they were complete."""
    for name in names(run.dag_root):
        if name == run.run_id or name in RunFolder.RESERVED:
            continue
        other = run.beside(name)
        try:
            plan: RunPlan | None = read_json(other.plan)
            if plan and hubs_of(plan) and names(other.root / "receipts") and not _is_complete(other):
                record_all(other, plan)
        except (StagingError, OSError, msgspec.ValidationError, KeyError) as error:
            # It may have stopped before its transform was done, or be damaged.
            log.info("Nothing is put into the finding index for run %s: %s", safe(name), safe(error))


def _is_complete(run: RunFolder) -> bool:
    ledger = read_json(run.ledger)
    return isinstance(ledger, dict) and bool(ledger.get("complete"))


def settle_index(run: RunFolder, plan: RunPlan) -> None:
    """Merge what the run has added to the finding index. Only a run that moves the watermark does. May be repeated."""
    hubs = hubs_of(plan)
    if hubs is None:
        return
    folder = run.finding_index
    registry, _ = read_registry(folder, hubs.source)
    if registry is None and not hubs.full:
        return
    delivered = [str(target) for target in targets_of(shard_manifests(run))]
    lost = set(lost_destinations(folder))
    known = registry.destinations if registry else []
    rebuilt = set(delivered if hubs.state == UNKNOWN else ()) | lost if hubs.full else set()
    merged = list(_merged(folder, sorted({*delivered, *rebuilt}), rebuilt, int(1000 * hubs.planned_at)))
    full_as_of = as_of(run, plan) if hubs.full or registry is None else registry.full_as_of
    full_at = hubs.planned_at if hubs.full or registry is None else registry.full_at
    now = Registry(VERSION, hubs.source, full_as_of, full_at, sorted({*known, *merged}))
    write_registry(folder, now)
    for name in rebuilt:
        forget_lost(folder, name)


def _merged(folder: ObjectStoragePath, destinations: Iterable[str], rebuilt: set[str], now: int) -> Iterator[str]:
    for name in destinations:
        try:
            index_of(folder, *name.split("/")).merge(now=now, rebuild=name in rebuilt)
        except LostIndexError as error:
            # What it holds is not needed here: everything was delivered.
            log.warning("%s: %s The next run that may move the watermark is a full one.", name, safe(error))
            note_lost(folder, name, str(error))
        yield name


def remove_unneeded(run: RunFolder) -> None:
    """Remove what merging has left behind."""
    try:
        registered = (read_json(run.finding_index / "manifest.json") or {}).get("destinations", [])
        for name in registered:
            index_of(run.finding_index, *name.split("/")).remove_unneeded()
    except (StagingError, OSError, TypeError, AttributeError) as error:
        log.warning("No part of the finding index is removed: %s", safe(error))


__all__ = ["choice_of", "full_window", "hubs_of", "plan_hubs", "record_all", "record_left_over", "settle_index"]
