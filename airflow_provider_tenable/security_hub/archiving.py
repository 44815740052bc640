"""Archives findings of one account and Region: reads the complete documents (GetFindings), and sends them back archived
(BatchImportFindings). Free of Airflow and of Tenable: the caller names the findings and the reasons.

The documents are not staged. Their bytes depend only on what the hub holds and on the plan, so that a process that dies
after a call and is started again sends the same bytes, which Security Hub ignores, or finds the finding archived.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any, Protocol

from botocore.exceptions import ClientError

from airflow_provider_tenable.security_hub.archive_documents import DeniedError, DocumentsById
from airflow_provider_tenable.security_hub.archive_outcome import (
    ANOTHER_PRODUCT,
    NOT_VISIBLE_YET,
    TOO_LARGE,
    UNREADABLE,
    ArchiveOutcome,
)
from airflow_provider_tenable.security_hub.archive_receipts import Archival, ArchiveReceipts
from airflow_provider_tenable.security_hub.archived_document import LARGEST_BYTES, archived_document, milliseconds_of
from airflow_provider_tenable.security_hub.batches import BATCH_FINDINGS, Item, batches
from airflow_provider_tenable.security_hub.rate_limit import TokenBucket
from airflow_provider_tenable.security_hub.reader import Finding, FindingsReader, PageSource
from airflow_provider_tenable.security_hub.responses import RETRY_SECONDS, denied_action, explain
from airflow_provider_tenable.security_hub.sender import BatchSender, Sender

_FLUSH_SECONDS = 30.0
#: A finding that was sent within so many milliseconds before the plan may not be visible yet, so that its absence means
#: nothing (GetFindings is eventually consistent; AWS names no bound).
_VISIBLE_MS = 15 * 60_000


class FindingsStore(PageSource, Sender, Protocol):
    """What archiving needs of Security Hub; :class:`~airflow_provider_tenable.hooks.security_hub.SecurityHubHook` is
    one.
    """


@dataclass
class _Sent:
    """An archival whose documents are being sent; several, if products share the id."""

    archival: Archival
    updated_at: int
    because: str
    left: int
    failure: tuple[str, str] | None = None


class FindingsArchive:
    """Archives findings until every one is accounted for.

    :param sender: makes the calls.
    :param receipts: of this account and Region, in this run.
    :param bucket: the rate of BatchImportFindings, shared with imports into the same account and Region.
    :param reasons_field: the key of ``ProductFields`` for the reason.
    :param planned_at: when the run was planned; an archived finding's ``UpdatedAt``, unless the hub's or the floor is
        later.
    :param product_arns: findings of other products are left alone and counted; None: any product.
    :param reason_of: the reason of a finding, by the planned one and its document; None: the planned one.
    :param read_bucket: the rate of GetFindings; None: 3 calls a second, shared with nobody.
    :param retry_seconds: how long a call is repeated during throttling, outages and time-outs.
    """

    def __init__(
        self,
        *,
        sender: FindingsStore,
        receipts: ArchiveReceipts,
        bucket: TokenBucket,
        reasons_field: str,
        planned_at: datetime,
        product_arns: Iterable[str] | None = None,
        reason_of: Callable[[str, Finding], str] | None = None,
        read_bucket: TokenBucket | None = None,
        retry_seconds: float = RETRY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.receipts = receipts
        self._reasons_field = reasons_field
        self._planned_at = int(planned_at.timestamp() * 1000)
        self._product_arns = None if product_arns is None else frozenset(product_arns)
        self._reason_of = reason_of or (lambda planned, finding: planned)
        self._clock = clock
        self._reader = FindingsReader(sender, bucket=read_bucket, retry_seconds=retry_seconds, clock=clock, sleep=sleep)
        self._sender = BatchSender(
            sender=_NotesDenials(sender), bucket=bucket, retry_seconds=retry_seconds, clock=clock, sleep=sleep
        )
        self._documents = DocumentsById(self._reader, receipts.account, receipts.region)
        self._outcome = ArchiveOutcome()
        self._items: list[Item] = []
        self._sent: dict[int, _Sent] = {}
        self._numbers = count()

    def stop(self) -> None:
        """Stop soon (for other threads): the call under way is recorded, then :meth:`run` raises TemporaryError."""
        self._reader.stop()
        self._sender.stop()

    def run(self, wanted: Iterable[Archival], until: float | None = None) -> ArchiveOutcome:
        """Archive what has no receipt yet.

        :param wanted: distinct findings, in any order; at most about 100,000 at a time, because the outcome lists them.
        :param until: the time by ``clock`` after which no further findings are read. Some always are, so that every
            call makes progress.
        :raises DestinationRefusedError: the hub is off, or refuses for another reason than a missing permission.
        :raises ConfigurationError: unusable credentials.
        :raises TemporaryError: Security Hub could not be reached for too long; a retry resumes.
        """
        self._outcome, self._items, self._sent = ArchiveOutcome(), [], {}
        asked: dict[str, Archival] = {}

        def unsettled() -> Iterator[str]:
            for archival in wanted:
                if settled := self.receipts.of(archival):
                    self._outcome.add(settled)
                elif archival.finding_id not in asked:
                    asked[archival.finding_id] = archival
                    yield archival.finding_id

        flushed = self._clock()
        try:
            for found in self._documents.read(unsettled(), lambda: until is None or self._clock() < until):
                for finding_id, findings in found.items():
                    self._classify(asked.pop(finding_id), findings)
                # The rest fills up with what is read next.
                while len(self._items) >= BATCH_FINDINGS:
                    full, self._items = self._items[:BATCH_FINDINGS], self._items[BATCH_FINDINGS:]
                    self._send(full)
                if self._clock() - flushed >= _FLUSH_SECONDS:
                    self.receipts.flush()
                    flushed = self._clock()
            self._send(self._items)
            self._outcome.finished = self._documents.exhausted
        except DeniedError as denied:
            self._outcome.not_allowed, self._outcome.explanation = denied.action, denied.explanation
        finally:
            # What was read and not sent has no receipt: it is read again.
            self.receipts.flush()
        return self._outcome

    def _classify(self, archival: Archival, found: list[Finding]) -> None:
        """Settle an archival, or queue its documents."""
        if not found:
            if archival.sent_at is not None and archival.sent_at > self._planned_at - _VISIBLE_MS:
                self._refuse(archival, NOT_VISIBLE_YET, "It was sent shortly before; the next run archives it.")
            else:
                self._outcome.add(self.receipts.gone(archival))
            return
        arns = self._product_arns
        ours = [finding for finding in found if arns is None or str(finding.get("ProductArn")) in arns]
        if not ours:
            self._refuse(archival, ANOTHER_PRODUCT, f"The hub has it as a finding of {found[0].get('ProductArn')}.")
            return
        latest, queued = archival.floor, []
        because = archival.reason
        for finding in ours:
            updated_at = milliseconds_of(finding.get("UpdatedAt"))
            if updated_at is None or not isinstance(finding.get("ProductFields", {}), dict):
                self._refuse(archival, UNREADABLE, "Its UpdatedAt or its ProductFields cannot be read.")
                return
            because = self._reason_of(archival.reason, finding)
            # An older archived version is one that our newer, active one has not replaced yet.
            if finding.get("RecordState") == "ARCHIVED" and updated_at >= archival.floor:
                latest = max(latest, updated_at)
                continue
            newer = max(self._planned_at, archival.floor + 1, updated_at + 1)
            latest = max(latest, newer)
            data = archived_document(finding, reason_field=self._reasons_field, reason=because, updated_at=newer)
            if len(data) > LARGEST_BYTES:
                self._refuse(archival, TOO_LARGE, f"It has {len(data)} bytes; the limit is {LARGEST_BYTES}.")
                return
            queued.append(data)
        if not queued:
            self._outcome.add(self.receipts.archived(archival, latest, because))
            return
        sent = _Sent(archival, latest, because, len(queued))
        for data in queued:
            number = next(self._numbers)
            self._sent[number] = sent
            self._items.append(Item("", number, archival.finding_id, data))

    def _send(self, items: list[Item]) -> None:
        for batch in batches(iter(items), size=BATCH_FINDINGS):
            outcome = self._sender.send(batch)
            for item in outcome.accepted:
                self._answered(item, None)
            for item, code, message in outcome.rejected:
                self._answered(item, (code, message))

    def _answered(self, item: Item, failure: tuple[str, str] | None) -> None:
        sent = self._sent.pop(item.line)
        sent.left -= 1
        sent.failure = sent.failure or failure
        if sent.left:
            return
        if sent.failure:
            self._refuse(sent.archival, *sent.failure)
        else:
            self._outcome.add(self.receipts.archived(sent.archival, sent.updated_at, sent.because))

    def _refuse(self, archival: Archival, code: str, message: str) -> None:
        self._outcome.add(self.receipts.refused(archival, code, message))


class _NotesDenials:
    """Passes calls on; a denial of the permission ends the work instead of failing it."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def import_batch(self, lines: list[bytes]) -> dict[str, Any]:
        try:
            return self._sender.import_batch(lines)
        except ClientError as error:
            if action := denied_action(error):
                raise DeniedError(action, explain(error)) from None
            raise


__all__ = ["Archival", "ArchiveOutcome", "ArchiveReceipts", "FindingsArchive", "FindingsStore"]
