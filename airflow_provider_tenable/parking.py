"""Records that wait for their assets, between runs: ``{staging}/{dag_id}/parked/``.

A run's transform parks into its own folder. Only when the run is settled are its parked records put into the pool, and those that it took from the pool
removed; both steps can be repeated. Dying between them leaves a record twice in the pool: it is then delivered twice, which changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_tenable.crash_points import CrashPoint, reached
from airflow_provider_tenable.staging import RunFolder, names, read_json, read_lines, read_whole, remove_file, write_json, write_whole

if TYPE_CHECKING:
    from airflow_provider_tenable.transform import Parked


def list_pool(run: RunFolder) -> list[str]:
    """The names of the parts in the pool."""
    return [name for name in names(run.parked_pool) if name.endswith(".jsonl.gz")]


def claim_pool(run: RunFolder) -> int:
    """Note which parts of the pool this run takes, so that its retries take the same. The number of parts is returned."""
    taken = list_pool(run)
    write_json(run.root / "unparked.json", taken)
    reached(CrashPoint.POOL_CLAIMED)
    return len(taken)


def read_pool(run: RunFolder) -> Iterator[Parked]:
    """The records that this run has claimed."""
    from airflow_provider_tenable.transform import Parked

    for name in read_json(run.root / "unparked.json") or []:
        for line in read_lines(run.parked_pool / name):
            yield msgspec.json.decode(line, type=Parked)


def settle_pool(run: RunFolder, parts: list[str], *, release: bool) -> None:
    """Put the run's parked parts into the pool, then remove those that it had claimed.

    :param parts: names of the parts in the run's own ``parked`` folder.
    :param release: whether the claimed parts are done with. They are not where the run left out accounts that others serve.
    """
    for name in parts:
        # Named after the run: another run's part can never be written over.
        write_whole(run.parked_pool / f"{run.run_id}--{name}", read_whole(run.parked / name))
        reached(CrashPoint.POOL_PART_PUT)
    for name in (read_json(run.root / "unparked.json") or []) if release else []:
        path = run.parked_pool / name
        if not name.startswith(f"{run.run_id}--"):
            remove_file(path)
            reached(CrashPoint.POOL_PART_REMOVED)
