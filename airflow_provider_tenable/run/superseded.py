"""Findings of an audit file that a newer version has replaced: their checks have other ids, so a full run sees nothing
of them.

That another version of the same audit has results of the same asset in this run, and the old one has none, is more than
absence: such findings are archived without the brake, as ``superseded_audit``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable.asff.row import ARCHIVED
from airflow_provider_tenable.state.gone import NOT_REPORTED, SUPERSEDED_AUDIT

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Array = np.ndarray[Any, Any]

#: Asset, and number of an audit file (:func:`airflow_provider_tenable.asff.check.audit_number`).
Audits = set[tuple[bytes, int]]


def noting(arrays: Iterable[Array], found: Audits) -> Iterator[Array]:
    """Staged rows as they are, noting the audits that have active findings."""
    for rows in arrays:
        active = rows[(rows["flags"] & ARCHIVED) == 0]
        # numpy leaves out zeros at the end of bytes.
        assets = (asset.ljust(16, b"\0") for asset in active["asset"].tolist())
        found.update(zip(assets, active["plugin"].tolist(), strict=True))
        yield rows


def superseded(table: pa.Table, found: Audits) -> pa.Table:
    """Rows that are to be archived, with the reason of those that another version of their audit has replaced.

    :param found: the audits of the run.
    """
    import pyarrow as pa

    audits = {(asset, number >> 32) for asset, number in found}
    reasons = [
        SUPERSEDED_AUDIT
        if reason == NOT_REPORTED and (asset, number >> 32) in audits and (asset, number) not in found
        else reason
        for reason, asset, number in zip(
            table["reason"].to_pylist(), table["asset"].to_pylist(), table["plugin"].to_pylist(), strict=True
        )
    ]
    column = table.column_names.index("reason")
    return table.set_column(column, "reason", pa.array(reasons, pa.string()))
