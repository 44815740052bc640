"""The steps of ``tenable_take_over``: what customers decided about findings of the old tools is carried over to ours,
and the old findings are archived.

All hubs are read before any is changed, so that one in which an old tool still writes keeps the takeover from beginning
anywhere.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, TypedDict

import msgspec

from airflow_provider_tenable.assets.index import staged_assets
from airflow_provider_tenable.aws import ACCOUNT
from airflow_provider_tenable.exceptions import ConfigurationError, DamagedFileError, StagingError
from airflow_provider_tenable.guards.foreign_text import quoted, safe
from airflow_provider_tenable.guards.identifiers import is_place
from airflow_provider_tenable.run import hub_audit
from airflow_provider_tenable.run.asset_locations import count_locations
from airflow_provider_tenable.run.last_import import begin, groups_of, last_import, router_of, targets_in
from airflow_provider_tenable.run.old_runs import remove_runs
from airflow_provider_tenable.run.own_options import own_option
from airflow_provider_tenable.run.params import TAKE_OVER
from airflow_provider_tenable.run.plan_file import RunPlan, kind_of_plan
from airflow_provider_tenable.run.reported import note_reported
from airflow_provider_tenable.security_hub.take_over import check_idle
from airflow_provider_tenable.staging.files import read_json, write_json
from airflow_provider_tenable.staging.layout import RunFolder

log = logging.getLogger(__name__)

#: What was read of, and what became of the findings in, an account and Region.
ESTATE, RESULT = "estate.json", "result.json"


class TakeOverEntry(TypedDict):
    """An entry of the XCom of ``plan_take_over``: the number and the name of a group of accounts and Regions."""

    group: int
    title: str


class TakeOverPlan(TypedDict):
    """``take_over/plan.json``.

    ``dag_id``, ``run_id``: the last complete run of the DAG, whose destinations are used. ``not_before``: unix seconds
    from which the hubs show all of it. ``planned_at``: unix seconds. ``why_unknown``: why it is not known what Tenable
    does not have any more. ``places``: ``account/region`` of the hubs; ``left``: those that cannot be reached -> why.
    """

    dag_id: str
    run_id: str
    source: str
    not_before: float
    planned_at: float
    dry_run: bool
    old_tool_is_off: bool
    id_scheme: str
    why_unknown: str
    places: list[str]
    left: dict[str, str]


class EstateRead(msgspec.Struct):
    """``estate.json``.

    :ivar read: findings of all products that were looked at.
    :ivar last_written: the latest ``UpdatedAt`` of an active finding of an old tool, unix milliseconds; 0: there is
        none.
    :ivar refused: why the hub could not be read.
    """

    read: int = 0
    last_written: int = 0
    refused: str = ""


class TakeOverResult(msgspec.Struct):
    """``result.json``: what became, or in a dry run would become, of the findings of the old tools.

    :ivar counts: outcome -> findings. ``examples``: outcome -> up to five (id, why).
    :ivar updates: fields set on findings of ours. ``decisions``: findings of the old tools about which the customer had
        decided something. ``done``: those that an earlier run has taken over.
    :ivar archived: findings that the hub shows as archived. ``not_archived``: code -> findings.
    :ivar why_unknown: why it is not known what Tenable does not have any more.
    :ivar left_at: the file with all that stay as they are; empty where none does.
    """

    counts: dict[str, int] = {}
    examples: dict[str, list[tuple[str, str]]] = {}
    updates: int = 0
    decisions: int = 0
    done: int = 0
    archived: int = 0
    not_archived: dict[str, int] = {}
    why_unknown: str = ""
    left_at: str = ""


def plan_take_over(context: Any) -> list[TakeOverEntry]:
    """Check the params, note what Tenable has, and list the hubs.

    :return: ``{"group", "title"}`` of each mapped task.
    :raises ConfigurationError: a param is wrong, or no complete run of the DAG is on record.
    """
    run, params = begin(context, TAKE_OVER)
    nothing = "are no findings that decisions could be carried over to"
    last = last_import(context, params["dag_id"], so_there=nothing)
    plan, status = last.plan, last.status
    if kind_of_plan(plan) != "vulnerabilities":
        raise ConfigurationError(
            f"{quoted(params['dag_id'], 80)} imports {safe(kind_of_plan(plan))}, and the old tools wrote only "
            "vulnerabilities: name a DAG of tenable_to_security_hub in the param dag_id."
        )
    elsewhere = {*_places_of_assets(last.run, plan), *_places_of_destinations(plan)}
    targets, left = targets_in(plan, sorted(last.places | elsewhere))
    why = note_reported(_plan_path(run).parent, last.run, plan, status)
    record: TakeOverPlan = {
        "dag_id": params["dag_id"],
        "run_id": status["run_id"],
        "source": last.source,
        "not_before": status["at"] + hub_audit.SETTLES_SECONDS,
        "planned_at": time.time(),
        "dry_run": params["dry_run"],
        "old_tool_is_off": params["old_tool_is_off"],
        "id_scheme": own_option(context, "id_scheme"),
        "why_unknown": f"of the last complete run, {status['run_id']}: {why}" if why else "",
        "places": [str(target) for target in targets],
        "left": {**left, **dict.fromkeys(status["refused"], "it refused the findings of the last run")},
    }
    write_json(_plan_path(run), record)
    return [{"group": number, "title": title} for number, title in groups_of(run, targets)]


def _places_of_assets(run: RunFolder, plan: RunPlan) -> Iterator[str]:
    """Where assets are or were: the old tools' findings may be in hubs that have none of ours."""
    router = router_of(plan)
    try:
        for location in count_locations(staged_assets(str(run.export("assets")))):
            if ACCOUNT.fullmatch(location.owner_id or "") and location.resource_region:
                place = router.place(location.owner_id or "", location.resource_region)
                if place is not None and is_place(place):
                    yield place
    except StagingError as error:
        log.warning("Only hubs are looked at that have findings of ours: %s", error)


