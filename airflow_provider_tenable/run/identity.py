"""The identity of a run, which must be the same to reuse staged files.

A cleared run finds the plan of its earlier attempt. It continues with the staged files only if both attempts have the
same Tenable source, run type and data interval. If the connection was corrected in between, the staged chunks belong to
another container; if a backfill reprocesses a scheduled run, the window differs.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from airflow_provider_tenable.run.plan_file import Identity, RunPlan
from airflow_provider_tenable.run.source import source_of
from airflow_provider_tenable.staging.files import names, read_whole, remove, remove_file, write_whole
from airflow_provider_tenable.staging.layout import RunFolder

log = logging.getLogger(__name__)


def identity_of(context: Any, source: str) -> Identity:
    """The identity of this run."""
    bounds = (context.get("data_interval_start"), context.get("data_interval_end"))
    return {
        "source": source,
        "run_type": run_type_of(context),
        "interval": [None if bound is None else float(bound.timestamp()) for bound in bounds],
    }


def run_type_of(context: Any) -> str:
    """Airflow's type of the run: scheduled, manual, backfill, ..."""
    run_type = context["dag_run"].run_type
    return str(getattr(run_type, "value", run_type))


def difference(earlier: RunPlan, identity: Identity) -> str | None:
    """Why the staged files of an earlier attempt cannot be used, in words; None if they can."""
    before, source = earlier.get("identity"), source_of(earlier)
    if source is not None and source != identity["source"]:
        return "planned for another Tenable instance or API user"
    if before and before["run_type"] != identity["run_type"]:
        return f"planned as a run of type {before['run_type']}"
    if before and before["interval"] != identity["interval"]:
        return "planned for another data interval"
    return None


def begin_again(run: RunFolder) -> None:
    """Remove the staged files of an earlier attempt, except its plan and its rejected findings, which are moved aside.

    May be repeated. The ledger is removed first, so that an interruption never leaves a run that seems complete.
    """
    remove_file(run.ledger)
    now = int(time.time())
    for name in names(run.rejected):
        write_whole(run.rejected_before / f"{now}-{name}", read_whole(run.rejected / name))
        remove_file(run.rejected / name)
    keep = {run.plan.name, run.rejected_before.name}
    for name in names(run.root):
        if name not in keep:
            _remove_entry(run, name)
    if names(run.rejected_before):
        log.info("The rejected findings of the earlier attempt are in %s.", run.rejected_before)


def _remove_entry(run: RunFolder, name: str) -> None:
    """Remove a file or folder of the run's folder."""
    path = run.root / name
    if path.is_dir():
        remove(path)
    else:
        remove_file(path)


__all__ = ["begin_again", "difference", "identity_of", "run_type_of"]
