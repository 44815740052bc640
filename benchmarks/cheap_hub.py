"""A Security Hub that costs next to nothing: it reads each request completely, applies latency and quota, and reports
that everything was accepted.

    python -m benchmarks.cheap_hub [--latency-ms 300] [--rate 10 --burst 30]      prints its port

Only what clients under measurement need is answered: BatchImportFindings, what the check before an import asks, and
empty objects for the rest. The quota is one per access key (here: per destination), and answers 429 as the service
does.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import time

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_KEY = re.compile(rb"Credential=([^/]+)/")
#: A key may name the account that it belongs to.
_ACCOUNT_OF = re.compile(rb"AKIA(\d{12})")
_IDENTITY = (
    b'<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/'
    b'"><GetCallerIdentityResult><Arn>arn:aws:iam::%(account)b:user/benchmark</Arn>'
    b"<UserId>AIDA</UserId><Account>%(account)b</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
)
_HUB = b'{"HubArn":"arn:aws:securityhub:us-east-1:%(account)b:hub/default"}'
_COUNT = re.compile(rb'"SchemaVersion"')


class Bucket:
    """A token bucket that refuses."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst, self.tokens, self.at = rate, burst, burst, time.monotonic()

    def take(self) -> bool:
        now = time.monotonic()
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Hub(asyncio.Protocol):
    """One connection."""

    latency = 0.0
    rate, burst = 0.0, 30.0
    buckets: dict[bytes, Bucket] = {}
    accepted: int = 0
    throttled: int = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.pieces: list[bytes] = []
        self.missing = 0
        self.head = b""

    def data_received(self, data: bytes) -> None:
        if self.head:
            self.pieces.append(data)
            self.missing -= len(data)
        else:
            self.pieces.append(data)
            head, separator, body = b"".join(self.pieces).partition(b"\r\n\r\n")
            if not separator:
                return
            length = _LENGTH.search(head)
            self.head, self.pieces, self.missing = head, [body], int(length[1] if length else 0) - len(body)
            if b"100-continue" in head:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.missing <= 0:
            self._answer(self.head, b"".join(self.pieces))
            self.head, self.pieces = b"", []

    def _answer(self, head: bytes, body: bytes) -> None:
        key = _KEY.search(head)
        named = _ACCOUNT_OF.fullmatch(key[1]) if key else None
        account = {b"account": named[1] if named else b"111122223333"}
        status, text = b"200 OK", b"{}"
        if head.startswith(b"POST /findings/import"):
            bucket = Hub.buckets.setdefault(key[1] if key else b"", Bucket(Hub.rate, Hub.burst)) if Hub.rate else None
            if bucket is not None and not bucket.take():
                Hub.throttled += 1
                status, text = (
                    b"429 Too Many Requests",
                    b'{"__type":"TooManyRequestsException","message":"Rate exceeded"}',
                )
            else:
                count = len(_COUNT.findall(body))
                Hub.accepted += count
                text = b'{"FailedCount":0,"SuccessCount":%d,"FailedFindings":[]}' % count
        elif head.startswith(b"POST / "):
            text = _IDENTITY % account
        elif head.startswith(b"GET /accounts"):
            text = _HUB % account
        elif head.startswith(b"GET /productSubscriptions"):
            text = b'{"ProductSubscriptions":[]}'
        elif head.startswith(b"GET /stats"):
            text = b'{"accepted":%d,"throttled":%d}' % (Hub.accepted, Hub.throttled)
        answer = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
            status,
            len(text),
            text,
        )
        if Hub.latency and head.startswith(b"POST /findings/import"):
            asyncio.get_running_loop().call_later(Hub.latency, self.transport.write, answer)
        else:
            self.transport.write(answer)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(Hub, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Run until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--burst", type=float, default=30.0)
    options = parser.parse_args()
    Hub.latency, Hub.rate, Hub.burst = options.latency_ms / 1000, options.rate, options.burst
    asyncio.run(_serve())


if __name__ == "__main__":
    main()
