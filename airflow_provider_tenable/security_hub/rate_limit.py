"""The token bucket that keeps an import at Security Hub's rate, but not above it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class TokenBucket:
    """Grants permission to call. Thread-safe.

    :param rate: calls per second (BatchImportFindings: 10 per account and Region).
    :param burst: calls that may be made at once after a pause (30).
    :param filled: how many of these are available now; None: all.
    """

    def __init__(
        self,
        rate: float = 10.0,
        burst: float = 30.0,
        *,
        filled: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.rate = rate
        self.burst = burst
        self._clock = clock
        self._sleep = sleep
        self._tokens = burst if filled is None else filled
        self._at = clock()
        self._lock = threading.Lock()

    def take(self) -> None:
        """Wait until a call may be made."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
            self._at = now
            self._tokens -= 1
            wait = -self._tokens / self.rate
        if wait > 0:
            self._sleep(wait)

    def empty(self) -> None:
        """Drop the remaining burst, because the service reports that the calls were too fast."""
        with self._lock:
            self._tokens = min(self._tokens, 0.0)
