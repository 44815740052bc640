"""Archives what a run has listed for an account and Region, and puts what became of it into the finding index.

``gone/{account}/{region}/archived.json`` is the record: by file of the list, what was archived and what was not.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_tenable.asff import row
from airflow_provider_tenable.exceptions import DamagedFileError
from airflow_provider_tenable.security_hub.archiving import (
    Archival,
    ArchiveOutcome,
    ArchiveReceipts,
    FindingsArchive,
    FindingsStore,
)
from airflow_provider_tenable.security_hub.rate_limit import TokenBucket
from airflow_provider_tenable.security_hub.reader import read_bucket
from airflow_provider_tenable.staging.crash_points import CrashPoint, reached
from airflow_provider_tenable.staging.files import read_json, write_json
from airflow_provider_tenable.state import parts as index_parts
from airflow_provider_tenable.state.gone import Gone, rows_to_archive

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_provider_tenable._compat import ObjectStoragePath
    from airflow_provider_tenable.staging.layout import RunFolder
    from airflow_provider_tenable.state.index import FindingIndex

log = logging.getLogger(__name__)

_RECORD = "archived.json"
#: The entry of ``ProductFields`` with the reason.
REASON_FIELD = "tenable/vulnerability-management/archived_because"
#: Why nothing was tried, next to Security Hub's own codes.
NOT_ALLOWED, REFUSED, NOT_DONE = "not_allowed", "destination_refused", "not_done"


class ArchivedFile(msgspec.Struct, frozen=True):
    """What became of the findings in a file of the list.

    :ivar archived: reason -> findings that the hub shows as archived.
    :ivar gone: findings that the hub did not have any more.
    :ivar refused: code -> findings that it did not archive.
    :ivar delta: the file of the finding index that says so; empty where there is nothing to say.
    """

    archived: dict[str, int]
    gone: int
    refused: dict[str, int]
    delta: str = ""


class Archived(msgspec.Struct):
    """``archived.json``.

    :ivar files: by the name of a file of the list; none for those that are not done.
    :ivar why_not: why the rest is not archived: :data:`NOT_ALLOWED` or :data:`REFUSED`, and the explanation.
    """

    files: dict[str, ArchivedFile] = {}
    why_not: tuple[str, str] | None = None


def read_archived(folder: ObjectStoragePath) -> Archived:
    """The record of what was archived; empty where there is none."""
    try:
        return msgspec.convert(read_json(folder / _RECORD) or {}, Archived)
    except (DamagedFileError, msgspec.ValidationError):
        # The receipts say the same again.
        return Archived()


def deltas_in(folder: ObjectStoragePath) -> list[str]:
    """The files of the finding index that say what was archived."""
    return sorted({each.delta for each in read_archived(folder).files.values() if each.delta})


def note_why_not(folder: ObjectStoragePath, code: str, explanation: str) -> None:
    """Record that the rest of a list is not archived, and why."""
    record = read_archived(folder)
    record.why_not = (code, explanation)
    write_json(folder / _RECORD, msgspec.to_builtins(record))


def outcome_of(gone: Gone, record: Archived) -> tuple[Counter[str], int, Counter[str]]:
    """Reason -> archived, how many the hub did not have any more, and code -> not archived, of a complete list."""
    archived: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    missing = 0
    for name, count in gone.files:
        if (done := record.files.get(name)) is None:
            refused[record.why_not[0] if record.why_not else NOT_DONE] += count
        else:
            archived.update(done.archived)
            refused.update(done.refused)
            missing += done.gone
    return archived, missing, refused


def archive_listed(
    run: RunFolder,
    account: str,
    region: str,
    gone: Gone,
    *,
    sender: FindingsStore,
    index: FindingIndex,
    product_arns: Iterable[str],
    planned_at: float,
    as_of: int,
    until: float | None = None,
    reason_of: Callable[[str, dict[str, Any]], str] | None = None,
    new_archive: Callable[..., FindingsArchive] = FindingsArchive,
) -> bool:
    """Archive the findings of a list, and record what became of them. May be repeated, and resumes.

    :param planned_at: when the run was planned, unix seconds.
    :param as_of: for which moment the run's export speaks, unix milliseconds.
    :param until: the time by the monotonic clock after which no further findings are read.
    :param reason_of: the reason of a finding, by the planned one and its document; None: the planned one.
    :return: whether it is done; if not, the time was up.
    :raises DestinationRefusedError: the hub is off, or refuses for another reason than a missing permission.
    :raises TemporaryError: Security Hub could not be reached for too long; a retry resumes.
    """
    folder = run.gone(account, region)
    record = read_archived(folder)
    record.why_not = None
    bucket, reads = TokenBucket(filled=0), read_bucket()
    for name, count in gone.files:
        if name in record.files:
            continue
        table = rows_to_archive(folder, name, count)
        work = new_archive(
            sender=sender,
            receipts=ArchiveReceipts(run, account, region, part=name.removesuffix(".parquet")),
            bucket=bucket,
            read_bucket=reads,
            reasons_field=REASON_FIELD,
            planned_at=datetime.fromtimestamp(planned_at, UTC),
            product_arns=product_arns,
            reason_of=reason_of,
        )
        outcome = work.run(_archivals(table), until)
        if outcome.not_allowed is None and not outcome.finished:
            return False
        if outcome.not_allowed is not None:
            log.warning(
                "%s/%s: %s is not allowed, so findings are not archived: %s",
                account,
                region,
                outcome.not_allowed,
                outcome.explanation,
            )
            record.why_not = (NOT_ALLOWED, outcome.explanation or outcome.not_allowed)
            write_json(folder / _RECORD, msgspec.to_builtins(record))
            return True
        for code, examples in sorted(outcome.examples.items()):
            log.warning(
                "%s/%s: %d findings were not archived: %s, such as %s.",
                account,
                region,
                outcome.refused[code],
                code,
                "; ".join(f"{finding_id} ({message})" for finding_id, message in examples),
            )
        record.files[name] = _recorded(table, outcome, index, int(1000 * planned_at), as_of)
        write_json(folder / _RECORD, msgspec.to_builtins(record))
        reached(CrashPoint.ARCHIVE_RECORDED)
    return True


def _archivals(table: pa.Table) -> list[Archival]:
    columns = table.select(["resource", "place", "reason", "updated_at", "sent_at"]).to_pydict()
    return [
        Archival(resource + place, reason, floor, sent_at)
        for resource, place, reason, floor, sent_at in zip(*columns.values(), strict=True)
    ]


def _recorded(table: pa.Table, outcome: ArchiveOutcome, index: FindingIndex, sent_at: int, as_of: int) -> ArchivedFile:
    """Put what was archived, and what was gone, into the index."""
    ids = [a + b for a, b in zip(table["resource"].to_pylist(), table["place"].to_pylist(), strict=True)]
    updated = dict(outcome.archived)
    missing = frozenset(outcome.gone)
    reasons: dict[str, str] = dict(zip(ids, table["reason"].to_pylist(), strict=True))
    settled = [number for number, finding_id in enumerate(ids) if finding_id in updated or finding_id in missing]
    delta = index.add(_rows(table.take(settled), ids, settled, updated, sent_at, as_of)) if settled else ""
    archived: Counter[str] = Counter(outcome.because.get(finding_id, reasons[finding_id]) for finding_id in updated)
    return ArchivedFile(dict(sorted(archived.items())), len(missing), dict(sorted(outcome.refused.items())), delta)


def _rows(
    table: pa.Table, ids: list[str], settled: list[int], updated: dict[str, int], sent_at: int, as_of: int
) -> pa.Table:
    """The rows as they are now: archived. One that the hub does not have is as one that was never sent."""
    import pyarrow as pa

    found = [updated.get(ids[number]) for number in settled]
    floors = table["updated_at"].to_pylist()
    contents = table["content"].to_pylist()
    changed: dict[str, Any] = {
        "archived": [True] * len(settled),
        "updated_at": [floor if moment is None else moment for moment, floor in zip(found, floors, strict=True)],
        "content": [
            row.UNKNOWN_CONTENT if moment is None else content for moment, content in zip(found, contents, strict=True)
        ],
        "sent_at": [sent_at] * len(settled),
        "as_of": [as_of] * len(settled),
    }
    schema = index_parts.schema()
    columns = {
        name: pa.array(changed[name], schema.field(name).type) if name in changed else table[name].combine_chunks()
        for name in schema.names
    }
    return pa.table(columns, schema=schema)


__all__ = [
    "NOT_ALLOWED",
    "NOT_DONE",
    "REASON_FIELD",
    "REFUSED",
    "Archived",
    "archive_listed",
    "deltas_in",
    "note_why_not",
    "outcome_of",
    "read_archived",
]
