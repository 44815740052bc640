"""What the API says about a job: its status, and its line in the list of jobs. The fields differ by kind (API docs)."""

import json
from typing import Any

from sandbox.tenable.jobs import Job


def status_of(job: Job, now: float) -> dict[str, Any]:
    """GET /{kind}/export/{uuid}/status. For assets only status and chunks; for vulnerabilities also what was lost.

    For results of audits nothing but the status until there is a chunk, as an answer of 2021 on record has it.
    """
    reason = job.reason(now)
    status: dict[str, Any] = {"status": job.status(now), "chunks_available": job.available(now)}
    if reason:
        status["reason"] = reason
    if job.kind == "assets":
        return status
    if job.kind == "compliance" and status.keys() == {"status", "chunks_available"} and not status["chunks_available"]:
        return {"status": status["status"]}
    failed, cancelled = job.lost(now)
    return {
        "uuid": job.uuid,
        **status,
        "chunks_failed": failed,
        "chunks_cancelled": cancelled,
        **_counts(job, now),
        "filters": job.echo,
        "num_findings" if job.kind == "compliance" else "num_assets_per_chunk": job.size,
        "created": int(job.created * 1000),
    }


def line_of(job: Job, now: float) -> dict[str, Any]:
    """One entry of GET /{kind}/export/status: filters are an object, for assets a JSON string."""
    return {
        "uuid": job.uuid,
        "status": job.status(now),
        **_counts(job, now),
        "filters": json.dumps(job.echo) if job.kind == "assets" else job.echo,
        "num_findings" if job.kind == "compliance" else "num_assets_per_chunk": job.size,
        "created": int(job.created * 1000),
    }


def _counts(job: Job, now: float) -> dict[str, int]:
    available = set(job.available(now))
    return {
        "total_chunks": len(job.chunks),
        "chunks_available_count": len(available),
        "empty_chunks_count": sum(chunk.is_empty for chunk in job.chunks if chunk.id in available),
        "finished_chunks": len(available),
    }
