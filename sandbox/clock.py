"""The sandbox's own time: real time moved by an offset, so that a day can pass in a moment."""

import time
from datetime import UTC, datetime
from email.utils import formatdate

DAY = 86_400.0


class SandboxClock:
    """The clock of the simulated Tenable. It begins in the past, so that it can be moved forward.

    :param offset: seconds added to real time; -3 * DAY begins three days ago
    """

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset
        self._offset_at_start = offset

    def now(self) -> float:
        """The sandbox's time in unix seconds."""
        return time.time() + self.offset

    def advance(self, seconds: float) -> float:
        """Move the clock forward and return the new time. Time never goes back: a negative number is refused."""
        if seconds < 0:
            raise ValueError(f"The clock only moves forward, not by {seconds} seconds.")
        self.offset += seconds
        return self.now()

    def reset(self) -> None:
        """Back to the offset of the start."""
        self.offset = self._offset_at_start

    def http_date(self) -> str:
        """The time as the value of a Date header (RFC 9110, IMF-fixdate)."""
        return formatdate(self.now(), usegmt=True)


def iso(seconds: float, digits: int = 3) -> str:
    """Unix seconds as ISO 8601 in UTC with `Z` and 0, 3 or 6 fractional digits, as Tenable's records carry them.

    Digits that are not shown are cut off, not rounded.
    """
    micros = round(seconds * 1_000_000)
    moment = datetime.fromtimestamp(micros // 1_000_000, UTC)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{micros % 1_000_000:06d}"[:digits]
    return f"{text}.{fraction}Z" if digits else f"{text}Z"
