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
from typing import TYPE_CHECKING

from airflow_provider_tenable.exceptions import DestinationRefusedError
from airflow_provider_tenable.guards.foreign_text import LONGEST_CODE, LONGEST_MESSAGE, safe
from airflow_provider_tenable.security_hub.archive_documents import DeniedError
from airflow_provider_tenable.security_hub.customer_updates import Refused
from airflow_provider_tenable.security_hub.workflow import AcceptedWorkflow
from airflow_provider_tenable.staging.crash_points import reached
from airflow_provider_tenable.state.accepted_record import (
    AcceptedOutcome,
    Tried,
    read_outcome,
    read_tried,
    write_outcome,
    write_tried,
)
from airflow_provider_tenable.state.accepted_staged import Staged, staged_accepted

if TYPE_CHECKING:
    from airflow_provider_tenable.security_hub.assignment import Target
    from airflow_provider_tenable.staging.layout import RunFolder

log = logging.getLogger(__name__)

#: For so many seconds a run waits until the hub shows what it has imported.
VISIBLE_SECONDS = 600.0
#: Why findings are neither suppressed nor left to a person, besides Security Hub's own codes.
NOT_VISIBLE = "not_visible"


class AcceptedCrashPoint(StrEnum):
    """Where the tests kill this: what was done differs from what is recorded."""

    TRIED_NOTED = "accepted_tried_noted"
    SUPPRESSED = "accepted_suppressed"
    REOPENED = "accepted_reopened"


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
        write_outcome(folder, outcome)
        return False
    if unseen:
        outcome.not_done[NOT_VISIBLE] = outcome.not_done.get(NOT_VISIBLE, 0) + unseen
    outcome.complete = True
    write_outcome(folder, outcome)
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
    before = read_tried(folder)
    ours = workflow.ours()
    staged = (
        staged_accepted(run, target, ours, dry_run=dry_run)
        if suppresses
        else Staged([], set(), set(), set(), set(ours))
    )
    wanted = [key for key in staged.accepted if not (dry_run and key in staged.fresh)]
    found = workflow.look_at(wanted)
    if dry_run:
        outcome.suppressed, outcome.reopened = len(found.suppress) + len(staged.fresh), len(staged.ended)
        outcome.kept, outcome.left = len(staged.kept), dict(sorted(found.left.items()))
        return 0
    # First: what is tried now, and what an earlier attempt has done.
    tried = Tried(sorted({*before.suppress, *found.suppress}), sorted({*before.reopen, *staged.ended}))
    if (tried.suppress, tried.reopen) != (before.suppress, before.reopen):
        write_tried(folder, tried)
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


__all__ = ["NOT_VISIBLE", "AcceptedCrashPoint", "settle_accepted"]