def _places_of_destinations(plan: RunPlan) -> Iterator[str]:
    """The hubs that destinations name: Tenable may not have a single asset of their accounts any more."""
    for each in router_of(plan).destinations:
        regions = [each.region] if each.region else each.regions or [each.connection_region]
        for account in each.accounts:
            yield from (place for region in regions if is_place(place := f"{account}/{region}"))


def _plan_path(run: RunFolder) -> Any:
    return run.root / "take_over" / "plan.json"


def read_plan(run: RunFolder) -> TakeOverPlan:
    """:raises ConfigurationError: the takeover was not planned."""
    plan: TakeOverPlan | None = read_json(_plan_path(run))
    if plan is None:
        raise ConfigurationError(f"{_plan_path(run)} is missing: clear the run from plan_take_over on.")
    return plan


def check_old_tool(context: Any) -> float | None:
    """Refuse, before anything is changed, if an old tool has written within a day.

    :return: how many hours ago the latest finding of an old tool was written; None where there is none.
    :raises StillWritingError: it is too short ago, this is no dry run, and the params do not confirm that it is off.
    """
    run = RunFolder.of(context)
    plan = read_plan(run)
    written = {
        place: estate.last_written for place in plan["places"] if (estate := read_estate_of(run, place)) is not None
    }
    latest = max(written.values(), default=0)
    if not latest:
        log.info("No hub has active findings of an old tool.")
        return None
    now = 1000 * plan["planned_at"]
    hours = round((now - latest) / 3_600_000, 1)
    place = max(written, key=lambda each: written[each])
    log.info("The latest finding of an old tool was written %.1f hours before this run, in %s.", hours, place)
    if not (plan["dry_run"] or plan["old_tool_is_off"]):
        check_idle(latest, int(now))
    elif hours < 24:
        log.warning(
            "An old tool may still be running: a takeover that is not a dry run refuses until it has been off for a "
            "day."
        )
    return hours


def read_estate_of(run: RunFolder, place: str) -> EstateRead | None:
    """What was read of an account and Region; None where nothing is on record."""
    return _read(run, place, ESTATE, EstateRead)


def read_result_of(run: RunFolder, place: str) -> TakeOverResult | None:
    """What became of its findings; None where nothing is on record."""
    return _read(run, place, RESULT, TakeOverResult)


