"""Which job of Tenable's list is ours: after a request whose answer was lost, and where Tenable refuses a second job with the same filters. No Airflow in here.

Two running jobs with the same filters are refused (409): ours is then the one that runs, if its filters and chunk size are ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow_provider_tenable.export.filter_match import same_filters
from airflow_provider_tenable.export.state import ExportState
from airflow_provider_tenable.tenable_vm.jobs import ACTIVE, Job
from airflow_provider_tenable.tenable_vm.kinds import KINDS, kind_of

#: Clocks differ: a job counts as the outcome of our own lost request if it was created up to this long before it.
_CLOCK_SKEW_SECONDS = 120.0
#: What a request says about plugin output.
_OUTPUT = dict.fromkeys(name for kind in KINDS.values() for name in kind.without_output)


def lost_job(jobs: Iterable[Job], state: ExportState) -> Job | None:
    """The job that was asked for at ``state.requested_at``, and whose id was not noted."""
    requested_at = state.requested_at or 0.0
    for job in jobs:
        if (
            job.status in ACTIVE | {"FINISHED"}
            and job.uuid not in state.given_up
            and job.created is not None
            and job.created >= requested_at - _CLOCK_SKEW_SECONDS
            and _is_ours(job, state)
        ):
            return job
    return None


def running_job(jobs: Iterable[Job], state: ExportState, named: str | None) -> Job | None:
    """The job that keeps ours from starting, if what it exports is what we want.

    :param named: the job that Tenable names, None where it names none.
    """
    for job in jobs:
        # Where a watermark follows, the job's data must be known to be old enough.
        known = job.created is not None or not kind_of(state.kind).moves_watermark
        if job.status in ACTIVE and named in (None, job.uuid) and job.uuid not in state.given_up and _is_ours(job, state) and known:
            return job
    return None


def same_request(kept: dict[str, Any], body: dict[str, Any]) -> bool:
    """Whether a task goes on with the export that it has asked for, now that it would ask with ``body``.

    What is said about plugin output does not matter: the records are the same, and the mapping leaves out an output that
    is not wanted. So changing ``[tenable] plugin_output`` gives up no running export; the next request has the new value.
    """
    return {**kept, **_OUTPUT} == {**body, **_OUTPUT}


def _is_ours(job: Job, state: ExportState) -> bool:
    kind = kind_of(state.kind)
    ours = state.body.get(kind.size_field)
    return same_filters(state.body.get("filters", {}), job.filters, kind.filters) and (job.chunk_size is None or ours is None or job.chunk_size == ours)
