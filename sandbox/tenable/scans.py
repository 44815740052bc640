"""The endpoints of scans, templates, folders and uploads (API docs: scans, editor, file), and the orders about them."""

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sandbox.tenable import audits
from sandbox.tenable.access import Endpoint, User
from sandbox.tenable.answers import error
from sandbox.tenable.managed_credentials import credentials_problem
from sandbox.tenable.scan_book import FOLDERS, MOST_SCANS, TEMPLATES, US_CLOUD_SCANNER, ScanConfig
from sandbox.web import bad_request, read_json

if TYPE_CHECKING:
    from sandbox.tenable.server import Tenable

OPERATIONS = (
    "scan_templates",
    "scan_template",
    "scan_editor",
    "scans",
    "scan_create",
    "scan_update",
    "scan_delete",
    "remediation_create",
    "remediation_scans",
    "file_upload",
)
_TARGETS = ("text_targets", "file_targets", "tag_targets", "target_groups", "asset_lists")


def scan_routes(tenable: "Tenable", endpoint: Endpoint) -> list[BaseRoute]:
    """The endpoints, and the orders below /_sandbox/scans."""

    async def templates(_: Request, __: User) -> Response:
        listed = [{"name": name, "title": title, "uuid": uuid} for name, (title, uuid) in TEMPLATES.items()]
        return JSONResponse({"templates": listed})

    async def template(request: Request, _: User) -> Response:
        wanted = request.path_params["uuid"]
        found = next(((name, title) for name, (title, uuid) in TEMPLATES.items() if uuid == wanted), None)
        if found is None:
            return error(404, "Not found")
        if found[0] == "cloud_audit":
            return JSONResponse(audits.template(*found, wanted))
        return JSONResponse({"name": found[0], "title": found[1], "uuid": wanted, "settings": {}})

    async def editor(request: Request, _: User) -> Response:
        if not request.path_params["id"].isdigit():
            return error(400, "id must be an integer")
        config = tenable.scans.find(request.path_params["id"])
        return JSONResponse(_editor(config)) if config else unknown()

    async def every(request: Request, user: User) -> Response:
        folder = request.query_params.get("folder_id")
        listed = [
            _listed(config, tenable.clock.now())
            for config in tenable.scans.scans.values()
            if not config.remediation and folder in (None, str(config.settings.get("folder_id", 11)))
        ]
        folders = [{"id": number, "name": name, "type": "custom"} for number, name in FOLDERS.items()]
        return JSONResponse({"scans": listed or None, "folders": folders, "timestamp": int(tenable.clock.now())})

    async def create(request: Request, user: User) -> Response:
        return await _create(tenable, request, user, remediation=False)

    async def create_remediation(request: Request, user: User) -> Response:
        return await _create(tenable, request, user, remediation=True)

    async def remediation(_: Request, __: User) -> Response:
        now = tenable.clock.now()
        listed = [_listed(config, now) for config in tenable.scans.scans.values() if config.remediation]
        return JSONResponse({"scans": listed[::-1], "pagination": {"total": len(listed), "limit": 200, "offset": 0}})

    async def update(request: Request, user: User) -> Response:
        config = tenable.scans.find(request.path_params["id"])
        if config is None:
            return unknown()
        body = await _body(request)
        if not user.may_scan:
            return error(403, "Insufficient scope")
        # Credentials, audits and plugins are given as changes, and stay where there are none; settings are replaced.
        changed = {**{name: value for name, value in config.body.items() if name != "settings"}, **body}
        if problem := _problem(tenable, changed, remediation=config.remediation):
            return error(400, problem)
        config.body = changed
        return JSONResponse(_created(config))

    async def delete(request: Request, user: User) -> Response:
        config = tenable.scans.find(request.path_params["id"])
        if config is None:
            return unknown()
        if not user.may_scan:
            return error(403, "Insufficient scope")
        if config.active(tenable.clock.now()):
            return error(409, "Cannot delete a scan that is running")
        del tenable.scans.scans[config.id]
        return JSONResponse({})

    async def upload(request: Request, _: User) -> Response:
        body = await request.body()
        marker = b'filename="'
        if b'name="Filedata"' not in body or marker not in body:
            return error(400, "Filedata is required")
        name = body.split(marker, 1)[1].split(b'"', 1)[0].decode()
        tenable.scans.uploads[name] = body
        return JSONResponse({"fileuploaded": name})

    async def order(request: Request) -> Response:
        try:
            return JSONResponse(_order(tenable, await read_json(request)))
        except (ValueError, KeyError, TypeError) as problem:
            return bad_request(problem)

    async def show(_: Request) -> Response:
        now = tenable.clock.now()
        return JSONResponse(
            [
                {
                    **_listed(config, now),
                    "body": config.body,
                    "runs": [
                        {"uuid": run.uuid, "status": run.status(now), "targets": run.targets} for run in config.runs
                    ],
                }
                for config in tenable.scans.scans.values()
            ]
        )

    return [
        Route("/editor/scan/templates", endpoint("scan_templates", templates)),
        Route("/editor/scan/templates/{uuid}", endpoint("scan_template", template)),
        Route("/editor/scan/{id}", endpoint("scan_editor", editor)),
        Route("/scans/remediation", endpoint("remediation_scans", remediation), methods=["GET"]),
        Route("/scans/remediation", endpoint("remediation_create", create_remediation), methods=["POST"]),
        Route("/scans", endpoint("scans", every), methods=["GET"]),
        Route("/scans", endpoint("scan_create", create), methods=["POST"]),
        Route("/scans/{id}", endpoint("scan_update", update), methods=["PUT"]),
        Route("/scans/{id}", endpoint("scan_delete", delete), methods=["DELETE"]),
        Route("/file/upload", endpoint("file_upload", upload), methods=["POST"]),
        Route("/_sandbox/scans", order, methods=["POST"]),
        Route("/_sandbox/scans", show, methods=["GET"]),
    ]


