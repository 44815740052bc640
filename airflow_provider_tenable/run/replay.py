"""Sends rejected findings again, once the cause of their rejection has been fixed: the steps of the DAG
``tenable_replay_rejected``.

A replay is a separate run: it reads the folder of the run that it repeats, and writes only into its own folder, with
its own receipts, rejected findings and ledger. It never touches a watermark. Security Hub ignores findings that it
already has in the same or a newer version, so a replay can be repeated.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import msgspec

from airflow_provider_tenable import config
from airflow_provider_tenable.asff.plugin_output import finding_without_output
from airflow_provider_tenable.asff.row import LAYOUT
from airflow_provider_tenable.exceptions import ConfigurationError, MissingFileError, StagingError
from airflow_provider_tenable.export.store import StagedExport
from airflow_provider_tenable.guards.foreign_text import LONGEST_ID, quoted, safe
from airflow_provider_tenable.run import owner
from airflow_provider_tenable.run.conf import check_conf
from airflow_provider_tenable.run.given_up import stage_given_up
from airflow_provider_tenable.run.handover import required
from airflow_provider_tenable.run.hubs import as_of, hubs_of, record_all
from airflow_provider_tenable.run.identity import begin_again
from airflow_provider_tenable.run.ledger import Sums, build_ledger, sums_of
from airflow_provider_tenable.run.ledger_checks import check_rejected, check_sums, rejected_lines
from airflow_provider_tenable.run.manifests import destinations_of, shard_manifests
from airflow_provider_tenable.run.params import REPLAY, checked
from airflow_provider_tenable.run.plan_file import RunPlan, SettingsEntry, kind_of_plan, plan_of
from airflow_provider_tenable.run.shards import plan_transform
from airflow_provider_tenable.staging.files import names, read_json, write_json
from airflow_provider_tenable.staging.layout import RunFolder, staging_uri_of
from airflow_provider_tenable.state.choice import KNOWN, UNKNOWN
from airflow_provider_tenable.state.registry import read_registry
from airflow_provider_tenable.state.staged import row_of_line, staged_rows
from airflow_provider_tenable.tenable_vm.kinds import COMPLIANCE
from airflow_provider_tenable.transform.manifest import ShardManifest, ShardTask
from airflow_provider_tenable.transform.output import FindingsWriter

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)


class StagedFolder(TypedDict):
    """The part of an export's result that the transform needs."""

    folder: str
    parts: int
    records: int


class ReplayPlan(TypedDict):
    """The XCom of ``plan_replay``; the exports are empty if findings are sent as recorded."""

    run_id: str
    shards: list[ShardTask]
    assets: StagedFolder | dict[str, Any]
    vulnerabilities: StagedFolder | dict[str, Any]
    plan: dict[str, Any]


class _Updated(msgspec.Struct):
    UpdatedAt: str = ""


class _Via(msgspec.Struct):
    """The attributes of a destination that a findings manifest contains."""

    aws_conn_id: str | None
    role_name: str | None
    external_id: str | None = None


