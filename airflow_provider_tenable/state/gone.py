"""What a run archives in an account and Region beyond what it imports, on record: ``gone/{account}/{region}/``.

The Parquet files have the rows of the finding index with the reason of each; ``gone.json``, written last, names them.
Decided once, like what is imported: a retry archives the same findings, whatever has become of the index in between.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_tenable.asff import row
from airflow_provider_tenable.exceptions import DamagedFileError, StagingError
from airflow_provider_tenable.staging.crash_points import CrashPoint, reached
from airflow_provider_tenable.staging.files import content_of, read_json, write_json, write_whole
from airflow_provider_tenable.state import parts as index_parts

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_provider_tenable._compat import ObjectStoragePath

#: Reasons, as in ``ProductFields``, in the ledger and in the report.
NOT_REPORTED, OUT_OF_SCOPE, MOVED = "not_reported", "out_of_scope", "moved"
#: Another version of the audit file has results of the same asset.
SUPERSEDED_AUDIT = "superseded_audit"
TERMINATED, DELETED = row.ASSET_TERMINATED, row.ASSET_DELETED
#: Those that rest on nothing but a finding's absence from an export, which may be silently short.
BY_ABSENCE = frozenset({NOT_REPORTED, OUT_OF_SCOPE, MOVED})

#: What the names of the files begin with: what Tenable says of an asset, and what is only absent.
KNOWN_ROWS, ABSENT_ROWS = "known", "absent"

_HEAD = "gone.json"
#: Rows of a file, and so archivals whose results are in memory at a time.
_ROWS = 50_000


class Gone(msgspec.Struct, frozen=True):
    """``gone.json``.

    :ivar staged: (name, findings) of the staged parts that it was decided with.
    :ivar files: the files with the rows, in their order, and the number of rows of each.
    :ivar reasons: reason -> findings to be archived.
    :ivar active: how many active rows the index had.
    :ivar stopped: reason -> findings that would be archived if they were not too many.
    :ivar alone: whether they are too many in this account and Region, and not only in all together.
    :ivar left: why findings of which the run saw nothing stay active -> how many.
    """

    staged: list[tuple[str, int]]
    files: list[tuple[str, int]]
    reasons: dict[str, int]
    active: int
    stopped: dict[str, int] = {}
    left: dict[str, int] = {}
    alone: bool = False

    @property
    def total(self) -> int:
        """How many findings are to be archived."""
        return sum(self.reasons.values())

    @property
    def by_absence(self) -> int:
        """How many of them rest on nothing but absence, with those that are stopped."""
        reasons = [*self.reasons.items(), *self.stopped.items()]
        return sum(count for reason, count in reasons if reason in BY_ABSENCE)


def is_by_absence(name: str) -> bool:
    """Whether the rows of a file rest on nothing but absence."""
    return name.startswith(f"{ABSENT_ROWS}-")


def read_gone(folder: ObjectStoragePath, staged: list[tuple[str, int]] | None = None) -> Gone | None:
    """What was decided; None where nothing is on record, or it was decided with other staged parts.

    :param staged: the parts; None: any.
    """
    try:
        value = read_json(folder / _HEAD)
        gone = None if value is None else msgspec.convert(value, Gone)
    except (DamagedFileError, msgspec.ValidationError):
        return None
    return gone if gone is not None and staged in (None, gone.staged) else None


class GoneRows:
    """Writes rows to files, which count once :func:`write_gone` has named them.

    :param stem: what the names of the files begin with.
    :ivar files: (name, rows) of each file.
    :ivar reasons: reason -> rows.
    """

    def __init__(self, folder: ObjectStoragePath, stem: str) -> None:
        self._folder = folder
        self._stem = stem
        self._waiting: list[pa.Table] = []
        self.files: list[tuple[str, int]] = []
        self.reasons: Counter[str] = Counter()

    def add(self, table: pa.Table) -> None:
        """Add rows of the index with a column ``reason``."""
        self.reasons.update(table["reason"].to_pylist())
        for begin in range(0, table.num_rows, _ROWS):
            self._waiting.append(table.slice(begin, _ROWS))
            if sum(map(len, self._waiting)) >= _ROWS:
                self.close()

    def close(self) -> None:
        """Write what is left."""
        import pyarrow as pa

        if not self._waiting:
            return
        table, self._waiting = pa.concat_tables(self._waiting), []
        content = index_parts.encode(table)
        # Named by content: what was archived of another list does not count for this one.
        name = f"{self._stem}-{len(self.files):05d}-{hashlib.sha256(content).hexdigest()[:16]}.parquet"
        write_whole(self._folder / name, content)
        self.files.append((name, table.num_rows))


def write_gone(folder: ObjectStoragePath, gone: Gone) -> None:
    """Put on record what is to be archived. May be repeated."""
    write_json(folder / _HEAD, msgspec.to_builtins(gone))
    reached(CrashPoint.GONE_LISTED)


def rows_to_archive(folder: ObjectStoragePath, name: str, count: int) -> pa.Table:
    """The rows of a file, with their reasons. :raises StagingError: it is missing or damaged."""
    try:
        table = index_parts.decode(content_of(folder / name))
    except (OSError, DamagedFileError) as error:
        raise StagingError(
            f"The list {folder / name} of what is to be archived is missing or damaged. Clear the run's tasks from "
            "plan_archiving on."
        ) from error
    if table.num_rows != count:
        raise StagingError(
            f"The list {folder / name} of what is to be archived has {table.num_rows} rows, not {count}. Clear the "
            "run's tasks from plan_archiving on."
        )
    return table


__all__ = [
    "ABSENT_ROWS",
    "BY_ABSENCE",
    "DELETED",
    "KNOWN_ROWS",
    "MOVED",
    "NOT_REPORTED",
    "OUT_OF_SCOPE",
    "TERMINATED",
    "Gone",
    "GoneRows",
    "read_gone",
    "rows_to_archive",
    "write_gone",
]
