"""What each owner of resources has to do, by ``[tenable] owners``: findings that are new, overdue, or archived since
the last run. From the run's files and the finding index, without a call to anyone.

New is what the run was the first to send, and archived what it archived: fixed, accepted in Tenable, or gone. Overdue
is what is active in a hub at present and has reached its service level.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any
from uuid import UUID

from msgspec import Struct, field

from airflow_provider_tenable.asff.owner import OwnerRule
from airflow_provider_tenable.assets.account import skip_reason
from airflow_provider_tenable.assets.index import staged_assets
from airflow_provider_tenable.assets.table import AssetTable
from airflow_provider_tenable.run.hubs import hubs_of
from airflow_provider_tenable.run.owner_rows import ARCHIVED, KEY_BYTES, KINDS, NEW, OVERDUE, Rows, all_rows
from airflow_provider_tenable.run.plan_file import kind_of_plan, plan_of
from airflow_provider_tenable.staging.files import read_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.state.registry import read_state
from airflow_provider_tenable.tenable_vm.kinds import COMPLIANCE
from airflow_provider_tenable.tenable_vm.severities import SEVERITIES

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

#: Findings of a kind that a digest names: the worst ones, of these the oldest.
EXAMPLES = 5


class Example(Struct, frozen=True, order=True):
    """A finding that a digest names; the first ones in their order are the worst."""

    rank: tuple[int, int]
    plugin: int
    account: str
    asset: bytes
    resource: str = ""

    @property
    def severity(self) -> str:
        return SEVERITIES[-self.rank[0]]

    @property
    def days(self) -> int:
        """Its age."""
        return -self.rank[1]


class OwnerDigest(Struct):
    """Findings of one owner.

    :ivar owner: empty: without an owner, and of owners who are too many for a digest of their own.
    :ivar counts: kind -> severity -> findings.
    :ivar examples: kind -> some of them.
    """

    owner: str
    counts: dict[str, Counter[str]] = field(default_factory=lambda: {kind: Counter() for kind in KINDS})
    examples: dict[str, list[Example]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    def count(self, kind: str) -> int:
        """How many findings of a kind."""
        return self.counts[kind].total()


class Digests(Struct):
    """The digests of a run, those with the most overdue findings first; the one without an owner last.

    :ivar further: owners without a digest of their own, whose findings are in that of nobody.
    :ivar unknown: ``account/region`` -> what of it is not known, and so not counted.
    """

    digests: list[OwnerDigest]
    further: list[str]
    unknown: dict[str, str]


def owner_digests(run: RunFolder, rule: OwnerRule, *, now: float, most_owners: int) -> Digests | None:
    """The digests of a complete run; None of a run that is not complete, a dry run, or a replay.

    :param now: unix seconds; ages are counted until then.
    :raises StagingError: staged files are missing or damaged.
    """
    ledger = read_json(run.ledger)
    if not isinstance(ledger, dict) or not ledger.get("complete") or ledger.get("dry_run"):
        return None
    plan = plan_of(run)
    hubs = hubs_of(plan)
    if hubs is None or "replays" in plan:
        return None
    state = read_state(run.finding_index, hubs.source)
    with closing(AssetTable(staged_assets(str(run.export("assets"))))) as table:
        owners = _Owners(rule, table, is_of_audits=kind_of_plan(plan) == COMPLIANCE.name)
        unknown: dict[str, str] = {}
        counted = _counted(all_rows(run, plan, state, now, unknown), owners)
        named = [owner for owner in counted if owner]
        named.sort(key=lambda owner: (*(-counted[owner].count(kind) for kind in (OVERDUE, NEW, ARCHIVED)), owner))
        chosen = {owner: counted[owner] for owner in named[:most_owners]}
        rest = OwnerDigest("")
        for owner in (*named[most_owners:], *(("",) if "" in counted else ())):
            for kind in KINDS:
                rest.counts[kind].update(counted[owner].counts[kind])
        # Read once more: examples of all owners, however many there are, would not fit into memory.
        _exemplify(all_rows(run, plan, state, now, {}), owners, lambda owner: chosen.get(owner, rest))
        digests = [*chosen.values(), *([rest] if any(map(rest.count, KINDS)) else [])]
        for digest in digests:
            for kind, examples in digest.examples.items():
                digest.examples[kind] = [owners.named(each) for each in examples]
    return Digests(digests, sorted(named[most_owners:]), unknown)


class _Owners:
    """Owners of assets, as the mapping would give them to findings."""

    def __init__(self, rule: OwnerRule, table: AssetTable, *, is_of_audits: bool) -> None:
        self._rule = rule
        self._table = table
        self._is_of_audits = is_of_audits
        self._numbers: dict[tuple[str, bytes], int] = {}
        self._of_owner: dict[str, int] = {}
        #: The owners by their numbers.
        self.names: list[str] = []

    def of(self, account: str, assets: Array) -> Array:
        """The number of the owner of each asset."""
        import numpy as np

        distinct, places = np.unique(assets, return_inverse=True)
        return np.array([self._number(account, asset) for asset in distinct.tolist()], "i8")[places]

    def _number(self, account: str, asset: bytes) -> int:
        number = self._numbers.get((account, asset))
        if number is None:
            row = self._table.get(_uuid(asset))
            if row is not None and self._is_of_audits and skip_reason(row) is not None:
                # An audited account, whose asset in Tenable says nothing about it.
                row = None
            owner = self._rule.owner_of(row, account)
            number = self._of_owner.setdefault(owner, len(self.names))
            if number == len(self.names):
                self.names.append(owner)
            self._numbers[account, asset] = number
        return number

    def named(self, example: Example) -> Example:
        """An example with the name of its resource."""
        row = self._table.get(_uuid(example.asset))
        names = (row.instance_name or row.name, row.instance_id) if row else ()
        resource = " ".join(filter(None, names)) or f"asset {_uuid(example.asset)}"
        return Example(example.rank, example.plugin, example.account, example.asset, resource)


def _uuid(asset: bytes) -> str:
    # NumPy drops zeros at the end.
    return str(UUID(bytes=asset.ljust(KEY_BYTES, b"\0")))


def _counted(rows: Iterator[Rows], owners: _Owners) -> dict[str, OwnerDigest]:
    import numpy as np

    found: dict[str, OwnerDigest] = {}
    for each in rows:
        numbers = owners.of(each.account, each.assets)
        pairs, counts = np.unique(numbers * len(SEVERITIES) + each.severities, return_counts=True)
        for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
            number, severity = divmod(pair, len(SEVERITIES))
            owner = owners.names[number]
            found.setdefault(owner, OwnerDigest(owner)).counts[each.kind][SEVERITIES[severity]] += count
    return found


def _exemplify(rows: Iterator[Rows], owners: _Owners, digest_of: Callable[[str], OwnerDigest]) -> None:
    import numpy as np

    for each in rows:
        numbers = owners.of(each.account, each.assets)
        # By owner, the worst first: only the first ones of each owner can become examples.
        order = np.lexsort((each.plugins, -each.days, -each.severities, numbers))
        ordered = numbers[order]
        begins = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        lengths = np.diff(np.append(begins, len(ordered)))
        ranks = np.arange(len(ordered)) - np.repeat(begins, lengths)
        for place in order[ranks < EXAMPLES].tolist():
            digest = digest_of(owners.names[int(numbers[place])])
            example = Example(
                (-int(each.severities[place]), -int(each.days[place])),
                int(each.plugins[place]),
                each.account,
                bytes(each.assets[place]),
            )
            kept = digest.examples[each.kind]
            digest.examples[each.kind] = heapq.nsmallest(EXAMPLES, [*kept, example])


__all__ = ["ARCHIVED", "EXAMPLES", "KINDS", "NEW", "OVERDUE", "Digests", "Example", "OwnerDigest", "owner_digests"]
