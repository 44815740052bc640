"""The findings that digests of owners are about: those that a run was the first to send, or archived, and those that
are overdue. From the run's files and the finding index.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from airflow_provider_tenable.asff import row as finding_row
from airflow_provider_tenable.exceptions import DamagedFileError, MissingFileError
from airflow_provider_tenable.run.manifests import shard_manifests, targets_of
from airflow_provider_tenable.run.plan_file import RunPlan
from airflow_provider_tenable.security_hub.receipts import Receipts
from airflow_provider_tenable.staging.files import read_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.state.ages import DAY
from airflow_provider_tenable.state.archive import deltas_in
from airflow_provider_tenable.state.decisions import read_decisions, read_head
from airflow_provider_tenable.state.latest import latest_rows
from airflow_provider_tenable.state.record import accepted_lines
from airflow_provider_tenable.state.registry import IndexState
from airflow_provider_tenable.state.snapshot import LostIndexError
from airflow_provider_tenable.state.staged import staged_rows
from airflow_provider_tenable.state.verdicts import Verdict
from airflow_provider_tenable.tenable_vm.severities import SEVERITIES

if TYPE_CHECKING:
    import numpy as np

    from airflow_provider_tenable.security_hub.assignment import Target

    Array = np.ndarray[Any, Any]

NEW, OVERDUE, ARCHIVED = "new", "overdue", "archived"
KINDS = (NEW, OVERDUE, ARCHIVED)
#: Bytes of an asset in a row.
KEY_BYTES = 16


class Rows(Struct):
    """Findings of one kind in an account, as arrays.

    :ivar days: their ages.
    """

    kind: str
    account: str
    assets: Array
    severities: Array
    plugins: Array
    days: Array


def all_rows(run: RunFolder, plan: RunPlan, state: IndexState, now: float, unknown: dict[str, str]) -> Iterator[Rows]:
    """All findings that are new, overdue or archived, a part at a time.

    :param now: unix seconds; ages are counted until then.
    :param unknown: ``account/region`` -> what is not known of it; entries are added.
    :raises StagingError: staged files are missing or damaged.
    """
    moment = int(1000 * now)
    for target in targets_of(shard_manifests(run)):
        yield from _of_import(run, target, moment, unknown)
    for name in (read_json(run.archiving) or {}).get("destinations", ()):
        yield from _archived(run, state, name, moment, unknown)
    levels = [plan.get("service_levels", {}).get(severity, 0) for severity in SEVERITIES]
    for name in sorted({*(state.registry.destinations if state.registry else ()), *state.written}):
        try:
            if name in state.lost:
                raise LostIndexError("an earlier run found it missing or damaged.")
            yield from _overdue(state, name, levels, moment)
        except LostIndexError:
            unknown[name] = "its finding index was lost: what is overdue is not known until the next full run"


def _of_import(run: RunFolder, target: Target, now: int, unknown: dict[str, str]) -> Iterator[Rows]:
    folder = run.compared(target.account, target.region)
    head = read_head(folder, target.parts)
    decisions = read_decisions(folder, head) if head else None
    if head is None or decisions is None or head.counts.get(Verdict.UNKNOWN.key):
        unknown[str(target)] = "what its hub held before this run is not known, and so not what is new"
    if decisions is None:
        return
    receipts = Receipts(run, target.account, target.region, [name for name, _ in target.parts])
    begin = 0
    for name, count in target.parts:
        verdicts = decisions["verdict"][begin : begin + count]
        begin += count
        accepted = accepted_lines(receipts, name, count)
        for kind, verdict in ((NEW, Verdict.CREATED), (ARCHIVED, Verdict.ARCHIVED)):
            chosen = accepted & (verdicts == verdict)
            if chosen.any():
                rows = staged_rows(run, target.account, target.region, name, count)[chosen]
                severities = (rows["flags"] & finding_row.SEVERITY).astype("i8")
                days = _days(rows["first_observed"], now)
                yield Rows(kind, target.account, rows["asset"], severities, rows["plugin"], days)


def _archived(run: RunFolder, state: IndexState, name: str, now: int, unknown: dict[str, str]) -> Iterator[Rows]:
    """What the run archived because Tenable does not report it any more."""
    account, region = name.split("/")
    for delta in deltas_in(run.gone(account, region)):
        try:
            table = state.index(name).rows_of_delta(delta)
        except (MissingFileError, DamagedFileError):
            unknown[name] = "its finding index is damaged, so that some of what was archived is not counted"
            continue
        # The others are those that the hub did not have any more.
        table = table.filter(table["content"].to_numpy() != finding_row.UNKNOWN_CONTENT)
        if table.num_rows:
            yield _of_table(ARCHIVED, account, table, now)


def _overdue(state: IndexState, name: str, levels: list[int], now: int) -> Iterator[Rows]:
    import numpy as np

    limits = np.array(levels, "i8")
    for table in latest_rows(state.index(name).snapshot(), ("asset", "plugin", "severity", "first_observed")):
        levels_of = limits[table["severity"].to_numpy()]
        days = _days(table["first_observed"].to_numpy(), now)
        overdue = ~table["archived"].to_numpy() & (levels_of > 0) & (days >= levels_of)
        if overdue.any():
            yield _of_table(OVERDUE, name.split("/", maxsplit=1)[0], table.filter(overdue), now)


def _of_table(kind: str, account: str, table: Any, now: int) -> Rows:
    import numpy as np

    return Rows(
        kind,
        account,
        np.array(table["asset"].to_pylist(), f"S{KEY_BYTES}"),
        table["severity"].to_numpy().astype("i8"),
        table["plugin"].to_numpy(),
        _days(table["first_observed"].to_numpy(), now),
    )


def _days(first_observed: Array, now: int) -> Array:
    import numpy as np

    return np.clip((now - first_observed) // DAY, 0, 36_500)


__all__ = ["ARCHIVED", "KEY_BYTES", "KINDS", "NEW", "OVERDUE", "Rows", "all_rows"]
