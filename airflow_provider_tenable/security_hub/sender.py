"""One batch on its way to Security Hub: called, repeated, halved, until each of its findings is accepted or rejected with a code. Several at a time."""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from airflow_provider_tenable.exceptions import ConfigurationError, TemporaryError
from airflow_provider_tenable.guards.foreign_text import LONGEST_CODE, LONGEST_ID, safe
from airflow_provider_tenable.security_hub.batches import Item
from airflow_provider_tenable.security_hub.rate_limit import TokenBucket
from airflow_provider_tenable.security_hub.responses import FINDING_CODES, HALVE, REJECT, RETRY, STOP, code_of, explain, verdict_of
from airflow_provider_tenable.staging.crash_points import CrashPoint, reached

log = logging.getLogger(__name__)

#: How long one batch is tried against throttling, outages and time-outs before the task fails (its retry resumes).
RETRY_SECONDS = 600.0
_LONGEST_PAUSE = 30.0
#: How often a finding that failed for a passing reason is sent again; one that failed for an unknown reason once.
_FINDING_RETRIES = 5


@dataclass
class Outcome:
    """What became of the findings of a batch."""

    accepted: list[Item] = field(default_factory=list)
    rejected: list[tuple[Item, str, str]] = field(default_factory=list)
    calls: int = 0


class Sender(Protocol):
    """What the import needs of Security Hub."""

    def import_batch(self, lines: list[bytes]) -> dict[str, Any]: ...


class BatchSender:
    """Sends batches, each of them whole. Safe for several threads.

    :param sender: makes one call.
    :param bucket: the rate, shared by all that send to this account and Region.
    :param retry_seconds: how long a batch is tried against throttling, outages and time-outs.
    """

    def __init__(
        self,
        *,
        sender: Sender,
        bucket: TokenBucket,
        retry_seconds: float = RETRY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.sender = sender
        self.bucket = bucket
        self.retry_seconds = retry_seconds
        self._clock = clock
        self._sleep = sleep
        self._stopped = False

    def stop(self) -> None:
        """Make no further calls: batches under way end with TemporaryError."""
        self._stopped = True

    def send(self, batch: list[Item]) -> Outcome:
        """Send a batch until each of its findings is accepted or rejected.

        :raises ConfigurationError: Security Hub refuses the caller.
        :raises TemporaryError: it could not be reached for too long, or answers what does not add up.
        """
        outcome = Outcome()
        queue: deque[tuple[list[Item], int]] = deque([(batch, 0)])
        while queue:
            items, attempt = queue.popleft()
            try:
                answer = self._call(items)
            except ClientError as error:
                outcome.calls += 1
                if verdict_of(error) == STOP:
                    raise ConfigurationError(f"The import was stopped. {explain(error)}") from None
                if len(items) == 1:
                    outcome.rejected.append((items[0], code_of(error), str(error.response.get("Error", {}).get("Message", ""))))
                else:
                    # One of them spoils the call: halve until it is alone.
                    middle = len(items) // 2
                    queue.extendleft([(items[middle:], attempt), (items[:middle], attempt)])
                continue
            outcome.calls += 1
            again = self._sort(items, answer, attempt, outcome)
            if again:
                self._sleep(_pause(attempt))
                queue.append((again, attempt + 1))
        return outcome

    def _sort(self, items: list[Item], answer: dict[str, Any], attempt: int, outcome: Outcome) -> list[Item]:
        """Read the answer item by item; what is to be sent again is returned."""
        failed = {entry.get("Id"): entry for entry in answer.get("FailedFindings") or []}
        # Both counts are required in the service model: an answer without them acknowledges nothing.
        counts = (answer.get("FailedCount"), answer.get("SuccessCount"))
        if counts != (len(failed), len(items) - len(failed)) or not failed.keys() <= {item.id for item in items}:
            raise TemporaryError(
                f"Security Hub's answer does not add up: FailedCount {safe(counts[0], 40)}, SuccessCount {safe(counts[1], 40)}, but {len(failed)} failed findings of a "
                f"batch of {len(items)}."
            )
        if not failed:
            outcome.accepted += items
            return []
        again = []
        for item in items:
            entry = failed.get(item.id)
            if entry is None:
                outcome.accepted.append(item)
                continue
            # The code becomes a key of the ledger and the tag of a metric; the message is kept in the hub's own words.
            code, message = safe(entry.get("ErrorCode"), LONGEST_CODE), str(entry.get("ErrorMessage"))
            verdict = FINDING_CODES.get(code)
            if verdict == STOP:
                raise ConfigurationError(f"The import was stopped at finding {safe(item.id, LONGEST_ID)}. {explain(_as_error(code, message))}")
            if verdict != REJECT and attempt < (_FINDING_RETRIES if verdict == RETRY else 1):
                again.append(item)
            else:
                outcome.rejected.append((item, code, message))
        return again

    def _call(self, items: list[Item]) -> dict[str, Any]:
        """One call, repeated while the service is throttling, out of order or unreachable."""
        began, attempt = self._clock(), 0
        while True:
            if self._stopped:
                raise TemporaryError("The import was stopped.")
            self.bucket.take()
            try:
                reached(CrashPoint.BEFORE_CALL)
                answer = self.sender.import_batch([item.data for item in items])
                reached(CrashPoint.CALL_ANSWERED)
                return answer
            except ClientError as error:
                verdict = verdict_of(error)
                if verdict in (HALVE, STOP):
                    raise
                failure = explain(error)
                if verdict == RETRY:
                    self.bucket.empty()
            # The latter is no BotoCoreError.
            except (BotoCoreError, ResponseParserError) as error:
                # Time-outs, resets, unreadable answers: the call may have been carried out, and sending it again changes nothing.
                failure = f"{type(error).__name__}: {safe(error)}"
            attempt += 1
            if self._clock() - began > self.retry_seconds:
                raise TemporaryError(f"Security Hub did not take a batch in {self.retry_seconds:.0f} seconds and {attempt} attempts. {failure}")
            log.warning("A call of %d findings failed (attempt %d), trying again: %s", len(items), attempt, failure)
            self._sleep(_pause(attempt - 1))


def _pause(attempt: int) -> float:
    """Exponential backoff with full jitter."""
    return random.uniform(0.5, 1.0) * min(_LONGEST_PAUSE, 0.5 * 2**attempt)


def _as_error(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "BatchImportFindings")
