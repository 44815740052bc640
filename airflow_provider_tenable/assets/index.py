"""The asset index: the assets of the last full export, and the changes since. ``{staging}/{dag_id}/asset_index/``.

Tenable exports assets as of a point in time. With the filter ``since`` it exports the assets that were updated, deleted
or terminated since, in any state (API docs: export assets v2). So a run needs a full export only occasionally; in
between, it reads the index and, on top of it, the changes from its own export. If several parts contain an asset, the
later row wins; a deleted or terminated asset keeps its row, as in a full export.

How the index stays consistent:

* The parts never change (:mod:`~airflow_provider_tenable.staging.index_files`), and the manifest is replaced last,
  atomically. A process that dies in between leaves the index unchanged.
* A run's plan names the parts that the run reads. They are kept as long as its folder exists, so that retries, a
  cleared run and a replay read the same.
* The manifest contains the time up to which the index is certainly complete (``data_from``). The next export starts
  there, minus a lag, because assets cannot be filtered by their time of publication. Assets that are published even
  later are looked up individually, or their records parked, until the next full export.
* Any doubt leads to a full export: no index, or one that is old, damaged, incomplete, or from another version, Tenable
  instance or API user.
* Of concurrent runs, one updates the index only if its changes continue the existing index and extend it. The other
  run's changes are not lost: the next run requests them again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypedDict

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
from airflow_provider_tenable.tenable_vm.times import utc

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

log = logging.getLogger(__name__)

#: The format of rows. An index from another release of the package is rebuilt, because it may have read the records
#: differently.
RELEASE = f"2 {__version__} {' '.join(COLUMNS)}"

#: The minimum lag: ``since`` filters by the time of a change, not by the time of its publication.
_LEAST_LAG_SECONDS = 3600
#: How far a full export may be ahead of our clock before it counts as being in the future.
_CLOCK_SKEW_SECONDS = 300
#: Maximum number of updates in separate parts before they are merged.
_SINGLE_UPDATES = 16


class Index(Manifest, frozen=True, forbid_unknown_fields=True):
    """The manifest.

    :ivar release: :data:`RELEASE` of the writer.
    :ivar source: the Tenable instance and API user: another one sees other assets.
    :ivar data_from: unix seconds; the index contains every change before it.
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
        """All parts, in order of increasing precedence."""
        return [*self.full, *self.merged, *self.updates]


class AssetBase(TypedDict):
    """The parts of the index that a run uses, with counts. ``data_from`` and ``full_from`` as in :class:`Index`."""

    parts: list[str]
    records: int
    changed: int
    data_from: float
    full_from: float


class AssetPlan(TypedDict):
    """How a run gets its assets: ``assets`` of its plan. ``why`` is for people; ``base`` is None for a full export."""

    filters: dict[str, Any]
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
    is_full: bool = False,
    always: Mapping[str, Any] = MappingProxyType({}),
) -> AssetPlan:
    """Decide how a run gets its assets.

    :param source: the Tenable instance and API user.
    :param now: unix seconds, by the earlier of our clock and Tenable's.
    :param hours: ``[tenable] asset_index_hours``: the maximum age of the index's full export; 0: no index.
    :param lag: ``[tenable] lag_seconds``.
    :param earlier: the decision of an earlier planning of the run; it is kept if it is still possible.
    :param is_full: whether the run exports all findings, and so all assets.
    :param always: filters of every export, which decide what the index is an index of.
    :return: ``{"filters", "why", "planned_at", "source", "release", "base"}``: the filters of the asset export, and the
        parts of the index that it goes over, if any:
        ``{"parts": [names], "records", "changed", "data_from", "full_from"}``.
    """
    if earlier is not None and _still_holds(run, earlier, source, hours):
        return earlier
    plan: AssetPlan = {
        "filters": dict(always),
        "why": "",
        "planned_at": now,
        "source": source,
        "release": RELEASE,
        "base": None,
    }
    index, why = (None, "this run is a full one") if is_full else _usable(run, source=source, now=now, hours=hours)
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
        utc(since),
        base["records"],
        utc(index.full_from),
    )
    return {**plan, "filters": {"since": since, **always}, "why": "the index is updated", "base": base}


