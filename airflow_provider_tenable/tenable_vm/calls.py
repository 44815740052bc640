"""One call of Tenable's API through pyTenable's client: its body read within bounds, its errors classified by what to
do next.

The classes of :mod:`.client`, :mod:`.scanners` and their neighbours make their calls with it. What each status means,
and how often a request is repeated: :mod:`airflow_provider_tenable.tenable_vm.retry`.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import requests
from tenable.errors import APIError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from airflow_provider_tenable.exceptions import (
    ConfigurationError,
    ConflictError,
    NotFoundError,
    TemporaryError,
    TenableProviderError,
)
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.tenable_vm.response_body import read_bytes
from airflow_provider_tenable.tenable_vm.retry import REPEAT_SECONDS, REPEATS, rule_of

if TYPE_CHECKING:
    from tenable.io import TenableIO

_T = TypeVar("_T")

log = logging.getLogger(__name__)

_KEYS = re.compile(r"(?:access|secret)Key", re.IGNORECASE)

#: Status -> error, where it differs from the table of the export API: outside of it, 404 and 410 mean a wrong name or
#: id, and 409 a status in which the call is not possible.
OF_OBJECTS: Mapping[int, type[TenableProviderError]] = {404: NotFoundError, 409: ConflictError, 410: NotFoundError}


@dataclass(frozen=True, kw_only=True)
class Special:
    """What differs for one call from the others of its :class:`Caller`.

    :ivar error_of: status and text of an error response -> the error to raise, or None for the usual one.
    :ivar by_status: status -> error.
    :ivar hints: status -> what its message adds.
    """

    error_of: Callable[[int, str], TenableProviderError | None] = lambda _status, _text: None
    by_status: Mapping[int, type[TenableProviderError]] = field(default_factory=dict)
    hints: Mapping[int, str] = field(default_factory=dict)


_NOTHING_SPECIAL = Special()


class _BrokenBodyError(Exception):
    """The body of a response was cut off. Unlike a failed request, it has not been repeated by pyTenable."""

    def __init__(self, path: str, error: requests.exceptions.RequestException) -> None:
        super().__init__(path)
        self.path = path
        self.error = error


class _ReaderError(Exception):
    """The code that reads a body could not write it, such as to a full disk: not an error of the connection."""

    def __init__(self, error: OSError) -> None:
        super().__init__(type(error).__name__)
        self.error = error


def _report_broken_body(state: RetryCallState) -> None:
    broken = state.outcome and state.outcome.exception()
    if isinstance(broken, _BrokenBodyError):
        log.warning("The response to %s was cut off (%s): trying again.", broken.path, _short(broken.error))


class Caller:
    """Makes calls on one pyTenable client.

    :param client: pyTenable's ``TenableIO``.
    :param name: what messages call the source of the client, such as its connection.
    :param needs: what the API user needs for the calls; it ends the message of a 403.
    :param by_status: errors that differ from those of :mod:`.retry`.
    :param repeats: how often a request is repeated whose response is cut off: as often as the client repeats a failed
        one.
    """

    def __init__(
        self,
        client: TenableIO,
        *,
        name: str,
        needs: str,
        by_status: Mapping[int, type[TenableProviderError]] = OF_OBJECTS,
        repeats: int = REPEATS,
    ) -> None:
        self._client = client
        self._name = name
        self._needs = needs
        self._by_status = by_status
        self._repeats = repeats

    def answer(
        self,
        what: str,
        request: Callable[..., requests.Response],
        path: str,
        *,
        special: Special = _NOTHING_SPECIAL,
        **body: Any,
    ) -> tuple[Any, Mapping[str, str]]:
        """Send a request and decode its JSON.

        :param what: the call in words, as in "Cannot ...".
        :param request: a method of the client, such as ``client.get``.
        :param special: what differs for this call.
        :param body: ``json``, ``params`` and other arguments of the client's method.
        :return: the decoded body, and the headers.
        """
        headers, data = self.call(what, lambda: self.read(read_bytes, request, path, **body), special=special)
        try:
            return json.loads(data), headers
        except (ValueError, RecursionError):
            raise TemporaryError(f"Cannot {what}: Tenable's response is not JSON.") from None

    def json(self, what: str, request: Callable[..., requests.Response], path: str, **arguments: Any) -> Any:
        """The same without the headers."""
        return self.answer(what, request, path, **arguments)[0]

    def done(self, what: str, request: Callable[..., requests.Response], path: str, **body: Any) -> None:
        """Send a request whose response has no content that matters."""
        self.call(what, lambda: self.read(read_bytes, request, path, **body))

    def read(
        self, read: Callable[[requests.Response], _T], request: Callable[..., requests.Response], path: str, **body: Any
    ) -> tuple[Mapping[str, str], _T]:
        """Send a request and read the response's body with ``read``. :return: its headers, and the result of ``read``.

        pyTenable repeats a request without a response. If a streamed body is cut off later, this method repeats the
        request, as often and after the same pause.
        """

        def once() -> tuple[Mapping[str, str], _T]:
            response = request(path, box=False, stream=True, **body)
            try:
                return response.headers, read(response)
            except requests.exceptions.RequestException as error:
                raise _BrokenBodyError(path, error) from None
            except OSError as error:
                raise _ReaderError(error) from None

        repeated = Retrying(
            retry=retry_if_exception_type(_BrokenBodyError),
            stop=stop_after_attempt(1 + self._repeats),
            wait=wait_fixed(REPEAT_SECONDS),
            before_sleep=_report_broken_body,
            reraise=True,
        )
        try:
            return repeated(once)
        except _BrokenBodyError as broken:
            raise broken.error from None

    def call(self, what: str, call: Callable[[], _T], *, special: Special = _NOTHING_SPECIAL) -> _T:
        """Make a call and translate its errors into ours. An ``OSError`` of the body's reader is passed on."""
        try:
            return call()
        except _ReaderError as failed:
            raise failed.error from None
        except APIError as error:
            raise self._classify(what, error, special) from None
        except requests.exceptions.SSLError as error:
            raise ConfigurationError(
                f"Cannot {what}: the TLS certificate of {self._client._url} is not trusted ({_short(error)}). "
                f"Set extra 'verify' of {self._name} to the path of the CA bundle that signs it."
            ) from None
        except requests.exceptions.ProxyError as error:
            raise TemporaryError(
                f"Cannot {what}: the proxy of {self._name} does not respond ({_short(error)})."
            ) from None
        except requests.exceptions.RequestException as error:
            raise TemporaryError(
                f"Cannot {what}: {self._client._url} is not reachable ({_short(error)}). Check the URL of {self._name} "
                "and the network path."
            ) from None
        except OSError as error:
            # requests raises a plain OSError if the CA bundle or a client certificate does not exist.
            raise ConfigurationError(
                f"Cannot {what}: a file named in the TLS settings cannot be read ({type(error).__name__}). "
                f"Extra 'verify' of {self._name} must be true, false, or the path of a CA bundle on the workers."
            ) from None
        except ValueError as error:
            raise TemporaryError(
                f"Cannot {what}: Tenable's response cannot be read ({type(error).__name__})."
            ) from None

    def _classify(self, what: str, error: APIError, special: Special) -> TenableProviderError:
        response = error.response
        status = response.status_code
        # The session has masked the keys in it.
        text = response.text[:2000]
        own = special.error_of(status, text)
        if own is not None:
            return own
        kind = {**self._by_status, **special.by_status}.get(status, rule_of(status).error)
        message = f"Cannot {what}: Tenable returned {status} {safe(response.reason or '', 100)}".rstrip()
        if status == 401:
            message += (
                f". The API keys of {self._name} are not valid (any more). Generate a pair for the API user "
                f"and put it into the connection"
            )
        elif status == 403:
            message += f". The API user of {self._name} lacks permission for this. It needs {self._needs}"
        elif _KEYS.search(text):
            message += ", and the response repeats the request with its keys, which are not shown"
        elif "html" not in response.headers.get("Content-Type", "") and text.strip():
            message += f": {safe(text)}"
        if status in special.hints:
            message += f". {special.hints[status]}"
        return kind(message + ".")


def _short(error: Exception) -> str:
    """The class of a connection error, without its text, which may contain a proxy's password."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return type(reason or error).__name__
