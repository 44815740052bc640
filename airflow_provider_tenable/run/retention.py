"""Cleans up at the end of a run: export jobs that nobody continues, and staged files that are no longer needed."""

from __future__ import annotations

import logging
import shutil
import time
from typing import Any

from airflow_provider_tenable import config
from airflow_provider_tenable.assets import garbage
from airflow_provider_tenable.exceptions import ConfigurationError, StagingError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.run import hubs
from airflow_provider_tenable.run.abandoned_exports import cancel_abandoned
from airflow_provider_tenable.run.owner import check_owner
from airflow_provider_tenable.staging.files import is_local, names, read_json, remove, remove_file
from airflow_provider_tenable.staging.layout import RunFolder

log = logging.getLogger(__name__)


def remove_old_runs(context: Any, *, tenable_conn_id: str = "tenable_default") -> list[str]:
    """Remove the staged files of completed runs after ``[tenable] retention_days``, of all others after ``[tenable]
    failed_retention_days``. Before that, cancel the export jobs that this run has left behind.

    Removing a failed run's files loses nothing, because the run has not moved the watermark. Of a completed run with
    rejected findings, these and everything that their replay needs are kept for ``[tenable] rejected_retention_days``.

    :return: the ids of the runs whose files were removed.
    """
    run, now = RunFolder.of(context), time.time()
    try:
        check_owner(run)
    except ConfigurationError as error:
        log.error("Nothing is removed. %s", error)
        return []
    cancel_abandoned(context, tenable_conn_id)
    before = now - config.get("retention_days") * 86400
    rejected_before = now - config.get("rejected_retention_days") * 86400
    failed_before = now - config.get("failed_retention_days") * 86400
    removed, incomplete = [], []
    for name in names(run.dag_root):
        if name == run.run_id or name in RunFolder.RESERVED:
            continue
        try:
            old = run.beside(name)
            if not _is_complete(old):
                if not old.plan.exists():
                    continue
                # A complete run that was cleared and then failed may have kept what had been rejected before.
                if _last_step(old) < (min(failed_before, rejected_before) if _was_cleared(old) else failed_before):
                    _remove_all(old)
                    removed.append(name)
                else:
                    incomplete.append(name)
            elif _remove_old_files(old, before, rejected_before):
                removed.append(name)
        except (StagingError, OSError) as error:
            # A run that cannot be read or removed must not prevent the removal of the others.
            log.warning("The clean-up skips run %s, which keeps its files: %s", safe(name), safe(error))
    garbage.remove_unneeded_parts(run)
    hubs.remove_unneeded(run)
    if is_local(run.root):
        free = shutil.disk_usage(run.dag_root.path).free
        log.info("Removed the files of %d runs; %.1f GB are free in %s.", len(removed), free / 1e9, run.dag_root)
    if incomplete:
        log.info(
            "%d runs are not complete, and keep their files for %g days after their last step: %s.",
            len(incomplete),
            config.get("failed_retention_days"),
            ", ".join(safe(name) for name in incomplete[:10]),
        )
    return removed


def _is_complete(run: RunFolder) -> bool:
    ledger = read_json(run.ledger)
    return isinstance(ledger, dict) and bool(ledger.get("complete"))


def _was_cleared(run: RunFolder) -> bool:
    return bool(names(run.rejected_before))


def _remove_old_files(run: RunFolder, before: float, rejected_before: float) -> bool:
    """Remove the files that a complete run no longer needs. :return: whether all of them were removed."""
    last = run.ledger.stat().st_mtime
    if last >= before:
        return False
    if last >= rejected_before and (names(run.rejected) or names(run.rejected_before)):
        _remove_bulk(run)
        return False
    _remove_all(run)
    return True


def _remove_all(run: RunFolder) -> None:
    """Remove a run's files. The file that :func:`remove_old_runs` recognises it by is removed last, so that an
    interrupted clean-up is repeated: the ledger of a complete run, the plan of any other one.
    """
    last = (run.plan, run.ledger) if _is_complete(run) else (run.ledger, run.plan)
    for name in names(run.root):
        path = run.root / name
        if name not in (run.plan.name, run.ledger.name):
            remove(path) if path.is_dir() else remove_file(path)
    for path in last:
        remove_file(path)
    remove(run.root)


def _last_step(run: RunFolder) -> float:
    """When the run wrote the last of the files that mark its steps, in unix seconds."""
    steps = (run.plan, run.shards, run.ledger)
    return max(float(step.stat().st_mtime) for step in steps if step.exists())


def _remove_bulk(run: RunFolder) -> None:
    """Remove a run's chunks and findings, but keep plan, manifests, receipts, ledger and rejected findings."""
    exports = (run.export("assets"), run.export("vulnerabilities"), run.export("compliance"), run.export("was"))
    for folder in (*exports, run.parked, run.root / "rows"):
        remove(folder)
    for name in names(run.findings):
        if not name.endswith(".json"):
            remove(run.findings / name)
