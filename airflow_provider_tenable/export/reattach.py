"""Recognises our job in Tenable's list: after a request whose response was lost, and when Tenable rejects a duplicate.

Tenable rejects a second job with the same filters (409): the running one is used if its filters and chunk size are
ours. Filters alone are no proof: an export of all assets has none, and another tool may have requested the same in the
older format, without resource tags. So a request for assets carries a mark, a request without any filter is never
recognised, and the records of the first chunk must have the form that was requested. This module is free of Airflow.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

from airflow_provider_tenable.export.filter_match import same_filters
from airflow_provider_tenable.export.state import ExportState
from airflow_provider_tenable.tenable_vm.decode import first_records
from airflow_provider_tenable.tenable_vm.jobs import ACTIVE, Job
from airflow_provider_tenable.tenable_vm.kinds import KINDS, kind_of

#: Clocks differ, so a job created up to this long before our lost request may still be its result.
_CLOCK_SKEW_SECONDS = 120.0
#: The fields of a request about plugin output.
_OUTPUT = dict.fromkeys(name for kind in KINDS.values() for name in kind.without_output)
#: The filters that hold a mark.
_MARKED_BY = frozenset(kind.mark for kind in KINDS.values() if kind.mark)
#: A mark is a time between 2001 and 2008 (unix seconds), before Tenable stored any asset, so as a lower bound it does
#: not exclude anything.
_MARKS_FROM, _MARKS = 1_000_000_000, 200_000_000


def marked(kind: str, body: dict[str, Any], owner: str) -> dict[str, Any]:
    """The body of a request, with a mark of its owner if the kind allows one without changing the result.

    :param owner: a unique name, such as the folder of the export.
    """
    filters, mark = body.get("filters", {}), kind_of(kind).mark
    if mark is None or mark in filters:
        return body
    return {**body, "filters": {**filters, mark: _MARKS_FROM + zlib.crc32(owner.encode()) % _MARKS}}


def without_mark(filters: dict[str, Any]) -> dict[str, Any]:
    """The requested filters without the mark. An export that version 0.1.0 has started does not have one."""
    return {name: value for name, value in filters.items() if not (name in _MARKED_BY and _is_mark(value))}


def lost_job(jobs: Iterable[Job], state: ExportState) -> Job | None:
    """The job that was requested at ``state.requested_at``, and whose id was not stored."""
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
    """The job that prevents ours from starting, if it exports the same.

    :param named: the job that Tenable's response names, or None.
    """
    for job in jobs:
        # If the watermark depends on the job, the time of its data must be known.
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


def may_be_foreign(state: ExportState) -> bool:
    """Whether the next chunk is the first one of an adopted job, which must show that the job is ours."""
    return state.adopted and not state.parts


def foreign_shape(state: ExportState, head: bytes | bytearray) -> str | None:
    """Why a chunk shows that somebody else requested the job, in words; None if it does not.

    :param head: the beginning of the chunk.
    """
    shape = kind_of(state.kind).foreign_shape
    return shape and shape(first_records(head), state.body)


def same_request(planned: dict[str, Any], body: dict[str, Any]) -> bool:
    """Whether a task can continue the export that it has requested, although it would now request ``body``.

    The fields about plugin output do not matter: the records are the same, and the mapping omits unwanted output. So
    changing ``[tenable] plugin_output`` does not abandon a running export; the next request uses the new value.
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
