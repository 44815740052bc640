"""Times in HTTP headers: dates, and the two forms of ``Retry-After``."""

from __future__ import annotations

import email.utils
import math


def http_date(text: str | None) -> float | None:
    """Unix seconds of an HTTP date, None where it cannot be read."""
    if not text:
        return None
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def seconds_of(retry_after: str, *, now: float) -> float | None:
    """``Retry-After`` (RFC 9110, 10.2.3: seconds or a date) as seconds from ``now``; None where it cannot be read."""
    try:
        seconds = float(retry_after)
    except ValueError:
        date = http_date(retry_after)
        return None if date is None else date - now
    return seconds if not math.isnan(seconds) else None
