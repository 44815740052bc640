"""The endpoints of scan exports (API docs: scans, export)."""

import re
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sandbox.clock import DAY, iso
from sandbox.faults import Arguments
from sandbox.tenable.access import Endpoint, User
from sandbox.tenable.answers import error
from sandbox.tenable.scan_book import ScanConfig, ScanFile, ScanRun
from sandbox.tenable.scans import unknown
from sandbox.web import read_json

if TYPE_CHECKING:
    from sandbox.tenable.server import Tenable

OPERATIONS = ("scan_export", "scan_export_status", "scan_export_download", "scan_exports")
#: What can be ordered for the next export.
FILE_VERBS = {
    # Its status becomes "error".
    "error": Arguments.of(),
    # It has no content.
    "empty": Arguments.of(),
    # It takes so many seconds longer.
    "late": Arguments.of("seconds"),
}
_FORMATS = ("nessus", "csv", "html", "pdf", "db")
#: Older results have no html, pdf and db, and nessus and csv only without filters (API docs: POST /scans/{id}/export).
_OLDEST = 60 * DAY
_CHAPTERS = {
    "vuln_hosts_summary",
    "vuln_by_host",
    "vuln_by_plugin",
    "compliance_exec",
    "compliance",
    "remediations",
}
_FILTER = re.compile(r"filter\.(\d+)\.(filter|quality|value)")


def scan_export_routes(tenable: "Tenable", endpoint: Endpoint) -> list[BaseRoute]:
    """The endpoints of scan exports."""

    async def start(request: Request, user: User) -> Response:
        config = tenable.scans.find(request.path_params["id"])
        if config is None:
            return unknown()
        if not user.may_export:
            return error(403, "Insufficient scope")
        body = await read_json(request)
        # Each parameter takes its own kind of id: a uuid as history_id is only known to work with GET /scans/{id}.
        number, run_uuid = (request.query_params.get(name) for name in ("history_id", "history_uuid"))
        runs = [run for run in config.runs if number in (None, str(run.number)) and run_uuid in (None, run.uuid)]
        if not runs:
            return JSONResponse({"error": "Scan not found"}, 404)
        run = runs[-1]
        if problem := _problem(tenable, body, run, number):
            return error(400, problem)
        fault = tenable.faults.take("scan_file", {"format": body["format"]})
        seconds = tenable.options.scan_export_seconds
        if fault and fault.do == "late":
            seconds += float(fault.get("seconds"))
        file = tenable.scans.export(config, run, body, seconds, fault)
        return JSONResponse({"file": file.id, "temp_token": "0" * 64})

    async def status(request: Request, _: User) -> Response:
        file = _file(tenable, request)
        return JSONResponse({"status": file.status(tenable.clock.now())}) if file else unknown()

    async def download(request: Request, _: User) -> Response:
        file = _file(tenable, request)
        if file is None or file.status(tenable.clock.now()) != "ready":
            return error(404, "The export is not ready")
        return Response(file.content, media_type="application/octet-stream")

    async def every(_: Request, __: User) -> Response:
        now = tenable.clock.now()
        return JSONResponse([_listed(file, now) for file in tenable.scans.files.values()])

    return [
        Route("/scans/exports", endpoint("scan_exports", every)),
        Route("/scans/{id}/export", endpoint("scan_export", start), methods=["POST"]),
        Route("/scans/{id}/export/{file}/status", endpoint("scan_export_status", status)),
        Route("/scans/{id}/export/{file}/download", endpoint("scan_export_download", download)),
    ]


def _file(tenable: "Tenable", request: Request) -> ScanFile | None:
    config: ScanConfig | None = tenable.scans.find(request.path_params["id"])
    file = tenable.scans.files.get(request.path_params["file"])
    return file if config and file and file.scan is config else None


def _problem(tenable: "Tenable", body: Any, run: ScanRun, history: str | None) -> str | None:
    if not isinstance(body, dict) or body.get("format") not in _FORMATS:
        return f"Invalid 'format' field; one of {', '.join(_FORMATS)}"
    kind = body["format"]
    if run.is_active(tenable.clock.now()):
        return "The scan has no results yet"
    if kind in ("html", "pdf") and set(str(body.get("chapters") or "-").strip(";").split(";")) - _CHAPTERS:
        return "Invalid 'chapters' field"
    if kind == "db":
        key = "host_id" if tenable.options.db_asset_by_number else "uuid"
        if not (history and body.get("asset_id") and body.get("password")):
            return "history_id, asset_id and password are required"
        if str(body["asset_id"]) not in {str(host[key]) for host in run.hosts}:
            return "Invalid 'asset_id' field"
    filters = {name: value for name, value in body.items() if name.startswith("filter.")}
    if problem := _filter_problem(filters):
        return problem
    if (kind in ("html", "pdf", "db") or filters) and tenable.clock.now() - run.started > _OLDEST:
        return "The scan results are older than 60 days"
    return None


def _filter_problem(filters: dict[str, Any]) -> str | None:
    """What is wrong with the filters: each has `filter`, `quality` and `value`, and `search_type` joins them."""
    if filters.get("filter.search_type", "and") not in ("and", "or"):
        return "Invalid 'filter.search_type' field"
    parts: dict[str, set[str]] = {}
    for name in filters.keys() - {"filter.search_type"}:
        match = _FILTER.fullmatch(name)
        if match is None or not isinstance(filters[name], str):
            return f"Invalid '{name}' field"
        parts.setdefault(match[1], set()).add(match[2])
    incomplete = sorted(number for number, found in parts.items() if found != {"filter", "quality", "value"})
    return f"Incomplete filter {incomplete[0]}" if incomplete else None


def _listed(file: ScanFile, now: float) -> dict[str, Any]:
    status = file.status(now)
    return {
        "export_id": file.id,
        "scan_uuid": file.run.uuid,
        "schedule_uuid": file.scan.uuid,
        "ready": status == "ready",
        "error": status == "error",
        "format": file.format,
        "metadata": {
            "created_at": iso(file.begun),
            "chapters": file.body.get("chapters", ""),
            "file_size": len(file.content),
            "file_name": f"scan.{file.format}",
        },
    }
