"""Findings whose risk is accepted in Tenable, after an import into an account and Region: which of them are to be
suppressed there, which of those that we suppressed are accepted no longer, and what became of it, on record.

``compared/{account}/{region}/accepted.json`` is the record. May be repeated: what was done is read from the hub.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_tenable.asff import row
from airflow_provider_tenable.exceptions import DamagedFileError, DestinationRefusedError
from airflow_provider_tenable.guards.foreign_text import LONGEST_CODE, LONGEST_MESSAGE, safe
from airflow_provider_tenable.security_hub.archive_documents import DeniedError
from airflow_provider_tenable.security_hub.batches import identify, product_of
from airflow_provider_tenable.security_hub.customer_updates import Refused
from airflow_provider_tenable.security_hub.receipts import Receipts
from airflow_provider_tenable.security_hub.workflow import AcceptedWorkflow, Key, Verdicts
from airflow_provider_tenable.staging.crash_points import reached
from airflow_provider_tenable.staging.files import read_json, write_json
from airflow_provider_tenable.staging.parts import read_lines
from airflow_provider_tenable.state.decisions import read_decisions, read_head
from airflow_provider_tenable.state.record import accepted_lines
from airflow_provider_tenable.state.staged import staged_rows
from airflow_provider_tenable.state.verdicts import SENT, Verdict

if TYPE_CHECKING:
    import numpy as np

    from airflow_provider_tenable._compat import ObjectStoragePath
    from airflow_provider_tenable.security_hub.assignment import Target
    from airflow_provider_tenable.staging.layout import RunFolder

    Array = np.ndarray[Any, Any]

log = logging.getLogger(__name__)

_RECORD, _TRIED = "accepted.json", "accepted_tried.json"
#: For so many seconds a run waits until the hub shows what it has imported.
VISIBLE_SECONDS = 600.0
#: Why findings are neither suppressed nor left to a person, besides Security Hub's own codes.
NOT_VISIBLE = "not_visible"


class AcceptedCrashPoint(StrEnum):
    """Where the tests kill this: what was done differs from what is recorded."""

    TRIED_NOTED = "accepted_tried_noted"
    SUPPRESSED = "accepted_suppressed"
    REOPENED = "accepted_reopened"


class AcceptedOutcome(msgspec.Struct):
    """``accepted.json``.

    :ivar parts: (name, findings) of the staged parts that it is about.
    :ivar began: when it was first tried, unix seconds.
    :ivar complete: whether nothing is left to be tried.
    :ivar suppressed: findings that the run has suppressed, or would.
    :ivar reopened: findings that it has set to NEW, or would.
    :ivar kept: those that were suppressed by us before, and still are.
    :ivar left: why findings were left to the person who works on them -> how many.
    :ivar not_done: code -> findings with which it could not be done.
    :ivar why_not: why, where an action is not allowed, or the hub refuses.
    """

    parts: list[tuple[str, int]]
    began: float
    complete: bool = False
    suppressed: int = 0
    reopened: int = 0
    kept: int = 0
    left: dict[str, int] = {}
    not_done: dict[str, int] = {}
    why_not: str = ""


class _Tried(msgspec.Struct):
    """``accepted_tried.json``: what a run was about to change, so that a retry counts it too."""

    suppress: list[Key] = []
    reopen: list[Key] = []


class _Staged(msgspec.Struct):
    """What a run says of the risks of active findings.

    :ivar accepted: accepted ones that are not ours yet.
    :ivar sent: of these, those that the run has sent, so that the hub may not show them yet.
    :ivar fresh: those that it was the first to send.
    :ivar kept: accepted ones that are ours.
    :ivar ended: ours that are accepted no longer.
    """

    accepted: list[Key]
    sent: set[Key]
    fresh: set[Key]
    kept: set[Key]
    ended: set[Key]


def read_outcome(folder: ObjectStoragePath, parts: list[tuple[str, int]]) -> AcceptedOutcome | None:
    """What became of accepted risks; None where nothing is on record for these parts.

    :param folder: ``compared/{account}/{region}``.
    """
    outcome = _read(folder / _RECORD, AcceptedOutcome)
    return outcome if outcome is not None and outcome.parts == parts else None


def _read(path: ObjectStoragePath, kind: Any) -> Any:
    try:
        value = read_json(path, advice="")
        return None if value is None else msgspec.convert(value, kind)
    except (DamagedFileError, msgspec.ValidationError):
        # The hub says what was done.
        return None


def settle_accepted(
    run: RunFolder,
    target: Target,
    workflow: AcceptedWorkflow,
    *,
    suppresses: bool,
    dry_run: bool,
    clock: Callable[[], float] = time.time,
) -> bool:
    """Suppress the findings of a target whose risk is accepted, and set those to NEW of which that is no longer so.

    :param suppresses: whether anything is to be suppressed; if not, all that we have suppressed becomes NEW.
    :param dry_run: change nothing, but record what would be changed.
    :return: whether that is done; if not, the hub does not show all findings yet.
    :raises TemporaryError: Security Hub could not be reached for too long; a retry resumes.
    """
    folder = run.compared(target.account, target.region)
    outcome = read_outcome(folder, target.parts) or AcceptedOutcome(list(target.parts), clock())
    if outcome.complete:
        return True
    outcome = AcceptedOutcome(outcome.parts, outcome.began)
    try:
        unseen = _settle(run, target, workflow, outcome, suppresses=suppresses, dry_run=dry_run)
    except (DeniedError, DestinationRefusedError) as error:
        # The findings were imported: that they cannot be suppressed must not count as a refusal of them.
        outcome.why_not = safe(error.explanation if isinstance(error, DeniedError) else error, LONGEST_MESSAGE)
        unseen = 0
        log.warning("%s: accepted risks are not suppressed: %s", target, outcome.why_not)
    if unseen and clock() < outcome.began + VISIBLE_SECONDS:
        log.info("%s: the hub does not show %d findings yet whose risk is accepted.", target, unseen)
        write_json(folder / _RECORD, msgspec.to_builtins(outcome))
        return False
    if unseen:
        outcome.not_done[NOT_VISIBLE] = outcome.not_done.get(NOT_VISIBLE, 0) + unseen
    outcome.complete = True
    write_json(folder / _RECORD, msgspec.to_builtins(outcome))
    log.info(
        "%s: accepted risks: %d findings %s suppressed, %d %s NEW again, %d are left to whoever works on them.",
        target,
        outcome.suppressed,
        "would be" if dry_run else "were",
        outcome.reopened,
        "would be" if dry_run else "are",
        sum(outcome.left.values()),
    )
    return True


def _settle(
    run: RunFolder,
    target: Target,
    workflow: AcceptedWorkflow,
    outcome: AcceptedOutcome,
    *,
    suppresses: bool,
    dry_run: bool,
) -> int:
    """Make the changes. :return: how many findings the hub may show later."""
    folder = run.compared(target.account, target.region)
    before = _read(folder / _TRIED, _Tried) or _Tried()
    ours = workflow.ours()
    staged = _staged(run, target, ours, dry_run=dry_run) if suppresses else _Staged([], set(), set(), set(), set(ours))
    wanted = [key for key in staged.accepted if not (dry_run and key in staged.fresh)]
    found = workflow.look_at(wanted) if wanted else Verdicts()
    if dry_run:
        outcome.suppressed, outcome.reopened = len(found.suppress) + len(staged.fresh), len(staged.ended)
        outcome.kept, outcome.left = len(staged.kept), dict(sorted(found.left.items()))
        return 0
    # First: what is tried now, and what an earlier attempt has done.
    tried = _Tried(sorted({*before.suppress, *found.suppress}), sorted({*before.reopen, *staged.ended}))
    if (tried.suppress, tried.reopen) != (before.suppress, before.reopen):
        write_json(folder / _TRIED, msgspec.to_builtins(tried))
        reached(AcceptedCrashPoint.TRIED_NOTED)
    done = ours.intersection(before.suppress) - staged.ended
    outcome.kept, outcome.left = len(staged.kept - done), dict(sorted(found.left.items()))
    outcome.suppressed = len(done)
    outcome.reopened = len(set(before.reopen) - ours)
    awaited = staged.sent.intersection(found.unseen)
    # Sent by an earlier run: the hub has lost them, which the audit finds.
    not_done = Counter({NOT_VISIBLE: len(found.unseen) - len(awaited)})
    if found.suppress:
        refused = workflow.suppress(found.suppress)
        reached(AcceptedCrashPoint.SUPPRESSED)
        outcome.suppressed += len(found.suppress) - len(refused)
        not_done.update(_codes(refused))
    if staged.ended:
        refused = workflow.reopen(sorted(staged.ended))
        reached(AcceptedCrashPoint.REOPENED)
        outcome.reopened += len(staged.ended) - len(refused)
        not_done.update(_codes(refused))
    outcome.not_done = dict(sorted((+not_done).items()))
    return len(awaited)


def _codes(refused: Refused) -> Iterator[str]:
    return (safe(code, LONGEST_CODE) or "no_code" for code, _ in refused.values())


def _staged(run: RunFolder, target: Target, ours: set[Key], *, dry_run: bool) -> _Staged:
    """What the run says of active findings that the hub has: of those that it was asked not to send again, too."""
    import numpy as np

    found = _Staged([], set(), set(), set(), set())
    folder = run.compared(target.account, target.region)
    head = read_head(folder, target.parts)
    decisions = read_decisions(folder, head) if head else None
    if decisions is None:
        log.warning("%s: what was decided about its findings is not on record: none is suppressed.", target)
        return found
    by_key = {row.key_of(key[0]): key for key in ours}
    keys = np.array(sorted(by_key), "S16")
    receipts = Receipts(run, target.account, target.region, [name for name, _ in target.parts])
    sent = np.array([verdict.value for verdict in SENT], "u1")
    begin = 0
    for name, count in target.parts:
        verdicts = decisions["verdict"][begin : begin + count]
        begin += count
        rows = staged_rows(run, target.account, target.region, name, count)
        held = np.isin(verdicts, sent) if dry_run else np.isin(verdicts, sent) & accepted_lines(receipts, name, count)
        active = (held | (verdicts == Verdict.UNCHANGED)) & ((rows["flags"] & row.ARCHIVED) == 0)
        accepted = active & row.has_accepted_risk(rows["flags"])
        is_ours = np.isin(rows["key"], keys) if len(keys) else np.zeros(count, bool)
        found.ended.update(by_key[each.ljust(16, b"\0")] for each in rows["key"][active & ~accepted & is_ours].tolist())
        found.kept.update(by_key[each.ljust(16, b"\0")] for each in rows["key"][accepted & is_ours].tolist())
        wanted = accepted & ~is_ours
        if wanted.any():
            lines = read_lines(run.destination(target.account, target.region) / name)
            for line, is_wanted, verdict in zip(lines, wanted.tolist(), verdicts.tolist(), strict=True):
                if is_wanted:
                    key = (identify(line), product_of(line) or "")
                    found.accepted.append(key)
                    if verdict != Verdict.UNCHANGED:
                        found.sent.add(key)
                    if verdict == Verdict.CREATED:
                        found.fresh.add(key)
    return found


__all__ = ["NOT_VISIBLE", "AcceptedOutcome", "read_outcome", "settle_accepted"]
