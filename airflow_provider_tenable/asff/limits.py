"""The limits of the AWS Security Finding Format, and how text is truncated to them.

The numbers come from the Security Hub user guide (attributes of the finding format, May 2022: the last public text with
a length for each field), the service model, and the service's own public error messages. Sizes are in UTF-8 bytes.
Lengths are in UTF-16 code units: AWS does not document what it counts as a character, and a text never has more code
points than UTF-16 code units.
"""

from __future__ import annotations

import html
import re
from html.entities import html5

ID = 512
TITLE = 256
DESCRIPTION = 1024
GENERATOR_ID = 512
SEVERITY_ORIGINAL = 64
PRODUCT_FIELD_VALUE = 2048
RECOMMENDATION_TEXT = 512
RESOURCE_ID = 512
RESOURCE_REGION = 16
RESOURCE_TAGS = 50
RESOURCE_TAG_KEY = 128
RESOURCE_TAG_VALUE = 256
EC2_TYPE = 16
EC2_IMAGE_ID = 64
EC2_VPC_ID = 32
EC2_SUBNET_ID = 32
EC2_ADDRESSES = 10
OTHER_VALUE = 1023
VULNERABILITY_ID = 32
VENDOR_SEVERITY = 32
URL = 2048

#: AWS does not publish a maximum for these; ours keep findings readable, and small enough to be sent.
REFERENCE_URLS = 20
PACKAGES = 20
PACKAGE_TEXT = 512

#: The largest finding (service model: 240 KB).
FINDING_BYTES = 240_000

ELLIPSIS = "\u2026"

# Control characters other than tab and newline are useless in a console, and many databases reject NUL.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# The same of ASCII, found three times as fast.
_ASCII_CONTROLS = bytes((*range(0x09), *range(0x0B, 0x20), 0x7F))
_CONTROL = dict.fromkeys((*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0)))


def length(value: str) -> int:
    """The length in UTF-16 code units: characters outside the Basic Multilingual Plane, such as emoji, count twice."""
    return len(value) if value.isascii() else len(value.encode("utf-16-le", "surrogatepass")) // 2


def text(value: str | None, limit: int) -> str | None:
    """Text without control characters, truncated to ``limit`` with an ellipsis; None if only blanks remain."""
    if not value:
        return None
    # The usual path: the text fits, and is printable except for line ends. Blanks other than the space are not
    # printable.
    if (
        len(value) <= limit
        and (value.isascii() or length(value) <= limit)
        and (value.isprintable() or _is_clean(value))
    ):
        return value.strip() or None
    # Output may be megabytes long: process no more of it than necessary, unless most of that is dropped.
    start = value[: limit + 64]
    fitting = start.strip() if _is_clean(start) else ""
    if len(fitting) <= limit:
        start = value[: 4 * limit + 64]
        fitting = start.translate(_CONTROL).strip()
    value = fitting if len(fitting) > limit or len(start) == len(value) else value.translate(_CONTROL).strip()
    if not value:
        return None
    return value if length(value) <= limit else beginning(value, limit - 1).rstrip() + ELLIPSIS


def beginning(value: str, units: int) -> str:
    """The beginning of a text that fits into ``units`` UTF-16 code units, in complete characters."""
    # If a surrogate pair is split, the decoder drops the remaining lone surrogate.
    return (
        value[:units]
        if value.isascii()
        else value[:units].encode("utf-16-le", "surrogatepass")[: 2 * units].decode("utf-16-le", "ignore")
    )


def _is_clean(value: str) -> bool:
    if value.isascii():
        return len(value.encode().translate(None, _ASCII_CONTROLS)) == len(value)
    return not _CONTROLS.search(value)


# Complete entities only. HTML also knows some without a semicolon, but those are URL parameters in Tenable's prose
# (``?a=1&copy=2``).
_ENTITY = re.compile(r"&(?:#\d{1,16}|#[xX][0-9a-fA-F]{1,16}|[A-Za-z][A-Za-z0-9]{1,31});", re.ASCII)


def prose(value: str | None, limit: int) -> str | None:
    """Like :func:`text`, but with HTML entities decoded first, because truncating could split an entity."""
    return text(_ENTITY.sub(_character, value) if value and "&" in value else value, limit)


def _character(entity: re.Match[str]) -> str:
    found = entity[0]
    return html.unescape(found) if found[1] == "#" else html5.get(found[1:], found)


_PLACEHOLDERS = frozenset({"n/a", "none"})


def advice(value: str | None, limit: int) -> str | None:
    """Like :func:`prose`; None for the placeholders that Tenable's plugins use instead of a description or solution."""
    found = prose(value, limit)
    return None if found and found.lower().rstrip(" .") in _PLACEHOLDERS else found


# Security Hub checks addresses against a schema's format "url": no bare host name, no private address, and only a path
# after the host. Ours is narrower (no numeric hosts, no login), so that what passes here passes there.
_URL = re.compile(
    r"https?://(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,63}(?::\d{2,5})?(?:/[^\s]*)?", re.ASCII | re.IGNORECASE
)


def url(value: object) -> str | None:
    """A public web address that fits, else None: half an address leads nowhere, and one that Security Hub refuses costs
    the finding.
    """
    if not isinstance(value, str):
        return None
    value = value.strip()
    return value if length(value) <= URL and value.isprintable() and _URL.fullmatch(value) else None
