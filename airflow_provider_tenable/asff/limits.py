"""The limits of the AWS Security Finding Format that a finding is cut to.

Numbers from the Security Hub user guide (attributes of the finding format, May 2022: the last public text with a length for each field), the
service model, and the service's own public error messages. Lengths are characters, sizes are UTF-8 bytes.
"""

from __future__ import annotations

import html
import re
from contextlib import suppress

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

#: No maximum is published for these; ours keep a finding small enough to be read, and to be sent.
REFERENCE_URLS = 20
PACKAGES = 20
PACKAGE_TEXT = 512

#: The largest finding (service model: 240 KB), and the largest call (partner guide: 6 MB) with room for what surrounds the findings.
FINDING_BYTES = 240_000

ELLIPSIS = "\u2026"

# Control characters other than tab and newline help nobody in a console, and NUL is refused by many a store behind it.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# The same of ASCII, found three times as fast.
_ASCII_CONTROLS = bytes((*range(0x09), *range(0x0B, 0x20), 0x7F))
_CONTROL = dict.fromkeys((*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0)))


def text(value: str | None, limit: int) -> str | None:
    """A text that fits: control characters dropped, cut to ``limit`` characters with an ellipsis; None where nothing but blanks is left."""
    if not value:
        return None
    # The way of nearly every text: it fits, and what is printable (or an end of a line) needs no cleaning. All blanks but the space are unprintable.
    if len(value) <= limit and (value.isprintable() or _is_clean(value)):
        return value.strip() or None
    # Output may be megabytes long: look at no more of it than is needed, unless most of that is dropped.
    start = value[: 4 * limit + 64]
    fitting = start.translate(_CONTROL).strip()
    value = fitting if len(fitting) > limit or len(start) == len(value) else value.translate(_CONTROL).strip()
    if not value:
        return None
    return value if len(value) <= limit else value[: limit - 1].rstrip() + ELLIPSIS


def _is_clean(value: str) -> bool:
    if value.isascii():
        return len(value.encode().translate(None, _ASCII_CONTROLS)) == len(value)
    return not _CONTROLS.search(value)


def prose(value: str | None, limit: int) -> str | None:
    """As :func:`text`, with HTML entities decoded first: cutting first could cut an entity in two."""
    if not value:
        return None
    # ValueError: a number of thousands of digits, which is no character.
    with suppress(ValueError):
        value = html.unescape(value) if "&" in value else value
    return text(value, limit)


# Security Hub checks addresses against a schema's format "url": no bare host name, no private address, nothing but a path behind the host.
# Ours is narrower (no numeric hosts, no login), so that what passes here passes there.
_URL = re.compile(r"https?://(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,63}(?::\d{2,5})?(?:/[^\s]*)?", re.ASCII | re.IGNORECASE)


def url(value: object) -> str | None:
    """A public web address that fits, else None: half an address leads nowhere, and one that Security Hub refuses costs the finding."""
    if not isinstance(value, str):
        return None
    value = value.strip()
    return value if len(value) <= URL and value.isprintable() and _URL.fullmatch(value) else None
