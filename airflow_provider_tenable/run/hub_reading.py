"""Audits one hub: reads it page by page, compares, and corrects the finding index where that was asked for."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import ClientError

from airflow_provider_tenable.exceptions import DamagedFileError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.run.hub_audit import RESULT, AuditPlan, AuditResult, index_state, prefixes, scope_of
from airflow_provider_tenable.security_hub.reader import FindingsReader, PageSource, equals, refused
from airflow_provider_tenable.staging.crash_points import reached
from airflow_provider_tenable.staging.files import names, read_json, write_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.state import parts as index_parts
from airflow_provider_tenable.state.hub_audit import HubAudit
from airflow_provider_tenable.state.hub_pages import ROWS_OF_FILE, AuditCrashPoint, HubPages, Progress
from airflow_provider_tenable.state.hub_rows import hub_rows
from airflow_provider_tenable.state.index import FindingIndex
from airflow_provider_tenable.state.registry import IndexState, note_written
from airflow_provider_tenable.state.snapshot import ROWS_OF_DELTA, LostIndexError

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)


class Compared(msgspec.Struct):
    """What a hub was found to differ in, and the files with the rows that correct the index."""

    result: AuditResult
    repairs: list[tuple[str, int]] = []


#: Codes with which AWS refuses a token that has become invalid: the pages are read from the first one again.
_BAD_TOKEN = frozenset({"InvalidInputException", "InvalidInput", "ValidationException"})


def audit_hub(
    run: RunFolder,
    plan: AuditPlan,
    account: str,
    region: str,
    *,
    source: PageSource,
    product_arns: list[str],
    until: float | None,
) -> AuditResult | None:
    """Audit the hub of an account and Region, or go on with it.

    :param product_arns: of the findings that may be ours.
    :param until: the time by the monotonic clock after which no further page is read.
    :return: None where the time was up.
    :raises DestinationRefusedError: the hub is off, or reading is not allowed; the message names the permission.
    :raises TemporaryError: Security Hub cannot be reached; a retry resumes.
    :raises StagingError: the staging area does not answer, or what was read is damaged.
    """
    folder = run.hub_audit(account, region)
    if (done := _result(folder)) is not None:
        return done
    pages = HubPages(folder)
    state = index_state(run, plan)
    place = f"{account}/{region}"
    progress = pages.progress() or pages.begin(_first(plan, state, account, region))
    try:
        finished = progress.complete or _read(pages, progress, source, account, region, product_arns, until)
    except ClientError as error:
        if progress.token is None or error.response.get("Error", {}).get("Code") not in _BAD_TOKEN:
            raise refused(error) from None
        log.warning(
            "%s: the token of page %d is not valid any more: it is read from the beginning.", place, progress.pages
        )
        pages.begin(_first(plan, state, account, region))
        return None
    if not finished:
        return None
    result = _compare(run, plan, pages, progress, state, place)
    write_json(folder / RESULT, msgspec.to_builtins(result))
    reached(AuditCrashPoint.AUDIT_RECORDED)
    return result


def _result(folder: Any) -> AuditResult | None:
    try:
        value = read_json(folder / RESULT, advice="")
        return None if value is None else msgspec.convert(value, AuditResult)
    except (DamagedFileError, msgspec.ValidationError):
        return None


def _first(plan: AuditPlan, state: IndexState, account: str, region: str) -> Progress:
    place = f"{account}/{region}"
    return Progress(int(1000 * time.time()), prefixes(plan, account, region), _made_of(state.index(place)))


def _made_of(index: FindingIndex) -> list[str]:
    """What an index consists of: its files have the digests of their contents in their names."""
    return sorted(name for name in names(index.folder) if name.endswith(".parquet") or name.startswith("delta"))


def _read(
    pages: HubPages,
    progress: Progress,
    source: PageSource,
    account: str,
    region: str,
    product_arns: list[str],
    until: float | None,
) -> bool:
    """Read the pages that are left. :return: whether all are; if not, the time was up."""
    import pyarrow as pa

    filters: dict[str, Any] = {
        "ProductArn": equals(*product_arns),
        "AwsAccountId": equals(account),
        "Region": equals(region),
    }
    if progress.prefixes:
        filters["Id"] = [{"Value": each, "Comparison": "PREFIX"} for each in progress.prefixes]
    waiting: list[pa.Table] = []
    for documents, token in FindingsReader(source).pages(filters, next_token=progress.token):
        table, others, unreadable = hub_rows(documents, account)
        waiting.append(table)
        progress.others += others
        progress.unreadable += unreadable
        progress.pages += 1
        progress.token = token
        progress.complete = token is None
        late = until is not None and time.monotonic() > until
        if progress.complete or late or sum(map(len, waiting)) >= ROWS_OF_FILE:
            pages.add(progress, pa.concat_tables(waiting))
            waiting = []
            log.info("%s/%s: %d findings in %d pages were read.", account, region, progress.rows, progress.pages)
        if late and not progress.complete:
            return False
    return True


def _compare(
    run: RunFolder, plan: AuditPlan, pages: HubPages, progress: Progress, state: IndexState, place: str
) -> AuditResult:
    """Compare, then correct the index. What is corrected is on record before: it changes what a retry would find."""
    compared = pages.compared(Compared) or _compared(plan, pages, progress, state, place)
    result = compared.result
    deltas = []
    for name, count in compared.repairs:
        deltas.append(state.index(place).add(pages.table(name, count, index_parts.schema())))
        result.repaired += count
    if deltas:
        note_written(state.root, f"{run.dag_id}/{run.run_id}/{place}", {place: deltas})
        reached(AuditCrashPoint.REPAIRS_WRITTEN)
    return result


def _compared(plan: AuditPlan, pages: HubPages, progress: Progress, state: IndexState, place: str) -> Compared:
    result = AuditResult(progress.rows, progress.others, progress.unreadable)
    index, compared = state.index(place), Compared(result)
    why_not = _why_unknown(state, place)
    if why_not and not plan["rebuild"]:
        result.why_not = f"the finding index cannot be relied on: {why_not}"
        return compared
    result.index_changed = _made_of(index) != progress.index
    audit = HubAudit(None if why_not else index.snapshot(), began=progress.began, in_scope=scope_of(progress.prefixes))
    corrects = (plan["repair"] or (plan["rebuild"] and why_not)) and not result.index_changed
    waiting: list[pa.Table] = []
    try:
        for table in audit.repairs(pages.tables(progress), rows=progress.rows):
            if corrects:
                waiting.append(table)
            if sum(map(len, waiting)) >= ROWS_OF_DELTA:
                compared.repairs.append(pages.put_repairs(len(compared.repairs), waiting))
                waiting = []
        if waiting:
            compared.repairs.append(pages.put_repairs(len(compared.repairs), waiting))
    except LostIndexError as error:
        return Compared(
            AuditResult(
                progress.rows,
                progress.others,
                progress.unreadable,
                why_not=f"the finding index cannot be relied on: {safe(error, 400)}",
            )
        )
    result.differences = audit.differences
    pages.put_compared(msgspec.to_builtins(compared))
    return compared


def _why_unknown(state: IndexState, place: str) -> str:
    if state.registry is None:
        return state.why
    if place in state.lost:
        return "a run found it missing or damaged"
    return "" if state.is_registered(place) or place in state.written else "there is none yet"


__all__ = ["audit_hub"]
