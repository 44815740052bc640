"""Replays records that were given up because their asset was missing: they are mapped for the first time.

Such a record is in ``rejected/`` of the run that gave it up, as Tenable returned it. A replay copies these records into
its own folder and looks for their assets in the DAG's current asset index, and then individually in Tenable. The assets
that the run itself had staged do not help: the missing ones are not among them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_tenable.assets import index
from airflow_provider_tenable.run.hubs import as_of
from airflow_provider_tenable.run.ledger_checks import rejected_lines
from airflow_provider_tenable.run.plan_file import RunPlan, plan_of
from airflow_provider_tenable.run.replay_sources import Source, check_settings
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import read_lines, write_lines
from airflow_provider_tenable.transform.manifest import GIVEN_UP
from airflow_provider_tenable.transform.shard import Parked

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

_STEM = "given-up"


class _Vulnerability(msgspec.Struct):
    """What identifies a record of Tenable between its versions."""

    asset: dict[str, Any] = {}
    plugin: dict[str, Any] = {}
    port: dict[str, Any] = {}


def is_given_up(line: Mapping[str, Any]) -> bool:
    """Whether a line of ``rejected/`` is a record whose asset was missing for too long."""
    return line["code"] == GIVEN_UP and bool(line.get("record"))


def stage_given_up(sources: list[Source], run: RunFolder) -> dict[str, tuple[int, int]]:
    """Copy the records that runs gave up into the folder of their replay. Of a record that several of them gave up, the
    version of the latest is mapped.

    :param sources: the runs, the latest first.
    :return: run id -> number of records that were copied, and that another one is newer than.
    :raises ConfigurationError: the runs have different params.
    """
    newest: dict[bytes, tuple[int, int, bytes]] = {}
    counts: list[Counter[str]] = [Counter() for _ in sources]
    for number, source in enumerate(sources):
        moment = as_of(source.run, source.plan)
        for line in rejected_lines(source.run):
            if not is_given_up(line):
                continue
            version = line.get("as_of") or (moment if len(sources) > 1 else 0)
            # Parked long ago, so that a record whose asset is still missing is given up again.
            record = msgspec.Raw(msgspec.json.encode(line["record"]))
            text = msgspec.json.encode(Parked(0, record, as_of=version))
            key = _key(line["record"])
            known = newest.get(key)
            if known is None or known[0] < version:
                newest[key] = (version, number, text)
                older = known[1] if known else None
            else:
                older = number
            counts[number]["all"] += 1
            if older is not None:
                counts[older]["older"] += 1
    check_settings([source for source, count in zip(sources, counts, strict=True) if count["all"]])
    if newest:
        write_lines(run.parked, _STEM, [text for _, _, text in newest.values()])
    return {
        source.run.run_id: (count["all"] - count["older"], count["older"])
        for source, count in zip(sources, counts, strict=True)
    }


def _key(record: Any) -> bytes:
    """The same for all versions of a record; a record that cannot be read is a version of nothing else."""
    try:
        known = msgspec.convert(record, _Vulnerability)
        parts = known.asset["uuid"], known.plugin["id"], known.port.get("port"), known.port.get("protocol")
        return msgspec.json.encode(parts)
    except (msgspec.ValidationError, KeyError):
        return msgspec.json.encode(record)


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


__all__ = ["is_given_up", "present_assets", "read_given_up", "stage_given_up"]
