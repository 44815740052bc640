"""A TCP proxy that spoils what passes: latency, little bandwidth, resets, cut answers, silence, answers of its own.
Names as in Toxiproxy.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

_REQUEST = re.compile(rb"^(GET|POST|PUT|PATCH|DELETE) (\S+) HTTP/1\.[01]\r\n")


@dataclass
class Toxic:
    """What happens to the answer of a request.

    :param kind: ``latency``, ``bandwidth``, ``slicer``, ``limit_data``, ``reset_peer``, ``timeout``, ``answer``.
    :param match: pattern in ``METHOD path``.
    :param amount: seconds of latency; bytes a second; bytes of a slice; bytes that pass before the end.
    :param answer: what is sent instead; the request goes nowhere.
    """

    kind: str
    match: str = ""
    times: int | None = 1
    skip: int = 0
    amount: float = 0
    answer: bytes = b""


class FaultProxy:
    """Listens on a port of its own and speaks to one server; in a thread with its own event loop.

    :ivar requests: the heads of all requests that came, as bytes.
    """

    def __init__(self, target: str | None = None) -> None:
        self.target = urlsplit(target) if target else None
        self.toxics: list[Toxic] = []
        self.requests: list[bytes] = []
        self.struck = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._await(asyncio.start_server(self._connection, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self._await(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def add(self, kind: str, match: str = "", **arguments: Any) -> None:
        """Order a toxic."""
        self.toxics.append(Toxic(kind, match, **arguments))

    def _await(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _stop(self) -> None:
        self._server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _take(self, request: bytes) -> Toxic | None:
        for toxic in self.toxics:
            if re.search(toxic.match, request.decode("latin-1")) and (toxic.times is None or toxic.times > 0):
                if toxic.skip:
                    toxic.skip -= 1
                    continue
                toxic.times = None if toxic.times is None else toxic.times - 1
                self.struck += 1
                return toxic
        return None

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        toxic: list[Toxic | None] = [None]
        upstream: asyncio.StreamWriter | None = None
        answers: asyncio.Task[None] | None = None
        try:
            while data := await reader.read(65536):
                if head := _REQUEST.match(data):
                    self.requests.append(data)
                    toxic[0] = self._take(head[1] + b" " + head[2])
                if (toxic[0] and toxic[0].kind == "answer") or self.target is None:
                    writer.write(
                        toxic[0].answer if toxic[0] else b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
                    )
                    await writer.drain()
                    return
                if upstream is None:
                    source, upstream = await asyncio.open_connection(self.target.hostname, self.target.port)
                    answers = asyncio.create_task(self._answers(source, writer, toxic))
                upstream.write(data)
                await upstream.drain()
        except OSError:
            pass
        finally:
            if answers:
                answers.cancel()
            for each in (upstream, writer):
                if each:
                    each.close()

    async def _answers(
        self, source: asyncio.StreamReader, writer: asyncio.StreamWriter, current: list[Toxic | None]
    ) -> None:
        struck, passed = None, 0
        try:
            while data := await source.read(65536):
                toxic = current[0]
                if toxic is not struck:
                    struck, passed = toxic, 0
                if toxic is None:
                    writer.write(data)
                elif toxic.kind == "timeout":
                    continue
                elif toxic.kind == "latency":
                    await asyncio.sleep(toxic.amount)
                    writer.write(data)
                elif toxic.kind in ("bandwidth", "slicer"):
                    piece, pause = (1, 1 / toxic.amount) if toxic.kind == "bandwidth" else (int(toxic.amount), 0.0)
                    for start in range(0, len(data), piece):
                        writer.write(data[start : start + piece])
                        await writer.drain()
                        await asyncio.sleep(pause)
                else:
                    writer.write(data[: max(int(toxic.amount) - passed, 0)])
                    passed += len(data)
                    if passed > toxic.amount:
                        await writer.drain()
                        self._end(writer, reset=toxic.kind == "reset_peer")
                        return
                await writer.drain()
        except OSError:
            pass
        self._end(writer, reset=False)

    @staticmethod
    def _end(writer: asyncio.StreamWriter, *, reset: bool) -> None:
        if reset:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        else:
            writer.close()


def http_answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """A whole HTTP answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
