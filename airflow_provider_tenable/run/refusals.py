"""Accounts and hub Regions ("places") that permanently refuse their findings: detected before the export if possible
(:mod:`~airflow_provider_tenable.run.destination_checks`), evaluated when the run is settled, and remembered until they
accept findings again.

A closed account, a role that is missing or cannot be assumed, a Region that is not enabled, a disabled hub: none of
these resolves itself, and none affects other places. Their records are counted as ``destination_refused`` and left out,
the watermark moves for all others, and :mod:`~airflow_provider_tenable.run.places` stores the time from which such a
place lacks its findings. A place that is temporarily unavailable (429, 5xx, time-outs) does not count as refusing: its
import fails, and the watermark stays.
"""

from __future__ import annotations

import logging
import time

import msgspec

from airflow_provider_tenable.exceptions import RefusedDestinationsError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.observability import metrics
from airflow_provider_tenable.run import places
from airflow_provider_tenable.run.destination_checks import Checked
from airflow_provider_tenable.run.ledger import Ledger, RefusedEntry, not_sent
from airflow_provider_tenable.run.manifests import shard_manifests
from airflow_provider_tenable.run.plan_file import RunPlan
from airflow_provider_tenable.run.watermark import BACKFILL, EVERYTHING, INCREMENTAL, Window
from airflow_provider_tenable.staging.crash_points import CrashPoint, reached
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.transform.routing import Destination, Router

log = logging.getLogger(__name__)

#: Maximum number of places in a message, and of characters per reason; the ledger contains all of them.
_MOST_NAMED, _LONGEST_REASON = 5, 400


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
        # What needs no sending says nothing about whether a destination accepts findings.
        if not places.accepted_before(run) and ledger["findings"] == not_sent(ledger):
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
        "of accounts and Regions that may refuse: the watermark then moves without them, and the missing findings are "
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
    """Store the windows of which destinations lack the findings that this run has left out. May be repeated.

    Before the pool of waiting records is settled, which removes records that were left out, and before the watermark
    moves past the others.
    """
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
            until=plan["window"]["until"],
            why=entry["why"],
            attempted=place in plan.get("recovers", ()) and place not in plan.get("refused", {}),
        )
        reached(CrashPoint.OWED_NOTED)


def forget_delivered(run: RunFolder, plan: RunPlan, ledger: Ledger, *, until: int, narrowed: bool) -> None:
    """Remove the entries of places to which this run has delivered the missing findings; let the next run retry those
    that have accepted others. After the watermark has moved; may be repeated.

    :param until: the time up to which the run's export certainly is complete, unix seconds.
    :param narrowed: whether the run may have delivered less than the DAG's own defaults would, or delivered it
        differently.
    """
    window = plan["window"]
    covers = window["kind"] == INCREMENTAL or (window["kind"] != BACKFILL and window["since"] <= EVERYTHING)
    delivers = covers and not narrowed and not window["bounded"]
    router = Router(msgspec.convert(plan["destinations"], list[Destination]), plan["settings"]["region_routing"])
    for place in places.owed(run):
        if place in ledger.get("refused", {}) or place in plan.get("refused", {}):
            continue
        is_destination = delivers and router.place(*place.split("/")) == place
        if is_destination and places.settle_owed(run, place, since=window["since"], until=until):
            log.info("%s has received its missing findings.", place)
        elif (counts := ledger["destinations"].get(place)) is not None and counts["accepted"]:
            places.reset_attempts(run, place)


__all__ = ["check_refused", "forget_delivered", "recovering", "remember"]
