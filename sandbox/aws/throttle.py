"""Request quotas as token buckets (API reference, Security Hub CSPM: quotas)."""

import time
from collections.abc import Callable, Mapping


class TokenBucket:
    """Lets `burst` calls through at once and `rate` a second after that."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._tokens, self._filled_at = burst, clock()

    def take(self) -> bool:
        """Use one token, if there is one."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


# Calls a second and how many at once.
DEFAULT_QUOTA = (10.0, 30.0)
SPECIAL_QUOTAS: Mapping[str, tuple[float, float]] = {"GetFindings": (3.0, 6.0)}


class Quotas:
    """One bucket per operation, account and Region."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, str, str], TokenBucket] = {}

    def allows(self, operation: str, account: str, region: str, limits: tuple[float, float] | None = None) -> bool:
        """Count a call; False when it is one too many.

        :param limits: rate and burst in place of the published ones; they count when the bucket is made
        """
        key = (operation, account, region)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = TokenBucket(*(limits or SPECIAL_QUOTAS.get(operation, DEFAULT_QUOTA)), self._clock)
            self._buckets[key] = bucket
        return bucket.take()

    def reset(self) -> None:
        """All buckets full again."""
        self._buckets.clear()
