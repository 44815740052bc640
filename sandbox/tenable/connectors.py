"""The cloud connectors of the simulated Tenable, and what the API user may view (API docs: connectors, permissions).

`POST /_sandbox/connectors` replaces the list of connectors; entries are as the API shows them.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sandbox.clock import iso
from sandbox.tenable.access import Endpoint, User
from sandbox.tenable.answers import error
from sandbox.web import bad_request, read_json

if TYPE_CHECKING:
    from sandbox.tenable.server import Tenable

OPERATIONS = ("connectors", "permissions")
_DEFAULT_LIMIT = 1000
_SORT = [{"name": "date_created", "order": "desc"}]


def first_connectors(accounts: Iterable[str], now: float) -> list[dict[str, Any]]:
    """A keyless connector that covers all accounts of the estate, and one of another cloud."""
    container = "154a05bd-3f27-495a-a001-a659c24eb1a4"
    sub_accounts = [
        {
            "account_id": account,
            "trails": [],
            "role_arn": f"arn:aws:iam::{account}:role/tenableio-connector",
            "external_id": container,
            "incremental_mode": True,
        }
        for account in accounts
    ]
    common = {
        "data_type": "assets",
        "status": "Scheduled",
        "status_message": "Import completed successfully",
        "schedule": {"units": "minutes", "value": 30, "is_empty": False},
        "date_created": "2021-07-22T14:31:14.958Z",
        "container_uuid": container,
        "expired": False,
        "incremental_mode": True,
        "last_sync_time": iso(now),
        "network_uuid": "00000000-0000-0000-0000-000000000000",
    }
    aws = {"sub_accounts": sub_accounts, "import_config": False, "auto_discovery": False, "service": "aws_keyless"}
    return [
        {
            **common,
            "type": "aws_keyless",
            "human_type": "AWS",
            "name": "AWS accounts",
            "id": "a66a1c02-8580-44fd-871b-b7aed14f784e",
            "params": aws,
        },
        {
            **common,
            "type": "azure",
            "human_type": "Azure",
            "name": "Azure Connector",
            "id": "0e51d315-30dc-4506-8fd6-7ccfd47b4bf3",
            "status_message": "AZURE_UNKNOWN_ERROR",
            "params": {"service": "azure"},
        },
    ]


def connector_routes(tenable: "Tenable", endpoint: Endpoint) -> list[BaseRoute]:
    """The calls of the API, and the one that replaces the list."""

    async def listed(request: Request, user: User) -> Response:
        if not user.is_administrator or user.role < 64:
            return error(403, "You need ADMINISTRATOR permissions to access this resource")
        limit, offset = (_number(request, name, usual) for name, usual in (("limit", _DEFAULT_LIMIT), ("offset", 0)))
        if limit is None or offset is None or unknown_query(request, "limit", "offset", "sort"):
            return error(400, "Invalid query parameters")
        page = {"total": len(tenable.connectors), "offset": offset, "limit": limit, "sort": _SORT}
        return JSONResponse({"connectors": tenable.connectors[offset : offset + limit], "pagination": page})

    async def permissions(request: Request, user: User) -> Response:
        if unknown_query(request):
            return error(400, "Invalid query parameters")
        return JSONResponse({"permissions_granted": _granted(user), "permissions_available": []})

    async def replace(request: Request) -> Response:
        try:
            body = await read_json(request)
        except ValueError as problem:
            return bad_request(problem)
        if not isinstance(body, list):
            return bad_request("The body is a list of connectors.")
        tenable.connectors = body
        return JSONResponse({"connectors": len(body)})

    return [
        Route("/settings/connectors", endpoint("connectors", listed)),
        Route("/api/v3/access-control/permissions/users/me", endpoint("permissions", permissions)),
        Route("/_sandbox/connectors", replace, methods=["POST"]),
    ]


def unknown_query(request: Request, *known: str) -> bool:
    """Whether a request has parameters that the API does not."""
    return bool(set(request.query_params) - set(known))


def _number(request: Request, name: str, usual: int) -> int | None:
    text = request.query_params.get(name, str(usual))
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 7 else None


def _granted(user: User) -> list[dict[str, Any]]:
    if user.role >= 64:
        everybody = {"subjects": [{"type": "AllAdmins"}], "objects": [{"type": "AllObjects"}]}
        return [_permission("Administrators", ["CanScan", "CanView", "CanEdit", "CanUse"], everybody)]
    subject = {"type": "User", "uuid": "dc906c2b-e117-4085-a46f-536b7e092f18", "name": "api@example.com"}
    tag = {"type": "Tag", "uuid": "e5f6a7b8-c9d0-1234-ef56-7890abcdef12", "name": "Location:Headquarters"}
    granted = [_permission("Owner", ["CanUse", "CanEdit"], {"subjects": [subject], "objects": [tag]})]
    if user.can_view:
        objects = [tag if kind == "Tag" else {"type": kind} for kind in user.views]
        granted.append(_permission("Viewers", ["CanView"], {"subjects": [subject], "objects": objects}))
    return granted


def _permission(name: str, actions: list[str], of: dict[str, Any]) -> dict[str, Any]:
    return {"permission_uuid": "a1b2c3d4-e5f6-7890-abcd-ef1234567890", "name": name, "actions": actions, **of}
