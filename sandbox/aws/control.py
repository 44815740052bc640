"""Control endpoints that only the AWS side has: no authentication, JSON in and out."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from sandbox.aws.errors import AwsError
from sandbox.aws.finding_operations import work_on_finding
from sandbox.aws.identities import Role
from sandbox.aws.old_tools import preload
from sandbox.aws.world import World
from sandbox.web import bad_request, read_json


def summary(world: World) -> dict[str, Any]:
    """What the hub holds, counted, and what became of everything that was sent."""
    counts = Counter((row.account, row.region, row.severity, row.record_state) for row in world.findings)
    names = ("account", "region", "severity", "record_state")
    return {
        "total": counts.total(),
        "by": [{**dict(zip(names, key, strict=True)), "count": count} for key, count in sorted(counts.items())],
        "imports": world.stats.imports(),
    }


def control_routes(world: World) -> list[Route]:
    """The routes under `/_sandbox/` that the AWS side adds."""

    async def show_findings(request: Request) -> Response:
        return StreamingResponse(_documents(world, request), media_type="application/json")

    async def show_summary(_: Request) -> Response:
        return JSONResponse(summary(world))

    async def show_options(_: Request) -> Response:
        return JSONResponse(world.options.as_json())

    async def set_options(request: Request) -> Response:
        try:
            changes = await read_json(request)
            world.set_options(world.options.changed(changes))
        except ValueError as error:
            return bad_request(error)
        if {"rate", "burst"} & changes.keys():
            world.quotas.reset()
        return JSONResponse(world.options.as_json())

    async def show_hubs(_: Request) -> Response:
        return JSONResponse({"hubs": world.hubs.as_json()})

    async def set_hub(request: Request) -> Response:
        try:
            body = await _object(request, "account", "region", "state")
            account, region, state = body["account"], body["region"], body["state"]
            if state == "emptied":
                world.findings.remove(lambda row: (row.account, row.region) == (account, region))
                state = "subscribed"
            world.hubs.set(account, region, state)
        except ValueError as error:
            return bad_request(error)
        return JSONResponse({"hubs": world.hubs.as_json()})

    async def show_identities(_: Request) -> Response:
        return JSONResponse(world.identities.as_json())

    async def show_secrets(_: Request) -> Response:
        return JSONResponse(world.identities.secrets())

    async def add_identity(request: Request) -> Response:
        try:
            body = await _object(request, "access_key_id", "secret_access_key", "account", "arn")
            world.identities.add_user(
                body["access_key_id"],
                body["secret_access_key"],
                body["account"],
                body["arn"],
                may_assume=_texts(body, "may_assume"),
                deny=_texts(body, "deny"),
            )
        except ValueError as error:
            return bad_request(error)
        return JSONResponse(world.identities.as_json())

    async def add_role(request: Request) -> Response:
        try:
            body = await _object(request, "arn")
            external_id, longest = body.get("external_id"), body.get("max_session_seconds", 3_600)
            if not (external_id is None or isinstance(external_id, str)) or not isinstance(longest, int):
                raise ValueError("external_id must be a string and max_session_seconds an integer.")
            deny, may_assume = _texts(body, "deny"), _texts(body, "may_assume")
            world.identities.add_role(Role(body["arn"], external_id, longest, deny, may_assume))
        except ValueError as error:
            return bad_request(error)
        return JSONResponse(world.identities.as_json())

    async def launch(request: Request) -> Response:
        try:
            return JSONResponse({"instances": world.instances.launch(await read_json(request))})
        except (ValueError, TypeError) as error:
            return bad_request(ValueError(str(error)))

    async def be_customer(request: Request) -> Response:
        try:
            body = await _object(request, "account", "region", "id")
            if not isinstance(body.get("set"), dict):
                raise ValueError('set must be an object of fields, e.g. {"Workflow": {"Status": "SUPPRESSED"}}.')
            changed = work_on_finding(world, body["account"], body["region"], body["id"], body["set"])
        except (ValueError, AwsError) as error:
            return bad_request(error)
        return JSONResponse({"changed": changed}, 200 if changed else 404)

    return [
        Route("/_sandbox/findings", show_findings),
        Route("/_sandbox/summary", show_summary),
        Route("/_sandbox/options", show_options, methods=["GET"]),
        Route("/_sandbox/options", set_options, methods=["POST"]),
        Route("/_sandbox/hub", show_hubs, methods=["GET"]),
        Route("/_sandbox/hub", set_hub, methods=["POST"]),
        Route("/_sandbox/identities", show_identities, methods=["GET"]),
        Route("/_sandbox/identities", add_identity, methods=["POST"]),
        Route("/_sandbox/secrets", show_secrets),
        Route("/_sandbox/instances", launch, methods=["POST"]),
        Route("/_sandbox/roles", add_role, methods=["POST"]),
        *_clock_routes(world),
        *_closing_routes(world),
        *_old_tool_routes(world),
        Route("/_sandbox/customer", be_customer, methods=["POST"]),
    ]


def _clock_routes(world: World) -> list[Route]:
    """Security Hub's clock, and what is lost with time or with a hub."""

    async def show_clock(_: Request) -> Response:
        return JSONResponse({"now": world.clock.now()})

    async def advance(request: Request) -> Response:
        try:
            body = await read_json(request)
            seconds = body.get("advance_seconds") if isinstance(body, dict) else None
            if not isinstance(seconds, int | float) or isinstance(seconds, bool):
                return bad_request('The body is {"advance_seconds": <number>}.')
            expired = world.advance(seconds)
        except ValueError as error:
            return bad_request(error)
        return JSONResponse({"now": world.clock.now(), "expired": expired})

    async def lose(request: Request) -> Response:
        """The hub was off for too long: all its findings are gone. With an `id`, only that one."""
        try:
            body = await _object(request, "account", "region")
        except ValueError as error:
            return bad_request(error)
        place = (body["account"], body["region"])
        lost = world.findings.remove(
            lambda row: (row.account, row.region) == place and body.get("id", row.id) == row.id
        )
        return JSONResponse({"lost": lost})

    return [
        Route("/_sandbox/clock", show_clock, methods=["GET"]),
        Route("/_sandbox/clock", advance, methods=["POST"]),
        Route("/_sandbox/lose", lose, methods=["POST"]),
    ]


