"""Sends one batch to Security Hub: calls, retries and halves it until each finding is accepted or rejected with a code.
Several threads can send batches at the same time.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from botocore.exceptions import ClientError

from airflow_provider_tenable.exceptions import TemporaryError
from airflow_provider_tenable.guards.foreign_text import LONGEST_CODE, LONGEST_ID, safe
from airflow_provider_tenable.security_hub.attempts import Attempts
from airflow_provider_tenable.security_hub.backoff import pause
from airflow_provider_tenable.security_hub.batches import Item
from airflow_provider_tenable.security_hub.rate_limit import TokenBucket
from airflow_provider_tenable.security_hub.responses import (
    FINDING_RETRIES,
    JUST_SUBSCRIBED,
    REJECT,
    RETRY,
    RETRY_SECONDS,
    STOP,
    UNKNOWN_FINDING_RETRIES,
    code_of,
    explain,
    explain_finding,
    refusal_of,
    refusal_of_finding,
    verdict_of,
    verdict_of_finding,
)

log = logging.getLogger(__name__)


@dataclass
class Outcome:
    """The results for the findings of a batch."""

    accepted: list[Item] = field(default_factory=list)
    rejected: list[tuple[Item, str, str]] = field(default_factory=list)
    calls: int = 0


class Sender(Protocol):
    """What the import needs of Security Hub."""

    def import_batch(self, lines: list[bytes]) -> dict[str, Any]: ...


class BatchSender:
    """Sends batches completely. Thread-safe.

    :param sender: makes one call.
    :param bucket: the rate, shared by all threads that send to this account and Region.
    :param retry_seconds: how long a batch is retried during throttling, outages and time-outs.
    :param denied_seconds: for how long from now denied calls are retried too, because the permission to send is new; 0:
        not at all.
    """

    def __init__(
        self,
        *,
        sender: Sender,
        bucket: TokenBucket,
        retry_seconds: float = RETRY_SECONDS,
        denied_seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.sender = sender
        self._attempts = Attempts(bucket=bucket, retry_seconds=retry_seconds, clock=clock, sleep=sleep)
        self._clock = clock
        self._sleep = sleep
        self._bears_denials_until = clock() + denied_seconds

    def stop(self) -> None:
        """Make no further calls: batches in progress end with TemporaryError."""
        self._attempts.stop()

    def send(self, batch: list[Item]) -> Outcome:
        """Send a batch until each of its findings is accepted or rejected.

        :raises ConfigurationError: Security Hub denies access.
        :raises TemporaryError: it could not be reached for too long, or its response does not add up.
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
                    raise refusal_of(error, f"The import was stopped. {explain(error)}") from None
                if len(items) == 1:
                    outcome.rejected.append(
                        (items[0], code_of(error), str(error.response.get("Error", {}).get("Message", "")))
                    )
                else:
                    # One of them makes the call fail: halve until it is isolated.
                    middle = len(items) // 2
                    queue.extendleft([(items[middle:], attempt), (items[:middle], attempt)])
                continue
            outcome.calls += 1
            again = self._sort(items, answer, attempt, outcome)
            if again:
                self._sleep(pause(attempt))
                queue.append((again, attempt + 1))
        return outcome

    def _sort(self, items: list[Item], answer: dict[str, Any], attempt: int, outcome: Outcome) -> list[Item]:
        """Evaluate the response item by item. :return: the items to be sent again."""
        # botocore does not check that an Id is a string.
        failed = {str(entry.get("Id", "")): entry for entry in answer.get("FailedFindings") or []}
        # The service model requires both counts: a response without them acknowledges nothing.
        failures, successes = answer.get("FailedCount"), answer.get("SuccessCount")
        # SuccessCount may be smaller: AWS does not document whether it includes findings that the hub ignores because
        # it has the same or a newer version.
        adds_up = failures == len(failed) and isinstance(successes, int) and 0 <= successes <= len(items) - len(failed)
        if not adds_up or not failed.keys() <= {item.id for item in items}:
            raise TemporaryError(
                f"Security Hub CSPM's response does not add up: FailedCount {safe(failures, 40)}, SuccessCount "
                f"{safe(successes, 40)}, but {len(failed)} failed findings of a batch of {len(items)}."
            )
        if ignored := len(items) - len(failed) - int(successes or 0):
            log.info(
                "Security Hub CSPM ignored %d of %d findings: it already has the same or a newer version.",
                ignored,
                len(items),
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
            # The code becomes a key of the ledger and the tag of a metric; the message stays in the hub's own words.
            code, message = safe(entry.get("ErrorCode"), LONGEST_CODE), str(entry.get("ErrorMessage"))
            verdict = verdict_of_finding(code)
            if verdict == STOP and self._bears_denials:
                again.append(item)
                continue
            if verdict == STOP:
                raise refusal_of_finding(
                    code,
                    f"The import was stopped at finding {safe(item.id, LONGEST_ID)}. {explain_finding(code, message)}",
                )
            if verdict != REJECT and attempt < (FINDING_RETRIES if verdict == RETRY else UNKNOWN_FINDING_RETRIES):
                again.append(item)
            else:
                outcome.rejected.append((item, code, message))
        return again

    @property
    def _bears_denials(self) -> bool:
        return self._clock() < self._bears_denials_until

    def _call(self, items: list[Item]) -> dict[str, Any]:
        """One call, retried while the service throttles, is unavailable or cannot be reached."""
        return self._attempts.make(
            lambda: self.sender.import_batch([item.data for item in items]),
            what=f"A call of {len(items)} findings",
            failure="Security Hub CSPM did not accept a batch in",
            bears=lambda error: self._bears_denials and code_of(error) in JUST_SUBSCRIBED,
        )
