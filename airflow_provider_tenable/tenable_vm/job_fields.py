"""Reads and checks what Tenable says about export jobs (API docs: export status)."""

from __future__ import annotations

import re
from typing import Any

from airflow_provider_tenable.exceptions import TemporaryError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.tenable_vm.jobs import Job, JobStatus
from airflow_provider_tenable.tenable_vm.kinds import ECHOED_SIZES

#: Chunk ids count up from 1; no export has a billion of them.
_MOST_CHUNKS = 1_000_000_000


def status_of(answer: Any, what: str) -> JobStatus:
    """The state of a job.

    :param answer: Tenable's response, decoded.
    :param what: the job, for messages.
    :raises TemporaryError: the response is not about a job, or leaves open what was exported.
    """
    if not isinstance(answer, dict) or not isinstance(answer.get("status"), str):
        raise TemporaryError(f"Tenable's response about {what} contains no status.")
    if answer["status"].strip().upper() == "FINISHED" and not isinstance(answer.get("chunks_available"), list):
        # An empty result is an empty list. Anything else leaves open what was exported.
        raise TemporaryError(f"Tenable reports {what} as FINISHED without a list chunks_available.")
    lost = _ids(answer.get("chunks_failed")) | _ids(answer.get("chunks_cancelled"))
    return JobStatus(
        status=safe(answer["status"], 40).upper(),
        chunks=_ids(answer.get("chunks_available")),
        lost_chunks=lost,
        reason=safe(answer.get("reason") or "") or None,
        filters=answer.get("filters"),
        chunk_size=_chunk_size(answer),
        created=_seconds(answer.get("created")),
        total_chunks=answer.get("total_chunks"),
        counted_chunks=_counted_chunks(answer, len(lost)),
    )


def jobs_of(answer: Any) -> list[dict[str, Any]]:
    """The items of Tenable's list of jobs that have an id."""
    listed = answer.get("exports") if isinstance(answer, dict) else None
    return [job for job in (listed if isinstance(listed, list) else []) if isinstance(job, dict) and job.get("uuid")]


def job_of(item: dict[str, Any]) -> Job:
    """An item of the list, whose id has been checked."""
    return Job(
        uuid=item["uuid"],
        status=safe(item.get("status", ""), 40).upper(),
        filters=item.get("filters"),
        chunk_size=_chunk_size(item),
        created=_seconds(item.get("created")),
    )


def _ids(value: Any) -> frozenset[int]:
    """Chunk ids, which become part of URLs and file names. An invalid id raises an error, because skipping it would
    lose a chunk.

    :param value: a list of whole numbers or of strings of digits; None for an empty one.
    """
    try:
        return frozenset(_chunk_id(item) for item in value or [])
    except (TypeError, ValueError):
        raise TemporaryError(f"Tenable's response about an export lists invalid chunks: {safe(value, 100)}.") from None


def _chunk_id(item: Any) -> int:
    # int() accepts more than this: it would turn a fraction into another chunk's number, and True into 1.
    if isinstance(item, str) and re.fullmatch(r"[0-9]{1,9}", item):
        return int(item)
    if isinstance(item, int) and not isinstance(item, bool) and 0 <= item < _MOST_CHUNKS:
        return item
    raise ValueError("not a chunk id")


def _counted_chunks(answer: dict[str, Any], lost: int) -> int:
    """How many chunks a finished job must list: as many as it says are available, and of all chunks those that are
    neither lost nor empty. Tenable does not document whether it lists empty chunks, so of all chunks they are not
    expected.
    """
    made = _count(answer.get("total_chunks")) - lost - _count(answer.get("empty_chunks_count"))
    return max(_count(answer.get("chunks_available_count")), made)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MOST_CHUNKS else 0


def _chunk_size(job: dict[str, Any]) -> int | None:
    size = next((job[name] for name in ECHOED_SIZES if job.get(name)), None)
    return size if isinstance(size, int) else None


def _seconds(milliseconds: Any) -> float | None:
    return milliseconds / 1000 if isinstance(milliseconds, (int, float)) and milliseconds > 0 else None
