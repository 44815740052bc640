"""Plans a run: checks all user input, decides what the run covers, and splits its work into tasks."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

import msgspec

from airflow_provider_tenable import config
from airflow_provider_tenable._compat import conf
from airflow_provider_tenable.assets import index
from airflow_provider_tenable.aws import Caller
from airflow_provider_tenable.exceptions import ConfigurationError, TemporaryError
from airflow_provider_tenable.export.result import ExportResult
from airflow_provider_tenable.guards.foreign_text import quoted
from airflow_provider_tenable.observability import metrics
from airflow_provider_tenable.run import (
    destination_checks,
    first_run,
    owner,
    places,
    refusals,
    resolving,
    shrunk,
    watermark,
)
from airflow_provider_tenable.run.accepted_risks import with_taken_back
from airflow_provider_tenable.run.ages import service_levels
from airflow_provider_tenable.run.conf import check_conf
from airflow_provider_tenable.run.handover import required
from airflow_provider_tenable.run.hubs import full_window, hubs_of, moment_of, plan_hubs, record_left_over
from airflow_provider_tenable.run.identity import begin_again, difference, identity_of, run_type_of
from airflow_provider_tenable.run.kind_params import OF_KIND, settings_of
from airflow_provider_tenable.run.manifests import shard_manifests, targets_of
from airflow_provider_tenable.run.own_options import own_option
from airflow_provider_tenable.run.params import RunParam, Settings, departures
from airflow_provider_tenable.run.plan_file import (
    Identity,
    PublicPlan,
    RunPlan,
    SettingsEntry,
    export_task,
    plan_of,
    public,
)
from airflow_provider_tenable.run.scope import scope_of
from airflow_provider_tenable.run.shards import plan_transform
from airflow_provider_tenable.run.source import check_exports
from airflow_provider_tenable.run.unknown_assets import check_assets
from airflow_provider_tenable.security_hub.assignment import AssignmentEntry, grouped, name_of, write_group
from airflow_provider_tenable.staging.crash_points import CrashPoint, reached
from airflow_provider_tenable.staging.files import read_json, write_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.state.choice import FIRST, HubsPlan
from airflow_provider_tenable.tenable_vm.kinds import COMPLIANCE, WAS
from airflow_provider_tenable.transform.destinations import Destination, parse_destinations, resolve
from airflow_provider_tenable.transform.load_balancers import LoadBalancers
from airflow_provider_tenable.transform.manifest import ShardTask
from airflow_provider_tenable.transform.routing import Router
from airflow_provider_tenable.transform.waiting_records import claim_pool

log = logging.getLogger(__name__)

#: By the kind of records: filters of the export of their assets. Without this one it has hosts alone (API docs: export
#: assets v2).
_ASSETS_OF: Mapping[str, Mapping[str, Any]] = {WAS.name: {"types": ["webapp"]}}


def plan_run(context: Any, *, tenable_conn_id: str = "tenable_default", kind: str = "vulnerabilities") -> PublicPlan:
    """Check all user input, and decide what the run covers. Nothing is exported or imported yet.

    A cleared run keeps its window, and continues with what it has staged if it was not complete. A scheduled run is a
    dry run as long as nobody has let the DAG send (:mod:`~airflow_provider_tenable.run.first_run`).

    :param kind: of the records that the DAG imports: ``vulnerabilities``, ``compliance`` or ``was``.
    :return: ``{"window", "settings", "destinations", "narrowed", "held_back", "asset_filters",
        "vulnerability_filters"}``; of compliance records also ``compliance_filters``, ``audit_statuses`` and
        ``audit_accounts``; of web applications also ``was_filters`` and ``was_load_balancers``.
    :raises ConfigurationError: a param, an option, a connection or the watermark is wrong.
    """
    run = RunFolder.of(context)
    check_conf(context, table := OF_KIND[kind])
    watermark.check_not_hidden(run.dag_id)
    owner.claim(run)
    asked = _asked_of(params := dict(context["params"]), table)
    (settings, of_kind), destinations = settings_of(params, kind), parse_destinations(asked["destinations"])
    source, server_now = _tenable(tenable_conn_id)
    worker_now = time.time()
    # The moment before the first export is asked for, by the earlier of the two clocks.
    now = worker_now if server_now is None else min(worker_now, server_now)
    before = read_json(run.plan)
    mark = watermark.current(run.dag_id)
    if mark is not None and _starts_at_watermark(context, asked):
        first_run.check_source(run, source)
    identity = identity_of(context, source)
    planned, continues = _earlier_plan(run, asked, identity, table)
    window = watermark.Window(**planned["window"]) if planned else _new_window(context, params, server_now)
    earlier = planned if continues else None
    defaults = _asked_of(context["dag"].params, table)
    departing = departures(asked, defaults, table)
    if departing:
        log.info("The watermark will not move: %s differ from the DAG's own defaults.", ", ".join(departing))
    held_back = not settings.dry_run and first_run.is_held_back(
        run,
        run_type=identity["run_type"],
        mark=window.watermark,
        source=source,
        before=before if before and _asked_of(before["asked"], table) == asked else None,
    )
    if held_back:
        settings = replace(settings, dry_run=True)
        first_run.warn(run.dag_id)
    destinations = resolve(destinations, _identify, settings.region_routing)
    router = Router(destinations, settings.region_routing)
    also = _places_of_applications(router, of_kind["was_load_balancers"]) if kind == WAS.name else ()
    places.learn_from_ledgers(run)
    known = index.known_assets(run, source=source)
    checked = destination_checks.check_places(run, router, known, product=own_option(context, "product"), also=also)
    recovers: list[str] = list(planned.get("recovers", [])) if planned else []
    if not planned and not departing and not settings.dry_run:
        window, recovers = refusals.recovering(run, window, checked)
    hubs = _hubs(
        run,
        earlier,
        source,
        window,
        asked=asked,
        narrowed=bool(departing),
        now=now,
        scope=scope_of(defaults, table, kind),
    )
    if hubs is not None and hubs.full and planned is None:
        window = full_window(window)
        log.info("This run is a full one: %s.", hubs.full_why)
    assets = index.plan_assets(
        run,
        source=source,
        now=now,
        hours=config.get("asset_index_hours"),
        lag=config.get("lag_seconds"),
        earlier=earlier.get("assets") if earlier else None,
        # What is absent from a full run's exports is archived: it looks at all assets.
        is_full=hubs is not None and hubs.full,
        always=_ASSETS_OF.get(kind, {}),
    )
    plan: RunPlan = {
        "asked": asked,
        "identity": identity,
        "window": window.to_json(),
        "settings": _entry_of(settings),
        "destinations": msgspec.to_builtins(destinations),
        "refused": checked.refused,
        "recovers": recovers,
        "narrowed": bool(departing),
        "usual_destinations": _usual_destinations(asked, defaults),
        "held_back": held_back,
        "clock_ahead": 0.0 if server_now is None else round(server_now - worker_now, 3),
        "assets": assets,
        "service_levels": service_levels(),
        "resolves_instances": config.get("resolve_unplaced_instances") and kind != WAS.name,
        "asset_filters": assets["filters"],
        "vulnerability_filters": {
            "state": _states(settings, hubs),
            "severity": list(settings.severities),
            **settings.scope.filters(),
            **window.filter,
        },
    }
    plan.update({**of_kind, **_filters_of(kind, plan, window)})  # type: ignore[typeddict-item]
    if hubs is not None:
        plan["hubs"] = msgspec.to_builtins(hubs)
    write_json(run.plan, with_taken_back(run, plan))
    reached(CrashPoint.PLAN_WRITTEN)
    first_run.note_an_upgrade(run, mark=window.watermark, source=source)
    metrics.watermark_lag(run.dag_id, window.watermark, time.time())
    _log_plan(plan)
    return public(plan)


def _log_plan(plan: RunPlan) -> None:
    if plan["window"]["kind"] == watermark.BACKFILL:
        log.info(
            "Tenable exports everything from the start of this interval until now, because its filters have no end. "
            "For several days, one run with the params since and until exports far less than a backfill."
        )
    log.info(
        "Window %s; settings %s; destinations %s.",
        plan["window"],
        plan["settings"],
        quoted(plan["destinations"], 4_000),
    )


def _hubs(
    run: RunFolder,
    earlier: RunPlan | None,
    source: str,
    window: watermark.Window,
    *,
    asked: dict[str, Any],
    narrowed: bool,
    now: float,
    scope: dict[str, str],
) -> HubsPlan | None:
    """How the run comes to know what the hubs hold; as it was planned before, where the run continues."""
    if earlier is not None:
        return hubs_of(earlier)
    record_left_over(run)
    return plan_hubs(
        run,
        source=source,
        window=window,
        may_move=not narrowed,
        asked=asked["full"],
        full_run_days=config.get("full_run_days"),
        refresh_days=config.get("refresh_days"),
        lag=config.get("lag_seconds"),
        sent_before=window.watermark is not None or first_run.has_sent(run),
        planned_at=now,
        scope=scope,
    )


def _states(settings: Settings, hubs: HubsPlan | None) -> list[str]:
    """The states that Tenable is asked for. What was fixed before anything was sent is of no use in any hub."""
    states = [state.upper() for state in settings.states]
    never_sent = hubs is not None and hubs.state == FIRST and hubs.full
    return [state for state in states if state != "FIXED"] or states if never_sent else states


def _earlier_plan(
    run: RunFolder, asked: dict[str, Any], identity: Identity, table: Mapping[str, RunParam]
) -> tuple[RunPlan | None, bool]:
    """The plan of an earlier attempt at this run whose window stays, and whether the run continues with what it has
    staged.

    A cleared run keeps its window, also one that was complete: the watermark has moved on, and a new window would cover
    next to nothing of what the run was for. Only another Tenable, type or interval, or another ``since`` or ``until``,
    makes it another run. All that could be wrong and was corrected is read again.
    """
    earlier: RunPlan | None = read_json(run.plan)
    if earlier is None:
        return None, False
    reason = difference(earlier, identity)
    asked_before = _asked_of(earlier["asked"], table)
    same_window = reason is None and all(asked_before[name] == asked[name] for name in ("since", "until"))
    if reason is None and asked_before != asked:
        reason = "planned with other params"
    if reason is None and run.fewer_assets.exists():
        reason = "stopped because its exports had too few assets"
    if reason is None and (read_json(run.ledger) or {}).get("complete"):
        reason = "completed"
    if reason is None:
        log.info("This run was planned before: it keeps its window, and continues with its staged files.")
        return earlier, True
    action = "It keeps its window, and exports again" if same_window else "It starts over"
    log.info("This run was %s before. %s.", reason, action)
    begin_again(run)
    return (earlier if same_window else None), False


def _starts_at_watermark(context: Any, asked: dict[str, Any]) -> bool:
    return run_type_of(context) != "backfill" and watermark.parse_moment(asked["since"], "since") is None


def _new_window(context: Any, params: dict[str, Any], server_now: float | None) -> watermark.Window:
    dag_run, now = context["dag_run"], time.time()
    return watermark.plan_window(
        run_type=run_type_of(context),
        interval=(_seconds(context.get("data_interval_start")), _seconds(context.get("data_interval_end"))),
        since=watermark.parse_moment(params.get("since"), "since"),
        until=watermark.parse_moment(params.get("until"), "until"),
        watermark=watermark.current(dag_run.dag_id),
        lag=config.get("lag_seconds"),
        now=now,
        server_now=server_now,
    )


def plan_shards(
    context: Any, vulnerabilities: ExportResult | None, assets: ExportResult | None = None
) -> list[ShardTask]:
    """Split the transform (:mod:`airflow_provider_tenable.run.shards`), and update the asset index.

    :param vulnerabilities: result of the vulnerability export.
    :param assets: result of the asset export. Without it the asset index stays as it is.
    :raises ConfigurationError: the vulnerability export has no result, or an export comes from another Tenable source
        than the run is planned for.
    :raises FewerAssetsError: far fewer assets than the last full export had.
    """
    run = RunFolder.of(context)
    owner.check_owner(run)
    plan = plan_of(run)
    exported = required(vulnerabilities, export_task(plan))
    check_exports(run, plan)
    if assets is not None:
        shrunk.check_assets(run, plan)
    # A run that an older version has planned keeps no index.
    if assets is not None and "assets" in plan:
        index.keep_assets(run, plan["assets"], hours=config.get("asset_index_hours"))
    if assets is not None and plan.get("resolves_instances"):
        resolving.resolve_unplaced(run, plan, now=time.time())
    # Only a run that moves the watermark takes records from the pool: it is the only one of its kind at a time, and
    # leaves nothing out.
    takes = plan["window"]["kind"] == watermark.INCREMENTAL and not plan["narrowed"] and not plan["settings"]["dry_run"]
    parked = takes and claim_pool(run) > 0
    shards = plan_transform(exported["parts"], records=exported["records"], parked=parked)
    write_json(run.shards, {"count": len(shards), "as_of": moment_of(plan, exported.get("data_from"))})
    reached(CrashPoint.SHARDS_PLANNED)
    return shards


def plan_imports(context: Any) -> list[AssignmentEntry]:
    """What each mapped import does: one per account and hub Region that has findings, or per group of them where those
    would be too many tasks.

    Nothing that a person or Tenable has written is in it (see :mod:`airflow_provider_tenable.security_hub.assignment`):
    accounts, Regions, roles and connections are in a file.

    :return: ``{"group", "title", "batch_size", "dry_run"}`` of each task; ``title`` is made of account
        ids and Regions that were checked.
    :raises UnknownAssetsError: most records belong to assets that Tenable does not export.
    """
    run = RunFolder.of(context)
    owner.check_owner(run)
    plan = plan_of(run)
    settings = plan["settings"]
    tasks = min(config.get("import_tasks"), conf.getint("core", "max_map_length"))
    assignments: list[AssignmentEntry] = []
    manifests = shard_manifests(run)
    if "replays" not in plan:
        check_assets(run, plan, manifests)
    for manifest in manifests:
        if "resolves" in manifest:
            metrics.chosen(manifest, run.dag_id)
    for number, group in enumerate(grouped(targets_of(manifests), tasks)):
        write_group(run, number, group)
        assignments.append(
            {
                "group": number,
                "title": name_of(group),
                "batch_size": settings["batch_size"],
                "dry_run": settings["dry_run"],
            }
        )
    reached(CrashPoint.IMPORTS_PLANNED)
    return assignments


def _filters_of(kind: str, plan: RunPlan, window: watermark.Window) -> dict[str, Any]:
    """What the plan of another kind than vulnerabilities has instead of their filters."""
    if kind == COMPLIANCE.name:
        # Results of all states, since old ones have none.
        return {"kind": kind, "compliance_filters": window.filter, "vulnerability_filters": {}}
    if kind == WAS.name:
        return {
            "kind": kind,
            "was_filters": plan["vulnerability_filters"],
            "vulnerability_filters": {},
        }
    return {}


def _places_of_applications(router: Router, load_balancers: Mapping[str, str] | None) -> set[tuple[str, str]]:
    """Accounts and Regions of the resources of web applications.

    :raises ConfigurationError: those without a load balancer would have none.
    """
    return {router.home(), *LoadBalancers(load_balancers or {}).places()}


def _usual_destinations(asked: dict[str, Any], defaults: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The DAG's own destinations, if the run has others; empty if those are invalid."""
    if asked["destinations"] == defaults["destinations"]:
        return None
    try:
        usual = resolve(parse_destinations(defaults["destinations"]), _identify, "resource")
    except ConfigurationError as error:
        log.info("The DAG's own destinations are not usable: %s", error)
        return []
    except TemporaryError as error:
        log.warning(
            "The DAG's own destinations cannot be checked now, so they are assumed to cover every account: %s", error
        )
        usual = [Destination(aws_conn_id=None, accounts=(), role_name="unknown")]
    built: list[dict[str, Any]] = msgspec.to_builtins(usual)
    return built


