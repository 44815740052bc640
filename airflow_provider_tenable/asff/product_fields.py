"""``ProductFields`` as pieces of JSON, so that what plugin and asset give to each of their findings is written once and kept as bytes."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from airflow_provider_tenable.asff import limits

PREFIX = "tenable/vulnerability-management/"
#: Values so short repeat (states, ports, services); longer ones are mostly unique, and would only push these out of the cache.
_SHORT = 32

_encode = msgspec.json.Encoder().encode


def piece(fields: dict[str, str | None]) -> bytes:
    """The entries that have a value, each with a comma before it: ``,"{prefix}{name}":"{value}"``. Values are cut to their limit."""
    return b"".join([_kept(name, value) if len(value) < _SHORT else _entry(name, value) for name, value in fields.items() if value])


def joined(*pieces: bytes) -> msgspec.Raw:
    """The whole object."""
    return msgspec.Raw(b"{" + b"".join(pieces)[1:] + b"}")


def _entry(name: str, value: str) -> bytes:
    text = limits.text(value, limits.PRODUCT_FIELD_VALUE)
    # Names are ours, and need no escaping.
    return b',"%b%b":%b' % (PREFIX.encode(), name.encode(), _encode(text)) if text else b""


_kept = lru_cache(maxsize=4096)(_entry)
