"""Compressed parts: many lines, or a chunk, in a file each."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.staging.files import open_whole, write_whole
from airflow_provider_tenable.staging.zstd import Packer, unpacked

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

#: gzip's fastest level: findings are written once and read once, and shrink about tenfold even so.
_GZIP_LEVEL = 1


def compress(data: bytes) -> bytes:
    """Gzip without a time stamp, so that the same bytes in give the same bytes out."""
    return gzip.compress(data, compresslevel=_GZIP_LEVEL, mtime=0)


#: Memory that a compressor takes once it works.
COMPRESSOR_BYTES = 1_500_000

#: Bytes of lines that are compressed together, and bytes that are decompressed at a time.
_TOGETHER_BYTES = 256_000
BLOCK_BYTES = 300_000


def read_blocks(path: ObjectStoragePath) -> Iterator[bytes]:
    """Read a compressed part, some hundred KB at a time. :raises StagingError: missing or damaged, perhaps only after
    the last block.
    """
    try:
        with open_whole(path) as file:
            yield from unpacked(file, BLOCK_BYTES)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise StagingError(
            f"The staged part {path} is damaged ({safe(error)}). Clear the run's tasks from the export on."
        ) from error


def read_part(path: ObjectStoragePath) -> bytes:
    """Read and decompress a ``.gz`` part. :raises StagingError: missing or damaged."""
    return b"".join(read_blocks(path))


class PartWriter:
    """Collects lines, compressing them as they arrive, into a part that is then written in one piece.

    :param folder: where the part goes when it is closed.
    :param stem: the part's name without its ending.
    :param by_content: whether a digest of the lines becomes part of the name, so that other lines are another part.
    :param packed: for the bulk of a run: compressed by :mod:`airflow_provider_tenable.staging.zstd` instead of gzip.
    """

    def __init__(self, folder: ObjectStoragePath, stem: str, *, by_content: bool = False, packed: bool = False) -> None:
        self.lines = 0
        self.raw_bytes = 0
        self._folder = folder
        self._stem = stem
        self._digest = hashlib.sha256() if by_content else None
        self._packed = packed
        self._packer: Packer | None = None
        self._buffer = io.BytesIO()
        self._gzip = (
            None
            if packed
            else gzip.GzipFile(fileobj=self._buffer, mode="wb", compresslevel=_GZIP_LEVEL, mtime=0, filename="")
        )
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0

    def write(self, line: bytes) -> int:
        """Add one line, given without its newline.

        :return: by how many bytes the part takes more memory than before; what is compressed hardly counts, so it may
            be negative.
        """
        self._waiting.append(line)
        size = len(line) + 1
        self._waiting_bytes += size
        self.lines += 1
        self.raw_bytes += size
        # Each call of digest and compressor has a price of its own.
        if self._waiting_bytes < _TOGETHER_BYTES:
            return size
        before = self.held_bytes
        self._compress()
        return size + self.held_bytes - before

    @property
    def held_bytes(self) -> int:
        """About how many bytes of memory the part takes."""
        return self._waiting_bytes + (COMPRESSOR_BYTES if self._packer else 0)

    def _compress(self) -> None:
        if not self._waiting:
            return
        self._waiting.append(b"")
        data = b"\n".join(self._waiting)
        self._waiting, self._waiting_bytes = [], 0
        # Only now: of thousands of destinations, most have a few findings, and a compressor takes more memory than they
        # do.
        if self._packed and self._packer is None:
            self._packer = Packer()
        (self._packer or self._gzip).write(data)  # type: ignore[union-attr]
        if self._digest:
            self._digest.update(data)

    def close(self) -> str:
        """Put the part in its place; its name is returned."""
        self._compress()
        stem = f"{self._stem}-{self._digest.hexdigest()[:16]}" if self._digest else self._stem
        if self._packed:
            packer = self._packer or Packer()
            name, content = f"{stem}.jsonl.zst", packer.close()
        else:
            assert self._gzip
            self._gzip.close()
            name, content = f"{stem}.jsonl.gz", self._buffer.getvalue()
        write_whole(self._folder / name, content)
        return name


def write_lines(folder: ObjectStoragePath, stem: str, lines: Iterable[bytes]) -> str:
    """Write a complete part of lines, and return its name."""
    part = PartWriter(folder, stem)
    for line in lines:
        part.write(line)
    return part.close()


def read_lines(path: ObjectStoragePath) -> Iterator[bytes]:
    """The lines of a part, without their newlines."""
    begun = b""
    for block in read_blocks(path):
        *lines, begun = (begun + block).split(b"\n")
        for line in lines:
            if line:
                yield line
    if begun:
        yield begun
