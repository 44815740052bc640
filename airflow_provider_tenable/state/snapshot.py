"""What the index of an account and Region holds, read once.

Whoever reads an index in several steps sees one state of it. Another task may merge deltas meanwhile: the parts and
deltas that it retires stay for longer than a task reads them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from airflow_provider_tenable.exceptions import DamagedFileError, MissingFileError, StagingError
from airflow_provider_tenable.staging.files import names
from airflow_provider_tenable.staging.index_files import IndexFiles, IndexPart, Manifest
from airflow_provider_tenable.state import parts
from airflow_provider_tenable.state.lookup import Columns

if TYPE_CHECKING:
    import pyarrow as pa


#: Deltas are merged once there are more than this many, or once they have more rows than this.
DELTAS, DELTA_ROWS = 16, 500_000
#: Rows of a delta at most.
ROWS_OF_DELTA = 100_000


class LostIndexError(StagingError):
    """The index of an account and Region cannot be relied on; the text says why."""


@contextmanager
def lost_where_missing() -> Iterator[None]:
    """Turns the error of a part that is missing or damaged into that of a lost index."""
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


class Snapshot:
    """One state of the index.

    :param parts: the files of what is merged.
    :param deltas: those of what is not, in the same folder.
    :param expected: the deltas that runs have noted and that are not known to be merged.
    """

    def __init__(self, parts: IndexFiles, deltas: IndexFiles, expected: frozenset[str]) -> None:
        self.folder = parts.folder
        self._expected = expected
        self._parts = parts
        self._deltas = deltas

    @cached_property
    def manifest(self) -> Rows | None:
        """What is merged, None where nothing is. :raises LostIndexError: the manifest cannot be relied on."""
        with lost_where_missing():
            manifest = self._parts.read_manifest(Rows)
        if manifest is not None and manifest.version != parts.VERSION:
            raise LostIndexError(f"The index in {self.folder} is of another version of this package.")
        return manifest

    @cached_property
    def readable_manifest(self) -> Rows | None:
        """As :attr:`manifest`; None where it cannot be relied on, too."""
        try:
            return self.manifest
        except LostIndexError:
            return None

    @cached_property
    def deltas(self) -> frozenset[str]:
        """The deltas that exist, merged or not."""
        # Listed after the manifest was read: what is merged in between exists all the same, and counts.
        _ = self.readable_manifest
        return frozenset(name for name in names(self.folder) if self._deltas.is_part(name))

    def merged_columns(self) -> Iterator[Columns]:
        """What a comparison needs of the parts, in the order of their keys.

        :raises LostIndexError: one of them is missing, damaged or of another version.
        """
        manifest = self.manifest
        before = None
        for part in manifest.parts if manifest else []:
            with lost_where_missing():
                found = parts.compared(self._parts.content_of(part.name))
            if len(found) and before is not None and found.hi[0] < before:
                raise LostIndexError(f"The parts of the index in {self.folder} are not in the order of their keys.")
            before = found.hi[-1] if len(found) else before
            yield found

    def delta_columns(self) -> Iterator[Columns]:
        """What a comparison needs of the deltas that are not merged. :raises LostIndexError: as above."""
        for name in self.waiting():
            with lost_where_missing():
                found = parts.compared(self._deltas.content_of(name))
            yield found

    def tables(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The rows of each part, then those of each delta that is not merged. :raises LostIndexError: as above."""
        yield from self.merged_tables(columns)
        yield from self.delta_tables(columns)

    def merged_tables(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The rows of each part, in the order of their keys. :raises LostIndexError: as above."""
        manifest = self.manifest
        for part in manifest.parts if manifest else []:
            with lost_where_missing():
                table = parts.decode(self._parts.content_of(part.name), columns)
            yield table

    def delta_tables(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The rows of each delta that is not merged. :raises LostIndexError: as above."""
        for name in self.waiting():
            with lost_where_missing():
                table = parts.decode(self._deltas.content_of(name), columns)
            yield table

    def merged_rows(self) -> int:
        """How many rows the parts have."""
        manifest = self.readable_manifest
        return sum(part.records for part in manifest.parts) if manifest else 0

    def most_delta_rows(self) -> int:
        """How many rows the deltas that are not merged have at most; 0 where they are few enough to be held."""
        manifest = self.readable_manifest
        count = len(self.deltas - set(manifest.merged if manifest else ()))
        return count * ROWS_OF_DELTA if count > DELTAS + DELTA_ROWS // ROWS_OF_DELTA else 0

    def waiting(self) -> list[str]:
        """The deltas that are not merged. :raises LostIndexError: a delta that a run has noted does not exist."""
        merged = set(self.manifest.merged if self.manifest else ())
        self.check(self._expected - merged)
        return sorted(self.deltas - merged)

    def check(self, expected: Collection[str]) -> None:
        """:raises LostIndexError: one of these deltas does not exist."""
        missing = set(expected) - self.deltas
        if missing:
            raise LostIndexError(
                f"{len(missing)} deltas of the index in {self.folder} that runs have written do not exist any more, "
                f"such as {min(missing)}."
            )
