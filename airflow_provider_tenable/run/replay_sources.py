"""Which runs a replay repeats."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from airflow_provider_tenable.exceptions import ConfigurationError, StagingError
from airflow_provider_tenable.guards.foreign_text import quoted, safe
from airflow_provider_tenable.run import owner
from airflow_provider_tenable.run.ledger_checks import rejected_lines
from airflow_provider_tenable.run.plan_file import RunPlan, kind_of_plan
from airflow_provider_tenable.staging.files import names, read_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.tenable_vm.kinds import VULNERABILITIES

log = logging.getLogger(__name__)


class Source(NamedTuple):
    """A run that is repeated: its folder and its plan."""

    run: RunFolder
    plan: RunPlan


def sources_of(staging: str, params: Mapping[str, Any]) -> list[Source]:
    """The runs that a replay repeats, the latest first; without ids, the latest run that has rejected findings.

    :param staging: URI of the staging area.
    :param params: those of the replay, after their check.
    :raises ConfigurationError: a run does not exist in the folder of that DAG, the runs cannot be repeated together, or
        no run has rejected findings. Nothing has been staged or sent then.
    """
    ids = _asked(params)
    if ids:
        runs = [RunFolder(staging, params["dag_id"], run_id) for run_id in ids]
    else:
        runs = [_latest_with_rejected(staging, params["dag_id"])]
    owner.check_owner(runs[0])
    plans: list[RunPlan | None] = [read_json(run.plan) for run in runs]
    missing = [run.run_id for run, plan in zip(runs, plans, strict=True) if plan is None]
    if missing:
        some = [name for name in names(runs[0].dag_root) if name not in RunFolder.RESERVED]
        what = f"is no run {quoted(missing[0])}" if len(missing) == 1 else f"are no runs {quoted(missing, 1_500)}"
        raise ConfigurationError(
            f"There {what} in {runs[0].dag_root}. Nothing was sent. Runs that can be repeated: "
            f"{quoted(some[-5:], 1_500)}. For runs of another DAG, give the param dag_id."
        )
    found = [Source(run, plan) for run, plan in zip(runs, plans, strict=True) if plan is not None]
    found.sort(key=lambda each: (each.plan["window"]["until"], each.run.run_id), reverse=True)
    _check_together(found, params)
    return found


def _asked(params: Mapping[str, Any]) -> list[str]:
    """The ids in ``run_id`` and ``run_ids``, each once."""
    several = [text.strip() for text in params["run_ids"] or () if text.strip()]
    if params["run_id"] and several:
        raise ConfigurationError("run_id and run_ids are both set. Nothing was sent. Give one of them.")
    return list(dict.fromkeys([params["run_id"]] if params["run_id"] else several))


def _check_together(found: list[Source], params: Mapping[str, Any]) -> None:
    kinds = {kind_of_plan(plan) for _, plan in found}
    sources = {plan["assets"]["source"] for _, plan in found if plan.get("assets")}
    if len(kinds) > 1 or len(sources) > 1:
        raise ConfigurationError(
            f"The runs {_list_of(found)} were not imported from the same source in Tenable (container, API user or "
            "kind of records), so they cannot be repeated together. Nothing was sent. Replay one run at a time."
        )
    if not params["transform"]:
        return
    if kinds != {VULNERABILITIES.name}:
        raise ConfigurationError(
            f"Only vulnerabilities can be mapped again by a replay. Clear run {quoted(found[0].run.run_id)} of "
            f"{params['dag_id']} from its transform on, or trigger that DAG with full on."
        )
    if len(found) > 1:
        raise ConfigurationError(
            f"transform is set for the runs {_list_of(found)}, but only one run can be mapped again at a time. Nothing "
            "was sent. Give one run id, or leave transform off."
        )


def check_settings(given_up: list[Source]) -> None:
    """Check that records whose assets were missing can be mapped together: with the same params.

    :param given_up: the runs that have such records.
    :raises ConfigurationError: their params are different.
    """
    for each in given_up[1:]:
        if _mapping(each.plan) != _mapping(given_up[0].plan):
            raise ConfigurationError(
                f"The runs {_list_of([given_up[0], each])} gave up records whose assets were missing, and have "
                "different params, so the records cannot be mapped together. Nothing was sent. Replay one run at a "
                "time."
            )


def _mapping(plan: RunPlan) -> Any:
    """What decides how a record is mapped and where it goes."""
    free = ("batch_size", "max_rejected_ratio", "max_refused_destinations", "max_archived_ratio", "accept_fewer_assets")
    settings = {name: value for name, value in plan["settings"].items() if name not in (*free, "dry_run")}
    return settings, plan["destinations"]


def _list_of(found: list[Source]) -> str:
    return quoted([each.run.run_id for each in found[:20]], 1_500)


def _latest_with_rejected(staging: str, dag_id: str) -> RunFolder:
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


__all__ = ["Source", "check_settings", "sources_of"]
