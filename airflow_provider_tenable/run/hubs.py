"""What a run knows of the hubs, and what it adds to that: the finding index of all accounts and Regions.

A run that may move the watermark is *full* (it asks for all that is open, and for everything fixed) where there is no
watermark, where the finding index is unknown or lost, where the DAG's scope has changed, ``[tenable] full_run_days``
after the last one, and by the param ``full``. A full run reaches what changed although none of Tenable's times moved,
and makes a lost index true again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_tenable.exceptions import ConfigurationError, StagingError
from airflow_provider_tenable.export.store import StagedExport
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.run.manifests import shard_manifests, targets_of
from airflow_provider_tenable.run.plan_file import RunPlan, kind_of_plan
from airflow_provider_tenable.run.scope import changes
from airflow_provider_tenable.run.watermark import EVERYTHING, INCREMENTAL, Window
from airflow_provider_tenable.security_hub.receipts import Receipts
from airflow_provider_tenable.staging.files import names, read_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.state.choice import FIRST, KNOWN, UNKNOWN, Choice, HubsPlan, choose
from airflow_provider_tenable.state.decisions import read_head
from airflow_provider_tenable.state.parts import VERSION
from airflow_provider_tenable.state.record import deltas_of, is_recorded
from airflow_provider_tenable.state.registry import (
    MANIFEST,
    IndexState,
    Registry,
    forget_emptied,
    forget_lost,
    forget_written,
    note_lost,
    note_written,
    read_state,
    write_registry,
)
from airflow_provider_tenable.state.snapshot import LostIndexError

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
    scope: Mapping[str, str] = MappingProxyType({}),
) -> HubsPlan:
    """Decide how a run comes to know what the hubs hold, and whether it is full.

    :param window: what the run would cover if it is not full.
    :param may_move: whether it may move the watermark.
    :param asked: the param ``full``.
    :param full_run_days: ``[tenable] full_run_days``; 0: only by hand.
    :param lag: ``[tenable] lag_seconds``.
    :param sent_before: whether a run of this DAG has sent something before.
    :param planned_at: unix seconds, by the earlier of our clock and Tenable's.
    :param scope: of the DAG (:mod:`airflow_provider_tenable.run.scope`).
    :raises ConfigurationError: the run is to be full, and to cover a window.
    """
    if asked and window.kind != INCREMENTAL:
        raise ConfigurationError(
            "full is on, and since or until is given, or the run is a backfill. A full run covers everything: leave "
            "since and until empty, or switch full off."
        )
    known = read_state(run.finding_index, source)
    registry, why, lost = known.registry, known.why, sorted(known.lost)
    state = KNOWN if registry else UNKNOWN if sent_before else FIRST
    full_why = ""
    if asked:
        full_why = "by the param full"
    elif may_move and window.kind == INCREMENTAL:
        full_why = _why_full(window, known, full_run_days, planned_at, scope)
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
        scope=dict(scope),
    )


def _why_full(window: Window, known: IndexState, days: float, planned_at: float, scope: Mapping[str, str]) -> str:
    registry = known.registry
    if window.watermark is None:
        return "there is no watermark"
    if registry is None:
        return known.why
    if known.lost:
        return f"the finding index of {len(known.lost)} accounts and Regions was lost"
    if known.emptied:
        return f"Security Hub CSPM was enabled in {', '.join(sorted(known.emptied)[:5])} after findings were delivered"
    if changed := changes(registry.scope, scope):
        return f"{', '.join(changed)} changed since the last full run"
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
    kind = kind_of_plan(plan)
    state = StagedExport(run.export(kind), kind).state()
    return moment_of(plan, state.data_from if state else None)


def moment_of(plan: RunPlan, data_from: float | None) -> int:
    """The same, of an export that is sure to hold everything before ``data_from``.

    By Tenable's clock, where the worker's is behind it: otherwise a run on a worker whose clock was set back would seem
    older than the runs before it, and what it brings would count as superseded.
    """
    window = plan["window"]
    moment = window["until"] if data_from is None else min(window["until"], data_from)
    behind = 0.0 if window.get("bounded") else max(plan.get("clock_ahead", 0.0), 0.0)
    return int(1000 * (moment + behind))


def chooser(run: RunFolder, plan: RunPlan) -> Callable[[Target, Callable[[], int]], Choice] | None:
    """Decides which findings of a target a run sends; None where it sends all. The second argument gives since when the
    hub is on, unix milliseconds, 0 if that is not known.

    :raises StorageUnavailableError: the staging area does not answer.
    """
    hubs = hubs_of(plan)
    if hubs is None:
        return None
    return partial(_choose, run, hubs, as_of(run, plan), read_state(index_root(run, plan), hubs.source))


def _choose(
    run: RunFolder, hubs: HubsPlan, moment: int, state: IndexState, target: Target, enabled_at: Callable[[], int]
) -> Choice:
    return choose(run, target, hubs, moment, state, enabled_at)


def record_all(run: RunFolder, plan: RunPlan) -> None:
    """Put all that was acknowledged into the finding index, since an import may have been killed before it did; then
    note which deltas the run has added. May be repeated.
    """
    choice_of = None if plan["settings"]["dry_run"] else chooser(run, plan)
    if choice_of is None:
        return
    deltas = {}
    for target in targets_of(shard_manifests(run)):
        receipts = Receipts(run, target.account, target.region, [name for name, _ in target.parts])
        head = read_head(run.compared(target.account, target.region), target.parts)
        if head is not None and not is_recorded(run, target, receipts, head):
            choice_of(target, lambda: 0).record(receipts)
        deltas[str(target)] = deltas_of(run, target.account, target.region)
    for name in (read_json(run.archiving) or {}).get("destinations", ()):
        deltas[name] = deltas_of(run, *name.split("/"))
    note_written(index_root(run, plan), f"{run.dag_id}/{run.run_id}", deltas)


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
    """Merge what runs have added to the finding index. Only a run that moves the watermark does. May be repeated."""
    hubs = hubs_of(plan)
    if hubs is None:
        return
    folder = run.finding_index
    state = read_state(folder, hubs.source)
    registry = state.registry
    if registry is None and not hubs.full:
        return
    delivered = [str(target) for target in targets_of(shard_manifests(run))]
    rebuilt = {*(delivered if hubs.state == UNKNOWN else ()), *state.lost} if hubs.full else set()
    merged = sorted({*delivered, *rebuilt, *state.written})
    now = int(1000 * hubs.planned_at)
    still_lost = {name for name in merged if not _is_merged(run, state, name, now, rebuild=name in rebuilt)}
    full_as_of = as_of(run, plan) if hubs.full or registry is None else registry.full_as_of
    full_at = hubs.planned_at if hubs.full or registry is None else registry.full_at
    known = registry.destinations if registry else []
    scope = hubs.scope if hubs.full or registry is None else registry.scope
    write_registry(folder, Registry(VERSION, hubs.source, full_as_of, full_at, sorted({*known, *merged}), scope))
    forget_emptied(folder, full_at)
    for name in rebuilt - still_lost:
        forget_lost(folder, name)
    _forget_merged(state, merged, given_up=rebuilt - still_lost)


def _is_merged(run: RunFolder, state: IndexState, name: str, now: int, *, rebuild: bool) -> bool:
    """Merge the index of an account and Region. :return: whether it can be relied on."""
    try:
        state.index(name).merge(now=now, rebuild=rebuild, own=deltas_of(run, *name.split("/")))
    except LostIndexError as error:
        # What it holds is not needed here: everything was delivered.
        log.warning("%s: %s The next run that may move the watermark is a full one.", name, safe(error))
        note_lost(state.root, name, str(error))
        return False
    return True


def _forget_merged(state: IndexState, destinations: Iterable[str], *, given_up: Collection[str]) -> None:
    """Remove deltas from the notes that are merged, and those that were lost where the index was made again."""
    merged: dict[str, Collection[str]] = {}
    for name in destinations:
        try:
            manifest = state.index(name).snapshot().manifest
        except LostIndexError:
            continue
        merged[name] = manifest.merged if manifest else ()
    forget_written(state.root, lambda name, delta: name in given_up or delta in merged.get(name, ()))


def remove_unneeded(run: RunFolder) -> None:
    """Remove what merging has left behind."""
    try:
        source = (read_json(run.finding_index / MANIFEST) or {}).get("source", "")
        state = read_state(run.finding_index, source)
        for name in state.registry.destinations if state.registry else []:
            state.index(name).remove_unneeded()
    except (StagingError, OSError, TypeError, AttributeError) as error:
        log.warning("No part of the finding index is removed: %s", safe(error))


__all__ = ["chooser", "full_window", "hubs_of", "plan_hubs", "record_all", "record_left_over", "settle_index"]
