"""What a run has decided about the findings of an account and Region, on record: ``compared/{account}/{region}/``.

Decided once: a retry sends the same lines with the same ``UpdatedAt``, whatever has become of the index in between.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_tenable.exceptions import DamagedFileError
from airflow_provider_tenable.staging.crash_points import CrashPoint, reached
from airflow_provider_tenable.staging.files import read_json, write_json, write_whole
from airflow_provider_tenable.staging.rows import packed_rows, read_rows
from airflow_provider_tenable.state.compare import DECISION
from airflow_provider_tenable.state.verdicts import NOT_SENT, SENT, Verdict

if TYPE_CHECKING:
    import numpy as np

    from airflow_provider_tenable._compat import ObjectStoragePath

_HEAD = "decisions.json"


class Head(msgspec.Struct):
    """``decisions.json``.

    :ivar parts: (name, findings) of the staged parts, in their order.
    :ivar counts: verdict -> findings.
    :ivar file: where the decisions are.
    :ivar records: whether what is acknowledged goes into the finding index.
    :ivar why: why it is not known what the hub holds; empty where it is.
    :ivar changed_states: how many findings are archived, by reason, and ``reopened``: are active again; ``remapped``:
        were mapped by a release with another mapping.
    """

    parts: list[tuple[str, int]]
    counts: dict[str, int]
    file: str
    records: bool = True
    why: str = ""
    changed_states: dict[str, int] = {}

    @property
    def to_send(self) -> int:
        """How many findings are sent."""
        return sum(self.counts.get(verdict.key, 0) for verdict in SENT)

    @property
    def not_sent(self) -> dict[str, int]:
        """Why findings are not sent -> how many."""
        return {verdict.key: self.counts.get(verdict.key, 0) for verdict in NOT_SENT}


def read_head(folder: ObjectStoragePath, parts: list[tuple[str, int]]) -> Head | None:
    """What was decided about these parts; None where that is not on record, or was of other parts."""
    try:
        value = read_json(folder / _HEAD)
        head = None if value is None else msgspec.convert(value, Head)
    except (DamagedFileError, msgspec.ValidationError):
        return None
    return head if head is not None and head.parts == parts else None


def read_decisions(folder: ObjectStoragePath, head: Head) -> np.ndarray[Any, Any] | None:
    """The decisions themselves; None where they are missing or damaged."""
    import numpy as np

    dtype = np.dtype(DECISION)
    total = sum(count for _, count in head.parts)
    data = read_rows(folder / head.file, count=total, size=dtype.itemsize)
    return None if data is None else np.frombuffer(data, dtype)


def write_decisions(
    folder: ObjectStoragePath,
    parts: list[tuple[str, int]],
    decisions: np.ndarray[Any, Any],
    *,
    records: bool,
    why: str = "",
    changed_states: Mapping[str, int] = MappingProxyType({}),
) -> Head:
    """Put decisions on record. May be repeated."""
    import numpy as np

    content = packed_rows(decisions.tobytes(), decisions.dtype.itemsize)
    found, numbers = np.unique(decisions["verdict"], return_counts=True)
    counts = Counter({Verdict(int(code)).key: int(number) for code, number in zip(found, numbers, strict=True)})
    file = f"decisions-{hashlib.sha256(content).hexdigest()[:16]}.rows.zst"
    head = Head(parts, dict(sorted(counts.items())), file, records, why, dict(sorted(changed_states.items())))
    write_whole(folder / file, content)
    write_json(folder / _HEAD, msgspec.to_builtins(head))
    reached(CrashPoint.FINDINGS_COMPARED)
    return head
