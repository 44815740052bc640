"""A stand-in for Amazon MWAA's API: what docs/mwaa.md asks of it. Requests are held to botocore's model of the service.

As the service does: an update changes what it names and nothing else, but Airflow's options are replaced completely; a
file's version must be one that the bucket has.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

import botocore.session
from botocore.validate import ParamValidator

_MODEL = botocore.session.get_session().get_service_model("mwaa")
_FILES = ("Plugins", "Requirements", "StartupScript")


class Mwaa:
    """The service, on localhost.

    :param has_version: whether a bucket has a key in a version.
    :ivar environments: by name, as ``get-environment`` returns them.
    :ivar calls: what was asked of Airflow's REST API: ``(environment, method, path, body)``.
    """

    def __init__(self, has_version: Callable[[str, str, str], bool]) -> None:
        self.has_version = has_version
        self.environments: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, str, str, Any]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer("GetEnvironment", {})

            def do_PATCH(self) -> None:
                self._answer("UpdateEnvironment", self._body())

            def do_PUT(self) -> None:
                self._answer("CreateEnvironment", self._body())

            def do_POST(self) -> None:
                self._answer("InvokeRestApi", self._body())

            def _body(self) -> dict[str, Any]:
                return dict(json.loads(self.rfile.read(int(self.headers["content-length"]))))

            def _answer(self, operation: str, body: dict[str, Any]) -> None:
                name = unquote(self.path.rpartition("/")[2])
                status, answer = service.answer(operation, {"Name": name, **body})
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        #: The SDK puts `api.` or `env.` before the host, which no name service knows here: the service is its own
        #: proxy.
        self.settings = {
            "AWS_ENDPOINT_URL_MWAA": "http://mwaa.invalid",
            "HTTP_PROXY": f"http://127.0.0.1:{self._server.server_port}",
        }

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, operation: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The HTTP status and the answer of an operation."""
        shape = _MODEL.operation_model(operation).input_shape
        wrong = [f"unknown: {name}" for name in set(body) - set(shape.members)]
        report = ParamValidator().validate(body, shape)
        wrong += [report.generate_report()] if report.has_errors() else []
        name = body["Name"]
        if operation == "CreateEnvironment":
            wrong += self._files_that_are_not_there(body)
            if not wrong:
                self.environments[name] = dict(body)
                return 200, {"Arn": f"arn:aws:airflow:eu-west-1:123456789012:environment/{name}"}
        elif name not in self.environments:
            return 404, {"message": f"No environment {name}"}
        elif operation == "UpdateEnvironment":
            wrong += self._files_that_are_not_there({**self.environments[name], **body})
            if not wrong:
                self.environments[name] |= body
                return 200, {"Arn": f"arn:aws:airflow:eu-west-1:123456789012:environment/{name}"}
        elif operation == "GetEnvironment":
            return 200, {"Environment": {**self.environments[name], "Status": "AVAILABLE"}}
        elif not wrong:
            self.calls.append((name, body["Method"], body["Path"], body.get("Body")))
            return 200, {"RestApiStatusCode": 200, "RestApiResponse": {}}
        return 400, {"message": "; ".join(wrong)}

    def _files_that_are_not_there(self, environment: dict[str, Any]) -> list[str]:
        bucket = re.sub("^.*:", "", environment["SourceBucketArn"])
        named = [(environment.get(f"{kind}S3Path"), environment.get(f"{kind}S3ObjectVersion")) for kind in _FILES]
        return [
            f"no {key} in version {version}"
            for key, version in named
            if key and not self.has_version(bucket, key, version or "")
        ]