def plan_replay(context: Any) -> ReplayPlan:
    """Find the run to repeat, and stage the findings to send.

    :return: ``{"run_id", "shards", "assets", "vulnerabilities", "plan"}``: the input of the mapped transform (empty
        if findings are sent as recorded).
    :raises ConfigurationError: the run does not exist or has nothing to send again, or a param is unknown.
    """
    check_conf(context, REPLAY)
    run = RunFolder.of(context)
    # Checked again: not every trigger comes through the form.
    params = {name: checked(name, context["params"], REPLAY) for name in REPLAY}
    owner.claim(run)
    source = _source(staging_uri_of(context), params["dag_id"], params["run_id"])
    owner.check_owner(source)
    plan: RunPlan | None = read_json(source.plan)
    if plan is None:
        raise ConfigurationError(
            f"There is no run {quoted(source.run_id)} in {source.dag_root}. Runs that can be repeated: "
            f"{quoted(names(source.dag_root)[-5:], 1_500)}."
        )
    is_of_audits = kind_of_plan(plan) == COMPLIANCE.name
    if is_of_audits and params["transform"]:
        raise ConfigurationError(
            f"Results of audits cannot be mapped again by a replay. Clear run {quoted(source.run_id)} of "
            f"{params['dag_id']} from its transform on, or trigger that DAG with full on."
        )
    # A replay that runs again starts over: delivering a finding twice does not change anything.
    begin_again(run)
    # The next full run exports results of audits whose asset was missing again.
    given_up = 0 if is_of_audits else stage_given_up(source, run)
    settings: SettingsEntry = {**plan["settings"], "max_rejected_ratio": params["max_rejected_ratio"], "dry_run": False}
    # Whether a place still refuses findings, the replay finds out.
    plan.pop("refused", None)
    write_json(
        run.plan,
        {
            **plan,
            **_hubs(source, plan),
            "settings": settings,
            "usual_destinations": None,
            "replays": f"{params['dag_id']}/{source.run_id}",
        },
    )
    shared = {"window": plan["window"], "destinations": plan["destinations"], "settings": settings}
    if params["transform"]:
        assets, vulnerabilities = _staged(source, "assets"), _staged(source, "vulnerabilities")
        shards = plan_transform(vulnerabilities["parts"])
        if given_up:
            shards.append({"index": len(shards), "count": 1, "given_up": True})
        staged_records = vulnerabilities["records"] + given_up
        write_json(run.shards, {"count": len(shards), "exported": staged_records, "as_of": as_of(source, plan)})
        return {
            "run_id": source.run_id,
            "shards": shards,
            "assets": assets,
            "vulnerabilities": vulnerabilities,
            "plan": shared,
        }
    staged = _stage_rejected(source, run, may_be_none=given_up > 0)
    count = 2 if given_up else 1
    write_json(run.shards, {"count": count, "exported": staged + given_up, "as_of": as_of(source, plan)})
    log.info(
        "%d rejected findings of run %s are sent again, and %d records are mapped whose assets were missing.",
        staged,
        safe(source.run_id),
        given_up,
    )
    return {
        "run_id": source.run_id,
        # The first shard is what has just been staged.
        "shards": [{"index": 1, "count": 1, "given_up": True}] if given_up else [],
        "assets": {},
        "vulnerabilities": {},
        "plan": shared if given_up else {},
    }


def _hubs(source: RunFolder, plan: RunPlan) -> dict[str, Any]:
    """What the replay is to know of the hubs: what the finding index says now, with the moment of its own plan."""
    hubs = hubs_of(plan)
    if hubs is None:
        return {}
    registry, why = read_registry(source.finding_index, hubs.source)
    now = msgspec.structs.replace(
        hubs,
        state=KNOWN if registry else UNKNOWN,
        # As a run that asks Tenable: by the earlier of the two clocks.
        planned_at=time.time() + min(plan.get("clock_ahead", 0.0), 0.0),
        full=False,
        full_as_of=registry.full_as_of if registry else None,
        why=why,
        full_why="",
    )
    return {"hubs": msgspec.to_builtins(now)}


def settle_replay(context: Any) -> Sums:
    """Make the ledger of a replay.

    :return: the sums, for the XCom.
    :raises RejectedFindingsError: more than ``max_rejected_ratio`` were rejected again; the text has the top reasons.
    """
    run = RunFolder.of(context)
    owner.check_owner(run)
    plan = plan_of(run)
    ledger = build_ledger(run, plan, exported=required(read_json(run.shards), "plan_replay")["exported"])
    check_sums(ledger)
    record_all(run, plan)
    write_json(run.ledger, {**ledger, "complete": True})
    log.info(
        "Replay of %s: %d findings, %d accepted by Security Hub CSPM, %d rejected again %s. The watermark stays.",
        safe(plan.get("replays"), LONGEST_ID),
        ledger["findings"],
        ledger["accepted"],
        sum(ledger["rejected"].values()),
        quoted(ledger["rejected"], 1_000) if ledger["rejected"] else "",
    )
    check_rejected(ledger, run, plan["settings"]["max_rejected_ratio"])
    sums = sums_of(ledger)
    # Nothing waits between replays.
    del sums["unparked"]
    return sums


def _source(staging: str, dag_id: str, run_id: str | None) -> RunFolder:
    """The run's folder; without an id, that of the latest run with rejected findings.

    :param staging: URI of the staging area.
    """
    if run_id:
        return RunFolder(staging, dag_id, run_id)
    root = RunFolder(staging, dag_id, "any").dag_root
    runs = [RunFolder(staging, dag_id, name) for name in names(root) if name not in RunFolder.RESERVED]
    candidates = [run for run in runs if _has_rejected(run)]
    if not candidates:
        raise ConfigurationError(
            f"No run in {root} has rejected findings. Those of completed runs are removed after [tenable] "
            "rejected_retention_days."
        )
    return max(candidates, key=lambda run: (read_json(run.plan)["window"]["until"], run.run_id))


