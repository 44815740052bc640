"""Takes over in one hub: reads it page by page, then carries the decisions over and archives the old findings."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
from botocore.exceptions import ClientError

from airflow_provider_tenable.aws import TENABLE_PRODUCT, product_arn
from airflow_provider_tenable.exceptions import AwsRefusedError, DamagedFileError, StagingError
from airflow_provider_tenable.run.last_import import source_of
from airflow_provider_tenable.run.plan_file import plan_of
from airflow_provider_tenable.run.reported import gone_of, never
from airflow_provider_tenable.run.take_over import (
    ESTATE,
    RESULT,
    EstateRead,
    TakeOverPlan,
    TakeOverResult,
    read_result_of,
)
from airflow_provider_tenable.security_hub.archiving import (
    Archival,
    ArchiveOutcome,
    ArchiveReceipts,
    FindingsArchive,
    FindingsStore,
)
from airflow_provider_tenable.security_hub.customer_updates import CustomerUpdates, Refused, Update, UpdateSource
from airflow_provider_tenable.security_hub.old_tool_ids import sechubingest_arns
from airflow_provider_tenable.security_hub.rate_limit import TokenBucket
from airflow_provider_tenable.security_hub.reader import (
    Finding,
    FindingsReader,
    PageSource,
    equals,
    read_bucket,
    refused,
)
from airflow_provider_tenable.security_hub.take_over import TakenOver, check_idle, take_over
from airflow_provider_tenable.security_hub.take_over_matching import Estate, IsGone
from airflow_provider_tenable.security_hub.take_over_pages import (
    FINDINGS_OF_FILE,
    STALE_SECONDS,
    EstatePages,
    Progress,
    TakeOverCrashPoint,
)
from airflow_provider_tenable.staging.crash_points import reached
from airflow_provider_tenable.staging.files import read_json, write_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import write_lines
from airflow_provider_tenable.state.archive import REASON_FIELD
from airflow_provider_tenable.state.registry import read_state

log = logging.getLogger(__name__)

#: Codes with which AWS refuses a token that has become invalid: the pages are read from the first one again.
_BAD_TOKEN = frozenset({"InvalidInputException", "InvalidInput", "ValidationException"})
#: Findings that are archived together: receipts and outcome take about 600 bytes of memory for each.
_ARCHIVED_TOGETHER = 50_000
_UPDATED = "updated.json"
NOT_ARCHIVED = "not_archived"


class Hub(FindingsStore, UpdateSource, Protocol):
    """What a takeover needs of Security Hub: :class:`~airflow_provider_tenable.hooks.security_hub.SecurityHubHook` is
    one.
    """


class TimeUpError(Exception):
    """The time of this piece was up before everything was archived."""


def estate_arns(account: str, region: str, product: str, id_scheme: str) -> tuple[list[str], list[str]]:
    """The ARNs of the products of the old tools, and of ours.

    :param product: ours: ``company/product`` or ``default``.
    """
    ours = product_arn(product, region=region, account=account)
    theirs = product_arn(TENABLE_PRODUCT, region=region, account=account)
    return [*sechubingest_arns(region), *([theirs] if theirs != ours else [])], [ours]


def read_hub(
    run: RunFolder,
    plan: TakeOverPlan,
    account: str,
    region: str,
    *,
    source: PageSource,
    product: str,
    until: float | None,
) -> EstateRead | None:
    """Read the hub of an account and Region, or go on with it.

    :param until: the time by the monotonic clock after which no further page is read.
    :return: None where the time was up.
    :raises DestinationRefusedError: the hub is off, or reading is not allowed; the message names the permission.
    :raises TemporaryError: Security Hub cannot be reached; a retry resumes.
    :raises StagingError: the staging area does not answer, or what was read is damaged.
    """
    place = f"{account}/{region}"
    pages = EstatePages(run.take_over(account, region), REASON_FIELD)
    progress = pages.progress()
    if progress is None or _is_stale(progress):
        progress = pages.begin()
    old, ours = estate_arns(account, region, product, plan["id_scheme"])
    try:
        if not (progress.complete or _read(pages, progress, source, account, region, [*old, *ours], until)):
            return None
    except ClientError as error:
        if progress.token is None or error.response.get("Error", {}).get("Code") not in _BAD_TOKEN:
            raise refused(error) from None
        log.warning(
            "%s: the token of page %d is not valid any more: it is read from the beginning.", place, progress.pages
        )
        pages.begin()
        return None
    estate = _estate(plan, account, region, product, pages.findings(progress))
    found = EstateRead(progress.findings, estate.last_written)
    write_json(pages.folder / ESTATE, msgspec.to_builtins(found))
    return found


def _is_stale(progress: Progress) -> bool:
    return progress.began < time.time() - STALE_SECONDS


def note_refused(run: RunFolder, account: str, region: str, why: str) -> None:
    """Put on record that a hub could not be read: it is left alone."""
    write_json(run.take_over(account, region) / ESTATE, msgspec.to_builtins(EstateRead(refused=why)))


def _read(
    pages: EstatePages,
    progress: Progress,
    source: PageSource,
    account: str,
    region: str,
    arns: list[str],
    until: float | None,
) -> bool:
    """Read the pages that are left. :return: whether all are; if not, the time was up."""
    filters = {"ProductArn": equals(*arns), "AwsAccountId": equals(account), "Region": equals(region)}
    waiting: list[Finding] = []
    for findings, token in FindingsReader(source).pages(filters, next_token=progress.token):
        waiting += findings
        progress.pages += 1
        progress.token, progress.complete = token, token is None
        late = until is not None and time.monotonic() > until
        if progress.complete or late or len(waiting) >= FINDINGS_OF_FILE:
            pages.add(progress, waiting)
            waiting = []
            log.info("%s/%s: %d findings in %d pages were read.", account, region, progress.findings, progress.pages)
        if late and not progress.complete:
            return False
    return True


def _estate(plan: TakeOverPlan, account: str, region: str, product: str, findings: Iterable[Finding]) -> Estate:
    old, ours = estate_arns(account, region, product, plan["id_scheme"])
    estate = Estate(
        account,
        region,
        old_arns=old,
        our_arns=ours,
        ids_like_tvm2aws=plan["id_scheme"] == "tvm2aws",
        reason_field=REASON_FIELD,
    )
    for finding in findings:
        estate.add(finding)
    return estate


def take_over_hub(
    run: RunFolder,
    plan: TakeOverPlan,
    account: str,
    region: str,
    *,
    hub: Hub,
    product: str,
    until: float | None,
) -> TakeOverResult | None:
    """Carry over and archive what was read of the hub of an account and Region. May be repeated, and resumes.

    :return: None where the time was up.
    :raises AwsRefusedError: a permission is missing; the message names it.
    :raises DestinationRefusedError: the same, or the hub is off.
    :raises TemporaryError: Security Hub cannot be reached; a retry resumes.
    :raises StillWritingError: an old tool has written since the hubs were checked.
    :raises StagingError: what was read is damaged.
    """
    place = f"{account}/{region}"
    if (done := read_result_of(run, place)) is not None:
        return done
    # Nothing is read again, unless it was read long ago.
    if read_hub(run, plan, account, region, source=hub, product=product, until=until) is None:
        return None
    pages = EstatePages(run.take_over(account, region), REASON_FIELD)
    progress = pages.progress()
    if progress is None or not progress.complete:
        raise StagingError(f"What was read of {place} is missing or damaged. Clear the run from read_hubs on.")
    estate = _estate(plan, account, region, product, pages.findings(progress))
    if not (plan["dry_run"] or plan["old_tool_is_off"]):
        check_idle(estate.last_written, int(1000 * plan["planned_at"]))
    is_gone: IsGone = never
    why_unknown = ""
    if not plan["why_unknown"]:
        last = run.of_dag(plan["dag_id"], plan["run_id"])
        source = plan["source"] or source_of(last)
        is_gone, why_unknown = gone_of(
            run.root / "take_over",
            last,
            plan_of(last),
            read_state(last.finding_index, source),
            place,
            estate.unmatched(),
        )
    old, ours = estate_arns(account, region, product, plan["id_scheme"])
    archive = _Archive(
        run,
        account,
        region,
        hub=hub,
        planned_at=datetime.fromtimestamp(plan["planned_at"], UTC),
        # With the ids of tvm2aws, those of our product are ours.
        product_arns=old if plan["id_scheme"] == "tvm2aws" else [*old, *ours],
        until=until,
    )
    try:
        taken = take_over(
            estate,
            is_gone=is_gone,
            updates=_RecordedUpdates(pages.folder, hub),
            archive=archive,
            dry_run=plan["dry_run"],
        )
    except TimeUpError:
        return None
    taken.left += archive.left
    result = _result(pages.folder, taken, estate, why_unknown)
    write_json(pages.folder / RESULT, msgspec.to_builtins(result))
    reached(TakeOverCrashPoint.RECORDED)
    return result


def _result(folder: Any, taken: TakenOver, estate: Estate, why_unknown: str) -> TakeOverResult:
    result = TakeOverResult(
        counts=dict(taken.counts),
        examples=taken.examples,
        updates=taken.updates,
        decisions=taken.decisions,
        done=estate.done,
        why_unknown=why_unknown,
    )
    if taken.archive is not None:
        result.archived = taken.archived
        result.not_archived = dict(taken.archive.refused)
    if taken.left:
        lines = (msgspec.json.encode({"id": each, "outcome": outcome, "why": why}) for each, outcome, why in taken.left)
        result.left_at = str(folder / write_lines(folder, "left", lines))
        reached(TakeOverCrashPoint.LEFT_LISTED)
    return result


class _RecordedUpdates:
    """Makes the updates once, and has on record which of them were refused."""

    def __init__(self, folder: Any, hub: UpdateSource) -> None:
        self._path = folder / _UPDATED
        self._hub = hub

    def run(self, updates: Iterable[Update]) -> Refused:
        try:
            entries = read_json(self._path, advice="")
        except DamagedFileError:
            # They may be made again.
            entries = None
        if entries is None:
            refused = CustomerUpdates(self._hub).run(updates)
            write_json(self._path, [[*key, *why] for key, why in refused.items()])
            reached(TakeOverCrashPoint.UPDATES_RECORDED)
            return refused
        return {(finding_id, arn): (code, message) for finding_id, arn, code, message in entries}


class _Archive:
    """Archives any number of findings, some ten thousand at a time.

    :ivar left: (id, outcome, why) of each that could not be archived.
    """

    def __init__(
        self,
        run: RunFolder,
        account: str,
        region: str,
        *,
        hub: FindingsStore,
        planned_at: datetime,
        product_arns: list[str],
        until: float | None,
        new_archive: Callable[..., FindingsArchive] = FindingsArchive,
    ) -> None:
        self._run, self._account, self._region = run, account, region
        self._new = new_archive
        self._options: dict[str, Any] = {
            "sender": hub,
            "bucket": TokenBucket(filled=0),
            "read_bucket": read_bucket(),
            "reasons_field": REASON_FIELD,
            "planned_at": planned_at,
            "product_arns": product_arns,
        }
        self._until = until
        self.left: list[tuple[str, str, str]] = []

    def run(self, wanted: Iterator[Archival]) -> ArchiveOutcome:
        """:raises TimeUpError: call it again. :raises AwsRefusedError: a permission is missing."""
        total = ArchiveOutcome(finished=True)
        for number in itertools.count():
            together = list(itertools.islice(wanted, _ARCHIVED_TOGETHER))
            if not together:
                return total
            receipts = ArchiveReceipts(self._run, self._account, self._region, part=f"part{number:05d}")
            outcome = self._new(receipts=receipts, **self._options).run(together, self._until)
            if outcome.not_allowed:
                raise AwsRefusedError(
                    f"The decisions were carried over, and findings of the old tools cannot be archived: "
                    f"{outcome.explanation}"
                )
            if not outcome.finished:
                raise TimeUpError
            total.archived += outcome.archived
            total.gone += outcome.gone
            total.refused.update(outcome.refused)
            for archival in together:
                settled = receipts.of(archival)
                if settled is not None and settled.code is not None:
                    self.left.append((archival.finding_id, NOT_ARCHIVED, f"{settled.code}: {settled.message}"))
        return total


__all__ = ["NOT_ARCHIVED", "Hub", "TimeUpError", "estate_arns", "note_refused", "read_hub", "take_over_hub"]
