"""Bounds on every response of a session: how long reading its body may take, and how large it may become.

They apply to every reader of the body: requests itself, pyTenable's iterators and downloads, and our own calls, also
with ``stream=True``.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
import requests.adapters

from airflow_provider_tenable.exceptions import ConfigurationError

if TYPE_CHECKING:
    import urllib3

#: Seconds that a reader may wait for a body, plus a second for each MB received. The connection's ``timeout`` bounds
#: only the silence between two bytes; time that the caller spends between two reads does not count.
LONGEST_ANSWER_SECONDS = 900.0
_SECONDS_PER_BYTE = 1e-6
#: The largest body that is read into memory, decompressed. A chunk of 100 assets has about 20 MB.
LARGEST_ANSWER_BYTES = 1_000_000_000
#: The largest body that a caller streams, decompressed.
LARGEST_STREAM_BYTES = 10_000_000_000
#: The maximum that is read of an error's body. pyTenable logs all of it, at every attempt.
LARGEST_ERROR_BYTES = 64 * 1024


class BoundedAdapter(requests.adapters.HTTPAdapter):
    """The transport of a session whose bodies are bounded."""

    def send(
        self, request: requests.PreparedRequest, stream: bool = False, *args: Any, **kwargs: Any
    ) -> requests.Response:
        """Send a request; nothing of the body is read yet."""
        response = super().send(request, stream, *args, **kwargs)
        if 200 <= response.status_code < 300:
            largest = LARGEST_STREAM_BYTES if stream else LARGEST_ANSWER_BYTES
            response.raw = BoundedBody(response.raw, host=urlsplit(response.url).netloc, largest=largest)
        else:
            response.raw = BoundedBody(
                response.raw, host=urlsplit(response.url).netloc, largest=LARGEST_ERROR_BYTES, cut=True
            )
        return response


class BoundedBody(io.IOBase):
    """The body of a response (``requests.Response.raw``) from urllib3, within bounds.

    Everything that is not about reading is passed through: headers, status, the connection and its release.

    :param raw: urllib3's response.
    :param host: the source, for messages.
    :param largest: the maximum of bytes returned, decompressed if the reader decompresses.
    :param cut: at that size, end as if the body ended, instead of raising an error.
    """

    def __init__(self, raw: urllib3.BaseHTTPResponse, *, host: str, largest: int, cut: bool = False) -> None:
        self._raw = raw
        self._host = host
        self._largest = largest
        self._cut = cut
        self._size = 0
        self._waited = 0.0

    def read1(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
        """The available bytes, at most ``amt``; waits only if there are none.

        :raises requests.exceptions.ReadTimeout: the body takes too long.
        :raises ConfigurationError: it is too large.
        """
        if self._cut and self._size >= self._largest:
            # If the body ends here, it has released its connection. If it continues, nobody else would close it.
            if not self._raw.closed and self._raw.read1(1, decode_content=decode_content):
                self._break_off()
            return b""
        began = time.monotonic()
        piece: bytes = self._raw.read1(amt, decode_content=decode_content) or b""
        self._waited += time.monotonic() - began
        self._size += len(piece)
        if self._size > self._largest:
            self._break_off()
            if self._cut:
                return piece[: len(piece) - (self._size - self._largest)]
            raise ConfigurationError(
                f"A response of {self._host} has more than {self._largest / 1e6:.0f} MB and was aborted. "
                "Ask for less at a time (an export: for fewer assets in a chunk), or check that the URL is Tenable's."
            )
        if piece and self._waited > LONGEST_ANSWER_SECONDS + self._size * _SECONDS_PER_BYTE:
            self._break_off()
            raise requests.exceptions.ReadTimeout(f"the response was not complete after {self._waited:.0f} seconds")
        return piece

    def read(self, amt: int | None = None, decode_content: bool | None = None, cache_content: bool = False) -> bytes:
        """Like :meth:`read1`, but exactly ``amt`` bytes, or all of them, unless the body ends earlier."""
        if amt is None or amt < 0:
            return b"".join(self.stream(decode_content=decode_content))
        found = io.BytesIO()
        while (missing := amt - found.tell()) > 0 and (piece := self.read1(missing, decode_content)):
            found.write(piece)
        return found.getvalue()

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer; the number of bytes."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def stream(self, amt: int | None = 2**16, decode_content: bool | None = None) -> Iterator[bytes]:
        """The pieces as they arrive, each of at most ``amt`` bytes."""
        while piece := self.read1(amt or 2**16, decode_content):
            yield piece

    #: urllib3 uses this name for a chunked body.
    read_chunked = stream

    def __iter__(self) -> Iterator[bytes]:
        """The lines, decompressed, as in urllib3. The default of a file object would read one byte at a time."""
        held: list[bytes] = []
        for piece in self.stream(decode_content=True):
            *lines, rest = piece.split(b"\n")
            for line in lines:
                yield b"".join((*held, line, b"\n"))
                held.clear()
            if rest:
                held.append(rest)
        if held:
            yield b"".join(held)

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def tell(self) -> int:
        """Bytes received over the wire so far."""
        return int(self._raw.tell())

    @property
    def closed(self) -> bool:
        return self._raw.closed

    def close(self) -> None:
        self._raw.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def _break_off(self) -> None:
        # Unread bytes would be taken for the next response of this connection.
        self._raw.close()
