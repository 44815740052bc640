"""The import of one account's and Region's findings. No Airflow in here: a sender, receipts and a clock are handed in.

Batches hold at most ``batch_size`` findings, 5.5 MB, and distinct ids (FailedFindings names only the id). A few calls are in flight; together they keep
to the rate. Every finding ends as accepted or as rejected with a code, or the import stops and says why.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from msgspec import Struct

from airflow_provider_tenable.asff import limits
from airflow_provider_tenable.crash_points import CrashPoint, reached
from airflow_provider_tenable.exceptions import ConfigurationError, TemporaryError
from airflow_provider_tenable.import_errors import FINDING_CODES, HALVE, REJECT, RETRY, STOP, code_of, explain, verdict_of
from airflow_provider_tenable.rate import TokenBucket
from airflow_provider_tenable.receipts import Receipts

log = logging.getLogger(__name__)

#: How long one batch is tried against throttling, outages and time-outs before the task fails (its retry resumes).
RETRY_SECONDS = 600.0
_LONGEST_PAUSE = 30.0
#: How often a finding that failed for a passing reason is sent again; one that failed for an unknown reason once.
_FINDING_RETRIES = 5
#: So many findings refused, and none accepted: it is not the findings.
_HOPELESS = 1_000
_FLUSH_SECONDS = 2.0
_PROGRESS_SECONDS = 15.0


class _Identified(Struct):
    """All that is read of a staged finding."""

    Id: str


_decode_identified = msgspec.json.Decoder(_Identified).decode
# As the transform writes it: the id stands at the front, mostly without an escape.
_ID = re.compile(rb'\{"SchemaVersion":"2018-10-08","Id":"([ !#-\[\]-~]*)"')


def _identify(data: bytes) -> str:
    """The id of a staged finding."""
    match = _ID.match(data)
    return match[1].decode() if match else _decode_identified(data).Id


class Item(Struct, frozen=True, gc=False):
    """A staged finding and where it stands: part, line number."""

    part: str
    line: int
    id: str
    data: bytes


@dataclass
class Outcome:
    """What became of the findings of a batch."""

    accepted: list[Item] = field(default_factory=list)
    rejected: list[tuple[Item, str, str]] = field(default_factory=list)
    calls: int = 0


class Sender(Protocol):
    """What the import needs of Security Hub."""

    def import_batch(self, lines: list[bytes]) -> dict[str, Any]: ...


def batches(items: Iterable[Item], *, size: int, max_bytes: int = limits.BATCH_BYTES) -> Iterator[list[Item]]:
    """Cut a stream of findings into batches.

    All of them together are the input. A finding whose id the batch holds already waits for a later one; which of the two arrives last does not
    matter, since Security Hub keeps the newer ``UpdatedAt``.
    """
    batch: list[Item] = []
    ids: set[str] = set()
    length = 0
    # `held` met its own id in this batch; `waiting` is looked at before the source.
    held: list[Item] = []
    waiting: deque[Item] = deque()
    source = iter(items)
    while True:
        item = waiting.popleft() if waiting else next(source, None)
        if item is not None and item.id not in ids and len(batch) < size and (not batch or length + len(item.data) + 1 <= max_bytes):
            batch.append(item)
            ids.add(item.id)
            length += len(item.data) + 1
            continue
        if item is not None:
            held.append(item)
            if item.id in ids and len(held) < size:
                continue
        if not batch:
            return
        yield batch
        waiting.extendleft(reversed(held))
        batch, ids, length, held = [], set(), 0, []


class FindingsImport:
    """Sends findings until every one is accounted for.

    :param in_flight: calls at the same time; one alone cannot reach the rate where an answer takes more than 100 ms.
    """

    def __init__(
        self,
        *,
        sender: Sender,
        receipts: Receipts,
        batch_size: int = limits.BATCH_FINDINGS,
        in_flight: int = 4,
        bucket: TokenBucket | None = None,
        retry_seconds: float = RETRY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.sender = sender
        self.receipts = receipts
        self.batch_size = batch_size
        self.in_flight = in_flight
        self.bucket = bucket or TokenBucket(clock=clock, sleep=sleep)
        self.retry_seconds = retry_seconds
        self._clock = clock
        self._sleep = sleep
        self._stopped = False

    def run(self, parts: Iterable[tuple[str, Iterable[bytes]]], total: int) -> None:
        """Import the lines of all parts that have no receipt yet.

        :param parts: (name, lines) of each part, always in the same order.
        :param total: findings in all, for the progress in the log.
        :raises ConfigurationError: Security Hub refuses the caller; nothing further was sent.
        :raises TemporaryError: it could not be reached for too long; a retry resumes.
        """
        began = told = flushed = self._clock()
        pending: set[Future[Outcome]] = set()
        done: set[Future[Outcome]] = set()
        source = batches(self._items(parts), size=self.batch_size)
        with ThreadPoolExecutor(max_workers=self.in_flight, thread_name_prefix="securityhub-import") as pool:
            try:
                exhausted = False
                while pending or not exhausted:
                    while not exhausted and len(pending) < self.in_flight:
                        batch = next(source, None)
                        if batch is None:
                            exhausted = True
                        else:
                            pending.add(pool.submit(self._send, batch))
                    if not pending:
                        break
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    while done:
                        self._record(done.pop().result())
                    now = self._clock()
                    if now - flushed >= _FLUSH_SECONDS:
                        self.receipts.flush()
                        flushed = now
                    if now - told >= _PROGRESS_SECONDS:
                        self._log_progress(total, now - began)
                        told = now
            except BaseException:
                # What is in flight still counts: its findings are in the hub, whatever the receipts say.
                self._stopped = True
                for future in done | pending:
                    if not future.cancel() and future.exception() is None:
                        self._record(future.result())
                raise
            finally:
                self.receipts.flush()
                self._log_progress(total, self._clock() - began)

    def _items(self, parts: Iterable[tuple[str, Iterable[bytes]]]) -> Iterator[Item]:
        for name, lines in parts:
            for number, data in enumerate(lines):
                if not self.receipts.is_done(name, number):
                    yield Item(name, number, _identify(data), data)

    def _record(self, outcome: Outcome) -> None:
        self.receipts.calls += outcome.calls
        for item in outcome.accepted:
            self.receipts.accept(item.part, item.line)
        for item, code, message in outcome.rejected:
            self.receipts.reject(item.part, item.line, finding_id=item.id, code=code, message=message, finding=item.data)
        refused = self.receipts.rejected.total() if outcome.rejected else 0
        if refused >= _HOPELESS and not self.receipts.accepted:
            _, code, message = outcome.rejected[-1]
            # They are on record in rejected/; once the cause is mended, the cleared task must send them again.
            self.receipts.flush()
            self.receipts.reopen()
            raise ConfigurationError(
                f"Security Hub refused each of the first {refused} findings, the last with {code}: {message} The import was stopped; the refused findings are "
                f"in {self.receipts.run.rejected}. Mend the cause, then clear this task."
            )

    def _send(self, batch: list[Item]) -> Outcome:
        """Send a batch until each of its findings is accepted or rejected."""
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
                f"Security Hub's answer does not add up: FailedCount {counts[0]}, SuccessCount {counts[1]}, but {len(failed)} failed findings of a "
                f"batch of {len(items)}."
            )
        again = []
        for item in items:
            entry = failed.get(item.id)
            if entry is None:
                outcome.accepted.append(item)
                continue
            code, message = str(entry.get("ErrorCode")), str(entry.get("ErrorMessage"))
            verdict = FINDING_CODES.get(code)
            if verdict == STOP:
                raise ConfigurationError(f"The import was stopped at finding {item.id}. {explain(_as_error(code, message))}")
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
                failure = f"{type(error).__name__}: {error}"
            attempt += 1
            if self._clock() - began > self.retry_seconds:
                raise TemporaryError(f"Security Hub did not take a batch in {self.retry_seconds:.0f} seconds and {attempt} attempts. {failure}")
            log.warning("A call of %d findings failed (attempt %d), trying again: %s", len(items), attempt, failure)
            self._sleep(_pause(attempt - 1))

    def _log_progress(self, total: int, seconds: float) -> None:
        receipts = self.receipts
        rejected = receipts.rejected.total()
        log.info(
            "%s/%s: %d of %d findings accepted, %d rejected, %d calls, %.0f s.",
            receipts.account,
            receipts.region,
            receipts.accepted,
            total,
            rejected,
            receipts.calls,
            seconds,
        )


def _pause(attempt: int) -> float:
    """Exponential backoff with full jitter."""
    return random.uniform(0.5, 1.0) * min(_LONGEST_PAUSE, 0.5 * 2**attempt)


def _as_error(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "BatchImportFindings")
