"""Answers that repeat the secrets of the request in many forms and places, as gateways, debugging proxies and signature
errors do.
"""

import base64
import html
import json
from collections.abc import Callable, Mapping
from urllib.parse import quote


def _every(template: str, text: str) -> str:
    return "".join(template % ord(char) for char in text)


def _in_html(header: str) -> str:
    return f"<html><body><h1>Bad request</h1><pre>X-ApiKeys: {html.escape(header)}</pre></body></html>"


#: How secrets are repeated. A form takes the header `accessKey=..;secretKey=..`, or what stands for it.
FORMS: Mapping[str, Callable[[str], str]] = {
    "header": lambda header: f"X-ApiKeys: {header}",
    "values": lambda header: " ".join(values_of(header)),
    "lines": lambda header: "refused:\n" + "\r\n".join(values_of(header)) + "\x1b[31m\u2028",
    "json": lambda header: json.dumps({"error": "bad request", "request": {"headers": {"X-ApiKeys": header}}}),
    "json-in-json": lambda header: json.dumps({"error": json.dumps({"received": json.dumps(header)})}),
    "unicode-escapes": lambda header: '{"error": "' + _every("\\u%04x", header) + '"}',
    "percent": lambda header: f"/login?keys={quote(header, safe='')}",
    "percent-all": lambda header: f"/login?keys={_every('%%%02X', header)}",
    "percent-twice": lambda header: f"/login?keys={quote(quote(header, safe=''), safe='')}",
    "html": _in_html,
    "html-entities": lambda header: f"<html><pre>{_every('&#%d;', header)}</pre></html>",
    "base64": lambda header: base64.b64encode(header.encode()).decode(),
    "base64-of-values": lambda header: " ".join(
        base64.b64encode(value.encode()).decode() for value in values_of(header)
    ),
    "upper-case": lambda header: header.upper(),
    # An array with an object, as a chunk is one.
    "chunk": lambda header: json.dumps([{"request": {"headers": {"X-ApiKeys": header}}, "values": values_of(header)}]),
}
#: Where else than in the body.
PLACES = ("body", "reason", "location", "retry-after", "header")


def values_of(header: str) -> list[str]:
    """The secrets of a header `name=value; name=value`; a text of another form is one itself."""
    parts = [part.partition("=") for part in header.split(";")]
    return [value.strip() if mark else name.strip() for name, mark, value in parts if name.strip()]


def one_line(text: str) -> str:
    """As far as a header or a reason phrase can carry it."""
    return "".join(char for char in text if " " <= char <= "~")
