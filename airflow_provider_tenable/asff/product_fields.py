"""``ProductFields`` as pieces of JSON, so that what plugin and asset give to each of their findings is written once and
kept as bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from airflow_provider_tenable.asff import limits

PREFIX = "tenable/vulnerability-management/"


def key(name: str) -> bytes:
    """The key of an entry, with its colon."""
    return msgspec.json.encode(PREFIX + name) + b":"


def piece(fields: Mapping[str, str | None]) -> bytes:
    """The entries that have a value, each with a comma before it: ``,"{prefix}{name}":"{value}"``. Values are cut to
    their limit.
    """
    entries = {
        PREFIX + name: text
        for name, value in fields.items()
        if (text := limits.text(value, limits.PRODUCT_FIELD_VALUE))
    }
    return b"," + msgspec.json.encode(entries)[1:-1] if entries else b""
