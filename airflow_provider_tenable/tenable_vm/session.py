"""The HTTP session that pyTenable is given: it guards the keys, tames ``Retry-After``, and bounds how long and how
large an answer may be.

Bodies are requests' own business, read into memory or streamed as the caller asks for; the bounds are those of
:mod:`.bounds`.
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
    """A session that keeps the keys with the host they belong to.

    * requests strips only ``Authorization`` when it follows a redirect, and Tenable's keys are in ``X-ApiKeys``: a
      redirect to another host, or to plain HTTP, is refused.
    * an answer that repeats the keys has ``***`` there before pyTenable sees it: pyTenable logs bodies, and quotes them
      in errors. A body that the caller streams is the caller's own.
    * an answer that trickles, or that decompresses without end, is broken off.
    * pyTenable converts ``Retry-After`` with ``float``: an HTTP date would end in a ValueError. It becomes seconds
      here, and is capped.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self._home = urlsplit(url)
        for scheme in ("https://", "http://"):
            self.mount(scheme, BoundedAdapter())

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a request. The body of an error is read in any case.

        pyTenable quotes it, outside its retries: one that breaks off must fail here, like any other connection that
        does.
        """
        response = super().send(request, **kwargs)
        tame_retry_after(response)
        if not 200 <= response.status_code < 300:
            _ = response.content
            without_keys(response)
        elif not kwargs.get("stream"):
            # requests has no public way to replace a body that was read. pyTenable, which logs it, comes after us.
            response._content = scrub_bytes(response.content)
        return response

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target is not None:
            # requests reads the body of a redirect before it follows, and is puzzled by one that breaks off.
            _ = resp.content
            parts = urlsplit(target)
            if (parts.netloc and parts.netloc != self._home.netloc) or (
                parts.scheme and parts.scheme != self._home.scheme
            ):
                raise ConfigurationError(
                    f"{self._home.netloc} redirects to "
                    f"{safe(parts.scheme or self._home.scheme)}://{safe(parts.netloc)}. The API keys are not sent "
                    "there. "
                    "If that address is correct, put it into the connection's URL."
                )
        return target


def tame_retry_after(response: requests.Response) -> None:
    """Make ``Retry-After`` what pyTenable can read: seconds, by the server's own clock, and not too many."""
    given = response.headers.get("Retry-After")
    if given is None:
        return
    seconds = seconds_of(given, now=http_date(response.headers.get("Date")) or time.time())
    if seconds is None:
        del response.headers["Retry-After"]
    else:
        response.headers["Retry-After"] = str(min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS))


def without_keys(response: requests.Response) -> None:
    """Mask known secrets in an error's body, reason and headers. The body was read, and has at most some 100 KB."""
    if isinstance(response.content, bytes):
        # Every byte is a character and back, whatever the encoding.
        response._content = scrub(response.content.decode("latin-1")).encode("latin-1")
    if response.reason:
        response.reason = scrub(
            response.reason if isinstance(response.reason, str) else response.reason.decode("latin-1")
        )
    for name, value in response.headers.items():
        response.headers[name] = scrub(value)
