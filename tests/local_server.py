"""A web server on this machine that answers as a test orders, and records the requests."""

from __future__ import annotations

import ipaddress
import json
import ssl
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ACCESS, SECRET = "canaryAccess0123456789", "canarySecret9876543210"


def client_arguments(url, **options):
    """What a connection to this server gives pyTenable."""
    return {
        "access_key": ACCESS,
        "secret_key": SECRET,
        "url": url,
        "timeout": 5,
        "ssl_verify": True,
        "proxies": None,
        **options,
    }


class LocalServer:
    """``answers`` are used in turn, the last one repeatedly: (status, headers, body), or a function of the handler."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self.answers: list = []
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []

    def answer(self, status=200, body=b"{}", **headers):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers = [(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)]


def tls_files(folder):
    """A self-signed certificate for this machine, and its key: two PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now - timedelta(days=1), now + timedelta(days=1)
    )
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    # A client that checks strictly, as Python 3.13's does, wants a CA to say that it is one.
    certificate = (
        builder.add_extension(address, False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(private)
    return folder / "cert.pem", folder / "key.pem"


@contextmanager
def local_server(tls=None):
    """:param tls: certificate and key of :func:`tls_files`; without, the server speaks plain http."""

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

        do_GET = do_POST = do_PUT = do_DELETE = handle_one  # noqa: N815

        def log_message(self, *args):
            pass

        def handle(self):
            with suppress(ConnectionError, OSError):
                super().handle()

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    http = Server(("127.0.0.1", 0), Handler)
    server = LocalServer(http.server_address[1])
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        http.socket = context.wrap_socket(http.socket, server_side=True)
        server.url = server.url.replace("http:", "https:")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
