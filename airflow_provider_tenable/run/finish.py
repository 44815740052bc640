"""Ends a run: creates the ledger, checks its totals, and finally advances the watermark."""

from __future__ import annotations

import logging
import time
from typing import Any

import msgspec

from airflow_provider_tenable.export.result import ExportResult
from airflow_provider_tenable.observability import metrics
from airflow_provider_tenable.run import first_run, owner, refusals, watermark
from airflow_provider_tenable.run.ages import hubs_now
from airflow_provider_tenable.run.handover import required
from airflow_provider_tenable.run.hubs import record_all, settle_index
from airflow_provider_tenable.run.ledger import Ledger, Sums, WatermarkEntry, build_ledger, sums_of
from airflow_provider_tenable.run.ledger_checks import check_rejected, check_sums
from airflow_provider_tenable.run.manifests import shard_manifests
from airflow_provider_tenable.run.plan_file import RunPlan, export_task, plan_of
from airflow_provider_tenable.run.source import check_exports
from airflow_provider_tenable.run.status import write_status
from airflow_provider_tenable.run.unknown_assets import check_assets
from airflow_provider_tenable.run.unserved import check_served
from airflow_provider_tenable.staging.crash_points import CrashPoint, reached
from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.transform.routing import OTHER_PARTITION, REGION_EXCLUDED, Destination, Router
from airflow_provider_tenable.transform.waiting_records import settle_pool

log = logging.getLogger(__name__)


def settle_run(context: Any, vulnerabilities: ExportResult | None) -> Sums:
    """Create the ledger, and fail the run if it does not add up, too many findings were rejected, or most AWS assets
    have no destination.

    :return: the totals, for the XCom.
    """
    run = RunFolder.of(context)
    plan = plan_of(run)
    return sums_of(_settle(run, plan, required(vulnerabilities, export_task(plan))))


def _settle(run: RunFolder, plan: RunPlan, vulnerabilities: ExportResult) -> Ledger:
    """Count what is on record, check it, store what refusing destinations lack, and put parked records into the pool.
    May be repeated.

    :raises ConfigurationError: the export comes from another Tenable source than the run is planned for.
    :raises LedgerError: the totals do not add up.
    :raises RejectedFindingsError: too many findings were rejected.
    :raises RefusedDestinationsError: more accounts and Regions refused their findings than are tolerated.
    :raises UnservedError: most AWS assets have no destination.
    :raises UnknownAssetsError: most records belong to assets that Tenable does not export.
    """
    owner.check_owner(run)
    check_exports(run, plan)
    ledger = build_ledger(run, plan, exported=vulnerabilities["records"])
    write_json(run.ledger, ledger)
    reached(CrashPoint.LEDGER_WRITTEN)
    check_sums(ledger)
    # As before the imports, whose task somebody may have marked as success.
    check_assets(run, plan, shard_manifests(run))
    check_rejected(ledger, run, plan["settings"]["max_rejected_ratio"])
    refusals.check_refused(ledger, run, plan)
    check_served(ledger, run, plan)
    if not ledger["dry_run"]:
        # First: what the pool no longer holds afterwards, and the watermark passes over, must be on record.
        refusals.remember(run, plan, ledger)
        # Parts of the pool are still needed if the run left out accounts that the DAG's own destinations cover.
        release = not _leaves_out_accounts(run, plan)
        settled = [manifest for manifest in shard_manifests(run) if release or not manifest["from_pool"]]
        parts = [manifest["parked_part"] for manifest in settled if manifest["parked_part"]]
        parts += [name for manifest in settled for name in manifest.get("waiting_parts", [])]
        settle_pool(run, parts, done=[name for manifest in settled for name in manifest["pool_parts"]])
    return ledger


def advance_watermark(context: Any, vulnerabilities: ExportResult | None) -> WatermarkEntry:
    """Move the watermark, as the last step, if the rules allow it.

    The run is settled again first, because ``settle`` may have been marked as success, or an earlier task may have been
    cleared without it. The recorded results decide, not the state of a task.

    :return: ``{"before", "after", "why"}``
    :raises ConfigurationError: the vulnerability export has no result. Otherwise as :func:`settle_run`.
    """
    run = RunFolder.of(context)
    plan = plan_of(run)
    exported = required(vulnerabilities, export_task(plan))
    ledger = _settle(run, plan, exported)
    record_all(run, plan)
    dag_id = context["dag_run"].dag_id
    narrowed = plan["narrowed"] or _leaves_out_accounts(run, plan)
    current = watermark.current(dag_id)
    window = watermark.Window(**plan["window"])
    target, why = watermark.next_watermark(
        window,
        data_from=exported["data_from"],
        current=current,
        narrowed=narrowed,
        dry_run=plan["settings"]["dry_run"],
    )
    if target is not None:
        # A run that dies after this one or any of the following steps repeats them.
        settle_index(run, plan)
        # Before the watermark: a run that dies in between repeats both.
        first_run.note_that_it_sends(run, plan.get("assets", {}).get("source"))
        reached(CrashPoint.BEFORE_WATERMARK)
        watermark.write_watermark(dag_id, target)
        reached(CrashPoint.WATERMARK_WRITTEN)
    if not ledger["dry_run"]:
        until = watermark.covered_until(window, exported["data_from"])
        refusals.forget_delivered(run, plan, ledger, until=until, narrowed=narrowed)
    # After a first attempt the watermark may already have moved, so the value at the start is taken from the plan.
    result: WatermarkEntry = {
        "before": plan["window"]["watermark"],
        "after": current if target is None else target,
        "why": why,
    }
    complete: Ledger = {**ledger, "watermark": result, "complete": True}
    now = time.time()
    hubs = None if ledger["dry_run"] else hubs_now(run, plan, now=now)
    if hubs is not None:
        complete["active"] = hubs["total"]
    if not ledger["dry_run"]:
        write_status(run, plan, complete, hubs, now=now)
    write_json(run.ledger, complete)
    reached(CrashPoint.RUN_COMPLETE)
    metrics.watermark_lag(dag_id, result["after"], time.time())
    if not ledger["dry_run"]:
        metrics.completed(complete, dag_id)
        metrics.active(hubs, dag_id)
    log.info("The watermark %s.", why)
    return result


def _leaves_out_accounts(run: RunFolder, plan: RunPlan) -> bool:
    """Whether the run's destinations left out an account that the DAG's own destinations cover."""
    if plan["usual_destinations"] is None:
        return False
    router = Router(msgspec.convert(plan["usual_destinations"], list[Destination]), "resource")
    left_out = {account for manifest in shard_manifests(run) for account in manifest["skipped_accounts"]}
    # The Regions of an account's resources are not recorded, so a destination that excludes us-east-1 may cover the
    # account as well.
    routes = [router.route(account, "us-east-1") for account in left_out]
    return any(not isinstance(route, str) or route in (OTHER_PARTITION, REGION_EXCLUDED) for route in routes)
