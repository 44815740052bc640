"""Web applications whose findings belong to another account or Region since the last full run, because the param
``was_load_balancers`` or the first destination is another one.

Which resource an application is, its records say, and not its asset. So that it has moved is seen from where this run
has staged its findings: in another place, and none in this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from airflow_provider_tenable.asff.row import ARCHIVED
from airflow_provider_tenable.security_hub.assignment import Target
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.state.gone import MOVED, NOT_REPORTED
from airflow_provider_tenable.state.staged import staged_rows

if TYPE_CHECKING:
    import pyarrow as pa

#: ``account/region`` -> assets, as in the rows of findings.
Places = Mapping[str, frozenset[bytes]]


def places_of(run: RunFolder, staged: Mapping[str, Target]) -> Places:
    """Where the applications of a run have active findings."""
    found: dict[str, set[bytes]] = {}
    for name, target in staged.items():
        for part, count in target.parts:
            rows = staged_rows(run, target.account, target.region, part, count)
            active = rows[(rows["flags"] & ARCHIVED) == 0]
            # numpy leaves out zeros at the end of bytes.
            found.setdefault(name, set()).update(asset.ljust(16, b"\0") for asset in set(active["asset"].tolist()))
    return {name: frozenset(assets) for name, assets in found.items()}


def moved(table: pa.Table, places: Places, name: str) -> pa.Table:
    """Rows that are to be archived in an account and Region, with the reason of those whose application has moved."""
    import pyarrow as pa

    elsewhere = frozenset().union(*(assets for other, assets in places.items() if other != name))
    gone = elsewhere - places.get(name, frozenset())
    reasons = [
        MOVED if reason == NOT_REPORTED and asset in gone else reason
        for reason, asset in zip(table["reason"].to_pylist(), table["asset"].to_pylist(), strict=True)
    ]
    column = table.column_names.index("reason")
    return table.set_column(column, "reason", pa.array(reasons, pa.string()))


__all__ = ["Places", "moved", "places_of"]
