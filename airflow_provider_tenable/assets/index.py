"""The asset index: the assets of the last full export, and what Tenable said has changed since.
``{staging}/{dag_id}/asset_index/``.

Tenable exports assets as of a moment. With the filter ``since`` it exports those that were updated, deleted or
terminated since, whatever their state (API docs:
export assets v2). So a run needs a full export now and then only; between, it reads the index and, over it, what its
own export says has changed. Of an asset that stands in several parts, the later row counts; a deleted or terminated one
keeps its row, as in a full export.

How the index is kept consistent:

* The parts never change (:mod:`~airflow_provider_tenable.staging.index_files`), the manifest is replaced last and at
  once. A process that dies in between leaves the index as it was.
* A run's plan names the parts that the run reads. They stay as long as its folder does, so that retries, a cleared run
  and a replay read the same.
* The manifest says up to which moment the index is sure to hold everything (``data_from``). The next export asks from
  there on, less a lag, since assets have no time of publication to ask for. What is published later than that is looked
  up singly, or parked, until the next full export.
* Whatever is in doubt leads to a full export: no index, an old, damaged or incomplete one, one of another version,
  another Tenable, another user of it.
* Runs beside each other: one brings the index up to date only where its changes join on to what is there, and reach
  further. The loser's work is left out, not lost:
  the next run asks for it again.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypedDict

import msgspec

from airflow_provider_tenable import __version__
from airflow_provider_tenable.assets.index_parts import copy_parts, files_of, merge_parts
from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.export.reattach import without_mark
from airflow_provider_tenable.export.store import StagedExport, staged_parts
from airflow_provider_tenable.staging.files import read_json
from airflow_provider_tenable.staging.index_files import IndexPart, Manifest
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.location import open_path
from airflow_provider_tenable.tenable_vm.asset_row import COLUMNS

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

log = logging.getLogger(__name__)

#: What a row means. An index that another release of the package wrote is made anew: it may have read the records
#: otherwise.
RELEASE = f"2 {__version__} {' '.join(COLUMNS)}"

#: The lag is never less: ``since`` looks at when an asset changed, and not at when the change was published.
_LEAST_LAG_SECONDS = 3600
#: A full export may be ahead of our clock by this much before it counts as being in the future.
_CLOCK_SKEW_SECONDS = 300
#: So many updates lie in parts of their own before they are merged.
_SINGLE_UPDATES = 16


class Index(Manifest, frozen=True, forbid_unknown_fields=True):
    """The manifest.

    :ivar release: :data:`RELEASE` of who wrote it.
    :ivar source: which Tenable, and which user of it: another one sees other assets.
    :ivar data_from: unix seconds; every change before it is in the index.
    :ivar full_from: the same of its full export.
    :ivar full: the parts of the full export.
    :ivar merged: updates that were merged, each asset once.
    :ivar updates: later updates, in their order.
    """

    release: str
    source: str
    data_from: float
    full_from: float
    full: list[IndexPart]
    merged: list[IndexPart] = []
    updates: list[IndexPart] = []

    @property
    def parts(self) -> list[IndexPart]:
        """All parts, in the order in which they count."""
        return [*self.full, *self.merged, *self.updates]


class AssetBase(TypedDict):
    """The parts of the index that a run goes over, and their numbers. ``data_from`` and ``full_from`` as in
    :class:`Index`.
    """

    parts: list[str]
    records: int
    changed: int
    data_from: float
    full_from: float


class AssetPlan(TypedDict):
    """How a run comes by its assets: ``assets`` of its plan. ``why`` is for people; ``base`` is None for a full
    export.
    """

    filters: dict[str, int]
    why: str
    planned_at: float
    source: str
    release: str
    base: AssetBase | None


def plan_assets(
    run: RunFolder,
    *,
    source: str,
    now: float,
    hours: float,
    lag: int,
    earlier: AssetPlan | None = None,
) -> AssetPlan:
    """Decide how a run comes by its assets.

    :param source: which Tenable, and which user of it.
    :param now: unix seconds, by the earlier of our clock and Tenable's.
    :param hours: ``[tenable] asset_index_hours``: how old the full export may be that the index goes back to; 0: there
        is to be no index.
    :param lag: ``[tenable] lag_seconds``.
    :param earlier: what the run had decided when it was planned before; it stays, where it still can.
    :return: ``{"filters", "why", "planned_at", "source", "release", "base"}``: the filters of the asset export, and the
        parts of the index that it goes over, if any:
        ``{"parts": [names], "records", "changed", "data_from", "full_from"}``.
    """
    if earlier is not None and _still_holds(run, earlier, source, hours):
        return earlier
    plan: AssetPlan = {"filters": {}, "why": "", "planned_at": now, "source": source, "release": RELEASE, "base": None}
    index, why = _usable(run, source=source, now=now, hours=hours)
    broken = [part.name for part in index.parts if not files_of(run).is_intact(part.name)] if index else []
    if index is None or broken:
        why = f"the index is incomplete: {broken[0]} is missing or damaged" if broken else why
        log.info("All assets are exported: %s.", why)
        return {**plan, "why": why}
    since = max(int(index.data_from) - max(lag, _LEAST_LAG_SECONDS), 1)
    base: AssetBase = {
        "parts": [part.name for part in index.parts],
        "records": sum(part.records for part in index.full),
        "changed": sum(part.records for part in [*index.merged, *index.updates]),
        "data_from": index.data_from,
        "full_from": index.full_from,
    }
    log.info(
        "Exporting the assets that changed since %s; the index has %d assets, as of %s.",
        _iso(since),
        base["records"],
        _iso(index.full_from),
    )
    return {**plan, "filters": {"since": since}, "why": "the index is updated", "base": base}


def _still_holds(run: RunFolder, earlier: AssetPlan, source: str, hours: float) -> bool:
    if earlier["source"] != source or earlier["release"] != RELEASE:
        return False
    if earlier["base"] is None:
        return True
    return bool(hours) and all(map(files_of(run).is_intact, earlier["base"]["parts"]))


def _usable(run: RunFolder, *, source: str, now: float, hours: float) -> tuple[Index | None, str]:
    """The index, if a run may build on it, else why not. Its parts are not looked at."""
    if not hours:
        return None, "[tenable] asset_index_hours is 0"
    index, why = _readable(run, source)
    if index is None:
        return None, why
    if max(index.full_from, index.data_from) > now + _CLOCK_SKEW_SECONDS:
        return None, f"the index is from the future ({_iso(index.data_from)}): a clock was wrong"
    if not index.full_from:
        return None, "the last full export lacked the assets of most records"
    if now - index.full_from >= hours * 3600:
        return (
            None,
            f"the last full export is {(now - index.full_from) / 3600:.1f} hours old; asset_index_hours is {hours:g}",
        )
    return index, ""


def _readable(run: RunFolder, source: str) -> tuple[Index | None, str]:
    """The index of this Tenable, as old as it may be, else why there is none."""
    try:
        index = files_of(run).read_manifest(Index)
    except StagingError as error:
        return None, f"the index is damaged ({error})"
    if index is None:
        return None, "there is no index yet"
    if index.release != RELEASE:
        return None, "the index was written by another version of this package"
    if index.source != source:
        return None, "the index belongs to another Tenable instance or API user"
    return index, ""


def known_assets(run: RunFolder, *, source: str) -> list[ObjectStoragePath]:
    """The parts of the index, as old as it may be, for what need not be exact; empty where there is none.

    :param source: which Tenable, and which user of it.
    """
    index, _ = _readable(run, source)
    return [run.asset_index / part.name for part in index.parts] if index else []


def keep_assets(run: RunFolder, plan: AssetPlan, *, hours: float) -> None:
    """Bring the index up to date with the run's asset export, which is whole. May be repeated.

    :param plan: the run's ``assets``, as :func:`plan_assets` made it.
    :param hours: as for :func:`plan_assets`.
    :raises StagingError: the export is not complete, or there is no room.
    """
    parts = staged_parts(str(run.export("assets")), "assets")
    state = StagedExport(run.export("assets"), "assets").state()
    if not hours or state is None or without_mark(state.body.get("filters", {})) != plan["filters"]:
        return
    if state.data_from is None:
        log.warning("The start time of asset export %s is unknown, so the index is not updated.", state.uuid)
        return
    # An export that was asked for by a clock that is ahead holds no more than what was there when the run was planned.
    data_from = min(state.data_from, plan["planned_at"])
    records = sum(part.records for part in state.parts.values())
    # Its age does not count here: a run that ends late must not put an old full export in the place of a later run's
    # index.
    current, why = _readable(run, plan["source"])
    if plan["base"] is None:
        if not records:
            log.warning(
                "Tenable exported no assets at all, which is implausible, so no index is built from this export."
            )
        elif current is not None and data_from <= current.full_from <= time.time() + _CLOCK_SKEW_SECONDS:
            log.info("The index already contains a full export that is at least as recent, so it is not updated.")
        else:
            _publish(run, Index(RELEASE, plan["source"], data_from, data_from, copy_parts(files_of(run), parts)))
    elif current is None:
        log.info("The index is not updated: %s.", why)
    elif plan["filters"]["since"] > current.data_from or data_from <= current.data_from:
        log.info(
            "The index is not updated: it is as of %s now, and these changes start at %s.",
            _iso(current.data_from),
            _iso(plan["filters"]["since"]),
        )
    else:
        _publish(run, _updated(run, current, data_from, copy_parts(files_of(run), parts)))


def require_full_export(run: RunFolder) -> None:
    """Have the next run export all assets, because what the index holds is in doubt. Runs that were planned with its
    parts still find them.
    """
    try:
        index = files_of(run).read_manifest(Index)
    except StagingError:
        # A damaged one leads to a full export by itself.
        return
    if index is not None:
        files_of(run).publish(msgspec.structs.replace(index, full_from=0.0))
        log.info("The next run exports all assets.")


def _updated(run: RunFolder, index: Index, data_from: float, parts: list[IndexPart]) -> Index:
    updates, merged = [*index.updates, *parts], index.merged
    if len(updates) > _SINGLE_UPDATES:
        merged, updates = merge_parts(files_of(run), [run.asset_index / part.name for part in [*merged, *updates]]), []
    return msgspec.structs.replace(index, data_from=data_from, merged=merged, updates=updates)


def _publish(run: RunFolder, index: Index) -> None:
    files_of(run).publish(index)
    log.info("The asset index contains everything before %s, in %d parts.", _iso(index.data_from), len(index.parts))


def staged_assets(uri: str) -> list[ObjectStoragePath]:
    """The parts that hold a run's assets: those of the index that its plan names, then those of its own export. Of an
    asset in several, the later row counts.

    :param uri: the folder of the run's asset export.
    :raises StagingError: the export is not complete.
    """
    folder = open_path(uri)
    plan = read_json(folder.parent / "run.json") or {}
    base = (plan.get("assets") or {}).get("base") or {"parts": []}
    index = folder.parent.parent / RunFolder.ASSET_INDEX
    return [*(index / name for name in base["parts"]), *staged_parts(uri, "assets")]


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