def _has_rejected(run: RunFolder) -> bool:
    """Whether anything in ``rejected/`` still counts. Rejections of an import that was stopped do not: its cleared task
    sends the findings again.
    """
    try:
        return (
            bool(names(run.rejected))
            and read_json(run.plan) is not None
            and next(rejected_lines(run), None) is not None
        )
    except StagingError as error:
        log.warning("Run %s is skipped: %s", safe(run.run_id), error)
        return False


def _staged(source: RunFolder, kind: str) -> StagedFolder:
    state = StagedExport(source.export(kind), kind).state()
    if state is None or not state.complete:
        raise StagingError(
            f"The {kind} export of run {source.run_id} is incomplete, or was removed after [tenable] retention_days, "
            f"so it cannot be transformed again. Run {source.dag_root.name} instead, with the param since."
        )
    return {
        "folder": str(source.export(kind)),
        "parts": len(state.parts),
        "records": sum(part.records for part in state.parts.values()),
    }


def _stage_rejected(source: RunFolder, run: RunFolder, *, may_be_none: bool) -> int:
    """Stage the newest version of each rejected finding. :return: the number of findings."""
    via = {
        (destination["account"], destination["region"]): _Via(
            destination["aws_conn_id"], destination["role_name"], destination["external_id"]
        )
        for destination in destinations_of(shard_manifests(source))
    }
    newest: dict[tuple[str, str, str], _Refused] = {}
    for refused in _refused(source):
        key = (refused.account, refused.region, refused.id)
        if key not in newest or newest[key].updated_at < refused.updated_at:
            newest[key] = refused
    sendable = [refused for refused in newest.values() if (refused.account, refused.region) in via]
    if not sendable and not may_be_none:
        raise ConfigurationError(
            f"Run {source.run_id} has no findings that Security Hub CSPM rejected. For records that could not be "
            "mapped, fix the mapping and set transform=true."
        )
    lines = _lines_of(shard_manifests(source))
    writer = FindingsWriter(run, 0)
    # In the order of the parts, so that the rows of each are read once.
    for (account, region, part), group in itertools.groupby(
        sorted(sendable, key=lambda each: (each.account, each.region, each.part, each.id)),
        lambda each: (each.account, each.region, each.part),
    ):
        rows = _staged_rows(source, account, region, part, lines)
        for each in group:
            row, as_of = row_of_line(each.finding), 0
            if rows is not None and each.line is not None:
                row, as_of = rows[each.line].tobytes()[: LAYOUT.size], int(rows[each.line]["as_of"])
            writer.write(account, region, each.finding, "rejected", via[account, region], row, as_of)
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
    return len(sendable)


class _Refused(NamedTuple):
    """A finding that was rejected, and where it is staged; ``line`` is None where an older release has imported it."""

    account: str
    region: str
    id: str
    part: str
    line: int | None
    finding: bytes
    updated_at: str


def _refused(source: RunFolder) -> Iterator[_Refused]:
    excerpt = config.get("plugin_output") == config.EXCERPT
    for line in rejected_lines(source):
        if line["finding"] and line["id"]:
            finding = msgspec.json.encode(finding_without_output(line["finding"], excerpt=excerpt))
            updated_at = msgspec.json.decode(finding, type=_Updated).UpdatedAt
            yield _Refused(
                line["account"], line["region"], line["id"], line["part"], line.get("line"), finding, updated_at
            )


def _staged_rows(
    source: RunFolder, account: str, region: str, part: str, lines: dict[tuple[str, str, str], int]
) -> np.ndarray[Any, Any] | None:
    """The rows of a part of the run; None where its files were removed after the retention."""
    try:
        return staged_rows(source, account, region, part, lines[account, region, part])
    except MissingFileError:
        return None


def _lines_of(manifests: list[ShardManifest]) -> dict[tuple[str, str, str], int]:
    """(account, Region, part) -> findings."""
    return {
        (destination["account"], destination["region"], name): count
        for destination in destinations_of(manifests)
        for name, count in zip(destination["parts"], destination["lines"], strict=True)
    }
