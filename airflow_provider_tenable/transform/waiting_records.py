"""Records that wait for their assets, between runs: ``{staging}/{dag_id}/parked/``.

There are two kinds, in separate parts:

* Records whose asset is missing. Each run tries all of them again.
* Records whose asset is known, but not its AWS account, Region or instance yet. In most containers these are mostly
  hosts outside AWS, so a run only looks up their assets, in a list beside each part: it reads a part once one of its
  assets has settled, or some of its records have waited too long. Other parts stay in the pool unchanged.

A run's transform parks records in the run's own folder. Only when the run is settled, its parked records are added to
the pool, and the parts that its transform has read are removed from the pool; both steps can be repeated. An
interruption between them leaves a record twice in the pool: it is then delivered twice, which does not change anything.

A part of the pool is named after its run and a digest of its content, so that no attempt of any run can overwrite the
records of another one.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.staging.crash_points import CrashPoint, reached
from airflow_provider_tenable.staging.files import (
    FORMAT,
    LONGEST_NAME_BYTES,
    names,
    newer_format,
    read_json,
    read_whole,
    remove_file,
    write_json,
    write_whole,
)
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import digest_of, read_lines
from airflow_provider_tenable.transform.waiting_assets import (
    Waiting,
    WaitingAssets,
    copy_list,
    read_list,
    remove_list,
)

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath
    from airflow_provider_tenable.transform.shard import Parked, Transform

log = logging.getLogger(__name__)

#: The endings of the parts that this release writes, and of those that earlier releases left in the pool.
_ENDINGS = (".jsonl.zst", ".jsonl.gz")
#: What the names of parts begin with whose records wait until their asset has settled.
WAITING_STEM = "waiting-shard"
#: The same in the pool, after the id of the run: see :func:`settle_pool`.
_WAITING_PART = re.compile(rf"--{WAITING_STEM}-\d+-\d+-[0-9a-f]{{16}}\.jsonl\.(zst|gz)$", re.ASCII)


def list_pool(run: RunFolder) -> list[str]:
    """The names of the parts in the pool."""
    return [name for name in names(run.parked_pool) if name.endswith(_ENDINGS)]


def claim_pool(run: RunFolder) -> int:
    """Record which parts of the pool this run claims, so that its retries use the same. :return: their number."""
    taken = list_pool(run)
    write_json(run.root / "unparked.json", taken)
    reached(CrashPoint.POOL_CLAIMED)
    return len(taken)


def claimed_parts(run: RunFolder) -> list[str]:
    """The names of the parts that this run has claimed."""
    claimed: list[str] = read_json(run.root / "unparked.json") or []
    return claimed


_Entry = TypeVar("_Entry", "Parked", "_Head")


class _Head(msgspec.Struct):
    """The attributes that decide about a waiting record."""

    parked_at: int
    asset: str = ""
    format: int = 1


def transform_pool(run: RunFolder, transform: Transform[Any, Any]) -> list[str]:
    """Retry the records that this run has claimed.

    :return: the parts that are no longer needed once the run's findings are delivered: the remaining records are in its
        own parts.
    """
    claimed = claimed_parts(run)
    parts = [name for name in claimed if not _WAITING_PART.search(name)]
    transform.transform_parked(read_pool(run, parts))
    return [*parts, *(name for name in claimed if _WAITING_PART.search(name) and _release(run, name, transform))]


def _release(run: RunFolder, part: str, transform: Transform[Any, Any]) -> bool:
    """Transform the records of a part whose asset has settled, however long they have waited, and drop the others that
    have waited too long.

    :return: whether the part is no longer needed.
    """
    assets = _assets_of(run, part)
    settled = set(filter(transform.is_settled, assets))
    others = [waiting for asset, waiting in assets.items() if asset not in settled]
    if not settled and all(waiting.earliest >= transform.give_up_before for waiting in others):
        return False
    lapsed = 0
    if settled or any(waiting.latest >= transform.give_up_before for waiting in others):
        for entry in read_pool(run, [part]):
            if entry.asset in settled:
                transform.transform_parked([entry])
            elif entry.parked_at >= transform.give_up_before:
                transform.keep(entry)
            else:
                lapsed += 1
    else:
        lapsed = sum(waiting.records for waiting in others)
    if lapsed:
        log.info(
            "%d waiting records are dropped after [tenable] parked_days: the AWS account, Region or instance of their "
            "assets is still unknown.",
            lapsed,
        )
    return True


def _assets_of(run: RunFolder, part: str) -> dict[str, Waiting]:
    """The assets of the records in a part."""
    listed = read_list(run.parked_pool, part)
    if listed is not None:
        return listed
    found = WaitingAssets()
    for head in _entries(run, [part], _Head):
        found.add(head.asset, head.parked_at)
    return found.assets


def read_pool(run: RunFolder, parts: Iterable[str]) -> Iterator[Parked]:
    """The records in parts of the pool.

    :raises StagingError: a part is missing, damaged, or was written by a newer version.
    """
    from airflow_provider_tenable.transform.shard import Parked

    return _entries(run, parts, Parked)


def _entries(run: RunFolder, parts: Iterable[str], kind: type[_Entry]) -> Iterator[_Entry]:
    for name in parts:
        path = run.parked_pool / name
        for entry in _records(path, kind):
            if entry.format > FORMAT:
                raise newer_format(path, entry.format)
            yield entry


def _records(path: ObjectStoragePath, kind: type[_Entry]) -> Iterator[_Entry]:
    try:
        for line in read_lines(path):
            yield msgspec.json.decode(line, type=kind)
    except (StagingError, msgspec.DecodeError) as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise StagingError(
                f"The parked records {path} are missing: another attempt of a run has settled them. Clear the run's "
                "tasks from plan_shards on."
            ) from error
        raise StagingError(
            f"The parked records {path} are damaged ({safe(error.__cause__ or error)}). Move the file elsewhere, or "
            "every run will fail here, and clear the run's tasks from plan_shards on. A run with the param since=1 "
            "exports its records again."
        ) from error


def _name_in_pool(run_id: str, rest: str) -> str:
    """A file name from the run's id and ``rest``; an id that is too long is replaced by its beginning and a digest."""
    room = LONGEST_NAME_BYTES - len(rest)
    if len(run_id.encode()) <= room:
        return run_id + rest
    digest = hashlib.sha256(run_id.encode()).hexdigest()[:16]
    return f"{run_id.encode()[: room - len(digest) - 1].decode(errors='ignore')}~{digest}{rest}"


