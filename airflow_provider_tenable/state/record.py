"""From receipts to rows of the finding index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable.asff import row
from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.security_hub.batches import identify
from airflow_provider_tenable.staging.files import read_json, write_json
from airflow_provider_tenable.staging.parts import read_lines
from airflow_provider_tenable.state import parts as index_parts
from airflow_provider_tenable.state.staged import staged_rows

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from airflow_provider_tenable.security_hub.assignment import Target
    from airflow_provider_tenable.security_hub.receipts import Receipts
    from airflow_provider_tenable.staging.layout import RunFolder
    from airflow_provider_tenable.state.index import FindingIndex

#: Rows of a delta.
_DELTA_ROWS = 100_000
_RECORDED = "recorded.json"


def record_rows(
    run: RunFolder,
    target: Target,
    index: FindingIndex,
    receipts: Receipts,
    parts: list[tuple[str, int, np.ndarray[Any, Any]]],
    *,
    as_of: int,
    sent_at: int,
) -> bool:
    """Add a row for each finding that was acknowledged and has none of this run yet. May be repeated.

    :param parts: name, findings, and the ``UpdatedAt`` of each finding (unix milliseconds; 0: its own).
    :param as_of: for which moment the run's export speaks, unix milliseconds.
    :param sent_at: when the run was planned: nothing was sent earlier, so a finding is refreshed rather too soon. And a
        retry makes the same rows.
    :return: whether there was something to add.
    """
    import pyarrow as pa

    path = run.compared(target.account, target.region) / _RECORDED
    before = _recorded(path)
    accepted = {name: receipts.accepted_ranges(name) for name, _, _ in parts}
    waiting: list[pa.Table] = []
    added = False
    for name, count, stamps in parts:
        if accepted[name] and accepted[name] != before.get(name):
            waiting.append(_table(run, target, name, count, stamps, receipts, as_of, sent_at))
            added = True
        if sum(map(len, waiting)) >= _DELTA_ROWS:
            index.add(pa.concat_tables(waiting))
            waiting = []
    if waiting:
        index.add(pa.concat_tables(waiting))
    if added:
        write_json(path, {"accepted": accepted})
    return added


def is_recorded(run: RunFolder, target: Target, receipts: Receipts) -> bool:
    """Whether the index has a row for everything that the receipts say was acknowledged."""
    before = _recorded(run.compared(target.account, target.region) / _RECORDED)
    return all(receipts.accepted_ranges(name) == before.get(name, []) for name, _ in target.parts)


def _recorded(path: Any) -> dict[str, Any]:
    try:
        return dict((read_json(path) or {}).get("accepted", {}))
    except StagingError:
        return {}


def _table(
    run: RunFolder,
    target: Target,
    name: str,
    count: int,
    stamps: np.ndarray[Any, Any],
    receipts: Receipts,
    as_of: int,
    sent_at: int,
) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    chosen = np.zeros(count, bool)
    for first, last in receipts.accepted_ranges(name):
        chosen[first : last + 1] = True
    rows = staged_rows(run, target.account, target.region, name, count)[chosen]
    lines = read_lines(run.destination(target.account, target.region) / name)
    resources, places = _ids(lines, chosen)
    flags = rows["flags"]
    updated = np.where(stamps[chosen] == 0, rows["updated_at"], stamps[chosen])
    columns = {
        "key": _binary(rows["key"]),
        "resource": resources,
        "place": places,
        "asset": _binary(rows["asset"]),
        "plugin": rows["plugin"],
        "archived": (flags & row.ARCHIVED) != 0,
        "severity": flags & row.SEVERITY,
        "content": rows["content"],
        "updated_at": updated,
        "as_of": np.where(rows["as_of"] == 0, as_of, rows["as_of"]),
        "sent_at": np.full(len(rows), sent_at),
        "first_observed": rows["first_observed"],
    }
    return pa.table(columns, schema=index_parts.schema())


def _ids(lines: Iterator[bytes], chosen: np.ndarray[Any, Any]) -> tuple[list[str], list[str]]:
    resources, places = [], []
    for line, wanted in zip(lines, chosen.tolist(), strict=True):
        if wanted:
            resource, place = row.split_id(identify(line))
            resources.append(resource)
            places.append(place)
    return resources, places


def _binary(column: np.ndarray[Any, Any]) -> pa.Array:
    """A column of texts of fixed length, with the zeros at their ends."""
    import numpy as np
    import pyarrow as pa

    size = column.dtype.itemsize
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(size), len(column), [None, pa.py_buffer(np.ascontiguousarray(column).tobytes())]
    )