def _closing_routes(world: World) -> list[Route]:
    """What an organization does to its accounts: removes a role, closes an account, reopens it."""

    async def remove_role(request: Request) -> Response:
        try:
            world.identities.remove_role((await _object(request, "arn"))["arn"])
        except ValueError as error:
            return bad_request(error)
        return JSONResponse(world.identities.as_json())

    async def set_account(request: Request) -> Response:
        try:
            body = await _object(request, "account", "state")
            if body["state"] not in ("open", "closed"):
                raise ValueError(f"Unknown state {body['state']!r} of an account; there are: open, closed.")
            world.identities.close_account(body["account"], closed=body["state"] == "closed")
        except ValueError as error:
            return bad_request(error)
        return JSONResponse(world.identities.as_json())

    return [
        Route("/_sandbox/roles/remove", remove_role, methods=["POST"]),
        Route("/_sandbox/account", set_account, methods=["POST"]),
    ]


def _old_tool_routes(world: World) -> list[Route]:
    """What tools have sent that were used before."""

    async def preload_old_tool(request: Request) -> Response:
        """Findings that an older tool has sent, with what the customer decided about them."""
        try:
            body = await _object(request, "account", "region", "tool")
            findings = body.get("findings")
            if not isinstance(findings, list) or not all(isinstance(each, dict) for each in findings):
                raise ValueError('findings must be a list of objects, e.g. {"instance": "i-0...", "plugin": 10}.')
            count = preload(world, body["account"], body["region"], body["tool"], findings)
        except (ValueError, KeyError, TypeError) as error:
            return bad_request(ValueError(f"{error}"))
        return JSONResponse({"preloaded": count})

    return [Route("/_sandbox/old-tools", preload_old_tool, methods=["POST"])]


async def _documents(world: World, request: Request) -> AsyncIterator[bytes]:
    """The stored documents that match account, region and id of the query: one JSON object, in pieces of 200."""
    wanted = request.query_params
    yield b'{"findings":['
    piece: list[bytes] = []
    separator = b""
    for row in list(world.findings):
        if all(
            wanted.get(name, value) == value
            for name, value in (("account", row.account), ("region", row.region), ("id", row.id))
        ):
            piece.append(row.document)
        if len(piece) == 200:
            yield separator + b",".join(piece)
            separator = b","
            piece.clear()
    if piece:
        yield separator + b",".join(piece)
    yield b"]}"


async def _object(request: Request, *strings: str) -> dict[str, Any]:
    """The body as an object with these members as strings; ValueError else."""
    body = await read_json(request)
    if not isinstance(body, dict):
        raise ValueError(f"The body must be an object, not {json.dumps(body)}.")
    for name in strings:
        if not isinstance(body.get(name), str):
            raise ValueError(f"{name} must be a string, not {json.dumps(body.get(name))}.")
    return body


def _texts(body: dict[str, Any], name: str) -> tuple[str, ...]:
    texts = body.get(name, [])
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{name} must be a list of strings, not {json.dumps(texts)}.")
    return tuple(texts)
