"""Sends rejected findings again, once the cause of their rejection has been fixed: the steps of the DAG
``tenable_replay_rejected``.

A replay is a separate run: it reads the folders of the runs that it repeats, and writes only into its own folder, with
its own receipts, rejected findings and ledger. It never touches a watermark. Security Hub ignores findings that it
already has in the same or a newer version, so a replay can be repeated.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, TypedDict

import msgspec

from airflow_provider_tenable.exceptions import ConfigurationError, StagingError
from airflow_provider_tenable.export.store import StagedExport
from airflow_provider_tenable.guards.foreign_text import LONGEST_ID, quoted, safe
from airflow_provider_tenable.run import owner
from airflow_provider_tenable.run.conf import check_conf
from airflow_provider_tenable.run.given_up import stage_given_up
from airflow_provider_tenable.run.handover import required
from airflow_provider_tenable.run.hubs import as_of, hubs_of, record_all
from airflow_provider_tenable.run.identity import begin_again
from airflow_provider_tenable.run.ledger import Repeated, Sums, build_ledger, sums_of
from airflow_provider_tenable.run.ledger_checks import check_rejected, check_sums
from airflow_provider_tenable.run.params import REPLAY, checked
from airflow_provider_tenable.run.plan_file import RunPlan, SettingsEntry, kind_of_plan, plan_of
from airflow_provider_tenable.run.rejected_again import stage_rejected
from airflow_provider_tenable.run.replay_sources import sources_of
from airflow_provider_tenable.run.shards import plan_transform
from airflow_provider_tenable.staging.files import read_json, write_json
from airflow_provider_tenable.staging.layout import RunFolder, staging_uri_of
from airflow_provider_tenable.state.choice import KNOWN, UNKNOWN
from airflow_provider_tenable.state.registry import read_registry
from airflow_provider_tenable.tenable_vm.kinds import VULNERABILITIES
from airflow_provider_tenable.transform.manifest import ShardTask

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


def plan_replay(context: Any) -> ReplayPlan:
    """Find the runs to repeat, and stage the findings to send.

    :return: ``{"run_id", "shards", "assets", "vulnerabilities", "plan"}``: the latest of the runs, and the input of the
        mapped transform (empty if findings are sent as recorded).
    :raises ConfigurationError: a run does not exist, the runs have nothing to send again or cannot be repeated
        together, or a param is unknown.
    """
    check_conf(context, REPLAY)
    run = RunFolder.of(context)
    # Checked again: not every trigger comes through the form.
    params = {name: checked(name, context["params"], REPLAY) for name in REPLAY}
    owner.claim(run)
    sources = sources_of(staging_uri_of(context), params)
    # Everything that is about the DAG, and not about one run, is that of the latest of them.
    source, plan = sources[0]
    is_of_vulnerabilities = kind_of_plan(plan) == VULNERABILITIES.name
    # A replay that runs again starts over: delivering a finding twice does not change anything.
    begin_again(run)
    counts: dict[str, Repeated] = {
        each.run.run_id: {"again": 0, "newer": 0, "mapped": 0, "left": 0} for each in sources
    }
    # The next full run exports results of audits whose asset was missing again; web applications wait for none.
    given_up = 0
    if is_of_vulnerabilities:
        for run_id, (mapped, older) in stage_given_up(sources, run).items():
            counts[run_id]["mapped"] += mapped
            counts[run_id]["newer"] += older
            given_up += mapped
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
        shards = plan_transform(vulnerabilities["parts"], records=vulnerabilities["records"])
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
    staged = stage_rejected(sources, run, counts)
    if not staged and not given_up:
        raise ConfigurationError(
            f"{_runs_of(counts)} no findings that Security Hub CSPM rejected. For records that could not be "
            "mapped, fix the mapping and set transform=true."
        )
    count = 2 if given_up else 1
    write_json(
        run.shards,
        {"count": count, "exported": staged + given_up, "as_of": as_of(source, plan), "replayed": counts},
    )
    for run_id, of_run in counts.items():
        log.info(
            "Run %s: %d rejected findings are sent again, %d records are mapped whose assets were missing, %d are "
            "older versions of these, and %d stay in rejected/, because they cannot be sent as they are.",
            safe(run_id, LONGEST_ID),
            *(of_run["again"], of_run["mapped"], of_run["newer"], of_run["left"]),
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
    if replayed := (read_json(run.shards) or {}).get("replayed"):
        ledger["replayed"] = replayed
    write_json(run.ledger, {**ledger, "complete": True})
    log.info(
        "Replay of %s: %d findings, %d accepted by Security Hub CSPM, %d rejected again %s. The watermark stays.",
        safe(plan.get("replays"), LONGEST_ID),
        ledger["findings"],
        ledger["accepted"],
        sum(ledger["rejected"].values()),
        quoted(ledger["rejected"], 1_000) if ledger["rejected"] else "",
    )
    check_rejected(ledger, run, plan["settings"]["max_rejected_ratio"], is_replay=True)
    sums = sums_of(ledger)
    # Nothing waits between replays.
    del sums["unparked"]
    return sums


def _runs_of(counts: Mapping[str, Repeated]) -> str:
    if len(counts) == 1:
        return f"Run {safe(next(iter(counts)), LONGEST_ID)} has"
    return f"The runs {quoted(list(counts), 1_500)} have"


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
