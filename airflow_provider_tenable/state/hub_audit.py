"""Compares what a hub really holds with what the finding index says that it holds, some hundred thousand at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_tenable.asff import row
from airflow_provider_tenable.state import hub_rows, latest, parts
from airflow_provider_tenable.state.lookup import positions
from airflow_provider_tenable.state.spill import TableBuckets

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from airflow_provider_tenable.state.snapshot import Snapshot

    Array = np.ndarray[Any, Any]

#: What is wrong with a finding: active in the index, and the hub does not have it; active in the hub, and the index has
#: no row; another state, or another severity, than the index says.
MISSING, GHOST, STALE = "missing", "ghost", "stale"
KINDS = (MISSING, GHOST, STALE)
#: Examples of each kind.
EXAMPLES = 5


class Differences(msgspec.Struct):
    """How a hub differs from the finding index.

    :ivar equal: findings that the hub shows as the index says, or that are archived in both or in neither.
    :ivar counts: kind -> findings.
    :ivar examples: kind -> ids of some of them.
    :ivar changed_by_customer: findings that the customer has worked on, whether they differ or not.
    :ivar moving: findings that differ, and were sent or changed since the audit began: these are not counted.
    """

    equal: int = 0
    counts: dict[str, int] = {}
    examples: dict[str, list[str]] = {}
    changed_by_customer: int = 0
    moving: int = 0

    @property
    def total(self) -> int:
        """How many findings differ."""
        return sum(self.counts.values())


class HubAudit:
    """Compares one account and Region.

    :param index: None where it cannot be relied on, or is to be made again: then every finding of the hub is a ghost,
        and nothing else is said.
    :param began: since when the hub is read, unix milliseconds.
    :param in_scope: of resources (the part of an id that stands for it) -> whether they were read; None: all were.
    """

    def __init__(self, index: Snapshot | None, *, began: int, in_scope: Callable[[str], bool] | None = None) -> None:
        self._index = index
        self._began = began
        self._in_scope = in_scope
        self.differences = Differences()

    def repairs(self, hub: Iterable[pa.Table], *, rows: int) -> Iterator[pa.Table]:
        """Compare, and yield the rows that make the index say what the hub holds, with an unknown content: the next
        full run sends, or archives, what is not as Tenable says. They may be left alone.

        :param hub: tables of :func:`~airflow_provider_tenable.state.hub_rows.hub_rows`. Of two rows of a finding, which
            two pages may have, one counts.
        :param rows: how many rows they have.
        :raises LostIndexError: the index cannot be relied on.
        """
        most = max(rows, latest.most_rows(self._index) if self._index else 0)
        examples: dict[str, list[str]] = {kind: [] for kind in KINDS}
        counts: Counter[str] = Counter()
        with closing(TableBuckets(hub_rows.schema(), most, latest.AT_ONCE)) as buckets:
            for table in hub:
                buckets.add(parts.latest(table))
            held = latest.latest_rows(self._index, rows=most) if self._index else None
            for read in buckets.tables():
                known = next(held) if held is not None else parts.schema().empty_table()
                for kind, table in self._compared(parts.latest(read), known):
                    counts[kind] += table.num_rows
                    ids = zip(table["resource"].to_pylist(), table["place"].to_pylist(), strict=True)
                    examples[kind] += [
                        a + b for (a, b), _ in zip(ids, range(EXAMPLES - len(examples[kind])), strict=False)
                    ]
                    if table.num_rows:
                        yield table
        self.differences.counts = {kind: counts[kind] for kind in KINDS if counts[kind]}
        self.differences.examples = {kind: found for kind, found in examples.items() if found}

    def _compared(self, hub: pa.Table, index: pa.Table) -> Iterator[tuple[str, pa.Table]]:
        import numpy as np

        if self._in_scope is not None:
            index = index.filter(np.fromiter(map(self._in_scope, index["resource"].to_pylist()), bool, index.num_rows))
        numbers, where = positions(*parts.keys_of(hub), *parts.keys_of(index))
        of_index, of_hub = _Side(index), _Side(hub)
        recent = of_index.sent_at >= self._began
        self.differences.changed_by_customer += int(hub["changed"].to_numpy().sum())

        found = np.zeros(index.num_rows, bool)
        found[numbers] = True
        missing = ~found & ~of_index.archived
        self.differences.moving += int((missing & recent).sum())
        yield MISSING, _not_there(index.filter(missing & ~recent))

        differs = np.zeros(len(numbers), bool)
        if len(numbers):
            states = of_index.archived[numbers] != of_hub.archived[where]
            both = ~of_index.archived[numbers] & ~of_hub.archived[where]
            differs = states | (both & (of_index.severity[numbers] != of_hub.severity[where]))
        moving = recent[numbers] | (of_hub.updated_at[where] >= self._began)
        self.differences.moving += int((differs & moving).sum())
        self.differences.equal += int((~differs).sum()) + int((~found & of_index.archived).sum())
        stale = differs & ~moving
        yield STALE, _as_in_the_hub(index.take(numbers[stale]), hub.take(where[stale]))

        unknown = np.ones(hub.num_rows, bool)
        unknown[where] = False
        ghosts = unknown & ~of_hub.archived
        moving = of_hub.updated_at >= self._began
        self.differences.moving += int((ghosts & moving).sum())
        self.differences.equal += int((unknown & of_hub.archived).sum())
        yield GHOST, hub.filter(ghosts & ~moving).select(parts.schema().names)


class _Side:
    """Columns as arrays."""

    def __init__(self, table: pa.Table) -> None:
        self.archived: Array = table["archived"].to_numpy()
        self.severity: Array = table["severity"].to_numpy()
        self.updated_at: Array = table["updated_at"].to_numpy()
        self.sent_at: Array = table["sent_at"].to_numpy()


def _changed(table: pa.Table, columns: dict[str, Any]) -> pa.Table:
    import pyarrow as pa

    names = table.schema.names
    for name, values in columns.items():
        table = table.set_column(names.index(name), name, pa.array(values, table.schema.field(name).type))
    return table


def _later(table: pa.Table) -> Array:
    """A row counts more than another one of the same moments if it was sent later."""
    later: Array = table["sent_at"].to_numpy() + 1
    return later


def _not_there(table: pa.Table) -> pa.Table:
    """Rows as of findings that were never sent: the hub does not have them."""
    count = table.num_rows
    return _changed(
        table, {"archived": [True] * count, "content": [row.UNKNOWN_CONTENT] * count, "sent_at": _later(table)}
    )


def _as_in_the_hub(table: pa.Table, hub: pa.Table) -> pa.Table:
    """Rows with the state and severity that the hub shows."""
    import numpy as np

    return _changed(
        table,
        {
            "archived": hub["archived"].to_numpy(),
            "severity": hub["severity"].to_numpy(),
            "updated_at": np.maximum(table["updated_at"].to_numpy(), hub["updated_at"].to_numpy()),
            "content": [row.UNKNOWN_CONTENT] * table.num_rows,
            "sent_at": _later(table),
        },
    )


__all__ = ["GHOST", "KINDS", "MISSING", "STALE", "Differences", "HubAudit"]
