"""Sets fields of the customer on findings (BatchUpdateFindings) until each is accounted for.

Limits (service model): 100 findings a call, 10 calls a second. A call sets all of its findings to the same values. A
repeated call changes nothing, so that one whose answer was lost is sent again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from botocore.exceptions import ClientError
from msgspec import Struct

from airflow_provider_tenable.exceptions import TemporaryError
from airflow_provider_tenable.guards.foreign_text import LONGEST_CODE, LONGEST_MESSAGE, safe
from airflow_provider_tenable.security_hub.attempts import Attempts
from airflow_provider_tenable.security_hub.customer_decisions import content_of
from airflow_provider_tenable.security_hub.rate_limit import TokenBucket
from airflow_provider_tenable.security_hub.responses import (
    FINDING_RETRIES,
    RETRY,
    RETRY_SECONDS,
    STOP,
    UNKNOWN_FINDING_RETRIES,
    code_of,
    explain,
    explain_finding,
    refusal_of,
    refusal_of_finding,
    verdict_of_finding,
)

#: Calls per second, and findings of a call.
UPDATE_RATE, UPDATE_FINDINGS = 10.0, 100

#: Codes with which a call is refused for its content: the findings of other calls are not affected.
_BAD_INPUT = frozenset({"InvalidInputException", "InvalidInput", "ValidationException", "ValidationError"})
#: Codes that no repetition changes, besides those of BatchImportFindings.
_FINAL = frozenset({"FindingNotFound"})
#: Where the service's answer names a finding neither as processed nor as unprocessed.
NOT_ANSWERED = "NotAnswered"


class UpdateSource(Protocol):
    """What this needs of Security Hub."""

    def batch_update_findings(
        self, identifiers: Sequence[dict[str, str]], fields: Mapping[str, Any]
    ) -> dict[str, Any]: ...


class Update(Struct, frozen=True):
    """A finding, and the fields that are to be set."""

    id: str
    product_arn: str
    fields: dict[str, Any]

    @property
    def key(self) -> tuple[str, str]:
        """What names the finding: (id, ARN of the product)."""
        return self.id, self.product_arn


Refused = dict[tuple[str, str], tuple[str, str]]


class CustomerUpdates:
    """Updates findings of one account and Region.

    :param retry_seconds: how long a call is repeated during throttling, outages and time-outs.
    """

    def __init__(
        self,
        source: UpdateSource,
        *,
        retry_seconds: float = RETRY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._source = source
        bucket = TokenBucket(UPDATE_RATE, UPDATE_RATE, filled=0, clock=clock, sleep=sleep)
        self._attempts = Attempts(bucket=bucket, retry_seconds=retry_seconds, clock=clock, sleep=sleep)

    def run(self, updates: Iterable[Update]) -> Refused:
        """Make the updates, of distinct findings.

        :return: those that were refused: (id, ARN of the product) -> (code, message). All others were made.
        :raises DestinationRefusedError: not allowed (the message names the permission), or the hub is off.
        :raises TemporaryError: Security Hub could not be reached for too long, or something else answers in its place.
        """
        alike: dict[bytes, list[Update]] = {}
        for update in updates:
            alike.setdefault(content_of(update.fields), []).append(update)
        refused: Refused = {}
        for same in alike.values():
            for begin in range(0, len(same), UPDATE_FINDINGS):
                self._update(same[begin : begin + UPDATE_FINDINGS], refused)
        return refused

    def _update(self, updates: list[Update], refused: Refused) -> None:
        left = {update.key: update for update in updates}
        tries = dict.fromkeys(left, 0)
        while left:
            try:
                failed = self._once(left, updates[0].fields)
            except ClientError as error:
                if code_of(error) not in _BAD_INPUT:
                    raise refusal_of(error, f"Findings cannot be updated. {explain(error)}") from None
                refused.update(dict.fromkeys(left, (code_of(error), explain(error))))
                return
            left = {key: update for key, update in left.items() if key in failed}
            for key, (code, message) in failed.items():
                tries[key] += 1
                verdict = verdict_of_finding(code)
                if verdict == STOP:
                    raise refusal_of_finding(code, f"Findings cannot be updated. {explain_finding(code, message)}")
                most = FINDING_RETRIES if verdict in (RETRY,) or code == NOT_ANSWERED else UNKNOWN_FINDING_RETRIES
                if code in _FINAL or (verdict is not None and verdict != RETRY) or tries[key] > most:
                    refused[key] = (code, message)
                    del left[key]

    def _once(self, wanted: Mapping[tuple[str, str], Update], fields: Mapping[str, Any]) -> Refused:
        """One call. :return: what was not updated -> (code, message)."""
        identifiers = [{"Id": finding_id, "ProductArn": arn} for finding_id, arn in wanted]
        answer = self._attempts.make(
            lambda: self._source.batch_update_findings(identifiers, fields),
            what=f"A call of BatchUpdateFindings for {len(identifiers)} findings",
            failure="Security Hub CSPM did not update findings in",
        )
        done = {_key(each, wanted) for each in answer["ProcessedFindings"]}
        failed: Refused = {}
        for entry in answer["UnprocessedFindings"]:
            key = _key(entry.get("FindingIdentifier") if isinstance(entry, dict) else None, wanted)
            code, message = entry.get("ErrorCode"), entry.get("ErrorMessage")
            failed[key] = (safe(code or "", LONGEST_CODE), safe(message or "", LONGEST_MESSAGE))
        for key in wanted:
            # What is in neither list is not taken for done.
            if key not in done and key not in failed:
                failed[key] = (NOT_ANSWERED, "The answer does not say what became of it.")
        return failed


def _key(identifier: Any, wanted: Mapping[tuple[str, str], Update]) -> tuple[str, str]:
    named = identifier if isinstance(identifier, dict) else {}
    finding_id, arn = named.get("Id"), named.get("ProductArn")
    if isinstance(finding_id, str) and isinstance(arn, str) and (finding_id, arn) in wanted:
        return finding_id, arn
    raise TemporaryError(
        "BatchUpdateFindings answered with a finding that it was not asked to update: does something else answer in "
        "place of AWS?"
    )


__all__ = ["NOT_ANSWERED", "CustomerUpdates", "Refused", "Update", "UpdateSource"]
