"""Compressed parts: files with many lines, or with a chunk."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from airflow_provider_tenable.exceptions import DamagedFileError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.staging.files import open_whole, write_whole
from airflow_provider_tenable.staging.zstd import FRAME_BYTES, Packer, unpacked

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

#: gzip's fastest level: findings are written once and read once, and still shrink about tenfold.
_GZIP_LEVEL = 1


def compress(data: bytes) -> bytes:
    """Gzip without a time stamp, so that the output depends only on the input."""
    return gzip.compress(data, compresslevel=_GZIP_LEVEL, mtime=0)


def digest_of(content: bytes) -> str:
    """What names a part by its content: 16 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()[:16]


#: Bytes of lines that gzip compresses together, and bytes that are decompressed at a time.
_GZIP_TOGETHER_BYTES = 256_000
BLOCK_BYTES = 300_000


def read_blocks(path: ObjectStoragePath) -> Iterator[bytes]:
    """Read a compressed part, a few hundred KB at a time.

    :raises StagingError: it is missing or damaged, which may be detected only after the last block.
    """
    try:
        with open_whole(path) as file:
            yield from unpacked(file, BLOCK_BYTES)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DamagedFileError(
            f"The staged part {path} is damaged ({safe(error)}). Clear the run's tasks from the export on."
        ) from error


def read_part(path: ObjectStoragePath) -> bytes:
    """Read and decompress a ``.gz`` part. :raises StagingError: missing or damaged."""
    return b"".join(read_blocks(path))


class PartWriter:
    """Collects lines into a part, compressing them as they arrive, and writes the part atomically.

    :param folder: the folder for the closed part.
    :param stem: the part's name without its ending.
    :param by_content: whether a digest of the content becomes part of the name, so that different lines give a
        different part. It is one of the compressed content: for the lines themselves it would cost as much as
        compressing them.
    :param packed: compress with :mod:`airflow_provider_tenable.staging.zstd` instead of gzip, for the bulk of a run.
    :ivar digest: of the content of the closed part, 16 hexadecimal digits.
    :ivar uncompressed_bytes: of the lines that are not compressed yet.
    """

    def __init__(self, folder: ObjectStoragePath, stem: str, *, by_content: bool = False, packed: bool = False) -> None:
        self.lines = 0
        self.raw_bytes = 0
        self.digest = ""
        self._folder = folder
        self._stem = stem
        self._by_content = by_content
        self._packer = Packer() if packed else None
        self._buffer = io.BytesIO()
        self._gzip = (
            None
            if packed
            else gzip.GzipFile(fileobj=self._buffer, mode="wb", compresslevel=_GZIP_LEVEL, mtime=0, filename="")
        )
        # A list, because a bytearray is copied repeatedly as it grows.
        self._begun: list[bytes] = []
        self.uncompressed_bytes = 0
        # Every call of a compressor has a fixed cost.
        self._together = FRAME_BYTES if packed else _GZIP_TOGETHER_BYTES

    def write(self, line: bytes) -> int:
        """Add one line, without its newline.

        :return: by how many bytes the part's memory grows; negative if it has compressed lines.
        """
        self._begun.append(line)
        size = len(line) + 1
        self.uncompressed_bytes += size
        self.lines += 1
        self.raw_bytes += size
        return size if self.uncompressed_bytes < self._together else size - self.compress()

    @property
    def held_bytes(self) -> int:
        """The memory of the part in bytes."""
        return self.uncompressed_bytes + (self._packer.held_bytes if self._packer else self._buffer.tell())

    def compress(self) -> int:
        """Compress the lines that were written so far. :return: by how many bytes the part's memory shrinks."""
        before = self.held_bytes
        if self._begun:
            self._begun.append(b"")
            data = b"\n".join(self._begun)
            self._begun, self.uncompressed_bytes = [], 0
            if self._packer:
                self._packer.write(data)
                self._packer.end_frame()
            elif self._gzip:
                self._gzip.write(data)
        return before - self.held_bytes

    def close(self) -> str:
        """Write the part. :return: its file name."""
        self.compress()
        if self._packer:
            content, ending = self._packer.close(), "jsonl.zst"
        else:
            assert self._gzip
            self._gzip.close()
            content, ending = self._buffer.getvalue(), "jsonl.gz"
        self.digest = digest_of(content)
        stem = f"{self._stem}-{self.digest}" if self._by_content else self._stem
        name = f"{stem}.{ending}"
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
        start = 0
        # Finding each newline takes a third of the time of split(), which looks at every byte by itself.
        while (end := block.find(b"\n", start)) >= 0:
            line = begun + block[start:end]
            begun, start = b"", end + 1
            if line:
                yield line
        begun += block[start:]
    if begun:
        yield begun
