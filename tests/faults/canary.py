"""Keys that occur nowhere else, and the search for them in everything that a run leaves behind."""

from __future__ import annotations

import base64
import binascii
import contextlib
import functools
import gzip
import html
import re
import zlib
from pathlib import Path
from urllib.parse import quote, unquote

from airflow_provider_tenable.staging.zstd import unpacked

ACCESS_KEY = "canary-access-key-3f9d2c71b8e54a06"
SECRET_KEY = "canary-secret-key-97aa10c4e6d3428b"
#: The secret of the sandbox's AWS user.
AWS_SECRET_KEY = "sandbox-aws-secret-000000000000000000001"


def forms_of(*secrets: str) -> list[bytes]:
    """Secrets as they are, in a URL, in base64, and escaped."""
    return [
        form.encode()
        for secret in secrets
        for form in (
            secret,
            quote(secret, safe=""),
            base64.b64encode(secret.encode()).decode(),
            repr(secret.encode())[2:-1],
        )
    ]


_SECRETS = forms_of(ACCESS_KEY, SECRET_KEY, AWS_SECRET_KEY)


def leaks(folder: Path) -> list[str]:
    """Files below a folder that hold a secret, as it is, encoded, or inside a compressed file."""
    return sorted(str(path) for path in folder.rglob("*") if path.is_file() and holds_secret(path.read_bytes()))


def _as_far_as_it_goes(data: bytes) -> bytes:
    """What can be read of a gzip file that is cut off or damaged."""
    content, reader = b"", zlib.decompressobj(wbits=47)
    with contextlib.suppress(zlib.error):
        # Byte by byte: an error takes with it what else it was given.
        for position in range(len(data)):
            content += reader.decompress(data[position : position + 1])
    return content


_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}")


def repeats(text: str, *secrets: str) -> str | None:
    """What of a text repeats a secret, or sixteen characters of one, behind whatever encoding; None where nothing
    does.
    """
    parts = _parts_of(secrets)
    views, seen = [text], {text}
    for view in views:
        lower = view.lower()
        for part in parts:
            if part in lower:
                return view[max(0, lower.find(part) - 40) : lower.find(part) + 60]
        if len(views) < 100:
            new = {
                unquote(view),
                html.unescape(view),
                re.sub(
                    r"\\+u([0-9a-fA-F]{4})|\\+x([0-9a-fA-F]{2})", lambda found: chr(int(found[1] or found[2], 16)), view
                ),
                re.sub(r"\\+([\"'/\\])", r"\1", view),
                *_from_base64(view),
            } - seen
            seen |= new
            views += sorted(new)
    return None


@functools.cache
def _parts_of(secrets: tuple[str, ...]) -> frozenset[str]:
    parts = {secret[start : start + 16].lower() for secret in secrets for start in range(len(secret) - 15)}
    # Zeros in a row, or an account, prove nothing.
    return frozenset(part for part in parts if len(set(part)) >= 7)


def _from_base64(text: str) -> list[str]:
    found = []
    for run in _BASE64.findall(text):
        for start in range(4):
            piece = run[start : start + (len(run) - start) // 4 * 4].translate(str.maketrans("-_", "+/"))
            with contextlib.suppress(binascii.Error):
                found.append(base64.b64decode(piece).decode("latin-1"))
    return [each for each in found if any(word in each for word in ("canary", "secret", "Key"))]


def holds_secret(data: bytes, secrets: list[bytes] = _SECRETS) -> bool:
    """Whether bytes hold a secret, also when they are compressed."""
    if data[:2] == b"\x1f\x8b":
        try:
            data += gzip.decompress(data)
        except (OSError, EOFError, zlib.error):
            data += _as_far_as_it_goes(data)
    elif data[:4] == b"\x28\xb5\x2f\xfd":
        content = b""
        with contextlib.suppress(OSError, EOFError, ValueError):
            for block in unpacked(data, 100_000):
                content += block
        data += content
    return any(secret in data for secret in secrets)
