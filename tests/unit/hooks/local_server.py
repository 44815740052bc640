"""A web server on this machine that answers as a test tells it, and keeps what it was asked."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ACCESS, SECRET = "canaryAccess0123456789", "canarySecret9876543210"


class LocalServer:
    """``answers`` are taken in turn, the last one for ever: (status, headers, body), or a function of the handler."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self.answers: list = []
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []

    def answer(self, status=200, body=b"{}", **headers):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers = [(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)]


@contextmanager
def local_server():
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self):
            length = int(self.headers.get("Content-Length") or 0)
            server.requests.append((self.command, self.path, dict(self.headers), self.rfile.read(length)))
            answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
            if callable(answer):
                answer(self)
                return
            status, headers, body = answer
            self.send_response(status)
            headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = handle_one  # noqa: N815

        def log_message(self, *args):
            pass

        def handle(self):
            with suppress(ConnectionError, OSError):
                super().handle()

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    http = Server(("127.0.0.1", 0), Handler)
    server = LocalServer(http.server_address[1])
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
