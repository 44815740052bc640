"""The steps of ``tenable_audit_security_hub``: is what the hubs show what the finding index says?

The audit reads the hubs (GetFindings) and changes nothing in them. With ``repair`` or ``rebuild`` it corrects the
finding index: the next full run of the audited DAG then sends and archives what differs from Tenable, under its brake.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, TypedDict

import msgspec

from airflow_provider_tenable.exceptions import ConfigurationError, DamagedFileError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.observability import metrics
from airflow_provider_tenable.run.last_import import begin, groups_of, last_import, targets_in
from airflow_provider_tenable.run.old_runs import remove_runs
from airflow_provider_tenable.run.own_options import own_option
from airflow_provider_tenable.run.params import AUDIT
from airflow_provider_tenable.staging.files import read_json, write_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.state.hub_audit import KINDS, Differences
from airflow_provider_tenable.state.registry import IndexState, read_state

log = logging.getLogger(__name__)

#: Seconds after the end of a run during which the hubs may not show all of it yet.
SETTLES_SECONDS = 300
#: Parts into which instances are divided by the first digit of their ids that varies.
_PARTS = "0123456789abcdef"
#: What an audit found, per account and Region.
RESULT = "result.json"


class AuditEntry(TypedDict):
    """An entry of the XCom of ``plan_audit``: the number and the name of a group of accounts and Regions."""

    group: int
    title: str


class AuditPlan(TypedDict):
    """``hub_audit/plan.json``.

    ``dag_id``, ``run_id``: the last complete run of the audited DAG, whose destinations are used. ``not_before``: unix
    seconds from which the hubs show all of it. ``digits``: of the instances that are looked at; empty: everything.
    ``left``: ``account/region`` that is not audited -> why.
    """

    dag_id: str
    run_id: str
    source: str
    not_before: float
    digits: str
    repair: bool
    rebuild: bool
    id_scheme: str
    places: list[str]
    left: dict[str, str]


class AuditResult(msgspec.Struct):
    """``result.json``: what was found in an account and Region.

    :ivar read: findings of ours in the hub. ``others``: findings of other tools. ``unreadable``: those whose documents
        cannot be read.
    :ivar differences: None where the finding index cannot be relied on; ``why_not`` says why.
    :ivar repaired: rows that were put into the finding index.
    :ivar index_changed: whether a run has written into the index while the hub was read: nothing is repaired then.
    """

    read: int
    others: int
    unreadable: int
    differences: Differences | None = None
    why_not: str = ""
    repaired: int = 0
    index_changed: bool = False


def plan_audit(context: Any) -> list[AuditEntry]:
    """Check the params, and list what is audited.

    :return: ``{"group", "title"}`` of each mapped task.
    :raises ConfigurationError: a param is wrong, or no complete run of the DAG is on record.
    """
    run, params = begin(context, AUDIT)
    last = last_import(context, params["dag_id"], so_there="is nothing to compare its hubs with")
    targets, left = targets_in(last.plan, sorted(last.places))
    record: AuditPlan = {
        "dag_id": params["dag_id"],
        "run_id": last.run.run_id,
        "source": last.source,
        "not_before": last.status["at"] + SETTLES_SECONDS,
        "digits": _digits(params["sample"], time.time()),
        "repair": params["repair"],
        "rebuild": params["rebuild"],
        "id_scheme": own_option(context, "id_scheme"),
        "places": [str(target) for target in targets],
        "left": left,
    }
    write_json(_plan_path(run), record)
    return [{"group": number, "title": title} for number, title in groups_of(run, targets)]


def _plan_path(run: RunFolder) -> Any:
    return run.root / "hub_audit" / "plan.json"


def read_plan(run: RunFolder) -> AuditPlan:
    """:raises ConfigurationError: the audit was not planned."""
    plan: AuditPlan | None = read_json(_plan_path(run))
    if plan is None:
        raise ConfigurationError(f"{_plan_path(run)} is missing: clear the run from plan_audit on.")
    return plan


def _digits(sample: float, now: float) -> str:
    """The digits of the instances that are looked at, other ones each day; empty where all are."""
    count = math.ceil(len(_PARTS) * sample)
    if count == len(_PARTS):
        return ""
    first = int(now // 86400) * count % len(_PARTS)
    return "".join(sorted((_PARTS + _PARTS)[first : first + count]))


def prefixes(plan: AuditPlan, account: str, region: str) -> list[str]:
    """What the ids of the findings begin with that are looked at; empty where all are. Ids of instances have 17 digits
    today, the first of which is 0.
    """
    head = f"{region}/" if plan["id_scheme"] == "tvm2aws" else f"{region}/{account}/"
    return [f"{head}i-0{digit}" for digit in plan["digits"]]


def scope_of(beginnings: list[str]) -> Callable[[str], bool] | None:
    """Whether the findings of a resource are looked at; None where all are."""
    if not beginnings:
        return None
    wanted = tuple(beginnings)
    return lambda resource: resource.startswith(wanted)


def index_state(run: RunFolder, plan: AuditPlan) -> IndexState:
    """The finding index of the audited DAG."""
    return read_state(run.of_dag(plan["dag_id"], plan["run_id"]).finding_index, plan["source"])


def finish_audit(context: Any) -> dict[str, Any]:
    """Log the table of what was found, and send the metrics.

    :return: ``{"dag_id", "places", "read", "missing", "ghost", "stale", "repaired", "not_audited"}``, for the XCom and
        the asset's event.
    """
    run = RunFolder.of(context)
    plan = read_plan(run)
    results = dict(_results(run, plan))
    totals: dict[str, Any] = {"dag_id": plan["dag_id"], "places": len(results), "read": 0}
    totals.update(dict.fromkeys(KINDS, 0), repaired=0)
    not_audited = len(plan["left"])
    for result in results.values():
        if result is None or result.differences is None:
            not_audited += 1
            continue
        totals["read"] += result.read
        totals["repaired"] += result.repaired
        for kind in KINDS:
            totals[kind] += result.differences.counts.get(kind, 0)
    totals["not_audited"] = not_audited
    metrics.audited({kind: totals[kind] for kind in KINDS}, plan["dag_id"])
    log.info("%s", "\n".join(_table(plan, results)))
    return totals


def remove_old_audits(context: Any) -> list[str]:
    """Remove the files of this DAG's earlier runs after ``[tenable] retention_days``.

    :return: the ids of the runs whose files were removed.
    """
    return remove_runs(RunFolder.of(context), _planned_at)


def _planned_at(run: RunFolder) -> float | None:
    path = _plan_path(run)
    return float(path.stat().st_mtime) if path.exists() else None


def _results(run: RunFolder, plan: AuditPlan) -> Iterator[tuple[str, AuditResult | None]]:
    for place in plan["places"]:
        try:
            value = read_json(run.hub_audit(*place.split("/")) / RESULT, advice="")
            yield place, None if value is None else msgspec.convert(value, AuditResult)
        except (DamagedFileError, msgspec.ValidationError):
            yield place, None


def _table(plan: AuditPlan, results: dict[str, AuditResult | None]) -> Iterator[str]:
    yield f"Audit of the hubs of {safe(plan['dag_id'])}, against its finding index."
    if plan["digits"]:
        yield f"A sample: EC2 instances whose ids begin with i-0 and one of {plan['digits']}."
    for place, result in results.items():
        if result is None:
            yield f"  {place}: not audited, its task failed"
        elif result.differences is None:
            yield f"  {place}: {result.read:,} findings read; not compared: {safe(result.why_not, 300)}"
        else:
            yield from _rows(place, result, result.differences)
    for place, why in plan["left"].items():
        yield f"  {place}: not audited ({why}: no destination of the last run leads there)"


def _rows(place: str, result: AuditResult, found: Differences) -> Iterator[str]:
    counts = ", ".join(f"{found.counts.get(kind, 0):,} {kind}" for kind in KINDS)
    more = [
        f"{count:,} {what}"
        for count, what in (
            (found.moving, "changed meanwhile"),
            (found.changed_by_customer, "worked on by the customer"),
            (result.others, "of other tools"),
            (result.unreadable, "unreadable"),
            (result.repaired, "rows corrected in the index"),
        )
        if count
    ]
    yield f"  {place}: {result.read:,} findings read: {counts}{'; ' if more else ''}{', '.join(more)}"
    if result.index_changed:
        yield "    a run has written into the index meanwhile: audit again when no run is under way"
    for kind, ids in found.examples.items():
        yield f"    {kind}, such as {', '.join(safe(each, 200) for each in ids)}"


__all__ = [
    "RESULT",
    "SETTLES_SECONDS",
    "AuditEntry",
    "AuditPlan",
    "AuditResult",
    "finish_audit",
    "index_state",
    "plan_audit",
    "prefixes",
    "read_plan",
    "remove_old_audits",
    "scope_of",
]
