"""Repeats a call to Security Hub CSPM while it is throttled, unavailable or out of reach, within the call's rate. What
counts as temporary is decided in :mod:`~airflow_provider_tenable.security_hub.responses`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from tenacity import RetryCallState, Retrying, retry_if_exception_type

from airflow_provider_tenable.exceptions import TemporaryError
from airflow_provider_tenable.guards.foreign_text import LONGEST_MESSAGE, safe
from airflow_provider_tenable.security_hub.backoff import backoff
from airflow_provider_tenable.security_hub.rate_limit import TokenBucket
from airflow_provider_tenable.security_hub.responses import HALVE, RETRY, RETRY_SECONDS, STOP, explain, verdict_of
from airflow_provider_tenable.staging.crash_points import CrashPoint, reached

log = logging.getLogger(__name__)

T = TypeVar("T")


class _AgainError(Exception):
    """A call failed for a temporary reason; the text contains AWS's message."""


def _never(error: ClientError) -> bool:
    return False


class Attempts:
    """Makes calls, each repeated until it succeeds, is refused, or the time is up. Thread-safe.

    :param bucket: the rate of the operation, shared by all threads that call it in this account and Region.
    :param retry_seconds: how long a call is repeated during throttling, outages and time-outs.
    """

    def __init__(
        self,
        *,
        bucket: TokenBucket,
        retry_seconds: float = RETRY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.bucket = bucket
        self.retry_seconds = retry_seconds
        self._clock = clock
        self._sleep = sleep
        self._stopped = False

    def stop(self) -> None:
        """Make no further calls: those in progress end with TemporaryError."""
        self._stopped = True

    def make(
        self,
        call: Callable[[], T],
        *,
        what: str,
        failure: str,
        bears: Callable[[ClientError], bool] = _never,
    ) -> T:
        """One call, repeated while it fails for a temporary reason.

        :param what: the call, for the log: ``A call of 20 findings``.
        :param failure: what the service did not do, for the final error, up to the time that it did not:
            ``Security Hub CSPM did not accept a batch in``.
        :param bears: whether a refusal is temporary in this case.
        :raises ClientError: the call was refused, or its input has to be halved.
        :raises TemporaryError: it failed for too long, or :meth:`stop` was called.
        """
        began = self._clock()

        def give_up(state: RetryCallState) -> T:
            error = state.outcome.exception() if state.outcome else None
            raise TemporaryError(
                f"{failure} {self.retry_seconds:.0f} seconds and {state.attempt_number} attempts. "
                f"{safe(error, LONGEST_MESSAGE)}"
            )

        def report(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            log.warning(
                "%s failed (attempt %d), trying again: %s", what, state.attempt_number, safe(error, LONGEST_MESSAGE)
            )

        retrying: Any = Retrying(
            retry=retry_if_exception_type(_AgainError),
            wait=backoff,
            stop=lambda state: self._clock() - began > self.retry_seconds,
            sleep=self._sleep,
            before_sleep=report,
            retry_error_callback=give_up,
        )
        answer: T = retrying(self._once, call, bears)
        return answer

    def _once(self, call: Callable[[], T], bears: Callable[[ClientError], bool]) -> T:
        """One attempt. :raises _AgainError: it failed for a temporary reason."""
        if self._stopped:
            raise TemporaryError("The import was stopped.")
        # Not part of the retry: the rate is shared by all calls to this account and Region, including successful ones.
        self.bucket.take()
        try:
            reached(CrashPoint.BEFORE_CALL)
            answer = call()
            reached(CrashPoint.CALL_ANSWERED)
            return answer
        except ClientError as error:
            verdict = verdict_of(error)
            if verdict == STOP and bears(error):
                verdict = RETRY
            if verdict in (HALVE, STOP):
                raise
            if verdict == RETRY:
                self.bucket.empty()
            raise _AgainError(explain(error)) from None
        except BotoCoreError as error:
            # Time-outs and resets: the call may have been executed, and repeating it does not change anything.
            raise _AgainError(f"{type(error).__name__}: {safe(error)}") from None
        except TemporaryError as error:
            # An unreadable response, or credentials that cannot be renewed at the moment.
            raise _AgainError(safe(error, LONGEST_MESSAGE)) from None
