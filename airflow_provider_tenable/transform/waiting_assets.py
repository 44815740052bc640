"""Lists the assets that the records of a part wait for, in a file beside the part. A run reads the records themselves
only if one of these assets has settled, or if some of the records have waited too long.

A list contains the digest of its part. If the list is missing or damaged, or belongs to another part, the run reads the
part instead: an earlier release may have written it, or the process may have died between the two files.
"""

from __future__ import annotations

import logging
import zlib
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_tenable.exceptions import MissingFileError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.staging.files import read_whole, remove_file, write_whole
from airflow_provider_tenable.staging.zstd import pack, unpacked

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

log = logging.getLogger(__name__)

_BLOCK_BYTES = 1 << 20
#: Of a part, as this release writes it, and of its list.
_PART, _LIST = ".jsonl.zst", ".assets"


class Waiting(msgspec.Struct, array_like=True):
    """The records of one asset in a part.

    :ivar earliest: when the first of them began to wait, unix seconds.
    :ivar latest: when the last of them did.
    """

    earliest: int
    latest: int
    records: int = 1

    def count(self, parked_at: int) -> None:
        """Count another record."""
        self.records += 1
        if parked_at < self.earliest:
            self.earliest = parked_at
        elif parked_at > self.latest:
            self.latest = parked_at


class WaitingAssets(msgspec.Struct):
    """The assets of a part.

    :ivar part: the digest of the part's content, as in its name in the pool.
    """

    part: str = ""
    assets: dict[str, Waiting] = {}

    def add(self, asset: str, parked_at: int) -> None:
        """Count a record that waits for ``asset``."""
        found = self.assets.get(asset)
        if found is None:
            self.assets[asset] = Waiting(parked_at, parked_at)
        else:
            found.count(parked_at)


def write_list(folder: ObjectStoragePath, part: str, found: WaitingAssets) -> None:
    """Write the list of a part beside it."""
    write_whole(folder / _list_of(part), pack(msgspec.json.encode(found)))


def copy_list(source: ObjectStoragePath, part: str, pool: ObjectStoragePath, part_there: str) -> None:
    """Copy the list of a part, if it has one, into the pool, where the part has another name."""
    if part.endswith(_PART):
        try:
            write_whole(pool / _list_of(part_there), read_whole(source / _list_of(part)))
        except MissingFileError:
            log.debug("Part %s of a run has no list.", part)


def remove_list(pool: ObjectStoragePath, part: str) -> None:
    """Remove the list of a part of the pool, if it has one."""
    if part.endswith(_PART):
        remove_file(pool / _list_of(part))


def read_list(folder: ObjectStoragePath, part: str, digest: str = "") -> dict[str, Waiting] | None:
    """The assets whose records are in a part.

    :param digest: of the part's content; empty: it is in the part's name, as in the pool.
    :return: None if the list is missing or damaged, or belongs to another part: the part itself has to be read.
    """
    if not part.endswith(_PART):
        return None
    path = folder / _list_of(part)
    try:
        text = b"".join(unpacked(read_whole(path), _BLOCK_BYTES))
        found = msgspec.json.decode(text, type=WaitingAssets)
    except MissingFileError:
        return None
    except (OSError, EOFError, ValueError, zlib.error) as error:
        log.warning("The list of assets %s is damaged (%s). The waiting records are read instead.", path, safe(error))
        return None
    is_its_own = found.part == digest if digest else found.part and part.endswith(f"-{found.part}{_PART}")
    return found.assets if found.assets and is_its_own else None


def _list_of(part: str) -> str:
    # Shorter than the part's name, which may be as long as names can be. Earlier releases do not take it for a part.
    return part.removesuffix(_PART) + _LIST
