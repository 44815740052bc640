"""A run's plan, ``run.json``: the decisions of ``plan_run``, which all later tasks follow."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

from airflow_provider_tenable.assets.index import AssetPlan
from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.run.watermark import WindowEntry
from airflow_provider_tenable.staging.files import read_json
from airflow_provider_tenable.staging.layout import RunFolder


class SettingsEntry(TypedDict):
    """The :class:`~airflow_provider_tenable.run.params.Settings` as they are staged."""

    batch_size: int
    severities: list[str]
    states: list[str]
    region_routing: str
    accepted_risks: str
    severity_source: NotRequired[str]
    non_ec2_assets: str
    max_rejected_ratio: float
    max_refused_destinations: NotRequired[int | None]
    accept_fewer_assets: NotRequired[bool]
    max_archived_ratio: NotRequired[float | None]
    dry_run: bool
    # A Scope (transform/scope.py); missing where there is none.
    scope: NotRequired[dict[str, Any]]


class PublicPlan(TypedDict):
    """The XCom of ``plan_run``.

    ``narrowed``: the run's params may deliver less than the DAG's own defaults, or deliver it differently.
    ``held_back``: a dry run that the params do not request. ``clock_ahead``: seconds by which Tenable's clock was ahead
    of the worker's (negative: behind it). The filters are Tenable's.
    """

    window: WindowEntry
    settings: SettingsEntry
    destinations: list[dict[str, Any]]
    narrowed: bool
    held_back: NotRequired[bool]
    clock_ahead: NotRequired[float]
    asset_filters: dict[str, Any]
    vulnerability_filters: dict[str, Any]
    # Of an import of compliance records, which has no filter for vulnerabilities.
    compliance_filters: NotRequired[dict[str, Any]]
    audit_statuses: NotRequired[list[str]]
    audit_accounts: NotRequired[dict[str, str]]
    # Of an import of web application findings: host name -> ARN, and Tenable's filters.
    was_filters: NotRequired[dict[str, Any]]
    was_load_balancers: NotRequired[dict[str, str]]


class Identity(TypedDict):
    """``source``: a digest of Tenable's URL, the container and the API user. ``interval``: unix seconds, or None."""

    source: str
    run_type: str
    interval: list[float | None]


class RunPlan(PublicPlan):
    """The file.

    ``asked``: the params as they were given. ``identity`` is missing in plans of older releases.
    ``usual_destinations``: the DAG's own destinations, where the run was given others. ``replays``: the run that a
    replay repeats, ``{dag_id}/{run_id}``; of several the latest. ``refused``: ``account/region`` -> why it refuses
    findings for good, as far as that was known before the export. ``recovers``: those that refused earlier runs, and
    for which the window begins earlier. ``hubs``: a :class:`~airflow_provider_tenable.state.choice.HubsPlan`; missing
    in plans of older releases. ``service_levels``: severity -> days. ``kind``: of the records that the run imports;
    missing: vulnerabilities. ``resolves_instances``: whether EC2 is asked for instances without an account or Region.
    ``takes_back_accepted``: whether findings that earlier runs have suppressed become NEW.
    """

    asked: dict[str, Any]
    identity: NotRequired[Identity]
    usual_destinations: list[dict[str, Any]] | None
    assets: NotRequired[AssetPlan]
    replays: NotRequired[str]
    refused: NotRequired[dict[str, str]]
    recovers: NotRequired[list[str]]
    hubs: NotRequired[dict[str, Any]]
    service_levels: NotRequired[dict[str, int]]
    kind: NotRequired[str]
    resolves_instances: NotRequired[bool]
    takes_back_accepted: NotRequired[bool]


def kind_of_plan(plan: RunPlan) -> str:
    """The kind of records that a run imports."""
    return plan.get("kind", "vulnerabilities")


def export_task(plan: RunPlan) -> str:
    """The id of the task that exports them."""
    return f"export_{kind_of_plan(plan)}"


#: Entries that are not put into XCom, because they may be large or are internal.
_INTERNAL = frozenset(RunPlan.__annotations__) - frozenset(PublicPlan.__annotations__)


def plan_of(run: RunFolder) -> RunPlan:
    """The run's plan. :raises StagingError: the run was not planned here."""
    plan: RunPlan | None = read_json(run.plan)
    if plan is None:
        raise StagingError(
            f"{run.plan} is missing. Was the run's folder removed, or [tenable] staging_path changed since the run "
            "began? Clear the run from plan_run on."
        )
    return plan


def refused_in_plan(run: RunFolder) -> dict[str, str]:
    """The accounts and hub Regions that refused findings before the export, and why: ``account/region`` -> text."""
    plan: RunPlan | None = read_json(run.plan)
    return plan.get("refused", {}) if plan else {}


def public(plan: RunPlan) -> PublicPlan:
    """The part of a plan that is put into XCom."""
    return {name: value for name, value in plan.items() if name not in _INTERNAL}  # type: ignore[return-value]


__all__ = [
    "Identity",
    "PublicPlan",
    "RunPlan",
    "SettingsEntry",
    "WindowEntry",
    "export_task",
    "kind_of_plan",
    "plan_of",
    "public",
    "refused_in_plan",
]
