"""The endpoints of runs: launch, history, status, results, stop (API docs: scans)."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sandbox.clock import DAY
from sandbox.tenable.access import Call, Endpoint, User
from sandbox.tenable.answers import error, too_many
from sandbox.tenable.audits import RESULTS
from sandbox.tenable.scan_book import MOST_ACTIVE, ScanConfig, ScanRun
from sandbox.tenable.scans import unknown
from sandbox.web import read_json

if TYPE_CHECKING:
    from sandbox.tenable.server import Tenable

OPERATIONS = (
    "scan_launch",
    "scan_history",
    "scan_run_entry",
    "scan_latest_status",
    "scan_results",
    "scan_stop",
    "scan_count",
)
#: Older results have no hosts, vulnerabilities and compliance (API docs: GET /scans/{id}).
_ARCHIVED_AFTER = 35 * DAY


def scan_run_routes(tenable: "Tenable", endpoint: Endpoint) -> list[BaseRoute]:
    """The endpoints of runs."""

    def of_scan(call: Callable[[ScanConfig, Request, User], Awaitable[Response]]) -> Call:
        async def found(request: Request, user: User) -> Response:
            config = tenable.scans.find(request.path_params["id"])
            if config is None:
                return unknown()
            return await call(config, request, user)

        return found

    async def launch(config: ScanConfig, request: Request, user: User) -> Response:
        body = await read_json(request) if await request.body() else {}
        if not isinstance(body, dict) or body.keys() - {"alt_targets", "rollover"}:
            return error(400, "Invalid body")
        targets = body.get("alt_targets")
        if targets is not None and not _are_targets(targets):
            return error(400, "Invalid 'alt_targets' field")
        if not user.may_scan or not config.enabled:
            return error(403, "Insufficient scope" if not user.may_scan else "Scan is disabled")
        if config.active(tenable.clock.now()) and not tenable.options.launches_active_scans:
            return error(409, "Scan cannot be launched in its current status")
        if tenable.scans.active() + tenable.options.active_elsewhere >= MOST_ACTIVE:
            return too_many(tenable.options)
        fault = tenable.faults.take("scan_run", {"scan": config.name})
        shared = tenable.options.shares_audit_asset
        run = tenable.scans.launch(config, tenable.options.scan_seconds, targets, fault, shares_audit_asset=shared)
        return JSONResponse({"scan_uuid": run.uuid})

    async def history(config: ScanConfig, request: Request, _: User) -> Response:
        now = tenable.clock.now()
        offset, limit = (int(request.query_params.get(name, value)) for name, value in (("offset", 0), ("limit", 50)))
        runs = config.listed(now)
        lines = [
            {
                "id": run.number,
                "scan_uuid": run.uuid,
                "status": run.status(now),
                "time_start": int(run.started),
                "time_end": run.ended(now),
                "is_archived": now - run.started > _ARCHIVED_AFTER,
                "visibility": "public",
                "targets": {"custom": False, "default": None},
            }
            for run in runs[offset : offset + limit]
        ]
        return JSONResponse(
            {"pagination": {"offset": offset, "total": len(runs), "limit": limit}, "history": lines or None}
        )

    async def entry(config: ScanConfig, request: Request, _: User) -> Response:
        now = tenable.clock.now()
        run = next((run for run in config.listed(now) if run.uuid == request.path_params["run"]), None)
        if run is None:
            return JSONResponse({"error": "The requested file was not found"}, 404)
        return JSONResponse(
            {
                "object_id": run.number,
                "uuid": run.uuid,
                "schedule_uuid": config.uuid,
                "status": run.status(now),
                "scan_start": int(run.started),
                "scan_end": run.ended(now),
                "is_archived": now - run.started > _ARCHIVED_AFTER,
                "scan_type": "ps",
                "name": config.name,
                "targets": ",".join(run.targets),
                "owner": config.owner,
            }
        )

    async def latest_status(config: ScanConfig, _: Request, __: User) -> Response:
        return JSONResponse({"status": config.status(tenable.clock.now())})

    async def results(config: ScanConfig, request: Request, _: User) -> Response:
        wanted = request.query_params.get("history_id") or request.query_params.get("history_uuid")
        runs = config.runs[-1:] if wanted is None else [r for r in config.runs if wanted in (str(r.number), r.uuid)]
        if wanted is not None and not runs:
            return JSONResponse({"error": "Scan not found"}, 404)
        return JSONResponse(_results(config, runs[0] if runs else None, tenable.clock.now()))

    async def stop(config: ScanConfig, _: Request, user: User) -> Response:
        run = config.active(tenable.clock.now())
        if not user.may_scan:
            return error(403, "Insufficient scope")
        if run is None or run.status(tenable.clock.now()) not in ("pending", "running", "resuming"):
            return error(409, "Scan cannot be stopped in its current status")
        run.stopped_at = tenable.clock.now()
        return JSONResponse({})

    async def count(request: Request, _: User) -> Response:
        active = request.query_params.get("active") == "true"
        own = tenable.scans.active() if active else len(tenable.scans.scans)
        return JSONResponse({"count": own + tenable.options.active_elsewhere})

    return [
        Route("/scans/count", endpoint("scan_count", count)),
        Route("/scans/{id}/launch", endpoint("scan_launch", of_scan(launch)), methods=["POST"]),
        Route("/scans/{id}/history", endpoint("scan_history", of_scan(history))),
        Route("/scans/{id}/history/{run}", endpoint("scan_run_entry", of_scan(entry))),
        Route("/scans/{id}/latest-status", endpoint("scan_latest_status", of_scan(latest_status))),
        Route("/scans/{id}/stop", endpoint("scan_stop", of_scan(stop)), methods=["POST"]),
        Route("/scans/{id}", endpoint("scan_results", of_scan(results)), methods=["GET"]),
    ]


def _compliance(run: ScanRun) -> list[dict[str, Any]]:
    if run.audit_asset:
        return RESULTS if run.hosts else []
    return [{"plugin_id": "143e17d3", "count": 5, "severity": 3}]


def _are_targets(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) and each for each in value)


def _results(config: ScanConfig, run: ScanRun | None, now: float) -> dict[str, Any]:
    info: dict[str, Any] = {"name": config.name, "schedule_uuid": config.uuid, "status": "empty", "uuid": None}
    if run is None:
        return {"info": info, "hosts": [], "vulnerabilities": [], "compliance": [], "notes": [], "history": []}
    is_archived = now - run.started > _ARCHIVED_AFTER
    has_results = not is_archived and run.status(now) in ("completed", "canceled", "aborted")
    return {
        "info": {
            **info,
            "status": run.status(now),
            "uuid": run.uuid,
            "object_id": run.number,
            "hostcount": len(run.hosts),
            "is_archived": is_archived,
            "scan_type": "ps",
            "scan_start": int(run.started),
            "scan_end": run.ended(now),
            "scanner_name": "US Cloud Scanner",
            "targets": ",".join(run.targets),
        },
        "hosts": run.hosts if has_results else [],
        "vulnerabilities": [{"plugin_id": plugin, "count": 1} for plugin in run.plugins] if has_results else [],
        "compliance": _compliance(run) if has_results else [],
        "notes": run.notes,
        "history": [],
    }
