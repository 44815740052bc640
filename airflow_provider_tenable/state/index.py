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
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_provider_tenable.exceptions import DamagedFileError, MissingFileError, StagingError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.staging.files import names, remove_file
from airflow_provider_tenable.staging.index_files import IndexFiles, IndexPart, Manifest
from airflow_provider_tenable.state import parts
from airflow_provider_tenable.state.lookup import Columns
from airflow_provider_tenable.state.spill import TableBuckets

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_provider_tenable._compat import ObjectStoragePath

log = logging.getLogger(__name__)

#: Deltas are merged once there are more than this many, or once they have more rows than this, or than this share of
#: the merged rows.
_DELTAS, _DELTA_ROWS, _DELTA_SHARE = 16, 500_000, 0.25
#: Rows of a delta at most.
ROWS_OF_DELTA = 100_000
#: How often a merge starts again because another one has finished meanwhile.
_ATTEMPTS = 5
#: Security Hub keeps archived findings for 30 days: rows of older ones say nothing about it any more.
_ARCHIVED_DAYS = 90
_DAY = 86_400_000


class LostIndexError(StagingError):
    """The index of an account and Region cannot be relied on; the text says why."""


@contextmanager
def _lost_where_missing() -> Iterator[None]:
    try:
        yield
    except (MissingFileError, DamagedFileError) as error:
        raise LostIndexError(str(error)) from error


class Rows(Manifest, frozen=True, forbid_unknown_fields=True):
    """The manifest.

    :ivar version: :data:`airflow_provider_tenable.state.parts.VERSION` of the writer.
    :ivar rows: the parts, in the order of their keys, none of which is in two of them.
    :ivar merged: the deltas whose rows are in these parts, as far as their files still exist.
    """

    version: int = parts.VERSION
    rows: list[IndexPart] = []
    merged: list[str] = []

    @property
    def parts(self) -> list[IndexPart]:
        return self.rows


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

    def manifest(self) -> Rows | None:
        """What is merged, None where nothing is. :raises LostIndexError: the manifest cannot be relied on."""
        with _lost_where_missing():
            manifest = self._parts.read_manifest(Rows)
        if manifest is not None and manifest.version != parts.VERSION:
            raise LostIndexError(f"The index in {self.folder} is of another version of this package.")
        return manifest

    def merged_columns(self) -> Iterator[Columns]:
        """What a comparison needs of the parts, in the order of their keys.

        :raises LostIndexError: one of them is missing, damaged or of another version.
        """
        manifest = self.manifest()
        before = None
        for part in manifest.parts if manifest else []:
            with _lost_where_missing():
                found = parts.compared(self._parts.content_of(part.name))
            if len(found) and before is not None and found.hi[0] < before:
                raise LostIndexError(f"The parts of the index in {self.folder} are not in the order of their keys.")
            before = found.hi[-1] if len(found) else before
            yield found

    def delta_columns(self) -> Iterator[Columns]:
        """What a comparison needs of the deltas that are not merged. :raises LostIndexError: as above."""
        for name in self.waiting(self.manifest()):
            with _lost_where_missing():
                found = parts.compared(self._deltas.content_of(name))
            yield found

    def tables(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The rows of each part, then those of each delta that is not merged. :raises LostIndexError: as above."""
        yield from self.merged_tables(columns)
        yield from self.delta_tables(columns)

    def merged_tables(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The rows of each part, in the order of their keys. :raises LostIndexError: as above."""
        manifest = self.manifest()
        for part in manifest.parts if manifest else []:
            with _lost_where_missing():
                table = parts.decode(self._parts.content_of(part.name), columns)
            yield table

    def delta_tables(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The rows of each delta that is not merged. :raises LostIndexError: as above."""
        for name in self.waiting(self.manifest()):
            with _lost_where_missing():
                table = parts.decode(self._deltas.content_of(name), columns)
            yield table

    def merged_rows(self) -> int:
        """How many rows the parts have."""
        manifest = self._readable_manifest()
        return sum(part.records for part in manifest.parts) if manifest else 0

    def most_delta_rows(self) -> int:
        """How many rows the deltas that are not merged have at most; 0 where they are few enough to be held."""
        count = len(self._there(self._readable_manifest()))
        return count * ROWS_OF_DELTA if count > _DELTAS + _DELTA_ROWS // ROWS_OF_DELTA else 0

    def waiting(self, manifest: Rows | None) -> list[str]:
        """The deltas that are not merged. :raises LostIndexError: a delta that a run has noted does not exist."""
        there = self._there(manifest)
        self._check(self._expected, there, manifest)
        return there

    def _there(self, manifest: Rows | None) -> list[str]:
        merged = set(manifest.merged) if manifest else set()
        return [name for name in names(self.folder) if self._deltas.is_part(name) and name not in merged]

    def _check(self, expected: Collection[str], there: Iterable[str], manifest: Rows | None) -> None:
        missing = set(expected) - set(there) - set(manifest.merged if manifest else ())
        if missing:
            raise LostIndexError(
                f"{len(missing)} deltas of the index in {self.folder} that runs have written do not exist any more, "
                f"such as {min(missing)}."
            )

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
        manifest = self._readable_manifest() if rebuild else self.manifest()
        if rebuild:
            # What was merged before may be in a part that is damaged: every delta that still exists counts again.
            self._remove_damaged_deltas(own)
            waiting = self._there(None)
            self._check(own, waiting, manifest)
        else:
            waiting = self.waiting(manifest)
        merged = sum(part.records for part in manifest.parts) if manifest else 0
        fresh = len(waiting) * ROWS_OF_DELTA if rebuild else sum(map(self._count, waiting))
        few = len(waiting) <= _DELTAS and fresh <= min(_DELTA_SHARE * merged, _DELTA_ROWS)
        if not rebuild and manifest is not None and few:
            return True
        written = self._written(self._tables(manifest, waiting, rebuild=rebuild, own=own), merged + fresh, now)
        there = set(names(self.folder))
        before = {name for name in manifest.merged if name in there} if manifest else set()
        if (self._readable_manifest() if rebuild else self.manifest()) != manifest:
            return False
        self._parts.publish(Rows(rows=written, merged=sorted({*before, *waiting})), merged=waiting)
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
        for name in self._there(None):
            if name not in own and self._is_damaged(name) and self._is_damaged(name):
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
        with _lost_where_missing():
            return parts.decode(self._deltas.content_of(name), ["archived"]).num_rows

    def _readable_manifest(self) -> Rows | None:
        try:
            return self.manifest()
        except LostIndexError:
            return None

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
            with _lost_where_missing():
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
        try:
            manifest = self.manifest()
        except LostIndexError:
            return
        if manifest is not None:
            self._parts.remove_unneeded({part.name for part in manifest.parts}, manifest.retired)
            self._deltas.remove_unneeded({*self._there(manifest), *self._expected}, manifest.retired)


def _without_expired(table: pa.Table, now: int) -> pa.Table:
    """Rows without those of findings that were archived so long ago that Security Hub has deleted them."""
    archived, sent = table["archived"].to_numpy(), table["sent_at"].to_numpy()
    expired = archived & (sent < now - _ARCHIVED_DAYS * _DAY)
    return table.filter(~expired) if expired.any() else table
