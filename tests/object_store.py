"""An S3-compatible store on localhost: moto's S3, with a front end as strict and as unreliable as S3.

The front end recomputes every signature, refuses incomplete bodies, lists in short pages, and answers some
requests with ``SlowDown``, as S3 does under load. ``python -m tests.object_store`` is the server; :class:`ObjectStore`
starts it and looks into it.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from sandbox.standalone.children import Child, free_port

ACCESS_KEY, SECRET_KEY = "staging-access-key-01", "canary-staging-secret-5b1e0d77"
BUCKET = "tenable-staging"


class Front:
    """WSGI middleware before moto.

    :param page: entries of a listing's page.
    :param slow_down_every: each so-many-th request is answered with 503.
    """

    def __init__(
        self, app: Callable[..., Iterable[bytes]], *, keys: dict[str, str], page: int, slow_down_every: int
    ) -> None:
        self.app = app
        self.keys = keys
        self.page = page
        self.slow_down_every = slow_down_every
        self._numbers = itertools.count(1)
        # moto keeps its objects in plain dictionaries.
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        with self._lock:
            number = next(self._numbers)
        refusal = self._refusal(environ, body)
        if refusal is None and self.slow_down_every and number % self.slow_down_every == 0:
            refusal = ("503 Slow Down", "SlowDown")
        if refusal:
            status, code = refusal
            print(f"{environ['REQUEST_METHOD']} {environ['RAW_URI']} {status} {code}", flush=True)
            start_response(status, [("Content-Type", "application/xml")])
            return [
                b'<?xml version="1.0" encoding="UTF-8"?>\n',
                f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode(),
            ]
        query = dict(parse_qsl(environ["QUERY_STRING"], keep_blank_values=True))
        if query.get("list-type") == "2":
            query["max-keys"] = str(min(self.page, int(query.get("max-keys", 1000))))
            environ["QUERY_STRING"] = urlencode(query)
            environ["RAW_URI"] = environ["REQUEST_URI"] = (
                f"{environ['RAW_URI'].partition('?')[0]}?{environ['QUERY_STRING']}"
            )
        environ["wsgi.input"] = _Body(body)
        with self._lock:
            answer = list(self.app(environ, start_response))
        print(f"{environ['REQUEST_METHOD']} {environ['RAW_URI']} ok", flush=True)
        return answer

    def _refusal(self, environ: dict[str, Any], body: bytes) -> tuple[str, str] | None:
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        if len(body) != int(environ.get("CONTENT_LENGTH") or 0):
            return "400 Bad Request", "IncompleteBody"
        try:
            scheme, fields = environ["HTTP_AUTHORIZATION"].split(" ", 1)
            given = dict(part.strip().split("=", 1) for part in fields.split(","))
            key, _, region, service, _ = given["Credential"].split("/")
            secret = self.keys[key]
        except (KeyError, ValueError):
            return "403 Forbidden", "InvalidAccessKeyId"
        if (scheme, service) != ("AWS4-HMAC-SHA256", "s3"):
            return "403 Forbidden", "SignatureDoesNotMatch"
        plain = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}
        headers = {
            name: environ.get(plain.get(name) or "HTTP_" + name.upper().replace("-", "_"), "")
            for name in given["SignedHeaders"].split(";")
        }
        digest = headers.get("x-amz-content-sha256")
        if digest not in ("UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest()):
            return "400 Bad Request", "XAmzContentSHA256Mismatch"
        request = AWSRequest(
            environ["REQUEST_METHOD"], f"http://{environ['HTTP_HOST']}{environ['RAW_URI']}", headers, body
        )
        request.context["timestamp"] = headers["x-amz-date"]
        signer = S3SigV4Auth(Credentials(key, secret), service, region)
        signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
        return None if signature == given["Signature"] else ("403 Forbidden", "SignatureDoesNotMatch")


class _Body:
    """A request's body that was read already."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, size: int = -1) -> bytes:
        taken, self.data = (self.data, b"") if size is None or size < 0 else (self.data[:size], self.data[size:])
        return taken

    def readline(self, size: int = -1) -> bytes:
        end = self.data.find(b"\n") + 1 or len(self.data)
        return self.read(end if size < 0 else min(end, size))

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")


class ObjectStore(Child):
    """The server as a child process, and a client to inspect it.

    :param keys: access key and secret key that it knows; others are refused.
    :param page: entries of a page of a listing, where S3 gives 1,000.
    :param slow_down_every: each so-many-th request is answered with 503.
    """

    def __init__(
        self,
        *,
        log: Path,
        port: int | None = None,
        keys: tuple[str, str] = (ACCESS_KEY, SECRET_KEY),
        page: int = 5,
        slow_down_every: int = 61,
    ) -> None:
        import boto3
        from botocore.config import Config

        port = port or free_port()
        self.url = f"http://127.0.0.1:{port}"
        options = {
            "port": port,
            "page": page,
            "slow-down-every": slow_down_every,
            "access-key": keys[0],
            "secret-key": keys[1],
        }
        super().__init__(
            [
                sys.executable,
                "-W",
                "ignore",
                "-m",
                "tests.object_store",
                *(f"--{name}={value}" for name, value in options.items()),
            ],
            log=log,
        )
        self.keys = keys
        config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 10, "mode": "standard"}, proxies={})
        self.client = boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=keys[0],
            aws_secret_access_key=keys[1],
            region_name="us-east-1",
            config=config,
        )

    def wait(self, seconds: float = 60.0) -> None:
        """Wait until it answers."""
        import socket
        import time

        deadline = time.monotonic() + seconds
        while True:
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", int(self.url.rpartition(":")[2]))) == 0:
                    return
            if not self.alive() or time.monotonic() > deadline:
                raise RuntimeError(f"The object store did not start:\n{self.tail()}")
            time.sleep(0.1)

    def stop(self, patience: float = 15.0) -> None:
        """End it, and close our own connection to it."""
        self.client.close()
        super().stop(patience)

    def connection(self) -> str:
        """The Airflow connection to it, as JSON."""
        extra = {
            "region_name": "us-east-1",
            "endpoint_url": self.url,
            "config_kwargs": {"s3": {"addressing_style": "path"}},
        }
        return json.dumps({"conn_type": "aws", "login": self.keys[0], "password": self.keys[1], "extra": extra})

    def requests(self, text: str) -> list[str]:
        """What it was asked, with its answers: the lines that hold a text."""
        return [line for line in self.log.read_text().splitlines() if text in line]

    def objects(self, prefix: str = "", bucket: str = BUCKET) -> dict[str, bytes]:
        """Everything below a prefix."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return {key: self.client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def main() -> None:
    """Serve until the end."""
    import moto.backends
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--page", type=int, default=1000)
    parser.add_argument("--slow-down-every", type=int, default=0)
    parser.add_argument("--access-key", default=ACCESS_KEY)
    parser.add_argument("--secret-key", default=SECRET_KEY)
    options = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    # moto lists its own folder twice for each request, a third of what it does.
    modules = list(moto.backends.list_of_moto_modules())
    moto.backends.list_of_moto_modules = lambda: modules
    app = DomainDispatcherApplication(create_backend_app)
    front = Front(
        app, keys={options.access_key: options.secret_key}, page=options.page, slow_down_every=options.slow_down_every
    )
    make_server("127.0.0.1", options.port, front, threaded=True).serve_forever()


if __name__ == "__main__":
    main()
