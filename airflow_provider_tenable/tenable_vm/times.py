"""Tenable's times as RFC 3339 in UTC.

Tenable writes ISO 8601 with ``Z`` and 0, 3 or 6 digits of a second; the schema of ``indexed`` says a number; one
published example holds an impossible date. A text that cannot be read counts as no time, and the record stays.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from airflow_provider_tenable.guards.foreign_text import safe

_ISO = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d{2}):?(\d{2}))?", re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

#: No time is longer. A longer text is not cached, because the cache would hold it for good.
_LONGEST = 64


def parse(value: str | int | None) -> datetime | None:
    """A time (UTC), None where it is absent or cannot be read. Numbers are unix seconds, or milliseconds where they are
    too large for that.
    """
    return None if isinstance(value, str) and len(value) > _LONGEST else _parse(value)


@lru_cache(maxsize=65536)
def _parse(value: str | int | None) -> datetime | None:
    try:
        if isinstance(value, str):
            match = _ISO.fullmatch(value.strip())
            if not match:
                return _parse(int(value)) if value.strip().isascii() and value.strip().isdigit() else None
            year, month, day, hour, minute, second, fraction, sign, offset_hours, offset_minutes = match.groups()
            # A leap second is the last moment of its minute.
            seconds = 59 if second == "60" else int(second)
            moment = datetime(
                int(year),
                int(month),
                int(day),
                int(hour),
                int(minute),
                seconds,
                int((fraction or "0").ljust(6, "0")[:6]),
                UTC,
            )
            if sign:
                offset = timedelta(hours=int(offset_hours), minutes=int(offset_minutes))
                moment = moment - offset if sign == "+" else moment + offset
            return moment
        if isinstance(value, int) and value > 0:
            return _EPOCH + (timedelta(seconds=value) if value < 100_000_000_000 else timedelta(milliseconds=value))
    except (ValueError, OverflowError):
        pass
    return None


def stamp(value: str | int | None) -> tuple[datetime, str] | None:
    """A time and how it is written, None where :func:`parse` reads none."""
    return None if value is None or (isinstance(value, str) and len(value) > _LONGEST) else _stamp(value)


@lru_cache(maxsize=65536)
def _stamp(value: str | int) -> tuple[datetime, str] | None:
    moment = _parse(value)
    return None if moment is None else (moment, rfc3339(moment))


@lru_cache(maxsize=65536)
def rfc3339(moment: datetime) -> str:
    """``2026-11-23T14:02:03.123Z``: three digits of a second, six where the time has them."""
    text = moment.isoformat(timespec="microseconds" if moment.microsecond % 1000 else "milliseconds")
    return text.replace("+00:00", "Z")


def utc(seconds: float | None) -> str:
    """A moment for people, in messages, reports and on the page: unix seconds as ``2026-11-23T14:02:03Z``, which the
    param ``since`` takes too; None as ``not set``. What is not a time, for example in a file that somebody edited, is
    shown as it is.
    """
    if seconds is None:
        return "not set"
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (TypeError, ValueError, OverflowError, OSError):
        return safe(seconds, 20)


def milliseconds(moment: datetime) -> int:
    """A time in unix milliseconds."""
    return (moment - _EPOCH) // _MILLISECOND
