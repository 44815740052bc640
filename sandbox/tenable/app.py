"""The simulated Tenable as a web application: authentication, ordered faults, and routing to the endpoints."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sandbox.tenable import exports
from sandbox.tenable.access import User
from sandbox.tenable.answers import error, too_many
from sandbox.tenable.asset_records_v1 import asset_details
from sandbox.tenable.connectors import connector_routes
from sandbox.tenable.control import control_routes
from sandbox.tenable.large_chunks import swollen
from sandbox.tenable.managed_credentials import credential_routes
from sandbox.tenable.recast_rules import recast_rule_routes
from sandbox.tenable.scan_exports import scan_export_routes
from sandbox.tenable.scan_runs import scan_run_routes
from sandbox.tenable.scanners import scanner_routes
from sandbox.tenable.scans import scan_routes
from sandbox.tenable.server import Tenable
from sandbox.web import SandboxApp, whole, with_fault

Call = Callable[[Request, User], Awaitable[Response]]


def build_tenable_app(tenable: Tenable) -> SandboxApp:
    """The application. Run it without the server's own Date header: this one comes from the sandbox's clock."""
    app = SandboxApp(
        routes=[
            *_session_routes(tenable),
            *_export_routes(tenable),
            *scanner_routes(tenable, lambda operation, call: _endpoint(tenable, operation, call)),
            *_scan_routes(tenable),
            *connector_routes(tenable, lambda operation, call: _endpoint(tenable, operation, call)),
            *recast_rule_routes(tenable, lambda operation, call: _endpoint(tenable, operation, call)),
            *control_routes(tenable),
        ],
        exception_handlers={HTTPException: _not_found_of(tenable)},
    )
    app.router.redirect_slashes = False
    app.http_date = tenable.clock.http_date
    return app


def _session_routes(tenable: Tenable) -> list[BaseRoute]:
    async def session(_: Request, user: User) -> Response:
        return JSONResponse(_session_of(tenable, user))

    async def server_status(request: Request) -> Response:
        async def carry_out() -> Response:
            return JSONResponse({"code": 200, "status": "ready"})

        tenable.calls["server_status"] += 1
        return await with_fault(tenable.faults.take("server_status"), carry_out, request.headers.get("x-apikeys", ""))

    async def asset(request: Request, user: User) -> Response:
        estate, asset_id = tenable.estate, request.path_params["asset_id"]
        host = estate.hosts.get(asset_id) or estate.web.apps.get(asset_id)
        state = estate.states.get(asset_id) or estate.web.states.get(asset_id)
        if host is None or not state or state.is_hidden_singly or state.deleted_at or not user.can_view:
            return error(404, "Asset not found")
        return JSONResponse(asset_details(host, state))

    return [
        Route("/session", _endpoint(tenable, "session", session)),
        Route("/server/status", server_status),
        Route("/assets/{asset_id:uuid}", _endpoint(tenable, "asset", asset)),
    ]


def _export_routes(tenable: Tenable) -> list[BaseRoute]:
    async def create_vulns(request: Request, user: User) -> Response:
        return await exports.create_vulns(tenable, request, user) if user.may_export else _no_right()

    async def create_assets(request: Request, user: User) -> Response:
        return await exports.create_assets(tenable, request, user) if user.may_export else _no_right()

    async def create_compliance(request: Request, user: User) -> Response:
        return await exports.create_compliance(tenable, request, user) if user.may_export else _no_right()

    async def create_was(request: Request, user: User) -> Response:
        return await exports.create_was(tenable, request, user) if user.may_export else _no_right()

    create = _endpoint(tenable, "assets_export", create_assets)
    compliance = _endpoint(tenable, "compliance_export", create_compliance)
    routes: list[BaseRoute] = [
        Route("/vulns/export", _endpoint(tenable, "vulns_export", create_vulns), methods=["POST"]),
        Route("/compliance/export", compliance, methods=["POST"]),
        Route("/was/v1/export/vulns", _endpoint(tenable, "was_export", create_was), methods=["POST"]),
        Route("/assets/export", create, methods=["POST"]),
        Route("/assets/v2/export", create, methods=["POST"]),
    ]
    for kind in ("vulns", "assets", "compliance"):
        routes += _job_routes(tenable, kind, f"/{kind}/export")
    routes += _job_routes(tenable, "was", "/was/v1/export/vulns")
    return routes


def _scan_routes(tenable: Tenable) -> list[BaseRoute]:
    def endpoint(operation: str, call: Call) -> Callable[[Request], Awaitable[Response]]:
        return _endpoint(tenable, operation, call)

    # /scans/{id} comes after /scans/remediation, /scans/exports and /scans/count.
    return [
        *scan_routes(tenable, endpoint),
        *scan_export_routes(tenable, endpoint),
        *scan_run_routes(tenable, endpoint),
        *credential_routes(tenable, endpoint),
    ]


def _job_routes(tenable: Tenable, kind: str, root: str) -> list[BaseRoute]:
    async def status(request: Request, _: User) -> Response:
        return await exports.status(tenable, request, kind)

    async def chunk(request: Request, _: User) -> Response:
        return await exports.chunk(tenable, request, kind)

    async def cancel(request: Request, _: User) -> Response:
        return await exports.cancel(tenable, request, kind)

    async def jobs(_: Request, user: User) -> Response:
        # The same privilege as for the exports themselves (API docs: permissions of the export endpoints).
        return await exports.list_jobs(tenable, kind) if user.may_export else _no_right()

    return [
        Route(f"{root}/status", _endpoint(tenable, "jobs", jobs, kind)),
        Route(f"{root}/{{uuid}}/status", _endpoint(tenable, f"{kind}_status", status, kind)),
        Route(f"{root}/{{uuid}}/chunks/{{chunk_id:int}}", _endpoint(tenable, f"{kind}_chunk", chunk, kind)),
        Route(f"{root}/{{uuid}}/cancel", _endpoint(tenable, "cancel", cancel, kind), methods=["POST"]),
    ]


def _endpoint(
    tenable: Tenable, operation: str, call: Call, kind: str | None = None
) -> Callable[[Request], Awaitable[Response]]:
    """A call after the checks of rate limit and keys: counted, and affected by the fault that is ordered for it."""

    async def endpoint(request: Request) -> Response:
        tenable.calls[operation] += 1

        async def carry_out() -> Response:
            user = tenable.keys.user_of(request.headers.get("x-apikeys"))
            if user is None:
                return error(401, "Invalid Credentials")
            if not tenable.rate_limit.allows(user.access_key, tenable.options.rate_limit_per_minute):
                return too_many(tenable.options)
            if not tenable.options.has_was and request.url.path.startswith("/was/"):
                return error(403, "Forbidden")
            return await call(request, user)

        facts: dict[str, Any] = {**request.path_params, "path": request.url.path}
        if kind:
            facts["kind"] = kind
        if operation == "assets_export":
            facts["version"] = 2 if "/v2/" in request.url.path else 1
        if "asset_id" in facts:
            facts["asset_id"] = request.path_params["asset_id"] = str(facts["asset_id"])
        fault = tenable.faults.take(operation, facts)
        answer = await with_fault(fault, carry_out, request.headers.get("x-apikeys", ""))
        if fault and fault.do == "swell" and answer.status_code == 200:
            return swollen(await whole(answer), int(fault.get("bytes")), gzipped=bool(fault.get("gzip")))
        return answer

    return endpoint


def _session_of(tenable: Tenable, user: User) -> dict[str, Any]:
    """GET /session: who the key pair belongs to."""
    return {
        "uuid": "dc906c2b-e117-4085-a46f-536b7e092f18",
        "username": f"{user.access_key[:8]}@example.com",
        "email": f"{user.access_key[:8]}@example.com",
        "name": "Sandbox user",
        "type": "local",
        "permissions": user.role,
        "enabled": True,
        "lockout": 0,
        "container_uuid": tenable.container_uuid,
        "container_name": "Sandbox",
        "features": {},
        "groups": [],
    }


def _no_right() -> Response:
    return error(403, "The user does not have the permission to export")


def _not_found_of(tenable: Tenable) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def not_found(request: Request, problem: Exception) -> Response:
        status = problem.status_code if isinstance(problem, HTTPException) else 500
        tenable.unknown_paths.append(f"{request.method} {request.url.path}")
        return JSONResponse(
            {"statusCode": status, "error": "Not Found" if status == 404 else "Error", "message": request.url.path},
            status,
        )

    return not_found
