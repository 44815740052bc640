"""Answers that break the connection, cut the body short or come drop by drop."""

import asyncio
import socket
import struct

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

SERVER_SEND = "sandbox.server_send"
"""The key in a request's scope of the server's own `send`, a method of the object that owns the transport."""


class ClosedConnection(Response):
    """No answer at all: the connection is closed, by a TCP reset or in an orderly way."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__()
        self.reset = reset

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _close(scope, receive, reset=self.reset)


class CutResponse(Response):
    """An answer whose connection ends before the body that its Content-Length announces."""

    def __init__(self, whole: Response, keep_bytes: int) -> None:
        super().__init__(whole.body, whole.status_code)
        self.raw_headers = [pair for pair in whole.raw_headers if pair[0].lower() != b"content-length"]
        self.raw_headers.append((b"content-length", str(len(self.body)).encode()))
        self._keep_bytes = keep_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        await send(
            {
                "type": "http.response.body",
                "body": bytes(self.body)[: self._keep_bytes],
                "more_body": True,
            }
        )
        if len(self.body) <= self._keep_bytes:
            await send({"type": "http.response.body", "body": b""})
            return
        await _close(scope, receive, reset=False)


class PlainAnswer(Response):
    """An answer written as it is, with a reason phrase of its own, which no web framework would send; the connection
    ends after it.
    """

    def __init__(self, answer: Response, reason: str) -> None:
        super().__init__(answer.body, answer.status_code)
        self.raw_headers = answer.raw_headers
        self._reason = reason

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = [
            f"HTTP/1.1 {self.status_code} {self._reason}".encode("latin-1"),
            *(b": ".join(pair) for pair in self.raw_headers),
            b"connection: close",
        ]
        transport: asyncio.Transport = scope[SERVER_SEND].__self__.transport
        transport.write(b"\r\n".join(head) + b"\r\n\r\n" + bytes(self.body))
        await _close(scope, receive, reset=False)


class DrippingResponse(Response):
    """An answer that comes in small pieces with a pause before each."""

    def __init__(self, whole: Response, piece: int, pause: float) -> None:
        super().__init__(whole.body, whole.status_code)
        self.raw_headers = whole.raw_headers
        self._piece, self._pause = max(piece, 1), pause

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        body = bytes(self.body)
        for start in range(0, len(body), self._piece):
            await asyncio.sleep(self._pause)
            await send(
                {
                    "type": "http.response.body",
                    "body": body[start : start + self._piece],
                    "more_body": True,
                }
            )
        await send({"type": "http.response.body", "body": b""})


async def _close(scope: Scope, receive: Receive, *, reset: bool) -> None:
    transport: asyncio.Transport = scope[SERVER_SEND].__self__.transport
    if reset:
        # Lingering for zero seconds turns the close into a reset, as a crashed peer or a firewall does.
        sock: socket.socket = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    else:
        transport.close()
    # Until the server has noticed, or it would complain about an application that did not answer.
    while (await receive())["type"] != "http.disconnect":
        pass
