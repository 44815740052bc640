"""The endpoints of managed credentials (API docs: credentials). Secrets are stored as sent and shown as asterisks; the
orders below /_sandbox/ show them, and let AWS know a key no more.
"""

import uuid
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sandbox.tenable.access import Endpoint, User
from sandbox.tenable.answers import error
from sandbox.web import read_json

if TYPE_CHECKING:
    from sandbox.tenable.server import Tenable

OPERATIONS = ("credentials", "credential", "credential_create", "credential_update", "credential_delete")
_AWS = frozenset({"access_key_id", "secret_key"})
#: Type -> category, fields, and which of them are secret: those of the input type "password" (recorded in 2021).
TYPES: dict[str, tuple[str, frozenset[str], frozenset[str]]] = {
    "Amazon AWS": ("Cloud Services", _AWS, _AWS),
    "SSH": ("Host", frozenset({"username", "password", "auth_method"}), frozenset({"password"})),
}


def credential_routes(tenable: "Tenable", endpoint: Endpoint) -> list[BaseRoute]:
    """The endpoints of managed credentials."""

    async def every(request: Request, _: User) -> Response:
        offset, limit = (int(request.query_params.get(name, value)) for name, value in (("offset", 0), ("limit", 50)))
        held = list(tenable.credentials.values())
        for wanted in request.query_params.getlist("f"):
            field, operator, value = (*wanted.split(":", 2), "", "")[:3]
            if (field, operator) != ("name", "eq"):
                return error(400, f"The sandbox does not know the filter {wanted!r}")
            held = [item for item in held if item["name"] == value]
        listed = [_shown(item, settings=False) for item in held[offset : offset + limit]]
        return JSONResponse(
            {"credentials": listed, "pagination": {"total": len(held), "limit": limit, "offset": offset}}
        )

    async def one(request: Request, _: User) -> Response:
        item = tenable.credentials.get(request.path_params["uuid"])
        return JSONResponse(_shown(item, settings=True)) if item else error(404, "Not found")

    async def create(request: Request, user: User) -> Response:
        body = await read_json(request)
        if not user.may_scan:
            return error(403, "Insufficient scope")
        if problem := _problem(body):
            return error(400, problem)
        if any(item["name"] == body["name"] for item in tenable.credentials.values()):
            return error(409, "A credential with this name exists already")
        item = {**body, "uuid": str(uuid.uuid4())}
        tenable.credentials[item["uuid"]] = item
        return JSONResponse({"uuid": item["uuid"]})

    async def update(request: Request, user: User) -> Response:
        item = tenable.credentials.get(request.path_params["uuid"])
        body = await read_json(request)
        if item is None:
            return error(404, "Not found")
        if not user.may_scan:
            return error(403, "Insufficient scope")
        if not isinstance(body, dict):
            return error(400, "Not an object")
        if problem := _problem({**item, **body}):
            return error(400, problem)
        if any(other["name"] == body.get("name") for other in tenable.credentials.values() if other is not item):
            return error(409, "A credential with this name exists already")
        # Asterisks are taken as a password of asterisks, so that a test sees them.
        item.update(body)
        return JSONResponse({"updated": True})

    async def show(_: Request) -> Response:
        return JSONResponse(list(tenable.credentials.values()))

    async def delete(request: Request, user: User) -> Response:
        if not user.may_scan:
            return error(403, "Insufficient scope")
        gone = tenable.credentials.pop(request.path_params["uuid"], None)
        return JSONResponse({"deleted": True}) if gone else error(404, "Not found")

    return [
        Route("/credentials", endpoint("credentials", every), methods=["GET"]),
        Route("/credentials", endpoint("credential_create", create), methods=["POST"]),
        Route("/credentials/{uuid}", endpoint("credential", one), methods=["GET"]),
        Route("/credentials/{uuid}", endpoint("credential_update", update), methods=["PUT"]),
        Route("/credentials/{uuid}", endpoint("credential_delete", delete), methods=["DELETE"]),
        Route("/_sandbox/credentials", show, methods=["GET"]),
    ]


def credentials_problem(tenable: "Tenable", credentials: Any) -> str | None:
    """What is wrong with the credentials of a scan: `{"add": {category: {type: [{"id": uuid} or fields]}}}`, of which
    each id names a managed credential of that type. The code of a wrong one is not documented.
    """
    if credentials is None:
        return None
    try:
        added = [
            (category, kind, item)
            for category, kinds in credentials["add"].items()
            for kind, items in kinds.items()
            for item in items
        ]
        types = {item["uuid"]: item["type"] for item in tenable.credentials.values()}
        for category, kind, item in added:
            if TYPES[kind][0] != category or ("id" in item and types.get(item["id"]) != kind):
                return f"Invalid credential of {category}, {kind}"
    except (AttributeError, KeyError, TypeError):
        return "Invalid 'credentials' field"
    return None


def _problem(body: Any) -> str | None:
    if not isinstance(body, dict) or body.get("type") not in TYPES or not body.get("name"):
        return "Invalid 'type' or 'name' field"
    if unknown := body.keys() - {"uuid", "name", "type", "description", "ad_hoc", "settings", "permissions"}:
        return f"Unknown: {', '.join(sorted(unknown))}"
    if not all(isinstance(body.get(field, ""), str) for field in ("name", "description")):
        return "Invalid 'name' or 'description' field"
    _, fields, _ = TYPES[body["type"]]
    settings = body.get("settings")
    if not isinstance(settings, dict) or set(settings) != fields:
        return f"settings must have exactly {', '.join(sorted(fields))}"
    if not all(isinstance(value, str) and value for value in settings.values()):
        return "settings must be texts"
    return None


def _shown(item: dict[str, Any], *, settings: bool) -> dict[str, Any]:
    category, _, secrets = TYPES[item["type"]]
    shown = {
        "uuid": item["uuid"],
        "name": item["name"],
        "description": item.get("description", ""),
        "category": {"id": category, "name": category},
        "type": {"id": item["type"], "name": item["type"]},
        "permission": 64,
    }
    if settings:
        shown["settings"] = {k: "********" if k in secrets else v for k, v in item["settings"].items()}
    return shown
