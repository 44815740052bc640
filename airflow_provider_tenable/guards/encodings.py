"""The forms in which a text may repeat a secret: layers of encoding that can be decoded, and forms that are found
without decoding.
"""

from __future__ import annotations

import base64
import json
import re
from array import array
from collections.abc import Iterator
from urllib.parse import quote

#: A shorter secret, or form of one, cannot be found by its value, because it would be masked in the middle of words
#: (Airflow: 5).
SHORTEST = 5
#: Number of encoding layers that are decoded: JSON in JSON in a URL.
LAYERS = 4

_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
#: A character in URL encoding, as an escape of JSON or Python, or as an entity of HTML.
_ENCODED = re.compile(
    r"%(?P<percent>[0-9a-f]{2})"
    r"|\\+u(?P<unicode>[0-9a-f]{4})"
    r"|\\+x(?P<hex>[0-9a-f]{2})"
    r"|&#(?P<decimal>[0-9]{1,6});"
    r"|&#x(?P<entity>[0-9a-f]{1,5});"
    r"|&(?P<named>amp|lt|gt|quot|apos);"
    r"|\\+(?P<escaped>[\"'/\\])",
    # ASCII: to Unicode, the long s is an s.
    re.IGNORECASE | re.ASCII,
)


def decode_layer(text: str, starts: array[int] | None) -> tuple[str, array[int]] | None:
    """Decode one layer of encoding.

    :param starts: for each character of the text, its position in the original text; None: the text is the original.
    :return: the decoded text, with the positions of its characters in the original; None if nothing is encoded.
    """
    pieces, positions, end = [], array("l"), 0
    for match in _ENCODED.finditer(text):
        pieces += [text[end : match.start()], _character(match)]
        positions.extend(position_of(starts, position) for position in range(end, match.start() + 1))
        end = match.end()
    if not end:
        return None
    positions.extend(position_of(starts, position) for position in range(end, len(text) + 1))
    return "".join((*pieces, text[end:])), positions


def _character(match: re.Match[str]) -> str:
    kind, value = str(match.lastgroup), match[match.lastgroup or 0]
    if kind == "escaped":
        return value
    if kind == "named":
        return _NAMED[value.lower()]
    code = int(value, 10 if kind == "decimal" else 16)
    # An invalid code point must still become exactly one character.
    return chr(code) if code < 0x110000 else "\ufffd"


def position_of(starts: array[int] | None, position: int) -> int:
    """The position in the original text, with ``starts`` as for :func:`decode_layer`."""
    return position if starts is None else starts[position]


def decodings(secret: str) -> Iterator[str]:
    """The secret, and its decoded forms: it may contain what looks like an encoding, which is decoded with the text."""
    yield secret
    for _ in range(LAYERS):
        decoded = decode_layer(secret, None)
        if decoded is None or len(decoded[0]) < SHORTEST:
            return
        secret = decoded[0]
        yield secret


def literal_forms(secret: str) -> set[bytes]:
    """The secret in plain, percent-encoded, JSON-escaped and base64 form."""
    texts = {
        secret,
        quote(secret, safe=""),
        json.dumps(secret)[1:-1],
        json.dumps(secret)[1:-1].replace("/", "\\/"),
        *base64_cores(secret),
    }
    return {text.encode() for text in texts}


def base64_cores(secret: str) -> set[str]:
    """The secret's base64 forms within a longer text, in both alphabets: one for each offset modulo three bytes.

    Characters at either end that also depend on the surrounding text are omitted.
    """
    data, cores = secret.encode(), set()
    for offset in range(3):
        first, last = -(-8 * offset // 6), 8 * (offset + len(data)) // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            cores.add(encode(b"\0" * offset + data)[first:last].decode())
    return {core for core in cores if len(core) >= SHORTEST}