def _read(run: RunFolder, place: str, name: str, kind: Any) -> Any:
    try:
        value = read_json(run.take_over(*place.split("/")) / name, advice="")
        return None if value is None else msgspec.convert(value, kind)
    except (DamagedFileError, msgspec.ValidationError):
        return None


def finish_take_over(context: Any) -> dict[str, Any]:
    """Log the table of what became of the findings of the old tools.

    :return: ``{"dag_id", "dry_run", "places", "outcomes", "decisions", "updates", "archived", "not_archived",
        "not_looked_at"}``.
    """
    run = RunFolder.of(context)
    plan = read_plan(run)
    results = {place: read_result_of(run, place) for place in plan["places"]}
    done = [result for result in results.values() if result is not None]
    outcomes, not_archived = Counter[str](), Counter[str]()
    for result in done:
        outcomes.update(result.counts)
        not_archived.update(result.not_archived)
    log.info("%s", "\n".join(_table(run, plan, results)))
    return {
        "dag_id": plan["dag_id"],
        "dry_run": plan["dry_run"],
        "places": len(done),
        "outcomes": dict(sorted(outcomes.items())),
        "decisions": sum(result.decisions for result in done),
        "updates": sum(result.updates for result in done),
        "archived": sum(result.archived for result in done),
        "not_archived": dict(sorted(not_archived.items())),
        "not_looked_at": len({*plan["left"], *(place for place, each in results.items() if each is None)}),
    }


def _table(run: RunFolder, plan: TakeOverPlan, results: dict[str, TakeOverResult | None]) -> Iterator[str]:
    what = "Dry run: nothing was changed. This would become" if plan["dry_run"] else "This became"
    yield f"{what} of the findings of the old tools, with those of {safe(plan['dag_id'])} in their place."
    if plan["why_unknown"]:
        yield (
            f"  What Tenable does not have any more is not known, {safe(plan['why_unknown'], 300)}. Such findings "
            "count as unmatched: trigger the DAG with full on, then this one again."
        )
    for place, result in results.items():
        if result is not None:
            yield from _rows(place, result)
            continue
        estate = read_estate_of(run, place)
        why = f"it refuses: {estate.refused}" if estate and estate.refused else "its task failed"
        yield f"  {place}: not looked at, {safe(why, 400)}"
    for place, why in plan["left"].items():
        if place not in results:
            yield f"  {place}: not looked at ({safe(why, 300)})"


def _rows(place: str, result: TakeOverResult) -> Iterator[str]:
    counts = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(result.counts.items())) or "none"
    yield (
        f"  {place}: {counts}; {result.decisions:,} with decisions, {result.updates:,} fields set on ours, "
        f"{result.archived:,} archived{f', {result.done:,} by earlier runs' if result.done else ''}"
    )
    if result.why_unknown:
        yield f"    what Tenable does not have any more is not known: {safe(result.why_unknown, 300)}"
    for code, count in sorted(result.not_archived.items()):
        yield f"    {count:,} could not be archived: {safe(code)}"
    for outcome, found in sorted(result.examples.items()):
        shown = ", ".join(safe(finding_id, 200) + (f" ({safe(why, 200)})" if why else "") for finding_id, why in found)
        yield f"    {outcome}, such as {shown}"
    if result.left_at:
        yield f"    all that stay are listed in {result.left_at}"


def remove_old_take_overs(context: Any) -> list[str]:
    """Remove the files of this DAG's earlier runs after ``[tenable] retention_days``.

    :return: the ids of the runs whose files were removed.
    """
    return remove_runs(RunFolder.of(context), _planned_at)


def _planned_at(run: RunFolder) -> float | None:
    path = _plan_path(run)
    return float(path.stat().st_mtime) if path.exists() else None


__all__ = [
    "ESTATE",
    "RESULT",
    "EstateRead",
    "TakeOverEntry",
    "TakeOverPlan",
    "TakeOverResult",
    "check_old_tool",
    "finish_take_over",
    "plan_take_over",
    "read_estate_of",
    "read_plan",
    "read_result_of",
    "remove_old_take_overs",
]
