"""Cancels the export jobs that a run leaves behind, at the run's end.

A task that is stopped with its worker leaves its job running, since the task's next try continues it. A task without a
next try (its retries are used up, or the run was marked as failed meanwhile) leaves a job whose chunks nobody fetches.
It takes one of the container's few export slots until it is done.
"""

from __future__ import annotations

import logging
from contextlib import closing
from typing import Any

from airflow_provider_tenable._compat import has_unfinished_tasks
from airflow_provider_tenable.exceptions import ConfigurationError, StagingError, TemporaryError
from airflow_provider_tenable.export.store import StagedExport
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.tenable_vm.kinds import KINDS

log = logging.getLogger(__name__)


def cancel_abandoned(context: Any, tenable_conn_id: str) -> list[str]:
    """Cancel what the run has asked for and will not fetch. May be repeated; a task that is cleared later asks again.

    Nothing is cancelled while a task of the run is still to do something: the teardowns run as soon as the rest cannot
    succeed any more, and one of two exports may be under way then. Neither is a job that may be somebody else's.

    :return: the ids of the cancelled jobs. What could not be cancelled is logged: there is nothing else to do about it.
    """
    run = RunFolder.of(context)
    jobs = _running_jobs(run)
    if not jobs or has_unfinished_tasks(context) is not False:
        return []
    cancelled = []
    from airflow_provider_tenable.hooks.tenable import TenableHook

    with closing(TenableHook(tenable_conn_id, retries=0)) as hook:
        for kind, job in jobs:
            try:
                hook.cancel_export(kind, job)
            except (ConfigurationError, TemporaryError) as error:
                log.warning("Could not cancel %s export %s, which nobody continues: %s", kind, safe(job), error)
            else:
                log.info("Cancelled %s export %s, which nobody continues.", kind, safe(job))
                cancelled.append(job)
    return cancelled


def _running_jobs(run: RunFolder) -> list[tuple[str, str]]:
    """Kinds and ids of the jobs that the run's exports have on record as ours and not complete."""
    jobs = []
    for kind in KINDS:
        try:
            state = StagedExport(run.export(kind), kind).state()
        except StagingError as error:
            log.warning("Cannot determine whether a %s export is still running: %s", kind, error)
            continue
        if state is not None and state.uuid and not state.complete and not state.adopted:
            jobs.append((kind, state.uuid))
    return jobs


__all__ = ["cancel_abandoned"]
