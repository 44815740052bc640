"""``ProductFields`` as pieces of JSON, so that what plugin and asset give to each of their findings is written once and
kept as bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

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
    return _joined(_entries(fields))


def pieces(fields: Mapping[str, str | None], *, without: Collection[str]) -> tuple[bytes, bytes]:
    """The piece of all entries, and that of those whose name is not in ``without``."""
    entries = _entries(fields)
    left_out = {PREFIX + name for name in without}
    return _joined(entries), _joined({name: text for name, text in entries.items() if name not in left_out})


def _entries(fields: Mapping[str, str | None]) -> dict[str, str]:
    return {
        PREFIX + name: text
        for name, value in fields.items()
        if value and (text := limits.text(value, limits.PRODUCT_FIELD_VALUE))
    }


def _joined(entries: Mapping[str, str]) -> bytes:
    return b"," + msgspec.json.encode(entries)[1:-1] if entries else b""
