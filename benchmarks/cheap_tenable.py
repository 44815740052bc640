"""A minimal Tenable whose exports are finished immediately, with any number of generated vulnerabilities.

python -m benchmarks.cheap_tenable VULNERABILITIES [ACCOUNTS [SECONDS]]      prints its port

With SECONDS, each chunk begins so long after it was asked for.

`POST /day` with `{"day": 1, "changed": 100}` lets all hosts be scanned again, and one finding of each hundred change.
"""

from __future__ import annotations

import json
import re
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.estate import PER_HOST, Generated, numbered_accounts

_CHUNK = re.compile(r"/chunks/(\d+)$")


class Handler(BaseHTTPRequestHandler):
    """The export endpoints, as far as clients under measurement use them."""

    protocol_version = "HTTP/1.1"
    estate = Generated(0)
    chunk_seconds = 0.0

    def do_GET(self) -> None:
        kind = "assets" if "/assets" in self.path else "vulnerabilities"
        count = self.estate.asset_chunk_count if kind == "assets" else self.estate.chunk_count
        chunk = _CHUNK.search(self.path)
        if chunk:
            make = self.estate.asset_chunk if kind == "assets" else self.estate.chunk
            time.sleep(self.chunk_seconds)
            self._send(make(int(chunk[1]) - 1))
        elif self.path.endswith("/status"):
            listed = list(range(1, count + 1))
            self._send(
                {
                    "uuid": kind,
                    "status": "FINISHED",
                    "chunks_available": listed,
                    "chunks_failed": [],
                    "chunks_cancelled": [],
                    "total_chunks": count,
                }
            )
        else:
            self._send({"username": "benchmark"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/day":
            before = Handler.estate
            Handler.estate = Generated(before.hosts * PER_HOST, accounts=before.accounts, **json.loads(body))
            return self._send({})
        return self._send(
            {"export_uuid": f"0b8f5bd2-0000-4000-8000-00000000000{'a' if '/assets' in self.path else 'b'}"}
        )

    def _send(self, content: bytes | dict[str, object]) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Log nothing."""


def main() -> None:
    """Run until killed."""
    accounts = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    Handler.chunk_seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
    Handler.estate = Generated(int(sys.argv[1]), accounts=numbered_accounts(accounts))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
