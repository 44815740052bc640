"""What both servers share: an application that can close a connection, faulted calls, control endpoints."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from sandbox.connections import SERVER_SEND, ClosedConnection, CutResponse, DrippingResponse, PlainAnswer
from sandbox.faults import Fault, FaultBook
from sandbox.repeating import FORMS, one_line


class SandboxApp(Starlette):
    """A Starlette application whose responses can reach the connection itself.

    Starlette's own middleware hides the server's `send`; uvicorn's is a method of the object that owns the transport.
    """

    http_date: Callable[[], str] | None = None
    """When set, every answer's Date header has this value (the server's own must be switched off)."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[SERVER_SEND] = send
        await super().__call__(scope, receive, self._dated(send) if self.http_date else send)

    def _dated(self, send: Send) -> Send:
        async def send_with_date(message: Message) -> None:
            if message["type"] == "http.response.start" and self.http_date:
                headers = [pair for pair in message.get("headers", ()) if pair[0].lower() != b"date"]
                message = {**message, "headers": [*headers, (b"date", self.http_date().encode())]}
            await send(message)

        return send_with_date


async def with_fault(fault: Fault | None, carry_out: Callable[[], Awaitable[Response]], secrets: str = "") -> Response:
    """Carry a call out as the fault wants it: `COMMON_VERBS` are done here, any other verb changes nothing.

    :param secrets: what the caller proves itself with, as `name=value; name=value`
    """
    if fault is None:
        return await carry_out()
    match fault.do:
        case "status":
            return _text(fault.get("body", ""), int(fault.get("status")), fault.get("headers"))
        case "late_status":
            await carry_out()
            return _text(fault.get("body", ""), int(fault.get("status")), fault.get("headers"))
        case "body":
            return _text(fault.get("body"), 200, fault.get("headers"))
        case "repeat_secrets":
            return _repeating(
                secrets, int(fault.get("status")), str(fault.get("form", "header")), str(fault.get("place", "body"))
            )
        case "reset":
            return ClosedConnection(reset=True)
        case "lose_answer":
            await carry_out()
            return ClosedConnection()
        case "truncate":
            return _truncated(
                await whole(await carry_out()),
                int(fault.get("keep_bytes")),
                bool(fault.get("declare_full")),
            )
        case "slow":
            response = await carry_out()
            await asyncio.sleep(float(fault.get("seconds")))
            return response
        case "drip":
            return DrippingResponse(
                await whole(await carry_out()),
                int(fault.get("bytes")),
                float(fault.get("seconds")),
            )
    return await carry_out()


def _repeating(secrets: str, status: int, form: str, place: str) -> Response:
    text = FORMS[form](secrets)
    match place:
        case "reason":
            return PlainAnswer(_text('{"error": "see above"}', status, None), one_line(text))
        case "location":
            return _text("", status, {"Location": f"https://{one_line(text)}@login.example.com/?from={one_line(text)}"})
        case "retry-after":
            return _text('{"error": "later"}', status, {"Retry-After": one_line(text)})
        case "header":
            return _text('{"error": "see the header"}', status, {"X-Request": one_line(text)})
    return _text(text, status, None)


def _text(body: Any, status: int, headers: dict[str, str] | None) -> Response:
    text = body if isinstance(body, str) else json.dumps(body)
    response = Response(text, status)
    is_given = {name.lower() for name in headers or {}}
    if "content-type" not in is_given:
        response.headers["Content-Type"] = "text/html" if text.lstrip().startswith("<") else "application/json"
    for name, value in (headers or {}).items():
        response.headers[name] = str(value)
    return response


def _truncated(whole: Response, keep_bytes: int, declare_full: bool) -> Response:
    if declare_full:
        return CutResponse(whole, keep_bytes)
    cut = Response(bytes(whole.body)[:keep_bytes], whole.status_code)
    for name, value in whole.headers.items():
        if name.lower() != "content-length":
            cut.headers[name] = value
    return cut


async def whole(response: Response) -> Response:
    """An answer with its body in memory."""
    if not isinstance(response, StreamingResponse):
        return response
    pieces = [piece.encode() if isinstance(piece, str) else bytes(piece) async for piece in response.body_iterator]
    return Response(b"".join(pieces), response.status_code, dict(response.headers))


async def read_json(request: Request) -> Any:
    """The request's body as JSON; ValueError when it is none."""
    try:
        return json.loads(await request.body())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"The body is not JSON: {error}") from error


def bad_request(problem: object) -> JSONResponse:
    """400 of a control endpoint."""
    return JSONResponse({"error": str(problem)}, 400)


def common_routes(
    faults: FaultBook,
    stats: Callable[[], dict[str, Any]],
    reset: Callable[[], None],
    calls: Counter[str],
) -> list[Route]:
    """The control endpoints that both servers have: health, faults, stats and reset.

    :param stats: what `GET /_sandbox/stats` adds to the counted `calls`
    :param reset: puts the server back to its start; faults and counted calls are cleared here
    """

    async def health(_: Request) -> Response:
        return JSONResponse({"ok": True})

    async def list_faults(_: Request) -> Response:
        return JSONResponse([fault.as_json() for fault in faults.pending])

    async def order_faults(request: Request) -> Response:
        try:
            body = await read_json(request)
            for fault in body if isinstance(body, list) else [body]:
                faults.order(fault)
        except ValueError as error:
            return bad_request(error)
        return JSONResponse({"pending": len(faults.pending)})

    async def clear_faults(_: Request) -> Response:
        faults.clear()
        return JSONResponse({"pending": 0})

    async def show_stats(_: Request) -> Response:
        return JSONResponse({"calls": dict(calls), **stats()})

    async def start_again(_: Request) -> Response:
        faults.clear()
        reset()
        calls.clear()
        return JSONResponse({"ok": True})

    return [
        Route("/_sandbox/health", health),
        Route("/_sandbox/faults", list_faults, methods=["GET"]),
        Route("/_sandbox/faults", order_faults, methods=["POST"]),
        Route("/_sandbox/faults", clear_faults, methods=["DELETE"]),
        Route("/_sandbox/stats", show_stats),
        Route("/_sandbox/reset", start_again, methods=["POST"]),
    ]
