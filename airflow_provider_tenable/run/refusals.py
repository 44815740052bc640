"""Accounts and hub Regions ("places") that permanently refuse their findings: detected before the export if possible,
evaluated when the run is settled, and remembered until they accept findings again.

A closed account, a role that is missing or cannot be assumed, a Region that is not enabled, a disabled hub: none of
these resolves itself, and none affects other places. Their records are counted as ``destination_refused`` and left out,
the watermark moves for all others, and :mod:`~airflow_provider_tenable.run.places` stores the time from which such a
place lacks its findings. A place that is temporarily unavailable (429, 5xx, time-outs) does not count as refusing: its
import fails, and the watermark stays.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_tenable import config
from airflow_provider_tenable.assets.account import skip_reason
from airflow_provider_tenable.assets.parquet import read_table
from airflow_provider_tenable.aws import region_of
from airflow_provider_tenable.exceptions import (
    DestinationRefusedError,
    NotSubscribedError,
    RefusedDestinationsError,
    StagingError,
    TenableProviderError,
)
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.observability import metrics
from airflow_provider_tenable.run import places
from airflow_provider_tenable.run.ledger import Ledger, RefusedEntry, shard_manifests
from airflow_provider_tenable.run.plan_file import RunPlan
from airflow_provider_tenable.run.watermark import BACKFILL, EVERYTHING, INCREMENTAL, Window
from airflow_provider_tenable.staging.crash_points import CrashPoint, reached
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow
from airflow_provider_tenable.transform.routing import Destination, Router

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

log = logging.getLogger(__name__)

#: Concurrent checks, and seconds after which no further check is started: the import detects the others.
_TOGETHER, _SECONDS = 16, 120.0
#: Maximum number of places in a message, and of characters per reason; the ledger contains all of them.
_MOST_NAMED, _LONGEST_REASON = 5, 400
_COLUMNS = ("id", "owner_id", "region", "availability_zone", "instance_id")


@dataclass
class Checked:
    """The results of the checks before the export.

    :ivar refused: ``account/region`` -> why it permanently refuses findings.
    :ivar accepting: those that have passed the checks.
    """

    refused: dict[str, str] = field(default_factory=dict)
    accepting: set[str] = field(default_factory=set)


def check_places(run: RunFolder, router: Router, known_assets: Iterable[ObjectStoragePath]) -> Checked:
    """Check whether the hubs of places for which the run may have findings accept them: first those that lack findings,
    then those that no run has reached yet.

    A place that was reached is not checked: a check costs about a second of CPU time, and the import detects the same.

    :param router: the router of the run's destinations.
    :param known_assets: the parts of the asset index, which name the places; empty without an index.
    """
    owed, reached_before = places.owed(run), places.accepted_before(run)
    candidates: dict[str, Destination] = {}
    for place in sorted(owed):
        account, region = place.split("/")
        route = router.route(account, region)
        if not isinstance(route, str) and route[1] == region:
            candidates[place] = route[0]
    for place, destination in sorted(_places_of(known_assets, router).items()):
        if place not in reached_before:
            candidates.setdefault(place, destination)
    return _check(candidates)


def _places_of(parts: Iterable[ObjectStoragePath], router: Router) -> dict[str, Destination]:
    found: dict[str, Destination] = {}
    seen: set[tuple[Any, ...]] = set()
    try:
        for part in parts:
            columns = read_table(part, _COLUMNS).to_pydict()
            seen.update(
                zip(*(columns[name] for name in _COLUMNS[1:-1]), map(bool, columns["instance_id"]), strict=True)
            )
    except StagingError as error:
        log.warning("Cannot determine the accounts of the assets before the export: %s", error)
    for owner, region, zone, has_instance in seen:
        row = AssetRow(
            id="",
            owner_id=owner,
            region=region,
            availability_zone=zone,
            instance_id="i-00000000" if has_instance else None,
        )
        if skip_reason(row):
            continue
        route = router.route(owner, region_of(region, zone) or "")
        if not isinstance(route, str):
            found[f"{owner}/{route[1]}"] = route[0]
    return found


def _check(candidates: dict[str, Destination]) -> Checked:
    checked, until = Checked(), time.monotonic() + _SECONDS

    def check(place: str, hook: Any) -> None:
        if time.monotonic() >= until:
            return
        try:
            with closing(hook):
                # Nothing is changed yet: the import subscribes the account, if allowed.
                hook.preflight(config.get("product"), enable_product=False)
        except NotSubscribedError as error:
            if config.get("enable_product"):
                checked.accepting.add(place)
            else:
                checked.refused[place] = str(error)
        except DestinationRefusedError as error:
            checked.refused[place] = str(error)
        except Exception as error:  # noqa: BLE001 - the import will meet the same error and decide.
            words = str(error) if isinstance(error, TenableProviderError) else safe(error)
            log.warning("Cannot determine before the export whether %s accepts findings: %s", place, words)
        else:
            checked.accepting.add(place)

    with ThreadPoolExecutor(max_workers=_TOGETHER, thread_name_prefix="securityhub-check") as pool:
        for place, destination in candidates.items():
            pool.submit(check, place, _hook(place, destination))
    if left := len(candidates) - len(checked.refused) - len(checked.accepting):
        log.info("%d of %d accounts and Regions were not checked before the export.", left, len(candidates))
    checked.refused = dict(sorted(checked.refused.items()))
    for place, why in checked.refused.items():
        log.warning("%s refuses findings: %s", place, why)
    return checked


def _hook(place: str, destination: Destination) -> Any:
    from airflow_provider_tenable.hooks.security_hub import SecurityHubHook

    account, region = place.split("/")
    hook = SecurityHubHook(
        aws_conn_id=destination.aws_conn_id,
        region_name=region,
        role_name=destination.role_name,
        account=account,
        external_id=destination.external_id,
    )
    # Looked up in the task's own thread, before another uses the hook.
    _ = hook.conn_config
    return hook


def recovering(run: RunFolder, window: Window, checked: Checked) -> tuple[Window, list[str]]:
    """The window, extended to include the missing findings of places that accept findings again, and these places.

    :param window: of an incremental run that delivers at least what the DAG's own defaults would.
    """
    if window.kind != INCREMENTAL:
        return window, []
    due = {
        place: entry
        for place, entry in places.owed(run).items()
        if place in checked.accepting and places.is_due(entry, time.time())
    }
    if not due:
        return window, []
    since = min(window.since, *(max(entry["since"], EVERYTHING) for entry in due.values()))
    log.info(
        "%s accept findings again. This run starts at the time from which their findings are missing.",
        ", ".join(sorted(due)),
    )
    return Window(window.kind, since, window.until, window.bounded, window.watermark), sorted(due)


def check_refused(ledger: Ledger, run: RunFolder, plan: RunPlan) -> None:
    """Evaluate the places that refused this run's findings.

    :raises RefusedDestinationsError: there are more than ``max_refused_destinations``; by default: one of them accepted
        findings before, or all places of the run refuse and none was ever reached.
    """
    refused = ledger.get("refused", {})
    metrics.gauge("tenable.refused_destinations", len(refused), dag_id=run.dag_id)
    if not refused:
        return
    limit = plan["settings"].get("max_refused_destinations")
    records = sum(entry["records"] for entry in refused.values())
    # Alarms look for "destinations refused" (deploy/cloudformation/alarms.yaml), in the warning and in the errors.
    count = f"{len(refused)} destinations refused {records:,} findings for good"
    if limit is not None:
        if len(refused) > limit:
            _refuse(f"{count}, more than max_refused_destinations {limit} allows", refused)
    else:
        before = {place: entry for place, entry in refused.items() if entry["reached"]}
        if before:
            _refuse(f"{count}, and {len(before)} of them accepted findings before", before)
        if not places.accepted_before(run) and not ledger["findings"]:
            _refuse(f"{count}: all that this run has findings for, and no run has reached any yet", refused)
    log.warning(
        "%s: %s. The others are not affected. The missing findings are delivered once they are accepted.",
        count,
        _named(refused),
    )


def _refuse(what: str, refused: dict[str, RefusedEntry]) -> None:
    raise RefusedDestinationsError(
        f"{what}: {_named(refused)} What the others accept was delivered; the watermark stays. What to do: remove the "
        "cause and clear the run with all of its tasks (the imports have ended as successes). Or leave the account or "
        "Region out with exclude_accounts or regions in its destination. Or set max_refused_destinations to the number "
        "of accounts and Regions that may refuse: the watermark then moves without them, and what they are owed is "
        "delivered once they accept findings."
    )


def _named(refused: dict[str, RefusedEntry]) -> str:
    by_records = sorted(refused.items(), key=lambda item: (-item[1]["records"], item[0]))
    named = [
        f"{place} ({entry['records']:,}: {safe(entry['why'], _LONGEST_REASON)})"
        for place, entry in by_records[:_MOST_NAMED]
    ]
    if more := len(refused) - len(named):
        named.append(f"{more} more, which ledger.json lists")
    return "; ".join(named)


def remember(run: RunFolder, plan: RunPlan, ledger: Ledger) -> None:
    """Store the time from which places lack what this run has left out. Before the watermark moves; may be repeated."""
    manifests = shard_manifests(run)
    for place, entry in ledger.get("refused", {}).items():
        account, region = place.split("/")
        # Records that waited for their asset are older than the window.
        waited = any(
            manifest["from_pool"]
            and (
                place in manifest.get("refused", {})
                or manifest.get("contested")
                or any((entry["account"], entry["region"]) == (account, region) for entry in manifest["destinations"])
            )
            for manifest in manifests
        )
        places.note_owed(
            run,
            place,
            since=EVERYTHING if waited else plan["window"]["since"],
            why=entry["why"],
            attempted=place not in plan.get("refused", {}),
        )
        reached(CrashPoint.OWED_NOTED)


def forget_delivered(run: RunFolder, plan: RunPlan, ledger: Ledger, *, narrowed: bool) -> None:
    """Remove the entries of places to which this run has delivered the missing findings. After the watermark has moved;
    may be repeated.

    :param narrowed: whether the run may have delivered less than the DAG's own defaults would, or delivered it
        differently.
    """
    window = plan["window"]
    covers = window["kind"] == INCREMENTAL or (window["kind"] != BACKFILL and window["since"] <= EVERYTHING)
    if narrowed or window["bounded"] or not covers:
        return
    router = Router(msgspec.convert(plan["destinations"], list[Destination]), plan["settings"]["region_routing"])
    for place in places.owed(run):
        if place in ledger.get("refused", {}) or place in plan.get("refused", {}):
            continue
        if router.place(*place.split("/")) == place and places.settle_owed(run, place, since=window["since"]):
            log.info("%s has received its missing findings.", place)


__all__ = ["Checked", "check_places", "check_refused", "forget_delivered", "recovering", "remember"]
