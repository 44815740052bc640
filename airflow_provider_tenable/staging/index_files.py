"""The files of an index that is kept between runs: parts that never change, and a manifest that is replaced last.

* A part is named after a digest of its content, so a part never changes under its name, and damage is detected.
* The manifest names the parts that count, and is replaced last, atomically: a process that dies before leaves the index
  unchanged.
* A part that the manifest no longer names is *retired*: runs that were planned earlier may still read it. It is removed
  later.

The user of an index defines the meaning of the rows, and which parts a manifest and the runs need.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

import msgspec

from airflow_provider_tenable.exceptions import (
    DamagedFileError,
    MissingFileError,
    StagingError,
    StorageUnavailableError,
)
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.staging.crash_points import CrashPoint, reached
from airflow_provider_tenable.staging.files import content_of, names, read_json, remove_file, write_json, write_whole
from airflow_provider_tenable.staging.keyed_rows import KeyedRows

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
#: Rows of a part. Of assets, some 10 MB of Arrow; every transform task reads all parts, one after the other.
PART_ROWS = 20_000
#: A run that is being planned may have read the manifest before this one was written, and names its parts in a moment.
_RETIRED_SECONDS = 3600.0
#: A part that is in no manifest is being put there, or its writer is dead.
_ORPHANED_SECONDS = 86400.0


class IndexPart(msgspec.Struct, frozen=True):
    """A part of an index: file name, number of rows."""

    name: str
    records: int


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The common part of all index manifests; each kind of index adds its own entries.

    :ivar retired: parts that are no longer in the index, and since when (unix seconds, our clock).
    """

    retired: dict[str, float] = {}

    @property
    def parts(self) -> list[IndexPart]:
        """All parts, in order of increasing precedence."""
        raise NotImplementedError


_M = TypeVar("_M", bound=Manifest)


class IndexFiles:
    """The files of one index.

    :param folder: their folder.
    :param content: the prefix of the parts' names, such as ``assets``.
    """

    def __init__(self, folder: ObjectStoragePath, content: str) -> None:
        self.folder = folder
        self._content = content
        self._part_name = re.compile(rf"{re.escape(content)}-([0-9a-f]{{64}})\.parquet")

    def is_part(self, name: str) -> bool:
        """Whether a file in the folder is a part, judging by its name."""
        return self._part_name.fullmatch(name) is not None

    def is_intact(self, name: str) -> bool:
        """Whether a part exists and its content matches its name."""
        try:
            self.content_of(name)
        except StagingError:
            return False
        return True

    def content_of(self, name: str) -> bytes:
        """The content of a part.

        :raises MissingFileError: it does not exist.
        :raises DamagedFileError: it holds something else than its name says.
        :raises StorageUnavailableError: the store does not answer, so neither is known.
        """
        named, path = self._part_name.fullmatch(name), self.folder / name
        try:
            content = content_of(path)
        except FileNotFoundError as error:
            raise MissingFileError(f"The part {path} of the index is missing ({safe(error)}).") from error
        except OSError as error:
            raise StorageUnavailableError(
                f"The part {path} of the index cannot be read: {safe(error)}. Clear the task once the staging area "
                "answers."
            ) from error
        if named is None or hashlib.sha256(content).hexdigest() != named[1]:
            raise DamagedFileError(f"The part {path} of the index is damaged: its content does not match its name.")
        return content

    def put(self, content: bytes, records: int) -> IndexPart:
        """Write a part. It counts once a manifest names it.

        :raises StagingError: the disk is full.
        """
        part = IndexPart(f"{self._content}-{hashlib.sha256(content).hexdigest()}.parquet", records)
        write_whole(self.folder / part.name, content)
        reached(CrashPoint.INDEX_PART_WRITTEN)
        return part

    def merge(
        self,
        parts: Iterable[ObjectStoragePath],
        *,
        read: Callable[[ObjectStoragePath], Iterable[tuple[str, bytes]]],
        encode: Callable[[list[bytes]], bytes],
        prefer: Callable[[bytes, bytes], bool] | None = None,
    ) -> list[IndexPart]:
        """Merge the rows of several parts into as few as possible, each key once, in the order of the keys.

        :param read: the rows of a part: (key, row as bytes).
        :param encode: the content of a part with the given rows.
        :param prefer: as for :class:`~airflow_provider_tenable.staging.keyed_rows.KeyedRows`.
        :raises StagingError: a part is missing or damaged, or the disk is full.
        """
        with closing(KeyedRows(parts, read, prefer)) as table:
            rows = table.rows()
            # iter(callable, sentinel): batches until one is empty.
            batches: Iterator[list[bytes]] = iter(lambda: list(itertools.islice(rows, PART_ROWS)), [])
            return [self.put(encode(batch), len(batch)) for batch in batches]

    def read_manifest(self, kind: type[_M]) -> _M | None:
        """The manifest, or None.

        :raises DamagedFileError: it is damaged, or of another kind.
        :raises StorageUnavailableError: the store does not answer.
        """
        path = self.folder / MANIFEST
        value = read_json(path, advice="")
        try:
            return None if value is None else msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            raise DamagedFileError(f"{path} cannot be read: {safe(error)}") from error

    def publish(self, manifest: Manifest, *, merged: Iterable[str] = ()) -> None:
        """Replace the manifest. Parts that it no longer names are retired.

        :param merged: other files of the folder that are retired, because its parts contain their rows.
        """
        try:
            before = self.read_manifest(type(manifest))
        except StagingError:
            before = None
        now, there, named = time.time(), set(names(self.folder)), {part.name for part in manifest.parts}
        gone = dict.fromkeys([*(part.name for part in before.parts), *merged] if before else merged, now)
        gone |= before.retired if before else {}
        retired = {name: since for name, since in gone.items() if name in there and name not in named}
        write_json(self.folder / MANIFEST, msgspec.to_builtins(msgspec.structs.replace(manifest, retired=retired)))
        reached(CrashPoint.INDEX_PUBLISHED)

    def remove_unneeded(self, needed: Collection[str], retired: Mapping[str, float]) -> list[str]:
        """Remove parts that were retired long enough ago, or that were never named by a manifest.

        :param needed: the parts to keep: those of the manifest, and of all runs that may read them again.
        :param retired: the manifest's ``retired``.
        :return: the names of the removed parts.
        """
        now, removed = time.time(), []
        for name in names(self.folder):
            if not self.is_part(name) or name in needed:
                continue
            path, since = self.folder / name, retired.get(name)
            try:
                written = path.stat().st_mtime
                # A part that was retired may have been written again since: the same rows have the same name.
                if (
                    now - max(since, written) > _RETIRED_SECONDS
                    if since is not None
                    else now - written > _ORPHANED_SECONDS
                ):
                    remove_file(path)
                    reached(CrashPoint.INDEX_PART_REMOVED)
                    removed.append(name)
            except FileNotFoundError:
                # Another run has already removed it.
                continue
        return removed
