"""Stages the findings that Security Hub CSPM rejected in the runs of a replay, and says what became of each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from airflow_provider_tenable import config
from airflow_provider_tenable.asff.identity import id_in
from airflow_provider_tenable.asff.plugin_output import finding_without_output
from airflow_provider_tenable.asff.row import LAYOUT
from airflow_provider_tenable.exceptions import MissingFileError
from airflow_provider_tenable.run.given_up import is_given_up
from airflow_provider_tenable.run.hubs import as_of
from airflow_provider_tenable.run.ledger import Repeated
from airflow_provider_tenable.run.ledger_checks import rejected_lines
from airflow_provider_tenable.run.manifests import destinations_of, shard_manifests
from airflow_provider_tenable.run.replay_sources import Source
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.state.staged import row_of_line, staged_rows
from airflow_provider_tenable.transform.output import FindingsWriter

if TYPE_CHECKING:
    import numpy as np


class _Updated(msgspec.Struct):
    UpdatedAt: str = ""


class _Via(msgspec.Struct):
    """The attributes of a destination that a findings manifest contains."""

    aws_conn_id: str | None
    role_name: str | None
    external_id: str | None = None


class _Refused(NamedTuple):
    """A finding that was rejected, and where it is staged; ``line`` is None where an older release has imported it.

    ``of``: the number of its run.
    """

    of: int
    account: str
    region: str
    id: str
    part: str
    line: int | None
    finding: bytes
    updated_at: str


def stage_rejected(sources: list[Source], run: RunFolder, counts: dict[str, Repeated]) -> int:
    """Stage the newest version of each rejected finding.

    :param sources: the runs that are repeated, the latest first.
    :param run: the replay.
    :param counts: run id -> what becomes of its rejections; ``again``, ``newer`` and ``left`` are added to.
    :return: the number of findings.
    """
    # What a run says is as old as its export: beside a later run it must not seem to be of today.
    moments = [as_of(source.run, source.plan) for source in sources]
    newest = _newest(sources, counts)
    # How a place is reached is the business of the latest run that reached it.
    via: dict[tuple[str, str], _Via] = {}
    for source in sources:
        for entry in destinations_of(shard_manifests(source.run)):
            reached = _Via(entry["aws_conn_id"], entry["role_name"], entry["external_id"])
            via.setdefault((entry["account"], entry["region"]), reached)
    sendable = []
    for refused in newest:
        known = (refused.account, refused.region) in via
        counts[sources[refused.of].run.run_id]["again" if known else "left"] += 1
        if known:
            sendable.append(refused)
    _write(sources, moments, run, sendable, via)
    return len(sendable)


def _newest(sources: list[Source], counts: dict[str, Repeated]) -> list[_Refused]:
    newest: dict[tuple[str, str, str], _Refused] = {}
    for number, source in enumerate(sources):
        count = counts[source.run.run_id]
        for refused in _refused(number, source.run, count):
            key = (refused.account, refused.region, refused.id)
            known = newest.get(key)
            # Of equals that of the latest run, which comes first.
            if known is None or known.updated_at < refused.updated_at:
                newest[key] = refused
                older = known
            else:
                older = refused
            if older is not None:
                counts[sources[older.of].run.run_id]["newer"] += 1
    return list(newest.values())


def _refused(number: int, run: RunFolder, count: Repeated) -> Iterator[_Refused]:
    excerpt = config.get("plugin_output") == config.EXCERPT
    for line in rejected_lines(run):
        if is_given_up(line):
            continue
        if line["finding"] and line["id"]:
            finding = msgspec.json.encode(finding_without_output(line["finding"], excerpt=excerpt))
            updated_at = msgspec.json.decode(finding, type=_Updated).UpdatedAt
            place = (line["account"], line["region"])
            yield _Refused(number, *place, line["id"], line["part"], line.get("line"), finding, updated_at)
        else:
            count["left"] += 1


def _write(
    sources: list[Source],
    moments: list[int],
    run: RunFolder,
    sendable: list[_Refused],
    via: dict[tuple[str, str], _Via],
) -> None:
    writer = FindingsWriter(run, 0, id_in)
    lines = [_lines_of(source.run) for source in sources]
    # In the order of the parts, so that the rows of each are read once.
    for (account, region, of, part), group in itertools.groupby(
        sorted(sendable, key=lambda each: (each.account, each.region, each.of, each.part, each.id)),
        lambda each: (each.account, each.region, each.of, each.part),
    ):
        rows = _staged_rows(sources[of].run, account, region, part, lines[of])
        for each in group:
            row, moment = row_of_line(each.finding), 0
            if rows is not None and each.line is not None:
                row, moment = rows[each.line].tobytes()[: LAYOUT.size], int(rows[each.line]["as_of"])
            writer.write(account, region, each.finding, "rejected", via[account, region], row, moment or moments[of])
    writer.close(
        {
            "read": len(sendable),
            "skipped": {},
            "skipped_accounts": [],
            "parked": 0,
            "findings": len(sendable),
            "from_pool": False,
            "pool_parts": [],
        }
    )


def _staged_rows(
    source: RunFolder, account: str, region: str, part: str, lines: dict[tuple[str, str, str], int]
) -> np.ndarray[Any, Any] | None:
    """The rows of a part of the run; None where its files were removed after the retention."""
    try:
        return staged_rows(source, account, region, part, lines[account, region, part])
    except MissingFileError:
        return None


def _lines_of(run: RunFolder) -> dict[tuple[str, str, str], int]:
    """(account, Region, part) -> findings."""
    return {
        (destination["account"], destination["region"], name): count
        for destination in destinations_of(shard_manifests(run))
        for name, count in zip(destination["parts"], destination["lines"], strict=True)
    }


__all__ = ["stage_rejected"]
