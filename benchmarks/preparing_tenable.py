"""A minimal Tenable that prepares its exports for some seconds, as the real one does, and counts its requests.

python -m benchmarks.preparing_tenable VULNERABILITIES SECONDS      prints its port

`GET /requests` answers how often what was asked for, by method and last part of the path, since the last `POST /day`.
"""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from http.server import ThreadingHTTPServer

from benchmarks.cheap_tenable import Handler
from benchmarks.estate import Generated, numbered_accounts

_NUMBER = re.compile(r"/\d+$")


class PreparingHandler(Handler):
    """The endpoints of :class:`~benchmarks.cheap_tenable.Handler`, with jobs that are not finished at once."""

    seconds = 0.0
    #: When the last job of each kind was requested, on the monotonic clock.
    requested: dict[str, float] = {}
    requests: Counter[str] = Counter()

    def do_GET(self) -> None:  # noqa: N802
        if self.path == "/requests":
            return self._send(dict(self.requests))
        self.requests[f"GET {_NUMBER.sub('', self.path).rpartition('/')[2]}"] += 1
        if self.path.endswith("/status"):
            age = time.monotonic() - self.requested.get(self._kind, 0.0)
            if age < self.seconds:
                return self._send({"uuid": self._kind, "status": "PROCESSING", "chunks_available": []})
        return super().do_GET()

    def do_POST(self) -> None:  # noqa: N802
        if self.path == "/day":
            self.requests.clear()
        else:
            self.requested[self._kind] = time.monotonic()
            self.requests["POST export"] += 1
        return super().do_POST()

    @property
    def _kind(self) -> str:
        return "assets" if "/assets" in self.path else "vulnerabilities"


def main() -> None:
    """Run until killed."""
    Handler.estate = Generated(int(sys.argv[1]), accounts=numbered_accounts(1))
    PreparingHandler.seconds = float(sys.argv[2])
    server = ThreadingHTTPServer(("127.0.0.1", 0), PreparingHandler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
