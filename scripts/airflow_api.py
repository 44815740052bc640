"""The few calls of Airflow 3's REST API that run_once.py makes, with nothing but Python."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

_OPENER = build_opener(ProxyHandler({})) if os.environ.get("AIRFLOW_URL", "").startswith("http://") else build_opener()


class NotRunError(Exception):
    """The run could not be started or watched; the message says why."""


class Airflow:
    """The few calls of Airflow's REST API that are needed.

    :param url: where the API server answers.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.token = ""

    def log_in(self, *, token: str, username: str, password: str) -> None:
        """Take the token, or ask for one."""
        body = {"username": username, "password": password} if username else None
        self.token = token or str(self.call("POST" if body else "GET", "/auth/token", body)["access_token"])

    def call(self, method: str, path: str, body: Any = None, *, accept: str = "application/json") -> Any:
        """One call. :raises NotRunError: refused, or no answer."""
        headers = {"Accept": accept, "Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = Request(self.url + path, None if body is None else json.dumps(body).encode(), headers, method=method)
        try:
            with _OPENER.open(request, timeout=60) as answer:
                text = answer.read().decode()
        except HTTPError as error:
            detail = error.read().decode(errors="replace")[:1000]
            raise NotRunError(f"{method} {path}: {error.code} {error.reason}. {detail}") from error
        except (URLError, OSError) as error:
            raise NotRunError(f"Airflow does not answer at {self.url}: {error}") from error
        return json.loads(text) if accept == "application/json" and text else text
