"""Pauses between attempts, and the retries of the calls before an import. The numbers are those of
:mod:`~airflow_provider_tenable.security_hub.responses`.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import Any, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from airflow_provider_tenable.exceptions import TemporaryError
from airflow_provider_tenable.security_hub import responses

log = logging.getLogger(__name__)

T = TypeVar("T")


def pause(attempt: int) -> float:
    """Exponential backoff: seconds to wait after attempt number ``attempt``, counted from 0. Up to half of it is
    random, so that callers do not stay synchronised.
    """
    return random.uniform(0.5, 1.0) * min(responses.LONGEST_PAUSE, responses.FIRST_PAUSE * 2**attempt)


def backoff(state: RetryCallState) -> float:
    """:func:`pause` as tenacity asks for it."""
    return pause(state.attempt_number - 1)


def patiently(call: Callable[[], T], *, sleep: Callable[[float], None]) -> T:
    """A call before the import, repeated while it fails for a temporary reason.

    :raises Exception: what the last attempt raised.
    """
    retrying: Any = Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, TemporaryError)),
        wait=backoff,
        stop=stop_after_attempt(responses.PREFLIGHT_ATTEMPTS),
        before_sleep=_report_attempt,
        sleep=sleep,
        reraise=True,
    )
    result: T = retrying(call)
    return result


def _report_attempt(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    # Ours, so its text is safe for a log line.
    log.warning("Attempt %d of %d failed, trying again: %s", state.attempt_number, responses.PREFLIGHT_ATTEMPTS, error)
