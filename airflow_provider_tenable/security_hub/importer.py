"""The import of the findings of one account and Region. Free of Airflow: the caller passes a sender, receipts and a
clock.

A few calls are in flight at a time, and share one rate. Every finding is accepted, or rejected with a code, or the
import stops and reports the reason.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import LONGEST_CODE, LONGEST_MESSAGE, safe
from airflow_provider_tenable.security_hub import batches as limits
from airflow_provider_tenable.security_hub.batches import Item, batches, identify
from airflow_provider_tenable.security_hub.rate_limit import TokenBucket
from airflow_provider_tenable.security_hub.receipts import Receipts
from airflow_provider_tenable.security_hub.responses import RETRY_SECONDS
from airflow_provider_tenable.security_hub.sender import BatchSender, Outcome, Sender

log = logging.getLogger(__name__)

#: If this many findings are rejected and none is accepted, the cause is not the findings.
_HOPELESS = 1_000
_FLUSH_SECONDS = 2.0
_PROGRESS_SECONDS = 15.0


class FindingsImport:
    """Sends findings until every one is accounted for.

    :param in_flight: concurrent calls; a single one cannot reach the rate if a response takes more than 100 ms.
    :param denied_seconds: for how long from now denied calls are retried, because the account has just been subscribed
        to the product.
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
        denied_seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.receipts = receipts
        self.batch_size = batch_size
        self.in_flight = in_flight
        bucket = bucket or TokenBucket(clock=clock, sleep=sleep)
        self._sender = BatchSender(
            sender=sender,
            bucket=bucket,
            retry_seconds=retry_seconds,
            denied_seconds=denied_seconds,
            clock=clock,
            sleep=sleep,
        )
        self._clock = clock
        self._refuses_all = False

    def stop(self) -> None:
        """Stop soon (for other threads): calls in flight are awaited and recorded, then :meth:`run` raises
        TemporaryError.
        """
        self._sender.stop()

    def run(self, parts: Iterable[tuple[str, Iterable[bytes]]], total: int, *, until: float | None = None) -> bool:
        """Import the lines of all parts that have no receipt yet.

        :param parts: (name, lines) of each part, always in the same order. An empty line stands for a finding that is
            not sent.
        :param total: total number of findings to send, for the progress in the log.
        :param until: the time by ``clock`` after which no further batch is started. At least one is always sent, so
            that every call makes progress.
        :return: whether everything was sent.
        :raises ConfigurationError: Security Hub denies access; nothing further was sent.
        :raises TemporaryError: it could not be reached for too long; a retry resumes.
        """
        began = last_reported = flushed = self._clock()
        pending: set[Future[Outcome]] = set()
        done: set[Future[Outcome]] = set()
        source = batches(self._items(parts), size=self.batch_size)
        begun = exhausted = False
        with ThreadPoolExecutor(max_workers=self.in_flight, thread_name_prefix="securityhub-import") as pool:
            try:
                while True:
                    while (
                        not exhausted
                        and len(pending) < self.in_flight
                        and (until is None or not begun or self._clock() < until)
                    ):
                        batch = next(source, None)
                        if batch is None:
                            exhausted = True
                        else:
                            begun = True
                            pending.add(pool.submit(self._sender.send, batch))
                    if not pending:
                        return exhausted
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    while done:
                        outcome = done.pop().result()
                        self._record(outcome)
                        self._stop_if_hopeless(outcome)
                    now = self._clock()
                    if now - flushed >= _FLUSH_SECONDS:
                        self.receipts.flush()
                        flushed = now
                    if now - last_reported >= _PROGRESS_SECONDS:
                        self._log_progress(total, now - began)
                        last_reported = now
            except BaseException:
                # Calls in flight still count: the hub has their findings, whatever the receipts say.
                self._sender.stop()
                for future in done | pending:
                    if not future.cancel() and future.exception() is None:
                        self._record(future.result())
                raise
            finally:
                self._log_progress(total, self._clock() - began)
                self._close()

    def _items(self, parts: Iterable[tuple[str, Iterable[bytes]]]) -> Iterator[Item]:
        for name, lines in parts:
            for number, data in enumerate(lines):
                if data and not self.receipts.is_done(name, number):
                    yield Item(name, number, identify(data), data)

    def _record(self, outcome: Outcome) -> None:
        self.receipts.calls += outcome.calls
        for part, first, last in _runs(outcome.accepted):
            self.receipts.accept_all(part, first, last)
        for item, code, message in outcome.rejected:
            self.receipts.reject(
                item.part, item.line, finding_id=item.id, code=code, message=message, finding=item.data
            )

    def _stop_if_hopeless(self, outcome: Outcome) -> None:
        refused = self.receipts.rejected.total() if outcome.rejected else 0
        if refused >= _HOPELESS and not self.receipts.accepted:
            _, code, message = outcome.rejected[-1]
            self._refuses_all = True
            raise ConfigurationError(
                f"Security Hub CSPM rejected all of the first {refused} findings, the last with "
                f"{safe(code, LONGEST_CODE)}: {safe(message, LONGEST_MESSAGE)} The import was stopped; the rejected "
                f"findings are in {self.receipts.run.rejected}. Fix the cause, then clear this task."
            )

    def _close(self) -> None:
        self.receipts.flush()
        if self._refuses_all:
            # Calls that were in flight are recorded in rejected/ too; once the cause is fixed, the cleared task must
            # send all of them again.
            self.receipts.reopen()
            self.receipts.flush()

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


def _runs(items: list[Item]) -> Iterator[tuple[str, int, int]]:
    """Adjacent lines of a part as (part, first, last); usually a single range per batch."""
    begin = 0
    for end in range(1, len(items) + 1):
        if end == len(items) or items[end].line != items[end - 1].line + 1 or items[end].part != items[begin].part:
            yield items[begin].part, items[begin].line, items[end - 1].line
            begin = end