def _still_holds(run: RunFolder, earlier: AssetPlan, source: str, hours: float) -> bool:
    if earlier["source"] != source or earlier["release"] != RELEASE:
        return False
    if earlier["base"] is None:
        return True
    return bool(hours) and all(map(files_of(run).is_intact, earlier["base"]["parts"]))


def _usable(run: RunFolder, *, source: str, now: float, hours: float) -> tuple[Index | None, str]:
    """The index if a run may use it, otherwise the reason. Its parts are not checked."""
    if not hours:
        return None, "[tenable] asset_index_hours is 0"
    index, why = _readable(run, source)
    if index is None:
        return None, why
    if max(index.full_from, index.data_from) > now + _CLOCK_SKEW_SECONDS:
        return None, f"the index is from the future ({utc(index.data_from)}): a clock was wrong"
    if not index.full_from:
        return None, "the last full export lacked the assets of most records"
    if now - index.full_from >= hours * 3600:
        return (
            None,
            f"the last full export is {(now - index.full_from) / 3600:.1f} hours old; asset_index_hours is {hours:g}",
        )
    return index, ""


def _readable(run: RunFolder, source: str) -> tuple[Index | None, str]:
    """The index of this Tenable instance and user, of any age, otherwise the reason why there is none."""
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

    :param source: the Tenable instance and API user.
    """
    index, _ = _readable(run, source)
    return [run.asset_index / part.name for part in index.parts] if index else []


def keep_assets(run: RunFolder, plan: AssetPlan, *, hours: float) -> None:
    """Update the index with the run's complete asset export. May be repeated.

    :param plan: the run's ``assets``, as :func:`plan_assets` made it.
    :param hours: as for :func:`plan_assets`.
    :raises StagingError: the export is not complete, or the disk is full.
    """
    parts = staged_parts(str(run.export("assets")), "assets")
    state = StagedExport(run.export("assets"), "assets").state()
    if not hours or state is None or without_mark(state.body.get("filters", {})) != plan["filters"]:
        return
    if state.data_from is None:
        log.warning("The start time of asset export %s is unknown, so the index is not updated.", state.uuid)
        return
    # If the clock of the requesting task was ahead, the export contains only what existed when the run was planned.
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
            utc(current.data_from),
            utc(plan["filters"]["since"]),
        )
    else:
        _publish(run, _updated(run, current, data_from, copy_parts(files_of(run), parts)))


def require_full_export(run: RunFolder) -> None:
    """Make the next run export all assets, because the index is in doubt. Runs that were planned with its parts still
    find them.
    """
    try:
        index = files_of(run).read_manifest(Index)
    except StagingError:
        # A damaged index leads to a full export anyway.
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
    log.info("The asset index contains everything before %s, in %d parts.", utc(index.data_from), len(index.parts))


def staged_assets(uri: str) -> list[ObjectStoragePath]:
    """The parts with a run's assets: first those of the index that its plan names, then those of its own export, and
    last what EC2 has said of them (:mod:`airflow_provider_tenable.run.resolving`), where it was asked. If several parts
    contain an asset, the later row wins.

    :param uri: the folder of the run's asset export.
    :raises StagingError: the export is not complete.
    """
    folder = open_path(uri)
    plan = read_json(folder.parent / "run.json") or {}
    base = (plan.get("assets") or {}).get("base") or {"parts": []}
    index = folder.parent.parent / RunFolder.ASSET_INDEX
    parts = [*(index / name for name in base["parts"]), *staged_parts(uri, "assets")]
    resolved = folder.parent / RunFolder.RESOLVED_ASSETS
    # Only where the run resolves any, because on an object store the question costs a request for each task.
    return [*parts, resolved] if plan.get("resolves_instances") and resolved.exists() else parts
