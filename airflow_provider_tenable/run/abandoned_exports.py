"""Cancels the export jobs that a run leaves behind, at the run's end.

A task that is stopped together with its worker leaves its job running, because the task's next attempt resumes it. A
task without a next attempt (its retries are used up, or the run was marked as failed) leaves a job whose chunks nobody
fetches. The job occupies one of the container's few export slots until it ends.
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
    """Cancel jobs that the run has requested and will not fetch. May be repeated; a task that is cleared later requests
    its export again.

    Nothing is cancelled while a task of the run is not finished: the teardowns run as soon as the other tasks cannot
    succeed any more, and one of two exports may still be running then. Jobs that may belong to somebody else are not
    cancelled either.

    :return: the ids of the cancelled jobs. Failures are only logged: nothing else can be done about them.
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
    """Kinds and ids of the run's own jobs that are recorded as incomplete."""
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
