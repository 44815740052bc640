"""Recognises our job in Tenable's list: after a request whose answer was lost, and where Tenable refuses a duplicate.

Two running jobs with the same filters are refused (409): the running one is used if its filters and chunk size are
ours.
Filters alone do not prove it. An export of all assets has none, and another tool may have asked for the same in the
older format, without resource tags. So an export of assets has a mark of its own, and a request without any filter is
never found again. No Airflow in here.
"""

from __future__ import annotations

import zlib
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
#: The filters that hold a mark.
_MARKED_BY = frozenset(kind.mark for kind in KINDS.values() if kind.mark)
#: A mark is a moment between 2001 and 2008 (unix seconds), before Tenable kept anything: as a lower bound it leaves out
#: nothing.
_MARKS_FROM, _MARKS = 1_000_000_000, 200_000_000


def marked(kind: str, body: dict[str, Any], owner: str) -> dict[str, Any]:
    """The body of a request, with the mark of who asks where that is possible without a change to the result.

    :param owner: what nobody else is called, such as the folder of the export.
    """
    filters, mark = body.get("filters", {}), kind_of(kind).mark
    if mark is None or mark in filters:
        return body
    return {**body, "filters": {**filters, mark: _MARKS_FROM + zlib.crc32(owner.encode()) % _MARKS}}


def without_mark(filters: dict[str, Any]) -> dict[str, Any]:
    """The filters that were asked for, without the mark. An export that version 0.1.0 has begun has none."""
    return {name: value for name, value in filters.items() if not (name in _MARKED_BY and _is_mark(value))}


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
        if (
            job.status in ACTIVE
            and named in (None, job.uuid)
            and job.uuid not in state.given_up
            and _is_ours(job, state)
            and known
        ):
            return job
    return None


def same_request(planned: dict[str, Any], body: dict[str, Any]) -> bool:
    """Whether a task continues the export that it has asked for, now that it would ask with ``body``.

    What is said about plugin output does not matter: the records are the same, and the mapping leaves out an output
    that is not wanted. So changing ``[tenable] plugin_output`` gives up no running export; the next request has the new
    value.
    """
    return _comparable(planned) == _comparable(body)


def _comparable(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, **_OUTPUT, "filters": without_mark(body.get("filters", {}))}


def _is_mark(value: Any) -> bool:
    return isinstance(value, int) and _MARKS_FROM <= value < _MARKS_FROM + _MARKS


def _is_ours(job: Job, state: ExportState) -> bool:
    kind, filters = kind_of(state.kind), state.body.get("filters", {})
    if same_filters(filters, {}, kind.filters) or not same_filters(filters, job.filters, kind.filters):
        return False
    ours = state.body.get(kind.size_field)
    return job.chunk_size is None or ours is None or job.chunk_size == ours
