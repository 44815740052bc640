"""The HTTP session for pyTenable: it protects the keys, limits ``Retry-After``, and bounds the size and duration of
responses.

requests itself reads the bodies, into memory or streamed, as the caller asks; :mod:`.bounds` defines the bounds.
"""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlsplit

import requests

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.guards.redaction import scrub, scrub_bytes
from airflow_provider_tenable.tenable_vm.bounds import BoundedAdapter
from airflow_provider_tenable.tenable_vm.http_time import http_date, seconds_of
from airflow_provider_tenable.tenable_vm.retry import LONGEST_RETRY_AFTER_SECONDS


class GuardedSession(requests.Session):
    """A session that sends the keys only to their own host.

    * On a redirect, requests strips only ``Authorization``, but Tenable's keys are in ``X-ApiKeys``: a redirect to
      another host, or to plain HTTP, is rejected.
    * If a response repeats the keys, they are replaced with ``***`` before pyTenable sees it, because pyTenable logs
      bodies and quotes them in errors. The caller is responsible for a body that it streams.
    * A response that is too slow, or that decompresses without end, is aborted.
    * pyTenable converts ``Retry-After`` with ``float``, which raises a ValueError for an HTTP date. Here it is
      converted into seconds, and capped.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self._home = urlsplit(url)
        for scheme in ("https://", "http://"):
            self.mount(scheme, BoundedAdapter())

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a request. The body of an error is always read here.

        pyTenable quotes it outside its retries, so a body that is cut off must fail here, like any other broken
        connection.
        """
        response = super().send(request, **kwargs)
        tame_retry_after(response)
        if not 200 <= response.status_code < 300:
            _ = response.content
            without_keys(response)
        elif not kwargs.get("stream"):
            # requests does not have a public way to replace a body that was read. pyTenable logs it later.
            response._content = scrub_bytes(response.content)
        return response

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target is not None:
            # requests reads the body of a redirect before it follows it, and mishandles one that is cut off.
            _ = resp.content
            parts = urlsplit(target)
            if (parts.netloc and parts.netloc != self._home.netloc) or (
                parts.scheme and parts.scheme != self._home.scheme
            ):
                raise ConfigurationError(
                    f"{self._home.netloc} redirects to "
                    f"{safe(parts.scheme or self._home.scheme)}://{safe(parts.netloc)}. The API keys are not sent "
                    "there. If that address is correct, put it into the connection's URL."
                )
        return target


def tame_retry_after(response: requests.Response) -> None:
    """Rewrite ``Retry-After`` for pyTenable: as seconds, measured by the server's own clock, and capped."""
    given = response.headers.get("Retry-After")
    if given is None:
        return
    seconds = seconds_of(given, now=http_date(response.headers.get("Date")) or time.time())
    if seconds is None:
        del response.headers["Retry-After"]
    else:
        response.headers["Retry-After"] = str(min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS))


def without_keys(response: requests.Response) -> None:
    """Mask known secrets in an error's body, reason and headers. The body has been read; it is about 100 KB at most."""
    if isinstance(response.content, bytes):
        # Latin-1 maps every byte to a character and back, whatever the real encoding.
        response._content = scrub(response.content.decode("latin-1")).encode("latin-1")
    if response.reason:
        response.reason = scrub(
            response.reason if isinstance(response.reason, str) else response.reason.decode("latin-1")
        )
    for name, value in response.headers.items():
        response.headers[name] = scrub(value)
