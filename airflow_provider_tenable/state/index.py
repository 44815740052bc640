"""The finding index: what the hub of an account and Region holds of ours, a row for each finding.
``{staging}/{dag_id}/finding_index/{account}/{region}/``.

How it stays consistent:

* Rows are made from receipts alone: a finding that nobody acknowledged has none. A run adds them as *deltas*, files
  that never change and are named after their content. Every delta that exists counts, whoever wrote it.
* Of two rows of a finding the one of the later ``as_of`` counts (for which moment Tenable said so), then that of the
  later ``updated_at``. So neither the order of the deltas matters, nor that a delta is added twice.
* Each run notes which deltas it has added (:mod:`airflow_provider_tenable.state.registry`): one that has disappeared
  makes the index lost.
* Only a run that may move the watermark merges deltas into parts. It writes the parts, then the manifest, which names
  them and retires the deltas. A process that dies in between leaves the index unchanged, and of two that merge at a
  time, the one that finds another manifest than it has read starts again.
* A part or delta that is missing, damaged or of another version makes the index *lost*: nothing is taken from it, and
  a note says so until a full run has sent everything. A store that does not answer loses nothing: the task fails.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from airflow_provider_tenable.exceptions import DamagedFileError, MissingFileError, StagingError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.staging.files import remove_file
from airflow_provider_tenable.staging.index_files import IndexFiles, IndexPart
from airflow_provider_tenable.state import parts
from airflow_provider_tenable.state.snapshot import (
    DELTA_ROWS,
    DELTAS,
    ROWS_OF_DELTA,
    LostIndexError,
    Rows,
    Snapshot,
    lost_where_missing,
)
from airflow_provider_tenable.state.spill import TableBuckets

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_provider_tenable._compat import ObjectStoragePath

log = logging.getLogger(__name__)

#: Deltas are also merged once they have more rows than this share of the merged rows.
_DELTA_SHARE = 0.25
#: How often a merge starts again because another one has finished meanwhile.
_ATTEMPTS = 5
#: Security Hub keeps archived findings for 30 days: rows of older ones say nothing about it any more.
_ARCHIVED_DAYS = 90
_DAY = 86_400_000


class FindingIndex:
    """The index of one account and Region.

    :param folder: where it is.
    :param expected: the deltas that runs have noted and that are not known to be merged.
    """

    def __init__(self, folder: ObjectStoragePath, expected: Collection[str] = ()) -> None:
        self.folder = folder
        self._expected = frozenset(expected)
        self._parts = IndexFiles(folder, "findings")
        self._deltas = IndexFiles(folder, "delta")

    def add(self, table: pa.Table) -> str:
        """Add rows as a delta, whose name is returned. May be repeated. :raises StagingError: the disk is full."""
        latest = parts.latest(table)
        return self._deltas.put(parts.encode(latest), latest.num_rows).name

    def rows_of_delta(self, name: str) -> pa.Table:
        """The rows of a delta. It exists for an hour after it was merged.

        :raises MissingFileError: it does not exist any more.
        :raises DamagedFileError: it cannot be read.
        """
        return parts.decode(self._deltas.content_of(name))

    def snapshot(self) -> Snapshot:
        """What it holds now."""
        return Snapshot(self._parts, self._deltas, self._expected)

    def merge(self, *, now: int, rebuild: bool = False, own: Collection[str] = ()) -> None:
        """Merge deltas, where there are enough of them. May be repeated.

        :param now: unix milliseconds.
        :param rebuild: whether the index was lost and a full run has just sent everything: what is missing or damaged
            is left out, and the manifest is written in any case.
        :param own: the deltas of that run, which must all be readable.
        :raises LostIndexError: something of it is missing, damaged or of another version.
        :raises StagingError: other tasks merge the same index all the time, or the store does not answer.
        """
        for _ in range(_ATTEMPTS):
            if self._merge_once(now, rebuild=rebuild, own=own):
                return
        raise StagingError(f"The index in {self.folder} is merged by other tasks at the same time. Clear this task.")

    def _merge_once(self, now: int, *, rebuild: bool, own: Collection[str]) -> bool:
        """:return: whether that is done; if not, another task has replaced the manifest meanwhile."""
        if rebuild:
            self._remove_damaged_deltas(own)
        before = self.snapshot()
        manifest = before.readable_manifest if rebuild else before.manifest
        if rebuild:
            # What was merged before may be in a part that is damaged: every delta that still exists counts again.
            before.check(set(own) - set(manifest.merged if manifest else ()))
            waiting = sorted(before.deltas)
        else:
            waiting = before.waiting()
        merged = sum(part.records for part in manifest.parts) if manifest else 0
        fresh = len(waiting) * ROWS_OF_DELTA if rebuild else sum(map(self._count, waiting))
        few = len(waiting) <= DELTAS and fresh <= min(_DELTA_SHARE * merged, DELTA_ROWS)
        if not rebuild and manifest is not None and few:
            return True
        written = self._written(self._tables(manifest, waiting, rebuild=rebuild, own=own), merged + fresh, now)
        after = self.snapshot()
        if (after.readable_manifest if rebuild else after.manifest) != manifest:
            return False
        merged_before = after.deltas.intersection(manifest.merged if manifest else ())
        self._parts.publish(Rows(rows=written, merged=sorted({*merged_before, *waiting})), merged=waiting)
        log.info(
            "The finding index %s/%s holds %d findings in %d parts.",
            self.folder.parent.name,
            self.folder.name,
            sum(part.records for part in written),
            len(written),
        )
        return True

    def _remove_damaged_deltas(self, own: Collection[str]) -> None:
        """Remove deltas that are damaged in two reads. One that the store does not return is not damaged.

        :param own: these stay: without them the index remains lost.
        """
        for name in sorted(self.snapshot().deltas.difference(own)):
            if self._is_damaged(name) and self._is_damaged(name):
                log.warning("The delta %s of the index in %s is damaged, and is removed.", name, self.folder)
                remove_file(self.folder / name)

    def _is_damaged(self, name: str) -> bool:
        try:
            parts.decode(self._deltas.content_of(name), ["archived"])
        except DamagedFileError:
            return True
        except MissingFileError:
            pass
        return False

    def _count(self, name: str) -> int:
        with lost_where_missing():
            return parts.decode(self._deltas.content_of(name), ["archived"]).num_rows

    def _tables(
        self, manifest: Rows | None, waiting: list[str], *, rebuild: bool, own: Collection[str]
    ) -> Iterator[pa.Table]:
        for part in manifest.parts if manifest else []:
            if (table := self._decoded(self._parts, part.name, leave_out=rebuild)) is not None:
                yield table
        for name in waiting:
            if (table := self._decoded(self._deltas, name, leave_out=rebuild and name not in own)) is not None:
                yield table

    @staticmethod
    def _decoded(files: IndexFiles, name: str, *, leave_out: bool) -> pa.Table | None:
        try:
            with lost_where_missing():
                return parts.decode(files.content_of(name))
        except LostIndexError as error:
            if not leave_out:
                raise
            log.warning("%s It is left out.", safe(error))
            return None

    def _written(self, tables: Iterable[pa.Table], rows: int, now: int) -> list[IndexPart]:
        buckets = TableBuckets(parts.schema(), rows, parts.PART_ROWS)
        try:
            for table in tables:
                buckets.add(table)
            # Buckets are counted by an estimate: most may be empty.
            filled = (table for table in buckets.tables() if table.num_rows)
            kept = (_without_expired(parts.latest(table), now) for table in filled)
            return [self._parts.put(parts.encode(table), table.num_rows) for table in kept if table.num_rows]
        finally:
            buckets.close()

    def remove_unneeded(self) -> None:
        """Remove what was retired, and parts of merges that died, long enough ago. What runs have noted stays."""
        now = self.snapshot()
        manifest = now.readable_manifest
        if manifest is not None:
            self._parts.remove_unneeded({part.name for part in manifest.parts}, manifest.retired)
            self._deltas.remove_unneeded({*now.deltas.difference(manifest.merged), *self._expected}, manifest.retired)


def _without_expired(table: pa.Table, now: int) -> pa.Table:
    """Rows without those of findings that were archived so long ago that Security Hub has deleted them."""
    archived, sent = table["archived"].to_numpy(), table["sent_at"].to_numpy()
    expired = archived & (sent < now - _ARCHIVED_DAYS * _DAY)
    return table.filter(~expired) if expired.any() else table