def unknown() -> Response:
    """404 about a scan, in the shape of the launch's (API docs)."""
    return JSONResponse({"info": {"error": "Scan not found"}}, 404)


async def _create(tenable: "Tenable", request: Request, user: User, *, remediation: bool) -> Response:
    if not user.may_scan:
        return error(403, "Insufficient scope")
    body = await _body(request)
    if problem := _problem(tenable, body, remediation=remediation):
        return error(400, problem)
    if len(tenable.scans.scans) >= MOST_SCANS:
        return error(403, "The limit of scans is reached")
    config = tenable.scans.add(body, f"{user.access_key[:8]}@example.com", remediation=remediation)
    return JSONResponse({"scan": _created(config)})


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = await read_json(request)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _problem(tenable: "Tenable", body: dict[str, Any], *, remediation: bool = False) -> str | None:
    """What is wrong with the body of a scan."""
    settings = body.get("settings")
    known = {"uuid", "settings", "credentials", "audits", "plugins", *({"enabled_plugins"} if remediation else ())}
    if unknown_names := body.keys() - known:
        return f"Unknown: {', '.join(sorted(unknown_names))}"
    if body.get("uuid") not in {uuid for _, uuid in TEMPLATES.values()}:
        return "Invalid 'uuid' field"
    if not isinstance(settings, dict) or not isinstance(settings.get("name"), str) or not settings["name"]:
        return "Invalid 'name' field"
    if body["uuid"] != TEMPLATES["cloud_audit"][1] and not any(settings.get(name) for name in _TARGETS):
        return "Invalid 'targets' field"
    if not isinstance(settings.get("text_targets", ""), str):
        return "Invalid 'text_targets' field"
    if remediation and not all(isinstance(each, int) for each in body.get("enabled_plugins") or ["none"]):
        return "Invalid 'enabled_plugins' field"
    scanners = {"AUTO-ROUTED", *(str(entry["uuid"]) for entry in tenable.scanners.listed())}
    # The code is not documented; the number of a scanner is not an id of it here.
    if str(settings.get("scanner_id", US_CLOUD_SCANNER)) not in scanners:
        return "Invalid 'scanner_id' field"
    if problem := credentials_problem(tenable, body.get("credentials")):
        return problem
    if body["uuid"] == TEMPLATES["cloud_audit"][1]:
        uploads, needs_targets = tenable.scans.uploads, tenable.options.audits_need_targets
        return audits.problem_of(body, uploads=uploads, needs_targets=needs_targets)
    return None


def _created(config: ScanConfig) -> dict[str, Any]:
    """A scan as the answer to its creation shows it; `uuid` is its schedule's."""
    settings = config.settings
    return {
        "id": config.id,
        "uuid": config.uuid,
        "name": config.name,
        "description": settings.get("description"),
        "policy_id": settings.get("policy_id", config.id - 1),
        "scanner_uuid": settings.get("scanner_id", US_CLOUD_SCANNER),
        "enabled": config.enabled,
        "custom_targets": settings.get("text_targets"),
        "remediation": int(config.remediation),
        "owner": config.owner,
        "creation_date": int(config.created),
        "type": "public",
    }


def _listed(config: ScanConfig, now: float) -> dict[str, Any]:
    """A line of GET /scans: `uuid` is the newest run's."""
    return {
        "id": config.id,
        "uuid": config.runs[-1].uuid if config.runs else None,
        "schedule_uuid": config.uuid,
        "name": config.name,
        "status": config.status(now),
        "owner": config.owner,
        "enabled": config.enabled,
        "template_uuid": config.body["uuid"],
        "folder_id": config.settings.get("folder_id", 11),
        "user_permissions": 128,
        "type": "ps",
    }


def _editor(config: ScanConfig) -> dict[str, Any]:
    inputs = [
        {"type": "entry", "name": name.title(), "id": name, "default": config.settings.get(name)}
        for name in ("name", "description")
    ]
    rest = [
        {"type": "entry", "name": name, "id": name, "default": value}
        for name, value in config.settings.items()
        if name not in ("name", "description")
    ]
    groups = [{"title": "Further", "name": "further", "sections": [{"title": "All", "inputs": rest}]}]
    return {
        "uuid": config.body["uuid"],
        "owner": config.owner,
        "settings": {"basic": {"title": "Basic", "inputs": inputs, "groups": groups, "sections": []}},
    }


def _order(tenable: "Tenable", order: Any) -> Any:
    """`{"do": "launch" | "delete_run" | "end_run" | "rename", "scan": id, ...}`: what others do in Tenable."""
    config = tenable.scans.scans[int(order["scan"])]
    match order["do"]:
        case "launch":
            fault = tenable.faults.take("scan_run", {"scan": config.name})
            return {"scan_uuid": tenable.scans.launch(config, tenable.options.scan_seconds, None, fault).uuid}
        case "delete_run":
            config.runs.pop()
        case "end_run":
            config.runs[-1].forced = str(order["status"])
        case "rename":
            config.settings["name"] = str(order["name"])
        case other:
            raise ValueError(f"Unknown order {other!r}.")
    return {"ok": True}
