"""Keeps known secrets out of texts and bodies: every repetition, plain or encoded, is replaced with ``***``.

A gateway that returns the request in its response repeats the API keys; AWS quotes a session token when a signature
does not match. Names such as ``secretKey`` do not help if only the value is repeated, so secrets are found by their
value. Airflow's own masker does the same for its logs, but it does not cover the test button, XComs or files, and it
knows only the plain form.

Secrets are remembered as long as the process lives: a triggerer may log a response to a request of an hour ago.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from airflow_provider_tenable.guards.body_search import search_for
from airflow_provider_tenable.guards.encodings import (
    LAYERS,
    SHORTEST,
    base64_cores,
    decode_layer,
    decodings,
    literal_forms,
    position_of,
)

MASK = "***"
#: In bodies, which are data, only secrets are replaced that are too long to occur by accident. Tenable's keys have 64
#: characters.
SHORTEST_IN_BODIES = 16
#: A body up to this size is searched like text.
SMALL_BODY_BYTES = 32 * 1024

#: Characters from which on the beginning of a secret at the end of a text is masked: the text may have been cut off.
_SHORTEST_BEGINNING = 12

#: Up to this many beginnings, searching a text for each of them is faster than looking up all of its pieces.
_FEW = 100

_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
#: Entries with a common beginning, sorted, and the length of the longest one.
_Group = tuple[tuple[str, ...], int]


class _Known:
    """The secrets to look for, grouped by their first :data:`SHORTEST` characters. Groups are only replaced, never
    changed, so readers need no lock.

    Tokens of STS all begin with the same characters, so that a group can have thousands of entries: it is sorted, and
    bisected where its beginning occurs in a text.

    :ivar secrets: in lower case.
    :ivar base64: what base64 makes of them within a longer text.
    """

    def __init__(self) -> None:
        self.secrets: dict[str, _Group] = {}
        self.base64: dict[str, _Group] = {}

    def unknown(self, secrets: Iterable[str]) -> list[str]:
        """Those of some secrets that are not known yet."""
        return [secret for secret in secrets if not _has(self.secrets, secret.translate(_LOWER))]

    def add(self, secrets: Iterable[str]) -> None:
        """Look for these secrets too, and for their decoded and base64 forms."""
        for secret in secrets:
            for core in base64_cores(secret):
                _put(self.base64, core)
            for form in decodings(secret):
                _put(self.secrets, form.translate(_LOWER))


def _has(known: dict[str, _Group], text: str) -> bool:
    entries, _ = known.get(text[:SHORTEST], ((), 0))
    at = bisect_left(entries, text)
    return at < len(entries) and entries[at] == text


def _put(known: dict[str, _Group], text: str) -> None:
    if not _has(known, text):
        entries, longest = known.get(text[:SHORTEST], ((), 0))
        at = bisect_left(entries, text)
        known[text[:SHORTEST]] = (*entries[:at], text, *entries[at:]), max(longest, len(text))


_remembering = threading.Lock()
_in_texts = _Known()
_in_bodies = _Known()
#: The forms of the bodies' secrets that large bodies are searched for.
_in_large_bodies: tuple[bytes, ...] = ()


def remember(*secrets: str | None, in_bodies: bool = False) -> None:
    """Look for these values from now on.

    :param secrets: None, and values shorter than :data:`SHORTEST`, are ignored.
    :param in_bodies: also in bodies that are passed on (:func:`scrub_bytes`, :func:`scrub_pieces`).
    """
    global _in_large_bodies
    long_enough = {secret for secret in secrets if secret and len(secret) >= SHORTEST}
    with _remembering:
        # Called before each request to AWS is signed, mostly with secrets that are known.
        if new := _in_texts.unknown(long_enough):
            _in_texts.add(new)
        if in_bodies and (
            new := _in_bodies.unknown(secret for secret in long_enough if len(secret) >= SHORTEST_IN_BODIES)
        ):
            _in_bodies.add(new)
            forms = {form for secret in new for form in literal_forms(secret)}
            _in_large_bodies = tuple(sorted({*_in_large_bodies, *forms}, key=len, reverse=True))


def scrub(text: str) -> str:
    """The text with ``***`` for every secret that it repeats, in any case, and in up to four layers of encoding.

    Meant for texts of up to about 100 KB.
    """
    return _scrubbed(text, _in_texts)


def scrub_bytes(data: bytes) -> bytes:
    """A body with ``***`` for every secret that it repeats, of those remembered with ``in_bodies``.

    In a body of more than :data:`SMALL_BODY_BYTES`, only the plain, percent-encoded, JSON-escaped and base64 forms are
    searched for: others would cost too much, and a body of that size is data, not a response that repeats a request.
    """
    if len(data) > SMALL_BODY_BYTES:
        return _literally_scrubbed(data)
    # Latin-1 maps every byte to one character and back, whatever the body's encoding.
    text = data.decode("latin-1")
    scrubbed = _scrubbed(text, _in_bodies)
    return data if scrubbed == text else scrubbed.encode("latin-1")


def scrub_pieces(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Like :func:`scrub_bytes`, for a body in pieces; a secret may begin in one piece and end in the next.

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
    held = _literally_scrubbed(held)
    overlap = max((len(form) for form in _in_large_bodies), default=2) - 1
    try:
        for piece in source:
            # Nearly all pieces are passed on as they are: to join each with what is held of the one before would copy
            # the body twice.
            if len(piece) > overlap and not _repeats(piece) and not _contains_form(held[-overlap:] + piece[:overlap]):
                yield held
                held = piece
                continue
            joined = _literally_scrubbed(held + piece)
            end = max(0, len(joined) - overlap)
            yield joined[:end]
            held = joined[end:]
    except Exception:
        # A secret may have begun at the end.
        yield held[:-overlap]
        raise
    yield held


def _repeats(piece: bytes) -> bool:
    forms = _in_large_bodies
    return bool(forms) and search_for(forms).may_contain(piece) and _contains_form(piece)


def _contains_form(data: bytes) -> bool:
    return any(form in data for form in _in_large_bodies)


def _literally_scrubbed(data: bytes) -> bytes:
    for form in _in_large_bodies:
        # Replacing copies the body even if there is nothing to replace.
        if form in data:
            data = data.replace(form, MASK.encode())
    return data


def _scrubbed(text: str, known: _Known) -> str:
    if not known.secrets or not text:
        return text
    spans = list(_found(text, known.base64, cut_off=False))
    view, starts = text, None
    for _ in range(LAYERS):
        spans += [
            (position_of(starts, begin), position_of(starts, end))
            for begin, end in _found(view.translate(_LOWER), known.secrets, cut_off=True)
        ]
        decoded = decode_layer(view, starts)
        if decoded is None:
            break
        view, starts = decoded
    return _masked(text, spans) if spans else text


def _found(text: str, known: dict[str, _Group], *, cut_off: bool) -> Iterator[tuple[int, int]]:
    """The spans of a text that repeat known entries.

    :param cut_off: also where the text ends within an entry, after at least :data:`_SHORTEST_BEGINNING` characters.
    """
    for head in _heads(text, known):
        group = known[head]
        begin = text.find(head)
        while begin >= 0:
            end = _end(text, begin, group, cut_off=cut_off)
            if end is not None:
                yield begin, end
            begin = text.find(head, begin + 1)


def _heads(text: str, known: dict[str, _Group]) -> list[str]:
    """The beginnings of known entries that occur in a text.

    An import that assumes a role in each of thousands of accounts knows a key and a token of each. If there are many
    beginnings, the pieces of the text are looked up instead of searching it for each of them.
    """
    if len(known) <= _FEW:
        return [head for head in list(known) if head in text]
    pieces = {text[begin : begin + SHORTEST] for begin in range(len(text) - SHORTEST + 1)}
    return [piece for piece in pieces if piece in known]


def _end(text: str, begin: int, group: _Group, *, cut_off: bool) -> int | None:
    """The end of the longest entry of a group that a text contains at a position; None if it contains none.

    :param cut_off: see :func:`_found`.
    """
    entries, longest = group
    rest = text[begin : begin + longest]
    at = bisect_right(entries, rest)
    # The entries that begin with the rest of a text follow it in sorted order.
    if cut_off and len(rest) >= _SHORTEST_BEGINNING and at < len(entries) and entries[at].startswith(rest):
        return len(text)
    while at:
        entry = entries[at - 1]
        if rest.startswith(entry):
            return begin + len(entry)
        # Shorter entries that the rest begins with are beginnings of this entry as well: continue with what both share.
        shared = zip(rest, entry, strict=False)
        rest = rest[: next(number for number, (one, other) in enumerate(shared) if one != other)]
        at = bisect_right(entries, rest, 0, at - 1)
    return None


def _masked(text: str, spans: list[tuple[int, int]]) -> str:
    pieces, end = [], 0
    for begin, stop in sorted(spans):
        # Spans that overlap, or contain each other, share one mask.
        if begin >= end:
            pieces += [text[end:begin], MASK]
        end = max(end, stop)
    return "".join((*pieces, text[end:]))
