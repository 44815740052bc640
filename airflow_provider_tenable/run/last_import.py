"""The last complete run of a DAG that imports, and the hubs that it leads to: where an audit and a takeover begin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from airflow_provider_tenable import config
from airflow_provider_tenable._compat import conf
from airflow_provider_tenable.exceptions import ConfigurationError, DamagedFileError
from airflow_provider_tenable.guards.foreign_text import quoted
from airflow_provider_tenable.guards.identifiers import is_place
from airflow_provider_tenable.run import owner
from airflow_provider_tenable.run.conf import check_conf
from airflow_provider_tenable.run.params import RunParam, checked
from airflow_provider_tenable.run.plan_file import RunPlan, plan_of
from airflow_provider_tenable.run.status import read_status
from airflow_provider_tenable.security_hub.assignment import Target, grouped, name_of, write_group
from airflow_provider_tenable.staging.files import read_json
from airflow_provider_tenable.staging.layout import RunFolder, staging_uri_of
from airflow_provider_tenable.state.registry import MANIFEST, IndexState, read_state
from airflow_provider_tenable.transform.destinations import Destination
from airflow_provider_tenable.transform.routing import Router

UNREACHABLE = "unreachable"


class LastImport(NamedTuple):
    """The last complete run of a DAG.

    :ivar run: its folder.
    :ivar status: what ``status.json`` says.
    :ivar source: which Tenable its finding index is of; empty where that cannot be read.
    """

    run: RunFolder
    status: Any
    plan: RunPlan
    source: str
    state: IndexState

    @property
    def places(self) -> set[str]:
        """``account/region`` of each hub that findings were sent to, as far as that is on record."""
        registry = self.state.registry
        return {*(registry.destinations if registry else ()), *self.state.written, *_delivered(self.status)}


def begin(context: Any, declared: Mapping[str, RunParam]) -> tuple[RunFolder, dict[str, Any]]:
    """Check the params, and claim the run's folder.

    :raises ConfigurationError: a param is wrong, or another deployment has the staging area.
    """
    check_conf(context, declared)
    params = {name: checked(name, context["params"], declared) for name in declared}
    run = RunFolder.of(context)
    owner.claim(run)
    return run, params


def last_import(context: Any, dag_id: str, *, so_there: str) -> LastImport:
    """The last complete run of a DAG.

    :param so_there: the end of the error where there is none, such as ``is nothing to compare its hubs with``.
    :raises ConfigurationError: no complete run is on record, or the DAG belongs to another deployment.
    """
    dag = RunFolder(staging_uri_of(context), dag_id, "any")
    owner.check_owner(dag)
    status = read_status(dag)
    if status is None:
        raise ConfigurationError(
            f"No complete run of {quoted(dag_id, 80)} is on record in {dag.dag_root}, so there {so_there}. Let the DAG "
            "complete a run that is not a dry run, or correct the param dag_id."
        )
    run = dag.beside(status["run_id"])
    plan = plan_of(run)
    source = (plan.get("hubs") or {}).get("source") or source_of(dag)
    return LastImport(run, status, plan, source, read_state(dag.finding_index, source))


def source_of(dag: RunFolder) -> str:
    """Which Tenable the finding index is of; empty where that cannot be read."""
    try:
        return str((read_json(dag.finding_index / MANIFEST, advice="") or {}).get("source", ""))
    except (DamagedFileError, AttributeError):
        return ""


def _delivered(status: Any) -> list[str]:
    """The places that the last run knew, if the finding index does not name any."""
    hubs = status.get("hubs", {})
    # The names become parts of paths.
    return [place for place in (*hubs.get("places", {}), *hubs.get("unknown", [])) if is_place(place)]


def router_of(plan: RunPlan) -> Router:
    """Which destination of a run an account and Region belong to."""
    return Router(msgspec.convert(plan["destinations"], list[Destination]), plan["settings"]["region_routing"])


def targets_in(plan: RunPlan, places: Iterable[str]) -> tuple[list[Target], dict[str, str]]:
    """How the hubs of ``account/region`` are reached with the destinations of a run, and why others are not."""
    router = router_of(plan)
    targets, left = [], {}
    for place in places:
        account, region = place.split("/")
        route = router.route(account, region)
        if isinstance(route, str) or route[1] != region:
            left[place] = UNREACHABLE
            continue
        via = route[0]
        targets.append(Target(account, region, via.aws_conn_id, via.role_name, [], via.external_id))
    return targets, left


def groups_of(run: RunFolder, targets: list[Target]) -> list[tuple[int, str]]:
    """Distribute hubs over mapped tasks: number and name of each task's group."""
    tasks = min(config.get("import_tasks"), conf.getint("core", "max_map_length"))
    found = []
    for number, group in enumerate(grouped(targets, tasks)):
        write_group(run, number, group, archives=True)
        found.append((number, name_of(group)))
    return found


__all__ = ["UNREACHABLE", "LastImport", "begin", "groups_of", "last_import", "router_of", "source_of", "targets_in"]
