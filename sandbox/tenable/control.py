"""The Tenable server's own control endpoints: clock, changes, truth, jobs and options."""

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sandbox.tenable.audit_runs import settle
from sandbox.tenable.changes import change
from sandbox.tenable.server import Tenable
from sandbox.web import bad_request, common_routes, read_json


def control_routes(tenable: Tenable) -> list[BaseRoute]:
    """Everything below /_sandbox/; they need no keys and are not affected by faults."""

    async def get_clock(_: Request) -> Response:
        return JSONResponse({"now": tenable.clock.now()})

    async def advance(request: Request) -> Response:
        try:
            body = await read_json(request)
            seconds = body.get("advance_seconds") if isinstance(body, dict) else None
            if not isinstance(seconds, int | float) or isinstance(seconds, bool):
                return bad_request('The body is {"advance_seconds": <number>}.')
            return JSONResponse({"now": tenable.advance(seconds)})
        except ValueError as error:
            return bad_request(error)

    async def make_change(request: Request) -> Response:
        try:
            now = tenable.clock.now()
            orders = await read_json(request)
            changed = sum(
                change(tenable.estate, order, now) for order in (orders if isinstance(orders, list) else [orders])
            )
        except ValueError as error:
            return bad_request(error)
        return JSONResponse({"changed": changed, "now": now})

    async def truth(_: Request) -> Response:
        settle(tenable.scans, tenable.estate.audits, tenable.clock.now())
        return JSONResponse(tenable.estate.truth(tenable.clock.now()))

    async def change_job(request: Request) -> Response:
        try:
            return JSONResponse({"changed": _change_jobs(tenable, await read_json(request))})
        except ValueError as error:
            return bad_request(error)

    async def get_options(_: Request) -> Response:
        return JSONResponse(tenable.options.as_json())

    async def set_options(request: Request) -> Response:
        try:
            tenable.options = tenable.options.changed(await read_json(request))
        except ValueError as error:
            return bad_request(error)
        return JSONResponse(tenable.options.as_json())

    return [
        *common_routes(tenable.faults, lambda: _stats(tenable), tenable.reset, tenable.calls),
        Route("/_sandbox/clock", get_clock, methods=["GET"]),
        Route("/_sandbox/clock", advance, methods=["POST"]),
        Route("/_sandbox/change", make_change, methods=["POST"]),
        Route("/_sandbox/truth", truth),
        Route("/_sandbox/jobs", change_job, methods=["POST"]),
        Route("/_sandbox/options", get_options, methods=["GET"]),
        Route("/_sandbox/options", set_options, methods=["POST"]),
    ]


def _change_jobs(tenable: Tenable, order: Any) -> int:
    """`{"do": "expire" | "cancel" | "finish", "uuid": ... or "kind": ... or neither}`: to jobs that exist already."""
    if not isinstance(order, dict) or order.get("do") not in ("expire", "cancel", "finish"):
        raise ValueError('The body is {"do": "expire" | "cancel" | "finish", "uuid": ... or "kind": ...}.')
    jobs = [
        job
        for job in tenable.jobs.values()
        if order.get("uuid", job.uuid) == job.uuid and order.get("kind", job.kind) == job.kind
    ]
    for job in jobs:
        match order["do"]:
            case "expire":
                job.is_expired = True
            case "cancel":
                tenable.cancel(job)
            case "finish":
                job.begun = time.monotonic() - job.prepare_seconds
    return len(jobs)


def _stats(tenable: Tenable) -> dict[str, Any]:
    now = time.monotonic()
    jobs = [
        {
            "uuid": job.uuid,
            "kind": job.kind,
            "status": job.status(now),
            "filters": job.echo,
            "size": job.size,
            "chunks": len(job.chunks),
            "downloads": job.downloads,
            "created": job.created,
        }
        for job in tenable.jobs.values()
    ]
    kinds = {
        kind: {
            "created": sum(job.kind == kind for job in tenable.jobs.values()),
            "running": sum(job.kind == kind and job.is_running(now) for job in tenable.jobs.values()),
            "cancelled": sum(job.kind == kind and job.cancelled_after is not None for job in tenable.jobs.values()),
        }
        for kind in ("vulns", "assets", "compliance", "was")
    }
    return {"jobs": kinds, "exports": jobs, "unknown_paths": tenable.unknown_paths}
