"""Timestamps as Security Hub accepts them (API reference, Security Hub CSPM: Timestamps)."""

import re
from datetime import datetime, timedelta
from functools import lru_cache

# The pattern that the real service prints when it refuses a timestamp. Ours below is the stricter one of today's
# documentation.
PUBLISHED_PATTERN = (
    r"(\d\d\d\d)-[0-1](\d)-[0-3](\d)[Tt](?:[0-2](\d):[0-5](\d):[0-5](\d)|23:59:60)"
    r"(?:\.(\d)+)?(?:[Zz]|[+-](\d\d)(?::?(\d\d))?)$"
)

_TIMESTAMP = re.compile(
    r"(\d{4}-\d{2}-\d{2})T(\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(?:(Z)|([+-])(\d{2}):?(\d{2}))", re.ASCII
)
_EPOCH = datetime(1970, 1, 1)  # naive: offsets are applied by hand
_LARGEST_OFFSET = timedelta(hours=18)
_SECOND = timedelta(seconds=1)


@lru_cache(maxsize=16_384)
def instant(text: str) -> int | None:
    """A timestamp as nanoseconds since 1970 in UTC, or None when Security Hub would refuse it.

    Accepted: `2024-01-31T23:59:59`, up to nine fractional digits, then `Z`, `+hh:mm` or `+hhmm` (either sign, within
    18 hours).
    """
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        return None
    date, time, fraction, _, sign, hours, minutes = match.groups()
    leap = time == "23:59:60"
    try:
        moment = datetime.fromisoformat(f"{date}T{'23:59:59' if leap else time}")
    except ValueError:
        return None
    since_epoch = moment - _EPOCH + (_SECOND if leap else timedelta())
    if sign:
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        if offset > _LARGEST_OFFSET or int(minutes) > 59:
            return None
        since_epoch += -offset if sign == "+" else offset
    seconds = since_epoch.days * 86_400 + since_epoch.seconds
    return seconds * 1_000_000_000 + int((fraction or "").ljust(9, "0"))
