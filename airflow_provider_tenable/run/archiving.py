"""Archives, at the end of a run, what the hubs still show as active and Tenable does not report any more.

Only a full run that leaves nothing out can conclude that from absence; and where it concludes it of too many findings,
it archives none of them (the brake), delivers everything else, and fails at the end (:func:`check_archived`).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from typing import Any, TypedDict

import msgspec

from airflow_provider_tenable import config
from airflow_provider_tenable._compat import conf
from airflow_provider_tenable.assets.outside_ec2 import HAS_OTHER
from airflow_provider_tenable.exceptions import StagingError, TooManyArchivedError
from airflow_provider_tenable.export.result import ExportResult
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.run import owner
from airflow_provider_tenable.run.absence import Absence, gone_assets
from airflow_provider_tenable.run.brake import applied, is_too_much, is_too_much_together, ratio_of
from airflow_provider_tenable.run.handover import required
from airflow_provider_tenable.run.hubs import as_of, hubs_of, index_root, record_all
from airflow_provider_tenable.run.ledger import build_ledger
from airflow_provider_tenable.run.ledger_checks import check_sums
from airflow_provider_tenable.run.manifests import shard_manifests, targets_of
from airflow_provider_tenable.run.moved_applications import Places, moved, places_of
from airflow_provider_tenable.run.out_of_scope import scopes_of
from airflow_provider_tenable.run.params import STATES
from airflow_provider_tenable.run.plan_file import RunPlan, export_task, kind_of_plan, plan_of
from airflow_provider_tenable.run.superseded import Audits, noting, superseded
from airflow_provider_tenable.run.watermark import INCREMENTAL
from airflow_provider_tenable.security_hub.assignment import Target, grouped, name_of, write_group
from airflow_provider_tenable.security_hub.refusals import refusal_of_place
from airflow_provider_tenable.staging.crash_points import CrashPoint, reached
from airflow_provider_tenable.staging.files import read_json, write_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.state.absent import absent_rows
from airflow_provider_tenable.state.choice import KNOWN, HubsPlan
from airflow_provider_tenable.state.gone import (
    ABSENT_ROWS,
    BY_ABSENCE,
    KNOWN_ROWS,
    Gone,
    GoneRows,
    read_gone,
    write_gone,
)
from airflow_provider_tenable.state.registry import IndexState, note_lost, read_state
from airflow_provider_tenable.state.snapshot import LostIndexError, Snapshot
from airflow_provider_tenable.state.staged import staged_rows
from airflow_provider_tenable.tenable_vm.kinds import COMPLIANCE, WAS
from airflow_provider_tenable.transform.destinations import Destination
from airflow_provider_tenable.transform.routing import Router

log = logging.getLogger(__name__)

#: Why the run archives nothing in an account and Region.
UNREACHABLE, LOST = "unreachable", "index_lost"


class ArchiveEntry(TypedDict):
    """An entry of the XCom of ``plan_archiving``: the number and the name of a group of accounts and Regions."""

    group: int
    title: str


class ArchivingPlan(TypedDict):
    """``archiving.json``.

    ``why_not``: why the run concludes nothing from absence; empty where it does. ``destinations``: ``account/region``
    of each that was looked at. ``left``: those that were not -> why.
    """

    why_not: str
    destinations: list[str]
    left: dict[str, str]


def plan_archiving(context: Any, vulnerabilities: ExportResult | None) -> list[ArchiveEntry]:
    """List what is to be archived, for the mapped tasks that do it; nothing in most runs.

    :param vulnerabilities: result of the vulnerability export.
    :raises LedgerError: something that was exported is not accounted for.
    :raises StagingError: staged files are missing or damaged.
    """
    run = RunFolder.of(context)
    owner.check_owner(run)
    plan = plan_of(run)
    exported = required(vulnerabilities, export_task(plan))
    check_sums(build_ledger(run, plan, exported=exported["records"]))
    record_all(run, plan)
    why_not, hubs = _why_not(plan), hubs_of(plan)
    if why_not or hubs is None:
        log.info("Nothing is archived because Tenable does not report it: %s.", why_not)
        write_json(run.archiving, _plan_of(why_not))
        return []
    targets = _listed(run, plan, hubs)
    entries: list[ArchiveEntry] = []
    tasks = min(config.get("import_tasks"), conf.getint("core", "max_map_length"))
    for number, group in enumerate(grouped(targets, tasks)):
        write_group(run, number, group, archives=True)
        entries.append({"group": number, "title": name_of(group)})
    return [] if plan["settings"]["dry_run"] else entries


def _plan_of(why_not: str) -> ArchivingPlan:
    return {"why_not": why_not, "destinations": [], "left": {}}


def _why_not(plan: RunPlan) -> str:
    """Why a run concludes nothing from absence; empty where it does."""
    hubs = hubs_of(plan)
    if hubs is None:
        return "an older release has planned this run"
    if plan["window"]["kind"] != INCREMENTAL:
        return "this run covers a window"
    if hubs.state != KNOWN:
        return "what the hubs held before this run is not known"
    if plan["narrowed"]:
        return "the run's params are narrower than the DAG's own"
    if hubs.full and (missing := [state for state in STATES if state not in plan["settings"]["states"]]):
        return f"findings of state {' and '.join(missing)} are not imported"
    return ""


def _listed(run: RunFolder, plan: RunPlan, hubs: HubsPlan) -> list[Target]:
    """The accounts and Regions in which something is to be archived; what, is on record then."""
    settings = plan["settings"]
    router = Router(msgspec.convert(plan["destinations"], list[Destination]), settings["region_routing"])
    home = router.home() if settings["non_ec2_assets"] in HAS_OTHER else None
    staged = {str(target): target for target in targets_of(shard_manifests(run))}
    state = read_state(index_root(run, plan), hubs.source)
    known = {*(state.registry.destinations if state.registry else ()), *state.written}
    record = _plan_of("")
    targets: dict[str, Target] = {}
    decided: dict[str, Gone] = {}
    # A run that is not full archives only what belongs to assets that are terminated or deleted.
    gone_now = None if hubs.full else gone_assets(run)
    applications = places_of(run, staged) if hubs.full and kind_of_plan(plan) == WAS.name else {}
    if gone_now is not None and not gone_now:
        known = set()
    with closing(Absence(run, plan, home, is_full=hubs.full)) as absence:
        record["why_not"] = absence.blind
        for name in sorted(known) if not absence.blind else ():
            target = _target(run, plan, router, name)
            if target is None:
                record["left"][name] = UNREACHABLE
                continue
            try:
                if gone_now is not None and not _has_rows_of(state.index(name).snapshot(), gone_now):
                    continue
                gone = _gone(run, plan, state, absence, name, staged.get(name), applications)
            except LostIndexError as error:
                log.warning("%s: nothing is archived, because its index cannot be relied on: %s", name, safe(error))
                note_lost(state.root, name, str(error))
                record["left"][name] = LOST
                continue
            targets[name], decided[name] = target, gone
    record["destinations"] = list(decided)
    if is_too_much_together(decided.values(), ratio := ratio_of(plan)):
        log.warning(
            "Nothing is archived because this run saw nothing of it: that would be %d of %d active findings, more than "
            "max_archived_ratio %g allows.",
            sum(gone.by_absence for gone in decided.values() if not gone.alone),
            sum(gone.active for gone in decided.values() if not gone.alone),
            ratio,
        )
        for name, gone in decided.items():
            decided[name] = applied(gone, alone=False)
            write_gone(run.gone(*name.split("/")), decided[name])
    if absence.blind:
        log.warning("Nothing is archived because Tenable does not report it: %s.", absence.blind)
    write_json(run.archiving, record)
    reached(CrashPoint.ARCHIVING_PLANNED)
    return [target for name, target in targets.items() if decided[name].total]


def _target(run: RunFolder, plan: RunPlan, router: Router, name: str) -> Target | None:
    """How the hub of an account and Region is reached; None where the run does not deliver to it."""
    account, region = name.split("/")
    route = router.route(account, region)
    refuses = name in plan.get("refused", {}) or refusal_of_place(run, account, region) is not None
    if isinstance(route, str) or route[1] != region or refuses:
        return None
    via = route[0]
    return Target(account, region, via.aws_conn_id, via.role_name, [], via.external_id)


def _gone(
    run: RunFolder,
    plan: RunPlan,
    state: IndexState,
    absence: Absence,
    name: str,
    staged: Target | None,
    applications: Places,
) -> Gone:
    import pyarrow as pa
    import pyarrow.compute as pc

    account, region = name.split("/")
    folder, parts = run.gone(account, region), staged.parts if staged else []
    if (decided := read_gone(folder, parts)) is not None:
        return decided
    if name in state.lost:
        raise LostIndexError("an earlier run found it missing or damaged.")
    active = 0
    left: Counter[str] = Counter()
    moment = as_of(run, plan)
    arrays: Iterable[Any] = (
        _of_this_export(staged_rows(run, account, region, part, count), moment) for part, count in parts
    )
    findings = staged.findings if staged else 0
    # What Tenable says of an asset needs no brake.
    known, guessed = GoneRows(folder, KNOWN_ROWS), GoneRows(folder, ABSENT_ROWS)
    scopes = scopes_of(plan, account, region)
    newer: Audits = set()
    if kind_of_plan(plan) == COMPLIANCE.name:
        arrays = noting(arrays, newer)
    for rows, absent in absent_rows(state.index(name).snapshot(), arrays, findings=findings, as_of=moment):
        active += rows.num_rows
        table, others = absence.judge(rows, absent, scopes)
        left.update(others)
        table = superseded(table, newer) if newer else table
        table = moved(table, applications, name) if applications else table
        by_absence = pc.is_in(table["reason"], value_set=pa.array(sorted(BY_ABSENCE)))
        known.add(table.filter(pc.invert(by_absence)))
        guessed.add(table.filter(by_absence))
    known.close()
    guessed.close()
    files, reasons = [*known.files, *guessed.files], known.reasons + guessed.reasons
    count, ratio = guessed.reasons.total(), ratio_of(plan)
    gone = Gone(parts, files, dict(sorted(reasons.items())), active, {}, dict(sorted(left.items())))
    if is_too_much(count, active, ratio):
        gone = applied(gone, alone=True)
        log.warning(
            "%s: none of the %d of %d active findings of which this run saw nothing is archived: more than "
            "max_archived_ratio %g allows.",
            name,
            count,
            active,
            ratio,
        )
    write_gone(folder, gone)
    return gone


def _of_this_export(rows: Any, moment: int) -> Any:
    """Without records that waited since an earlier export: only a record of its own tells a full run that Tenable still
    reports a finding. Its own one may have been left out, as of a severity that is not imported any more.
    """
    return rows[(rows["as_of"] == 0) | (rows["as_of"] >= moment)]


def _has_rows_of(index: Snapshot, assets: frozenset[bytes]) -> bool:
    """Whether there are active rows of any of the assets. :raises LostIndexError: the index cannot be relied on."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pa.array(sorted(assets), pa.binary(16))
    return any(
        pc.any(pc.and_not(pc.is_in(table["asset"], value_set=wanted), table["archived"])).as_py()
        for table in index.tables(["asset", "archived"])
    )


