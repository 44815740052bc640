"""Takes over, in the hub of one account and Region, what the customer decided about the findings of the old tools.

Read all, carry the decisions over, then archive: the hub itself is the record of how far it came. A process that dies
is started again, reads what the hub shows by then, and does what is left: a decision that is already on ours is not
sent again, and a finding that was archived says in its ``ProductFields`` that it was taken over. Nothing is deleted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from botocore.exceptions import ClientError

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.security_hub.archive_receipts import Archival
from airflow_provider_tenable.security_hub.archiving import ArchiveOutcome
from airflow_provider_tenable.security_hub.customer_updates import Refused, Update
from airflow_provider_tenable.security_hub.reader import FindingsReader, equals, refused
from airflow_provider_tenable.security_hub.take_over_matching import (
    NOT_IN_TENABLE,
    TAKEN_OVER,
    Estate,
    IsGone,
    Match,
    Seen,
)

#: An old tool that has written within so many milliseconds is taken for running.
STILL_WRITES_MS = 86_400_000
#: Why a finding stays although all of it was matched: one of ours could not be updated.
NOT_CARRIED = "not_carried"
#: Outcomes whose findings are archived.
DISPENSABLE = (TAKEN_OVER, NOT_IN_TENABLE)
#: An outcome: its document has a form that AWS does not document.
UNREADABLE = "unreadable"
#: Findings that the report names of each outcome.
EXAMPLES = 5


class StillWritingError(ConfigurationError):
    """The old tool still writes: what was taken over would be active again with its next run."""


class Updates(Protocol):
    """Sets fields: :class:`~airflow_provider_tenable.security_hub.customer_updates.CustomerUpdates` is one."""

    def run(self, updates: Iterable[Update]) -> Refused: ...


class Archive(Protocol):
    """Archives findings: :class:`~airflow_provider_tenable.security_hub.archiving.FindingsArchive` is one."""

    def run(self, wanted: Iterator[Archival]) -> ArchiveOutcome: ...


@dataclass
class TakenOver:
    """What became of the findings of the old tools, or would become of them.

    :ivar counts: outcome -> findings. ``examples``: outcome -> up to five (id, why).
    :ivar left: (id, outcome, why) of each that stays as it is.
    :ivar updates: fields that are set on findings of ours. ``decisions``: findings of the old tools with any decision.
    :ivar archived: findings of the old tools that the hub shows as archived, or does not have any more.
    :ivar archive: what became of their ids, which both tools may have used; None in a dry run.
    """

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    left: list[tuple[str, str, str]] = field(default_factory=list)
    updates: int = 0
    decisions: int = 0
    archived: int = 0
    archive: ArchiveOutcome | None = None

    def add(self, outcome: str, finding_id: str, why: str = "") -> None:
        """Count a finding."""
        self.counts[outcome] += 1
        examples = self.examples.setdefault(outcome, [])
        if len(examples) < EXAMPLES:
            examples.append((finding_id, why))
        if outcome not in DISPENSABLE:
            self.left.append((finding_id, outcome, why))


def read_estate(reader: FindingsReader, estate: Estate, account: str, region: str, arns: list[str]) -> None:
    """Read the findings of all these products, whatever their state.

    :raises DestinationRefusedError: reading is not allowed, or the hub is off.
    :raises TemporaryError: AWS cannot be reached, or something else answers in its place.
    """
    filters = {"ProductArn": equals(*arns), "AwsAccountId": equals(account), "Region": equals(region)}
    try:
        for findings, _ in reader.pages(filters):
            for finding in findings:
                estate.add(finding)
    except ClientError as error:
        raise refused(error) from None


def check_idle(last_written: int, now: int) -> None:
    """Refuse while the old tool still writes. Both in unix milliseconds.

    :raises StillWritingError: it has written within a day.
    """
    hours = (now - last_written) / 3_600_000
    if last_written > now - STILL_WRITES_MS:
        raise StillWritingError(
            f"The old tool has written findings {max(hours, 0):.1f} hours ago: it seems to run still, and would make "
            "active again what is archived here. Nothing was changed. Switch it off and wait a day, or confirm that it "
            "is off."
        )


def take_over(
    estate: Estate,
    *,
    is_gone: IsGone,
    updates: Updates,
    archive: Archive,
    dry_run: bool,
) -> TakenOver:
    """Carry the decisions over, and archive the findings of the old tools that are then dispensable.

    :raises DestinationRefusedError: not allowed; the message names the permission.
    :raises TemporaryError: AWS cannot be reached, or something else answers in its place; run again.
    """
    result = TakenOver()
    for finding_id, why in estate.unreadable.items():
        result.add(UNREADABLE, finding_id, why)
    matches = list(estate.matches(is_gone))
    wanted = [Update(ours.id, ours.product_arn, fields) for match in matches for ours, fields in match.updates]
    result.updates = sum(len(update.fields) for update in wanted)
    not_made = {} if dry_run else updates.run(wanted)
    archivals: list[Archival] = []
    dispensable: list[str] = []
    for match in matches:
        outcome, why = match.outcome, ", ".join(match.fields)
        for ours, _ in match.updates:
            if failure := not_made.get((ours.id, ours.product_arn)):
                outcome, why = NOT_CARRIED, f"{ours.id}: {failure[0]}: {failure[1]}"
        for old in match.old:
            result.add(outcome, old.id, why)
            result.decisions += bool(old.decided)
        if outcome in DISPENSABLE:
            archivals.extend(_archivals(match, outcome))
            dispensable.extend(old.id for old in match.old)
    if not dry_run:
        result.archive = archive.run(iter(archivals))
        settled = {*(finding_id for finding_id, _ in result.archive.archived), *result.archive.gone}
        result.archived = sum(finding_id in settled for finding_id in dispensable)
    return result


def _archivals(match: Match, reason: str) -> Iterator[Archival]:
    """What is to be archived: by id, because both tools may have used the same one."""
    by_id: dict[str, list[Seen]] = {}
    for each in match.old:
        by_id.setdefault(each.id, []).append(each)
    for finding_id, alike in by_id.items():
        # One above its own: the archive then marks, too, what the old tool has archived itself.
        yield Archival(finding_id, reason, max(each.updated_at for each in alike) + 1)


__all__ = [
    "DISPENSABLE",
    "NOT_CARRIED",
    "STILL_WRITES_MS",
    "UNREADABLE",
    "StillWritingError",
    "TakenOver",
    "check_idle",
    "read_estate",
    "take_over",
]
