"""Whether a run suppresses findings whose risk is accepted in Tenable (``accepted_risks = suppress``), and whether it
sets those to NEW that earlier runs have suppressed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypedDict

from airflow_provider_tenable.asff.record_fields import SUPPRESS
from airflow_provider_tenable.run.plan_file import RunPlan
from airflow_provider_tenable.staging.files import read_json, write_json
from airflow_provider_tenable.staging.layout import RunFolder

if TYPE_CHECKING:
    from airflow_provider_tenable.run.manifests import Delivery
    from airflow_provider_tenable.security_hub.assignment import Target


class AcceptedCounts(TypedDict):
    """``accepted_risks`` of the ledger.

    ``suppressed`` and ``reopened``: findings that the run has set to SUPPRESSED and to NEW, or would; ``kept``: those
    that earlier runs have suppressed; ``left``: why others were left to a person -> findings; ``not_done``: code ->
    findings; ``why_not``: ``account/region`` -> why nothing was done there.
    """

    suppressed: int
    reopened: int
    kept: int
    left: dict[str, int]
    not_done: dict[str, int]
    why_not: dict[str, str]


def _choice(plan: RunPlan) -> str | None:
    """The param ``accepted_risks`` of a run."""
    return plan["settings"].get("accepted_risks")


def with_taken_back(run: RunFolder, plan: RunPlan) -> RunPlan:
    """A run's plan, with whether it takes back what runs of this DAG have suppressed: where it would not suppress it,
    by the DAG's own params.

    :param plan: it is changed.
    """
    if _choice(plan) != SUPPRESS and not plan["narrowed"] and run.suppresses.exists():
        plan["takes_back_accepted"] = True
    return plan


def works_on_accepted(plan: RunPlan) -> bool:
    """Whether a run sets the workflow of findings."""
    if "replays" in plan:
        # What it repeats may not be so any more.
        return False
    return _choice(plan) == SUPPRESS or plan.get("takes_back_accepted", False)


def accepted_risks(run: RunFolder, *, dry_run: bool) -> Callable[[Target, Any], bool]:
    """What is done in an account and Region once its findings are imported: (target, hook) -> whether it is done. In
    most runs nothing.
    """
    plan: RunPlan | None = read_json(run.plan)
    if plan is None or not works_on_accepted(plan):
        return _nothing
    suppresses = _choice(plan) == SUPPRESS

    def settle(target: Target, hook: Any) -> bool:
        from airflow_provider_tenable.security_hub.workflow import AcceptedWorkflow
        from airflow_provider_tenable.state.accepted import settle_accepted

        if suppresses and not dry_run and not run.suppresses.exists():
            # Before the first one is suppressed: otherwise nobody would take it back.
            write_json(run.suppresses, {"suppresses": True})
        workflow = AcceptedWorkflow(hook, target.account, target.region, f"airflow-provider-tenable/{run.dag_id}")
        return settle_accepted(run, target, workflow, suppresses=suppresses, dry_run=dry_run)

    return settle


def _nothing(target: Target, hook: Any) -> bool:
    return True


def accepted_counts(run: RunFolder, plan: RunPlan, deliveries: list[Delivery]) -> AcceptedCounts | None:
    """What became of accepted risks, in all accounts and Regions; None where the run does not work on them."""
    from airflow_provider_tenable.state.accepted_record import read_outcome

    if not works_on_accepted(plan):
        return None
    counts: AcceptedCounts = {"suppressed": 0, "reopened": 0, "kept": 0, "left": {}, "not_done": {}, "why_not": {}}
    left: Counter[str] = Counter()
    not_done: Counter[str] = Counter()
    for entry in deliveries:
        parts = list(zip(entry["parts"], entry["lines"], strict=True))
        name = f"{entry['account']}/{entry['region']}"
        outcome = read_outcome(run.compared(entry["account"], entry["region"]), parts)
        if outcome is None:
            counts["why_not"][name] = "its import is not complete"
            continue
        counts["suppressed"] += outcome.suppressed
        counts["reopened"] += outcome.reopened
        counts["kept"] += outcome.kept
        left.update(outcome.left)
        not_done.update(outcome.not_done)
        if outcome.why_not:
            counts["why_not"][name] = outcome.why_not
    return {**counts, "left": dict(sorted(left.items())), "not_done": dict(sorted(not_done.items()))}


__all__ = ["AcceptedCounts", "accepted_counts", "accepted_risks", "with_taken_back", "works_on_accepted"]
