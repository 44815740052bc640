"""Which findings an import sends, and with which ``UpdatedAt``; and what its receipts put into the finding index.

The import (:mod:`airflow_provider_tenable.security_hub.group`) is handed one of these for each account and Region.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from airflow_provider_tenable.staging.crash_points import CrashPoint, reached
from airflow_provider_tenable.staging.parts import read_lines
from airflow_provider_tenable.state.compare import REMAPPED, Compared, compare
from airflow_provider_tenable.state.decisions import Head, read_decisions, read_head, write_decisions
from airflow_provider_tenable.state.index import FindingIndex
from airflow_provider_tenable.state.record import record_rows
from airflow_provider_tenable.state.registry import IndexState, note_emptied, note_lost
from airflow_provider_tenable.state.snapshot import LostIndexError
from airflow_provider_tenable.state.staged import staged_rows
from airflow_provider_tenable.state.verdicts import Moments, Verdict
from airflow_provider_tenable.tenable_vm import times

if TYPE_CHECKING:
    import numpy as np

    from airflow_provider_tenable.security_hub.assignment import Target
    from airflow_provider_tenable.security_hub.receipts import Receipts
    from airflow_provider_tenable.staging.layout import RunFolder
    from airflow_provider_tenable.state.lookup import Columns

log = logging.getLogger(__name__)

#: As the transform writes it, after the id. Inside of a text the quotes would be escaped.
_UPDATED_AT = re.compile(rb'(?<=[{,]"UpdatedAt":")[^"]*')
#: What the finding index is to a run (``hubs`` of its plan): nothing was ever sent; it says what the hubs hold; it
#: does not.
FIRST, KNOWN, UNKNOWN = "first", "known", "unknown"


class HubsPlan(Struct, frozen=True):
    """``hubs`` of a run's plan: how it comes to know what the hubs hold.

    :ivar state: :data:`FIRST`, :data:`KNOWN` or :data:`UNKNOWN`.
    :ivar source: which Tenable, and which user of it.
    :ivar planned_at: when the run was planned, unix seconds.
    :ivar refresh_days: ``[tenable] refresh_days``.
    :ivar full: whether the run asks for all that is open.
    :ivar full_as_of: of which moment the last full run was, unix milliseconds.
    :ivar delivered_until: up to when everything had been delivered before this run, unix seconds.
    :ivar why: why it is not known what the hubs hold.
    :ivar full_why: why the run is full.
    :ivar scope: of the DAG (:mod:`airflow_provider_tenable.run.scope`).
    """

    state: str
    source: str
    planned_at: float
    refresh_days: float
    full: bool = False
    full_as_of: int | None = None
    delivered_until: int = 0
    why: str = ""
    full_why: str = ""
    scope: dict[str, str] = {}


class Choice:
    """What is sent of the staged findings of one account and Region: what was decided about each.

    :param head: the counts.
    :param decisions: :data:`~airflow_provider_tenable.state.compare.DECISION` of each finding, in their order.
    :param as_of: for which moment the run's export speaks, unix milliseconds.
    """

    def __init__(
        self,
        run: RunFolder,
        target: Target,
        hubs: HubsPlan,
        index: FindingIndex,
        *,
        head: Head,
        decisions: np.ndarray[Any, Any],
        as_of: int,
    ) -> None:
        self._run = run
        self._target = target
        self._hubs = hubs
        self._index = index
        self._decisions = decisions
        self._as_of = as_of
        self.head = head

    @property
    def to_send(self) -> int:
        """How many findings are sent."""
        return self.head.to_send

    @property
    def counts(self) -> dict[str, int]:
        """Verdict -> findings."""
        return dict(self.head.counts)

    def lines(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        """(name, lines) of each part of which something is sent; lines that are not sent are empty."""
        folder, begin = self._run.destination(self._target.account, self._target.region), 0
        for name, count in self._target.parts:
            decisions = self._decisions[begin : begin + count]
            begin += count
            if (decisions["verdict"] < Verdict.UNCHANGED).any():
                yield name, _stamped(read_lines(folder / name), decisions)

    def record(self, receipts: Receipts) -> None:
        """Put what was acknowledged into the finding index. May be repeated."""
        if not self.head.records:
            return
        begin = 0
        parts = []
        for name, count in self._target.parts:
            parts.append((name, self._decisions[begin : begin + count]))
            begin += count
        sent_at = int(1000 * self._hubs.planned_at)
        if record_rows(self._run, self._target, self._index, receipts, parts, as_of=self._as_of, sent_at=sent_at):
            reached(CrashPoint.ROWS_RECORDED)


def choose(
    run: RunFolder,
    target: Target,
    hubs: HubsPlan,
    as_of: int,
    state: IndexState,
    enabled_at: Callable[[], int] = lambda: 0,
) -> Choice:
    """What was decided about the findings of a target, or, the first time, is decided now.

    :param as_of: for which moment the run's export speaks, unix milliseconds.
    :param enabled_at: since when the hub is on, unix milliseconds; 0 if that is not known. Called once at most.
    :raises StagingError: staged findings are missing or damaged, or the store does not answer.
    """
    index, folder = state.index(str(target)), run.compared(target.account, target.region)
    head = read_head(folder, target.parts)
    decisions = None if head is None else read_decisions(folder, head)
    if head is None or decisions is None:
        (decisions, changed_states), why = _decided(run, target, hubs, as_of, state, enabled_at)
        records = not why or hubs.full
        head = write_decisions(folder, target.parts, decisions, records=records, why=why, changed_states=changed_states)
    return Choice(run, target, hubs, index, head=head, decisions=decisions, as_of=as_of)


def _decided(
    run: RunFolder, target: Target, hubs: HubsPlan, as_of: int, state: IndexState, enabled_at: Callable[[], int]
) -> tuple[Compared, str]:
    """What becomes of each finding, and why it is not known what the hub holds; empty where it is."""
    began, why = time.monotonic(), _why_unknown(hubs, str(target), state)
    since = enabled_at() if not why and state.is_registered(str(target)) else 0
    try:
        compared = _compared(run, target, hubs, as_of, state, why, since)
    except LostIndexError as error:
        why = str(error)
        log.warning(
            "%s: the finding index cannot be relied on: %s What the hub holds is not known, so everything is sent. The "
            "next run that may move the watermark is a full one, and makes the index again.",
            target,
            why,
        )
        note_lost(state.root, str(target), why)
        compared = _compared(run, target, hubs, as_of, state, why)
    _count_what_was_sent(run, target, compared.decisions)
    if remapped := compared.changed_states[REMAPPED]:
        log.warning(
            "%s: %d findings were sent by an earlier release, which mapped them in another way. They are sent once "
            "more. Those that no run has seen since are sent by the next full run.",
            target,
            remapped,
        )
    log.info("%s: %d findings compared in %.1f s.", target, len(compared.decisions), time.monotonic() - began)
    return compared, why


def _why_unknown(hubs: HubsPlan, destination: str, state: IndexState) -> str:
    """Why it is not known what the hub holds; empty where it is."""
    if hubs.state != KNOWN:
        return hubs.why if hubs.state == UNKNOWN else ""
    if destination in state.lost:
        return "an earlier run found its index missing or damaged"
    return state.why


def _compared(
    run: RunFolder, target: Target, hubs: HubsPlan, as_of: int, state: IndexState, why: str, enabled_at: int = 0
) -> Compared:
    index = state.index(str(target)).snapshot()
    sent_before = False
    if not why and state.is_registered(str(target)) and index.manifest is None:
        raise LostIndexError(f"There is no index in {index.folder} any more.")
    moments = Moments(
        planned=int(1000 * hubs.planned_at),
        as_of=as_of,
        refresh=int(86_400_000 * hubs.refresh_days),
        full_as_of=_last_full(hubs, state),
        known=not why,
        stamps=hubs.full,
        delivered_until=1000 * hubs.delivered_until,
        enabled_at=enabled_at,
    )

    def rows(number: int) -> np.ndarray[Any, Any]:
        name, count = target.parts[number]
        return staged_rows(run, target.account, target.region, name, count)

    def looked_at(parts: Iterator[Columns]) -> Iterator[Columns]:
        nonlocal sent_before
        for part in _as_far_as_readable(parts, why):
            sent_before |= bool((part.values["sent_at"][~part.values["archived"]] < enabled_at).any())
            yield part

    compared = compare(
        [count for _, count in target.parts],
        rows,
        looked_at(index.merged_columns()),
        looked_at(index.delta_columns()),
        moments,
        index.most_delta_rows(),
    )
    # After a full run, older rows are those that it had to leave alone.
    if sent_before and (state.registry is None or enabled_at > 1000 * state.registry.full_at):
        log.warning(
            "%s: Security Hub CSPM was enabled there at %s, after findings had been delivered, and may have forgotten "
            "them. The active findings of this run are sent again; %s.",
            target,
            times.utc(enabled_at / 1000),
            "it is a full run" if hubs.full else "the next run that may move the watermark is a full one and sends all",
        )
        note_emptied(state.root, str(target), enabled_at)
    return compared


def _last_full(hubs: HubsPlan, state: IndexState) -> int | None:
    """Of which moment the last full run was; one that ended after this run was planned counts, too: what it did not see
    must not come back.
    """
    moments = [hubs.full_as_of, state.registry.full_as_of if state.registry else None]
    return max((moment for moment in moments if moment is not None), default=None)


def _as_far_as_readable(parts: Iterator[Columns], why: str) -> Iterator[Columns]:
    """An index that is lost says only which times are later than any in the hub."""
    try:
        yield from parts
    except LostIndexError:
        if not why:
            raise


def _count_what_was_sent(run: RunFolder, target: Target, decisions: np.ndarray[Any, Any]) -> None:
    """Decisions that are made a second time, because their file was lost: what has a receipt was sent."""
    from airflow_provider_tenable.security_hub.receipts import Receipts

    begin = 0
    receipts = Receipts(run, target.account, target.region, [name for name, _ in target.parts])
    for name, count in target.parts:
        part = decisions["verdict"][begin : begin + count]
        for first, last in receipts.done_ranges(name):
            sent = part[first : last + 1]
            sent[sent >= Verdict.UNCHANGED] = Verdict.UNKNOWN
        begin += count


def _stamped(lines: Iterator[bytes], decisions: np.ndarray[Any, Any]) -> Iterator[bytes]:
    for line, verdict, stamp in zip(lines, decisions["verdict"].tolist(), decisions["stamp"].tolist(), strict=True):
        if verdict >= Verdict.UNCHANGED:
            yield b""
        elif stamp:
            yield stamped(line, stamp)
        else:
            yield line


def stamped(line: bytes, milliseconds: int) -> bytes:
    """A finding with another ``UpdatedAt``."""
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC).replace(microsecond=milliseconds % 1000 * 1000)
    return _UPDATED_AT.sub(times.rfc3339(moment).encode(), line, count=1)


__all__ = ["FIRST", "KNOWN", "UNKNOWN", "Choice", "HubsPlan", "choose", "stamped"]
