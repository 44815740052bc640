"""Rows of a fixed number of bytes, as many as a part has lines: a packed file next to the part.

The ids of the lines may follow the rows, so that whoever needs both does not have to read the part, which is thirty
times as long. The first bytes say how the rows are laid out, so that a release that lays them out otherwise does not
misread them.
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

#: To be raised when the bytes of a row mean something else. With ids, the version is the next one.
LAYOUT_VERSION = 1
_WITH_IDS = LAYOUT_VERSION + 1
#: Magic, version, bytes of a row.
_HEAD = struct.Struct("<4sHH")
_MAGIC = b"rows"
_BLOCK_BYTES = 1_000_000


def write_rows(path: ObjectStoragePath, rows: bytes, size: int, ids: bytes = b"") -> None:
    """Write rows of ``size`` bytes that follow one another.

    :param ids: an id for each of the rows, with a newline after each; empty for none.
    :raises StagingError: the disk is full.
    """
    write_whole(path, packed_rows(rows, size, ids))


def packed_rows(rows: bytes, size: int, ids: bytes = b"") -> bytes:
    """The content of a file of rows that stand one after the other, each of so many bytes."""
    return pack(_HEAD.pack(_MAGIC, _WITH_IDS if ids else LAYOUT_VERSION, size) + rows + ids)


def read_rows(path: ObjectStoragePath, *, count: int, size: int) -> bytes | None:
    """The rows of a part, one after the other; None where they are missing, damaged or laid out in another way.

    Whatever is wrong with them, the lines of the part say the same.

    :param count: how many there must be.
    :param size: how many bytes each must have.
    :raises StorageUnavailableError: the store does not answer, so neither is known.
    """
    found = read_rows_and_ids(path, count=count, size=size)
    return None if found is None else found[0]


def read_rows_and_ids(path: ObjectStoragePath, *, count: int, size: int) -> tuple[bytes, list[bytes] | None] | None:
    """Like :func:`read_rows`, and the ids, one for each row; None where the file has none."""
    try:
        opened = open_whole(path)
    except MissingFileError:
        return None
    try:
        with opened as file:
            data = b"".join(unpacked(file, _BLOCK_BYTES))
    except (OSError, EOFError, ValueError, zlib.error):
        return None
    head, end = data[: _HEAD.size], _HEAD.size + count * size
    rows = data[_HEAD.size : end]
    if head == _HEAD.pack(_MAGIC, LAYOUT_VERSION, size) and len(data) == end:
        return rows, None
    # The last newline ends the last id.
    *ids, rest = data[end:].split(b"\n")
    if head != _HEAD.pack(_MAGIC, _WITH_IDS, size) or len(ids) != count or rest or not all(ids):
        return None
    return rows, ids
