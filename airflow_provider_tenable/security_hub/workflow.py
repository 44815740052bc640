"""The workflow status of findings whose risk was accepted: set to SUPPRESSED, and back to NEW, without touching what a
person has decided.

The hub itself says who suppressed a finding. The same call that suppresses it writes a note, whose ``UpdatedBy`` names
us, and BatchUpdateFindings changes a finding as a whole. So nothing is lost where a process dies after a call, or where
the answer of a call is lost: whoever reads the finding sees what happened.

===========================  ===========================================  ========================================
the finding                  its risk is accepted                         its risk is not accepted (any more)
===========================  ===========================================  ========================================
NEW, without a note          suppressed, with our note                    left alone
SUPPRESSED, our note         left alone: done                             NEW, with another note of ours
NEW, our note that it is     left alone: a person has taken it back       left alone
suppressed
NEW, our note that it ended  suppressed again                             left alone
all others                   left alone: a person works on it             left alone
===========================  ===========================================  ========================================
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Any, Protocol

from botocore.exceptions import ClientError
from msgspec import Struct, field

from airflow_provider_tenable.exceptions import TemporaryError
from airflow_provider_tenable.security_hub.archive_documents import DeniedError, DocumentsById
from airflow_provider_tenable.security_hub.customer_updates import CustomerUpdates, Refused, Update, UpdateSource
from airflow_provider_tenable.security_hub.reader import Finding, FindingsReader, PageSource, equals, refused
from airflow_provider_tenable.security_hub.responses import RETRY_SECONDS, denied_action, explain

SUPPRESSED, NEW = "SUPPRESSED", "NEW"
#: The texts of our notes: by them we recognise what we did last.
ACCEPTED_TEXT = "Suppressed because its risk is accepted in Tenable. Becomes NEW again when the rule there ends."
ENDED_TEXT = "NEW again because its risk is not accepted in Tenable any more."
#: Why a finding is left alone: a person has set its workflow, has written a note, has taken back what we did.
WORKFLOW, NOTE, TAKEN_BACK = "workflow", "note", "taken_back"

#: Id and ARN of the product of a finding.
Key = tuple[str, str]


class HubSource(PageSource, UpdateSource, Protocol):
    """What this needs of Security Hub."""


class Verdicts(Struct):
    """What is to become of findings whose risk is accepted.

    :ivar suppress: those that are to be suppressed.
    :ivar unseen: those that the hub does not show, because it does not show them yet, or has deleted them.
    :ivar left: why others are left alone -> how many.
    """

    suppress: list[Key] = field(default_factory=list)
    unseen: list[Key] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)


class AcceptedWorkflow:
    """Findings of one account and Region.

    :param by: ``UpdatedBy`` of our notes. Notes of other DAGs are those of persons to us.
    :param retry_seconds: how long a call is repeated during throttling, outages and time-outs.
    """

    def __init__(
        self,
        source: HubSource,
        account: str,
        region: str,
        by: str,
        *,
        retry_seconds: float = RETRY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._where = (account, region)
        self._by = by
        self._reader = FindingsReader(source, retry_seconds=retry_seconds, clock=clock, sleep=sleep)
        self._updates = CustomerUpdates(source, retry_seconds=retry_seconds, clock=clock, sleep=sleep)

    def ours(self) -> set[Key]:
        """The findings that we have suppressed, and that nobody has changed since; also archived ones.

        :raises DeniedError: GetFindings is not allowed.
        :raises DestinationRefusedError: the hub is off.
        :raises TemporaryError: AWS cannot be reached, or something else answers in its place.
        """
        account, region = self._where
        filters = {
            "AwsAccountId": equals(account),
            "Region": equals(region),
            "WorkflowStatus": equals(SUPPRESSED),
            "NoteUpdatedBy": equals(self._by),
        }
        found: set[Key] = set()
        try:
            for findings, _ in self._reader.pages(filters):
                found.update(self._ours_of(finding) for finding in findings)
        except ClientError as error:
            if action := denied_action(error):
                raise DeniedError(action, explain(error)) from None
            raise refused(error) from None
        return found

    def _ours_of(self, finding: Finding) -> Key:
        finding_id, arn = finding.get("Id"), finding.get("ProductArn")
        note = _note_of(finding)
        asked_for = (finding.get("AwsAccountId"), finding.get("Region")) == self._where
        if (
            not (asked_for and isinstance(finding_id, str) and isinstance(arn, str))
            or _status_of(finding) != SUPPRESSED
            or note is None
            or note.get("UpdatedBy") != self._by
        ):
            raise TemporaryError(
                "GetFindings returned a finding that does not pass the filters: does something else answer in place of "
                "AWS?"
            )
        return finding_id, arn

    def look_at(self, wanted: Collection[Key]) -> Verdicts:
        """What is to become of findings whose risk is accepted, and that are not :meth:`ours`. Errors as of it."""
        found = Verdicts()
        by_id: dict[str, list[Key]] = {}
        for key in wanted:
            by_id.setdefault(key[0], []).append(key)
        documents = DocumentsById(self._reader, *self._where)
        for chunk in documents.read(by_id, lambda: True):
            for finding_id, read in chunk.items():
                of_product = {finding.get("ProductArn"): finding for finding in read}
                for key in by_id[finding_id]:
                    if (finding := of_product.get(key[1])) is None:
                        found.unseen.append(key)
                    elif why := self._why_left(finding):
                        found.left[why] += 1
                    else:
                        found.suppress.append(key)
        return found

    def _why_left(self, finding: Finding) -> str:
        if _status_of(finding) != NEW:
            return WORKFLOW
        if "Note" not in finding or finding["Note"] is None:
            return ""
        note = _note_of(finding)
        if note is None or note.get("UpdatedBy") != self._by:
            return NOTE
        return "" if note.get("Text") == ENDED_TEXT else TAKEN_BACK

    def suppress(self, keys: Iterable[Key]) -> Refused:
        """Suppress findings. :return: those that were refused, as of :meth:`CustomerUpdates.run`, with its errors."""
        return self._set(keys, SUPPRESSED, ACCEPTED_TEXT)

    def reopen(self, keys: Iterable[Key]) -> Refused:
        """Set findings to NEW. :return: as above."""
        return self._set(keys, NEW, ENDED_TEXT)

    def _set(self, keys: Iterable[Key], status: str, text: str) -> Refused:
        fields: dict[str, Any] = {"Workflow": {"Status": status}, "Note": {"Text": text, "UpdatedBy": self._by}}
        return self._updates.run(Update(finding_id, arn, fields) for finding_id, arn in keys)


def _status_of(finding: Finding) -> object:
    """The workflow status; what cannot be read is none that we would change."""
    workflow = finding.get("Workflow")
    if workflow is None:
        return NEW
    return workflow.get("Status", NEW) if isinstance(workflow, dict) else None


def _note_of(finding: Finding) -> dict[str, Any] | None:
    note = finding.get("Note")
    return note if isinstance(note, dict) else None


__all__ = ["ACCEPTED_TEXT", "ENDED_TEXT", "NOTE", "TAKEN_BACK", "WORKFLOW", "AcceptedWorkflow", "Key", "Verdicts"]
