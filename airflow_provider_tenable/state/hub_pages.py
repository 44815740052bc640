"""What an audit has read from a hub so far, on record: ``hub_audit/{account}/{region}/``. It resumes after the last
page that was put on record.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from airflow_provider_tenable.exceptions import DamagedFileError, StagingError
from airflow_provider_tenable.staging.crash_points import reached
from airflow_provider_tenable.staging.files import content_of, read_json, remove, write_json, write_whole
from airflow_provider_tenable.state import hub_rows
from airflow_provider_tenable.state import parts as index_parts

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_provider_tenable._compat import ObjectStoragePath

T = TypeVar("T")
_PROGRESS, _COMPARED = "progress.json", "compared.json"


class AuditCrashPoint(StrEnum):
    """Where the fault suite kills an audit: what it has done differs from what it has recorded."""

    PAGES_READ = "hub_pages_read"
    COMPARED = "hub_compared"
    REPAIRS_WRITTEN = "hub_repairs_written"
    AUDIT_RECORDED = "hub_audit_recorded"


#: Findings of a file: 50 calls of GetFindings.
ROWS_OF_FILE = 5_000


class Progress(msgspec.Struct):
    """``progress.json``.

    :ivar began: unix milliseconds.
    :ivar prefixes: of the ids that are looked at; empty: all.
    :ivar index: what the finding index consisted of when the audit began.
    :ivar token: of the next page; None at the beginning and at the end.
    :ivar complete: whether all pages were read.
    :ivar files: the files with the rows, and the number of rows of each.
    :ivar others: findings that are not ours. ``unreadable``: those that cannot be read.
    """

    began: int
    prefixes: list[str]
    index: list[str]
    token: str | None = None
    complete: bool = False
    pages: int = 0
    files: list[tuple[str, int]] = []
    others: int = 0
    unreadable: int = 0

    @property
    def rows(self) -> int:
        """How many findings of ours were read."""
        return sum(count for _, count in self.files)


class HubPages:
    """The record of one account and Region."""

    def __init__(self, folder: ObjectStoragePath) -> None:
        self._folder = folder

    def progress(self) -> Progress | None:
        """How far an earlier try came; None where there is none that can be read."""
        try:
            value = read_json(self._folder / _PROGRESS, advice="")
            return None if value is None else msgspec.convert(value, Progress)
        except (DamagedFileError, msgspec.ValidationError):
            return None

    def begin(self, progress: Progress) -> Progress:
        """Begin from the first page."""
        remove(self._folder)
        write_json(self._folder / _PROGRESS, msgspec.to_builtins(progress))
        return progress

    def add(self, progress: Progress, table: pa.Table) -> None:
        """Put rows on record, and how far they reach."""
        if table.num_rows:
            name = f"rows-{len(progress.files):05d}.parquet"
            write_whole(self._folder / name, index_parts.encode(table))
            progress.files.append((name, table.num_rows))
        write_json(self._folder / _PROGRESS, msgspec.to_builtins(progress))
        reached(AuditCrashPoint.PAGES_READ)

    def tables(self, progress: Progress) -> Iterator[pa.Table]:
        """The rows. :raises StagingError: a file is missing or damaged."""
        for name, count in progress.files:
            yield self.table(name, count, hub_rows.schema())

    def table(self, name: str, count: int, schema: pa.Schema) -> pa.Table:
        """One file. :raises StagingError: it is missing, damaged, or another one."""
        path = self._folder / name
        try:
            table = index_parts.decode(content_of(path))
        except (OSError, DamagedFileError) as error:
            raise StagingError(
                f"What the audit has read, {path}, is missing or damaged. Start another run of the audit."
            ) from error
        if table.num_rows != count or table.schema.names != schema.names:
            raise StagingError(f"{path} is not what the audit has written. Start another run of the audit.")
        return table

    def put_repairs(self, number: int, tables: list[pa.Table]) -> tuple[str, int]:
        """Put rows that correct the index on record. :return: name and number of rows of the file."""
        import pyarrow as pa

        table = pa.concat_tables(tables)
        name = f"repairs-{number:05d}.parquet"
        write_whole(self._folder / name, index_parts.encode(table))
        return name, table.num_rows

    def put_compared(self, compared: Any) -> None:
        """Put on record what was found."""
        write_json(self._folder / _COMPARED, compared)
        reached(AuditCrashPoint.COMPARED)

    def compared(self, kind: type[T]) -> T | None:
        """What was found; None where that is not on record."""
        try:
            value = read_json(self._folder / _COMPARED, advice="")
            return None if value is None else msgspec.convert(value, kind)
        except (DamagedFileError, msgspec.ValidationError):
            return None


__all__ = ["ROWS_OF_FILE", "AuditCrashPoint", "HubPages", "Progress"]