def archiving_of(run: RunFolder) -> tuple[ArchivingPlan | None, dict[str, Gone]]:
    """What a run has decided to archive: as a whole, and by ``account/region``."""
    record: ArchivingPlan | None = read_json(run.archiving)
    found = {}
    for name in record["destinations"] if record else ():
        gone = read_gone(run.gone(*name.split("/")))
        if gone is None:
            raise StagingError(
                f"The list of what is archived in {name} is missing or damaged. Clear the run's tasks from "
                "plan_archiving on."
            )
        found[name] = gone
    return record, found


def check_archived(context: Any) -> None:
    """Fail if the brake has kept findings from being archived: the last task, because all else is done by then.

    :raises TooManyArchivedError: in how many accounts and Regions, how many findings, the usual causes, and the param
        that confirms that they are gone.
    """
    run = RunFolder.of(context)
    _, gone = archiving_of(run)
    stopped = {name: each for name, each in gone.items() if each.stopped}
    if not stopped:
        return
    ratio = ratio_of(plan_of(run))
    listed = ", ".join(
        f"{name} ({sum(each.stopped.values()):,} of {each.active:,})" for name, each in list(stopped.items())[:5]
    )
    more = f" and {len(stopped) - 5} more" if len(stopped) > 5 else ""
    raise TooManyArchivedError(
        f"Tenable does not report {sum(sum(each.stopped.values()) for each in stopped.values()):,} findings any more "
        f"that are active in {listed}{more}: more than max_archived_ratio {ratio:g} allows, so none of them was "
        "archived. Everything else was delivered, and the watermark has moved. Usual causes: an export that was short, "
        "an API user that sees fewer assets, narrower severities, a connector or scanner that was removed. Restore it "
        "and trigger the DAG with full on. If they are gone on purpose, trigger it once with full on and "
        "max_archived_ratio 1."
    )


__all__ = ["ArchiveEntry", "archiving_of", "check_archived", "plan_archiving"]
