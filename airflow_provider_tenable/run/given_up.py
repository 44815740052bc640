"""Replays records that were given up because their asset was missing: they are mapped for the first time.

Such a record is in ``rejected/`` of the run that gave it up, as Tenable returned it. A replay copies these records into
its own folder and looks for their assets in the DAG's current asset index, and then individually in Tenable. The assets
that the run itself had staged do not help: the missing ones are not among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_tenable.assets import index
from airflow_provider_tenable.run.ledger_checks import rejected_lines
from airflow_provider_tenable.run.plan_file import RunPlan, plan_of
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import read_lines, write_lines
from airflow_provider_tenable.transform.manifest import GIVEN_UP
from airflow_provider_tenable.transform.shard import Parked

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

_STEM = "given-up"


def stage_given_up(source: RunFolder, run: RunFolder) -> int:
    """Copy the records that a run gave up into the folder of its replay. :return: the number of records."""
    # Parked long ago, so that a record whose asset is still missing is given up again.
    lines = [
        msgspec.json.encode(Parked(0, msgspec.Raw(msgspec.json.encode(line["record"])), as_of=line.get("as_of", 0)))
        for line in rejected_lines(source)
        if line["code"] == GIVEN_UP and line.get("record")
    ]
    if lines:
        write_lines(run.parked, _STEM, lines)
    return len(lines)


def read_given_up(run: RunFolder) -> Iterator[Parked]:
    """The records that a replay has copied. :raises StagingError: they are missing or damaged."""
    for line in read_lines(run.parked / f"{_STEM}.jsonl.gz"):
        yield msgspec.json.decode(line, type=Parked)


def present_assets(run: RunFolder) -> list[ObjectStoragePath]:
    """The parts of the current asset index of the DAG whose run is replayed."""
    plan: RunPlan = plan_of(run)
    assets, replays = plan.get("assets"), plan.get("replays")
    if not assets or not replays:
        return []
    dag_id, _, run_id = replays.partition("/")
    return index.known_assets(run.of_dag(dag_id, run_id), source=assets["source"])


__all__ = ["present_assets", "read_given_up", "stage_given_up"]
