"""Keeps known secrets out of texts and bodies: every repetition, plain or encoded, is replaced with ``***``.

A gateway that returns the request in its response repeats the API keys; AWS quotes a session token when a signature
does not match. Names such as ``secretKey`` do not help if only the value is repeated, so secrets are found by their
value. Airflow's own masker does the same for its logs, but it does not cover the test button, XComs or files, and it
knows only the plain form.

Secrets are remembered as long as the process lives: a triggerer may log a response to a request of an hour ago.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from array import array
from collections.abc import Iterable, Iterator
from itertools import chain
from urllib.parse import quote

MASK = "***"
#: A shorter secret cannot be found by its value, because it would be masked in the middle of words (Airflow: 5).
SHORTEST = 5
#: In bodies, which are data, only secrets are replaced that are too long to occur by accident. Tenable's keys have 64
#: characters.
SHORTEST_IN_BODIES = 16
#: A body up to this size is searched like text.
SMALL_BODY_BYTES = 32 * 1024

#: Number of encoding layers that are decoded: JSON in JSON in a URL.
_LAYERS = 4
#: The beginning of a secret at the end of a text counts from so many characters on: the text may have been cut off.
_SHORTEST_BEGINNING = 12

#: So many secrets are faster searched for than a text is taken to pieces.
_FEW = 100

_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
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


class _Known:
    """What is looked for, by the first :data:`SHORTEST` characters. It only grows, one entry at a time, so threads that
    read it need no lock.

    :ivar secrets: in lower case.
    :ivar base64: what base64 makes of them within a longer text.
    """

    def __init__(self) -> None:
        self.secrets: dict[str, frozenset[str]] = {}
        self.base64: dict[str, frozenset[str]] = {}

    def unknown(self, secrets: Iterable[str]) -> list[str]:
        lower = ((secret, secret.translate(_LOWER)) for secret in secrets)
        return [secret for secret, form in lower if form not in self.secrets.get(form[:SHORTEST], ())]

    def add(self, secrets: Iterable[str]) -> None:
        for secret in secrets:
            for core in _cores(secret):
                _put(self.base64, core)
            for form in _decodings(secret):
                _put(self.secrets, form.translate(_LOWER))


def _put(known: dict[str, frozenset[str]], text: str) -> None:
    head = text[:SHORTEST]
    known[head] = known.get(head, frozenset()) | {text}


_remembering = threading.Lock()
_in_texts = _Known()
_in_bodies = _Known()
#: What large bodies are searched for: the secrets of bodies as they are mostly written.
_in_large_bodies: tuple[bytes, ...] = ()


def remember(*secrets: str | None, in_bodies: bool = False) -> None:
    """Look for these values from now on.

    :param secrets: None and what is shorter than :data:`SHORTEST` is passed over.
    :param in_bodies: also in bodies that are handed on (:func:`scrub_bytes`, :func:`scrub_pieces`).
    """
    global _in_large_bodies
    long_enough = {secret for secret in secrets if secret and len(secret) >= SHORTEST}
    with _remembering:
        # Before each call of AWS: mostly there is nothing new.
        if new := _in_texts.unknown(long_enough):
            _in_texts.add(new)
        if in_bodies and (
            new := _in_bodies.unknown(secret for secret in long_enough if len(secret) >= SHORTEST_IN_BODIES)
        ):
            _in_bodies.add(new)
            forms = {form for secret in new for form in _literal_forms(secret)}
            _in_large_bodies = tuple(sorted({*_in_large_bodies, *forms}, key=len, reverse=True))


def scrub(text: str) -> str:
    """The text with ``***`` for every secret that it repeats, in whatever case and behind up to four layers of
    encoding.

    Not for more than some 100 KB.
    """
    return _scrubbed(text, _in_texts)


def scrub_bytes(data: bytes) -> bytes:
    """A body with ``***`` for every secret of bodies that it repeats.

    In a large one only as it is, percent-encoded, escaped as JSON, or in base64: other forms cost too much to look for,
    and a body of that size is data and not an answer that repeats a request.
    """
    if len(data) > SMALL_BODY_BYTES:
        return _literally_scrubbed(data)
    # Every byte is a character and back, whatever the encoding.
    text = data.decode("latin-1")
    scrubbed = _scrubbed(text, _in_bodies)
    return data if scrubbed == text else scrubbed.encode("latin-1")


def scrub_pieces(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """As :func:`scrub_bytes`, for a body that comes in pieces; a secret may begin in one and end in the next.

    Pieces that arrived before an error of the source are yielded before the error is raised.
    """
    source, held = iter(pieces), b""
    while len(held) <= SMALL_BODY_BYTES:
        try:
            piece = next(source, None)
        except Exception:
            yield scrub_bytes(held)
            raise
        if piece is None:
            yield scrub_bytes(held)
            return
        held += piece
    overlap = max((len(form) for form in _in_large_bodies), default=1) - 1
    for piece in chain([b""], source):
        held = _literally_scrubbed(held + piece)
        end = max(0, len(held) - overlap)
        yield held[:end]
        held = held[end:]
    yield held


def _literally_scrubbed(data: bytes) -> bytes:
    for form in _in_large_bodies:
        # Replacing copies: a body in which there is nothing to replace is only searched.
        if form in data:
            data = data.replace(form, MASK.encode())
    return data


def _scrubbed(text: str, known: _Known) -> str:
    if not known.secrets or not text:
        return text
    spans = [span for core in _possible(text, known.base64) for span in _found(text, core)]
    view, starts = text, None
    for _ in range(_LAYERS):
        folded = view.translate(_LOWER)
        for secret in _possible(folded, known.secrets):
            spans += [
                (_at(starts, begin), _at(starts, end))
                for begin, end in (*_found(folded, secret), *_beginning(folded, secret))
            ]
        decoded = _decoded(view, starts)
        if decoded is None:
            break
        view, starts = decoded
    return _masked(text, spans) if spans else text


def _possible(text: str, known: dict[str, frozenset[str]]) -> Iterator[str]:
    """Of the known secrets those whose beginning stands in the text.

    An import that assumes a role in each of thousands of accounts knows three secrets of each: where there are many,
    the text's own pieces are looked up instead.
    """
    if len(known) <= _FEW:
        heads = [head for head in list(known) if head in text]
    else:
        pieces = {text[begin : begin + SHORTEST] for begin in range(len(text) - SHORTEST + 1)}
        heads = [piece for piece in pieces if piece in known]
    for head in heads:
        yield from known[head]


def _decodings(secret: str) -> Iterator[str]:
    """The secret, and what becomes of it where a text is decoded: one may hold what looks like an encoding."""
    yield secret
    for _ in range(_LAYERS):
        decoded = _decoded(secret, None)
        if decoded is None or len(decoded[0]) < SHORTEST:
            return
        secret = decoded[0]
        yield secret


def _literal_forms(secret: str) -> set[bytes]:
    texts = {
        secret,
        quote(secret, safe=""),
        json.dumps(secret)[1:-1],
        json.dumps(secret)[1:-1].replace("/", "\\/"),
        *_cores(secret),
    }
    return {text.encode() for text in texts}


def _cores(secret: str) -> set[str]:
    """What base64 makes of the secret within a longer text, in both alphabets: three forms, by where it begins.

    Characters at either end that also depend on what stands before or after are left out.
    """
    data, cores = secret.encode(), set()
    for offset in range(3):
        first, last = -(-8 * offset // 6), 8 * (offset + len(data)) // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            cores.add(encode(b"\0" * offset + data)[first:last].decode())
    return {core for core in cores if len(core) >= SHORTEST}


def _found(text: str, secret: str) -> Iterator[tuple[int, int]]:
    begin = text.find(secret)
    while begin >= 0:
        yield begin, begin + len(secret)
        begin = text.find(secret, begin + 1)


def _beginning(text: str, secret: str) -> Iterator[tuple[int, int]]:
    """Where the text ends in the middle of a secret."""
    begin = (
        text.find(secret[:_SHORTEST_BEGINNING], max(0, len(text) - len(secret) + 1))
        if len(secret) > _SHORTEST_BEGINNING
        else -1
    )
    if begin >= 0 and secret.startswith(text[begin:]):
        yield begin, len(text)


def _at(starts: array[int] | None, position: int) -> int:
    return position if starts is None else starts[position]


def _decoded(text: str, starts: array[int] | None) -> tuple[str, array[int]] | None:
    """The text with one layer of encoding less, and where in the original each of its characters begins; None where
    nothing is encoded.

    :param starts: the same of the text itself.
    """
    pieces, positions, end = [], array("l"), 0
    for match in _ENCODED.finditer(text):
        pieces += [text[end : match.start()], _character(match)]
        positions.extend(_at(starts, position) for position in range(end, match.start() + 1))
        end = match.end()
    if not end:
        return None
    positions.extend(_at(starts, position) for position in range(end, len(text) + 1))
    return "".join((*pieces, text[end:])), positions


def _character(match: re.Match[str]) -> str:
    kind, value = str(match.lastgroup), match[match.lastgroup or 0]
    if kind == "escaped":
        return value
    if kind == "named":
        return _NAMED[value.lower()]
    code = int(value, 10 if kind == "decimal" else 16)
    # Whatever it is, it must stay one character.
    return chr(code) if code < 0x110000 else "\ufffd"


def _masked(text: str, spans: list[tuple[int, int]]) -> str:
    pieces, end = [], 0
    for begin, stop in sorted(spans):
        # Spans may overlap, or lie within each other: one mask for all of them.
        if begin >= end:
            pieces += [text[end:begin], MASK]
        end = max(end, stop)
    return "".join((*pieces, text[end:]))
