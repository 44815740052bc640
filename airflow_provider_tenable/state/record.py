"""From receipts to rows of the finding index."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable.asff import row
from airflow_provider_tenable.exceptions import DamagedFileError
from airflow_provider_tenable.staging.files import read_json, write_json
from airflow_provider_tenable.state import parts as index_parts
from airflow_provider_tenable.state.archive import deltas_in
from airflow_provider_tenable.state.snapshot import ROWS_OF_DELTA
from airflow_provider_tenable.state.staged import staged_rows_and_ids
from airflow_provider_tenable.state.verdicts import Verdict

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from airflow_provider_tenable._compat import ObjectStoragePath
    from airflow_provider_tenable.security_hub.assignment import Target
    from airflow_provider_tenable.security_hub.receipts import Receipts
    from airflow_provider_tenable.staging.layout import RunFolder
    from airflow_provider_tenable.state.decisions import Head
    from airflow_provider_tenable.state.index import FindingIndex

_RECORDED = "recorded.json"


def record_rows(
    run: RunFolder,
    target: Target,
    index: FindingIndex,
    receipts: Receipts,
    parts: list[tuple[str, np.ndarray[Any, Any]]],
    *,
    as_of: int,
    sent_at: int,
) -> bool:
    """Add a row for each finding that was acknowledged, or that was archived in Tenable before it was ever sent, and
    that has none of this run yet. May be repeated.

    The row of a finding that was never sent has an unknown content. It keeps a replay, or a run that is cleared, from
    sending the finding as it was before.

    :param parts: name, and what was decided about each finding
        (:data:`~airflow_provider_tenable.state.compare.DECISION`).
    :param as_of: for which moment the run's export speaks, unix milliseconds.
    :param sent_at: when the run was planned: nothing was sent earlier, so a finding is refreshed rather too soon. And a
        retry makes the same rows.
    :return: whether there was something to add.
    """
    import pyarrow as pa

    path = run.compared(target.account, target.region) / _RECORDED
    written = _read(path)
    before, deltas = written.get("rows", {}), written.get("deltas", [])
    rows: dict[str, str] = {}
    waiting: list[pa.Table] = []
    added = False
    for name, decisions in parts:
        chosen = accepted_lines(receipts, name, len(decisions)) | (decisions["verdict"] == Verdict.NEVER_IMPORTED)
        rows[name] = _digest(chosen)
        if rows[name] and rows[name] != before.get(name):
            waiting.append(_table(run, target, name, decisions, chosen, as_of, sent_at))
            added = True
        if sum(map(len, waiting)) >= ROWS_OF_DELTA:
            deltas.append(index.add(pa.concat_tables(waiting)))
            waiting = []
    if waiting:
        deltas.append(index.add(pa.concat_tables(waiting)))
    if added:
        counts = {name: receipts.accepted_ranges(name) for name, _ in parts}
        write_json(path, {"accepted": counts, "rows": rows, "deltas": sorted(set(deltas))})
    return added


def accepted_lines(receipts: Receipts, name: str, count: int) -> np.ndarray[Any, Any]:
    """Which findings of a staged part were acknowledged, in their order."""
    import numpy as np

    accepted = np.zeros(count, bool)
    for first, last in receipts.accepted_ranges(name):
        accepted[first : last + 1] = True
    return accepted


def _digest(chosen: np.ndarray[Any, Any]) -> str:
    """A digest of which findings of a part are chosen; empty if none is. Listed as ranges, they would be hundreds of
    entries: findings that were archived before they were ever sent are scattered throughout the part.
    """
    import numpy as np

    return blake2b(np.packbits(chosen).tobytes(), digest_size=16).hexdigest() if chosen.any() else ""


def is_recorded(run: RunFolder, target: Target, receipts: Receipts, head: Head) -> bool:
    """Whether the index has a row for everything that the receipts say was acknowledged, and for what was archived
    before it was ever sent.
    """
    written = _read(run.compared(target.account, target.region) / _RECORDED)
    before = written.get("accepted", {})
    if "rows" not in written and head.counts.get(Verdict.NEVER_IMPORTED.key):
        return False
    return all(receipts.accepted_ranges(name) == before.get(name, []) for name, _ in target.parts)


def deltas_of(run: RunFolder, account: str, region: str) -> list[str]:
    """The deltas that a run has added to the index of an account and Region."""
    imported = _read(run.compared(account, region) / _RECORDED).get("deltas", [])
    return [*imported, *deltas_in(run.gone(account, region))]


def _read(path: ObjectStoragePath) -> dict[str, Any]:
    try:
        found: dict[str, Any] = read_json(path) or {}
    except DamagedFileError:
        # The same rows are added again, which gives the same deltas.
        return {}
    return found


def _table(
    run: RunFolder,
    target: Target,
    name: str,
    decisions: np.ndarray[Any, Any],
    chosen: np.ndarray[Any, Any],
    as_of: int,
    sent_at: int,
) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    rows, ids = staged_rows_and_ids(run, target.account, target.region, name, len(decisions))
    rows = rows[chosen]
    resources, places = _split(ids, chosen)
    flags, stamps = rows["flags"], decisions["stamp"][chosen]
    never_sent = decisions["verdict"][chosen] == Verdict.NEVER_IMPORTED
    columns = {
        "key": _binary(rows["key"]),
        "resource": resources,
        "place": places,
        "asset": _binary(rows["asset"]),
        "plugin": rows["plugin"],
        "archived": (flags & row.ARCHIVED) != 0,
        "severity": flags & row.SEVERITY,
        "content": np.where(never_sent, np.uint64(row.UNKNOWN_CONTENT), rows["content"]),
        "updated_at": np.where(stamps == 0, rows["updated_at"], stamps),
        "as_of": np.where(rows["as_of"] == 0, as_of, rows["as_of"]),
        "sent_at": np.full(len(rows), sent_at),
        "first_observed": rows["first_observed"],
    }
    return pa.table(columns, schema=index_parts.schema())


def _split(ids: Iterator[str], chosen: np.ndarray[Any, Any]) -> tuple[list[str], list[str]]:
    resources, places = [], []
    for finding_id, wanted in zip(ids, chosen.tolist(), strict=True):
        if wanted:
            resource, place = row.split_id(finding_id)
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
