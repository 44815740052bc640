"""Checks the ids from Tenable that become part of a URL or a file name: they must be UUIDs.

An asset with the id ``../users`` would turn a look-up into another call of the API, made with our keys.
"""

from __future__ import annotations

import re

UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def is_uuid(value: object) -> bool:
    """Whether a value is the text of a UUID (RFC 9562), with dashes, in lower or upper case."""
    return isinstance(value, str) and UUID.fullmatch(value) is not None


def same_uuid(one: object, other: object) -> bool:
    """Whether two values are the same UUID, whatever their case."""
    return is_uuid(one) and is_uuid(other) and str(one).lower() == str(other).lower()