def settle_pool(run: RunFolder, parts: Iterable[str], *, done: Iterable[str]) -> None:
    """Add the run's parked parts to the pool, then remove the parts that it has read from there.

    :param parts: names of the parts in the run's own ``parked`` folder.
    :param done: names of the parts of the pool that the run's transform has read and that are no longer needed.
    """
    put = set()
    for name in parts:
        content = read_whole(run.parked / name)
        # list_pool finds parts by their endings. How a part is compressed is recognised by its first bytes.
        ending = next((each for each in _ENDINGS if name.endswith(each)), _ENDINGS[0])
        stem = name.removesuffix(ending)
        name_there = _name_in_pool(run.run_id, f"--{stem}-{digest_of(content)}{ending}")
        write_whole(run.parked_pool / name_there, content)
        put.add(name_there)
        reached(CrashPoint.POOL_PART_PUT)
        # Written after the part, and removed before it, so that no list is ever left without its part.
        if _WAITING_PART.search(name_there):
            copy_list(run.parked, name, run.parked_pool, name_there)
    for name in done:
        path = run.parked_pool / name
        # A cleared run may park exactly the same records again.
        if name not in put:
            if _WAITING_PART.search(name):
                remove_list(run.parked_pool, name)
            remove_file(path)
            reached(CrashPoint.POOL_PART_REMOVED)
