"""The finding index: what the hub of an account and Region holds of ours, a row for each finding.
``{staging}/{dag_id}/finding_index/{account}/{region}/``.

How it is kept consistent:

* Rows are made from receipts alone: of a finding that nobody acknowledged there is none. A run adds them as *deltas*,
  files that never change and are named by their content. Every delta that is there counts, whoever wrote it.
* Of two rows of a finding the one of the later ``as_of`` counts (for which moment Tenable said so), then that of the
  later ``updated_at``. So neither the order of the deltas matters, nor that a delta is there twice.
* Only a run that may move the watermark merges deltas into parts. It writes the parts, then the manifest, which names
  them and retires the deltas; a process that dies in between leaves the index as it was.
* A part or delta that is missing, damaged or of another version makes the index *lost*: nothing is taken from it, and
  a note says so until a full run has sent everything (:mod:`airflow_provider_tenable.state.registry`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.staging.files import names, remove_file
from airflow_provider_tenable.staging.index_files import IndexFiles, IndexPart, Manifest
from airflow_provider_tenable.state import parts
from airflow_provider_tenable.state.spill import TableBuckets

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from airflow_provider_tenable._compat import ObjectStoragePath

log = logging.getLogger(__name__)

#: So many deltas lie next to the parts before they are merged, or as many rows as this share of what is merged.
_DELTAS, _DELTA_SHARE = 16, 0.25
#: Security Hub keeps archived findings for 30 days: rows of older ones say nothing about it any more.
_ARCHIVED_DAYS = 90
_DAY = 86_400_000


class LostIndexError(StagingError):
    """The index of an account and Region cannot be relied on; the text says why."""


class Rows(Manifest, frozen=True, forbid_unknown_fields=True):
    """The manifest.

    :ivar version: :data:`airflow_provider_tenable.state.parts.VERSION` of who wrote it.
    :ivar rows: the parts, none of whose keys is in another one.
    :ivar merged: the deltas whose rows are in these parts. Two mergers at a time may each lack what the other one has
        merged: whichever manifest stays, the deltas that it does not name still count.
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
    """

    def __init__(self, folder: ObjectStoragePath) -> None:
        self.folder = folder
        self._parts = IndexFiles(folder, "findings")
        self._deltas = IndexFiles(folder, "delta")

    def add(self, table: pa.Table) -> str:
        """Add rows as a delta, whose name is returned. May be repeated. :raises StagingError: there is no room."""
        latest = parts.latest(table)
        return self._deltas.put(parts.encode(latest), latest.num_rows).name

    def manifest(self) -> Rows | None:
        """What is merged, None where nothing is. :raises LostIndexError: the manifest cannot be relied on."""
        try:
            manifest = self._parts.read_manifest(Rows)
        except StagingError as error:
            raise LostIndexError(str(error)) from error
        if manifest is not None and manifest.version != parts.VERSION:
            raise LostIndexError(f"The index in {self.folder} is of another version of this package.")
        return manifest

    def compared(self) -> Iterator[np.ndarray[Any, Any]]:
        """What a comparison needs of each part and delta (:data:`~airflow_provider_tenable.state.parts.COMPARED`).

        :raises LostIndexError: one of them is missing, damaged or of another version.
        """
        for content in self._contents(self.manifest()):
            try:
                yield parts.compared(content)
            except StagingError as error:
                raise LostIndexError(str(error)) from error

    def size(self) -> int:
        """About how many rows there are: those of deltas do not count."""
        manifest = self._readable_manifest()
        return sum(part.records for part in manifest.parts) if manifest else 0

    def _contents(self, manifest: Rows | None) -> Iterator[bytes]:
        try:
            for part in manifest.parts if manifest else []:
                yield self._parts.content_of(part.name)
            for name in self._waiting(manifest):
                yield self._deltas.content_of(name)
        except StagingError as error:
            raise LostIndexError(str(error)) from error

    def _waiting(self, manifest: Rows | None) -> list[str]:
        """The deltas that are not merged."""
        merged = set(manifest.merged) if manifest else set()
        return [name for name in names(self.folder) if self._deltas.is_part(name) and name not in merged]

    def merge(self, *, now: int, rebuild: bool = False) -> None:
        """Merge deltas, where there are enough of them. May be repeated.

        :param now: unix milliseconds.
        :param rebuild: whether the index was lost and a full run has just sent everything: what cannot be read is left
            out, and the manifest is written in any case.
        :raises LostIndexError: something of it is missing, damaged or of another version.
        """
        manifest = self._readable_manifest() if rebuild else self.manifest()
        if rebuild:
            self._remove_damaged_deltas()
        # What was merged before may stand in a part that is damaged: every delta that is still there counts again.
        waiting = self._waiting(None if rebuild else manifest)
        fresh = sum(self._count(name, rebuild=rebuild) for name in waiting)
        merged = sum(part.records for part in manifest.parts) if manifest else 0
        if not rebuild and manifest is not None and len(waiting) <= _DELTAS and fresh <= _DELTA_SHARE * merged:
            return
        written = self._written(self._tables(manifest, waiting, rebuild=rebuild), merged + fresh, now)
        there = set(names(self.folder))
        before = {name for name in manifest.merged if name in there} if manifest else set()
        self._parts.publish(Rows(rows=written, merged=sorted({*before, *waiting})), merged=waiting)
        log.info(
            "The finding index %s/%s holds %d findings in %d parts.",
            self.folder.parent.name,
            self.folder.name,
            sum(part.records for part in written),
            len(written),
        )

    def _remove_damaged_deltas(self) -> None:
        for name in self._waiting(None):
            if self._decoded(self._deltas, name, rebuild=True) is None:
                remove_file(self.folder / name)

    def _readable_manifest(self) -> Rows | None:
        try:
            return self.manifest()
        except LostIndexError:
            return None

    def _tables(self, manifest: Rows | None, waiting: list[str], *, rebuild: bool) -> Iterator[pa.Table]:
        for part in manifest.parts if manifest else []:
            if (table := self._decoded(self._parts, part.name, rebuild=rebuild)) is not None:
                yield table
        for name in waiting:
            if (table := self._decoded(self._deltas, name, rebuild=rebuild)) is not None:
                yield table

    def _count(self, name: str, *, rebuild: bool) -> int:
        try:
            return parts.count(self._deltas.content_of(name))
        except StagingError as error:
            if rebuild:
                return 0
            raise LostIndexError(str(error)) from error

    @staticmethod
    def _decoded(files: IndexFiles, name: str, *, rebuild: bool) -> pa.Table | None:
        try:
            return parts.decode(files.content_of(name))
        except StagingError as error:
            if rebuild:
                log.warning("%s It is left out.", error)
                return None
            raise LostIndexError(str(error)) from error

    def _written(self, tables: Iterable[pa.Table], rows: int, now: int) -> list[IndexPart]:
        buckets = TableBuckets(parts.schema(), rows, parts.PART_ROWS)
        try:
            for table in tables:
                buckets.add(table)
            kept = (_without_expired(parts.latest(table), now) for table in buckets.tables())
            return [self._parts.put(parts.encode(table), table.num_rows) for table in kept if table.num_rows]
        finally:
            buckets.close()

    def remove_unneeded(self) -> None:
        """Remove what was retired, and parts of mergers that died, long enough ago."""
        try:
            manifest = self.manifest()
        except LostIndexError:
            return
        if manifest is not None:
            self._parts.remove_unneeded({part.name for part in manifest.parts}, manifest.retired)
            self._deltas.remove_unneeded(self._waiting(manifest), manifest.retired)


def _without_expired(table: pa.Table, now: int) -> pa.Table:
    """Rows without those of findings that were archived so long ago that Security Hub has deleted them."""
    archived, sent = table["archived"].to_numpy(), table["sent_at"].to_numpy()
    expired = archived & (sent < now - _ARCHIVED_DAYS * _DAY)
    return table.filter(~expired) if expired.any() else table