def _entry_of(settings: Settings) -> SettingsEntry:
    entry: SettingsEntry = msgspec.to_builtins(settings)
    if not entry.get("scope"):
        # As in plans of older releases, with which a replay compares.
        entry.pop("scope", None)
    return entry


def _asked_of(params: Mapping[str, Any], table: Mapping[str, RunParam]) -> dict[str, Any]:
    """The values of all known params. One that is missing has its default: a plan of an older release lacks the params
    that were added since.
    """
    return {name: params.get(name, param.default) for name, param in table.items()}


def _identify(conn_id: str | None, region: str | None) -> Caller:
    """The owner of a connection's credentials, determined in a destination's Region, and the connection's Region."""
    from airflow_provider_tenable.hooks.security_hub import SecurityHubHook

    caller = SecurityHubHook(aws_conn_id=conn_id, region_name=region).identify()
    return caller._replace(region=SecurityHubHook(aws_conn_id=conn_id).region_of_connection()) if region else caller


def _tenable(conn_id: str) -> tuple[str, float | None]:
    """The identity of the Tenable instance and API user, and Tenable's time."""
    from airflow_provider_tenable.hooks.tenable import TenableHook

    with closing(TenableHook(conn_id)) as hook:
        return hook.api.identity(), hook.api.server_time()


def _seconds(moment: Any) -> float | None:
    return None if moment is None else float(moment.timestamp())
