"""What a run says of accepted risks: which of its findings are to be suppressed, and which are accepted no longer."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_tenable.asff import row
from airflow_provider_tenable.security_hub.batches import identify, product_of
from airflow_provider_tenable.security_hub.receipts import Receipts
from airflow_provider_tenable.security_hub.workflow import Key
from airflow_provider_tenable.staging.parts import read_lines
from airflow_provider_tenable.state.decisions import read_decisions, read_head
from airflow_provider_tenable.state.record import accepted_lines
from airflow_provider_tenable.state.staged import staged_rows
from airflow_provider_tenable.state.verdicts import SENT, Verdict

if TYPE_CHECKING:
    from airflow_provider_tenable.security_hub.assignment import Target
    from airflow_provider_tenable.staging.layout import RunFolder

log = logging.getLogger(__name__)


class Staged(msgspec.Struct):
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


def staged_accepted(run: RunFolder, target: Target, ours: set[Key], *, dry_run: bool) -> Staged:
    """What the run says of active findings that the hub has: of those that it was asked not to send again, too."""
    import numpy as np

    found = Staged([], set(), set(), set(), set())
    folder = run.compared(target.account, target.region)
    head = read_head(folder, target.parts)
    decisions = read_decisions(folder, head) if head else None
    if decisions is None:
        log.warning("%s: what was decided about its findings is not on record: none is suppressed.", target)
        return found
    by_key: dict[bytes, list[Key]] = {}
    for key in ours:
        by_key.setdefault(row.key_of(key[0]), []).append(key)
    # Findings that were sent for another product before have the same ids, and a workflow of their own.
    product = _product(run, target) if ours else ""
    keys = np.array(sorted(by_key), "S16")
    done = np.array(sorted(row.key_of(finding_id) for finding_id, arn in ours if arn == product), "S16")
    receipts = Receipts(run, target.account, target.region, [name for name, _ in target.parts])
    sent = [verdict.value for verdict in SENT]
    begin = 0
    for name, count in target.parts:
        verdicts = decisions["verdict"][begin : begin + count]
        begin += count
        rows = staged_rows(run, target.account, target.region, name, count)
        held = np.isin(verdicts, sent) if dry_run else np.isin(verdicts, sent) & accepted_lines(receipts, name, count)
        active = (held | (verdicts == Verdict.UNCHANGED)) & ((rows["flags"] & row.ARCHIVED) == 0)
        accepted = active & row.has_accepted_risk(rows["flags"])
        for each in rows["key"][active & ~accepted & np.isin(rows["key"], keys)].tolist():
            found.ended.update(by_key[each.ljust(16, b"\0")])
        is_done = np.isin(rows["key"], done)
        for each in rows["key"][accepted & is_done].tolist():
            found.kept.update(key for key in by_key[each.ljust(16, b"\0")] if key[1] == product)
        wanted = accepted & ~is_done
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


def _product(run: RunFolder, target: Target) -> str:
    """The product of the run's findings in an account and Region: all of them have the same."""
    folder = run.destination(target.account, target.region)
    return product_of(next((line for name, _ in target.parts for line in read_lines(folder / name)), b"")) or ""


__all__ = ["Staged", "staged_accepted"]
