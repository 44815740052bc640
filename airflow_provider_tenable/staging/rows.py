"""Rows of a fixed number of bytes, as many as a part has lines: a packed file next to the part.

The first bytes say how the rows are laid out, so that a release that lays them out otherwise does not misread them.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from airflow_provider_tenable.exceptions import MissingFileError
from airflow_provider_tenable.staging.files import open_whole, write_whole
from airflow_provider_tenable.staging.zstd import pack, unpacked

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

#: To be raised when the bytes of a row mean something else.
LAYOUT_VERSION = 1
#: Magic, version, bytes of a row.
_HEAD = struct.Struct("<4sHH")
_MAGIC = b"rows"
_BLOCK_BYTES = 1_000_000


def write_rows(path: ObjectStoragePath, rows: bytes, size: int) -> None:
    """Write rows of ``size`` bytes that follow one another. :raises StagingError: the disk is full."""
    write_whole(path, packed_rows(rows, size))


def packed_rows(rows: bytes, size: int) -> bytes:
    """The content of a file of rows that stand one after the other, each of so many bytes."""
    return pack(_HEAD.pack(_MAGIC, LAYOUT_VERSION, size) + rows)


def read_rows(path: ObjectStoragePath, *, count: int, size: int) -> bytes | None:
    """The rows of a part, one after the other; None where they are missing, damaged or laid out in another way.

    Whatever is wrong with them, the lines of the part say the same.

    :param count: how many there must be.
    :param size: how many bytes each must have.
    :raises StorageUnavailableError: the store does not answer, so neither is known.
    """
    try:
        opened = open_whole(path)
    except MissingFileError:
        return None
    try:
        with opened as file:
            data = b"".join(unpacked(file, _BLOCK_BYTES))
    except (OSError, EOFError, ValueError, zlib.error):
        return None
    if data[: _HEAD.size] != _HEAD.pack(_MAGIC, LAYOUT_VERSION, size) or len(data) != _HEAD.size + count * size:
        return None
    return data[_HEAD.size :]
