"""The Tenable source of a run: which instance, which container, which API user.

``plan_run`` decides what a run covers for one source. If the connection is corrected afterwards and only later tasks
are cleared, they would continue that plan with records of another source: its window belongs to another watermark, and
the staged chunks to another container. So the exports, ``plan_shards``, ``settle`` and ``advance_watermark`` compare
the sources again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.export.store import StagedExport
from airflow_provider_tenable.guards.foreign_text import quoted, safe
from airflow_provider_tenable.run import owner
from airflow_provider_tenable.run.plan_file import RunPlan, kind_of_plan
from airflow_provider_tenable.staging.files import read_json
from airflow_provider_tenable.staging.layout import RunFolder

if TYPE_CHECKING:
    from airflow_provider_tenable.hooks.tenable import TenableHook

_CLEAR = "clear plan_run together with all tasks after it: the run then starts over with the connection's source."


def source_of(plan: RunPlan) -> str | None:
    """The source that a run is planned for (:meth:`TenableApi.identity`); None if its plan does not record one.

    A plan from an older release has no identity, but may contain the source of its assets.
    """
    identity, assets = plan.get("identity"), plan.get("assets")
    return identity["source"] if identity else assets["source"] if assets else None


def planned_source(run: RunFolder) -> str | None:
    """The source that a run is planned for; None if it has no plan, as in a DAG that does not use ``plan_run``.

    :raises ConfigurationError: another deployment owns the staging folder.
    """
    plan: RunPlan | None = read_json(run.plan)
    if plan is None:
        return None
    owner.check_owner(run)
    return source_of(plan)


def check_connection(hook: TenableHook, planned: str, *, what: str) -> str:
    """Check that a connection leads to the source that the run is planned for, with one call (``GET /session``).

    :param planned: as :func:`planned_source` returns it.
    :param what: the kind of export.
    :return: the source.
    :raises ConfigurationError: it is another one.
    """
    source = hook.api.identity()
    if source != planned:
        raise ConfigurationError(
            f"The {what} export does not continue: connection {quoted(hook.tenable_conn_id, 200)} leads to another "
            "Tenable instance or API user than this run was planned for. URL, container or user differ (source "
            f"{safe(planned, 20)} in the plan, {source} now). No export was requested or cancelled, and the watermark "
            f"stays. If the connection is correct now, {_CLEAR} Otherwise correct the connection, and clear this task."
        )
    return source


def check_exports(run: RunFolder, plan: RunPlan) -> None:
    """Check that the staged exports of a run come from the source that the run is planned for.

    An export without a recorded source passes: an older release has requested it.

    :raises ConfigurationError: an export comes from another source.
    """
    planned = source_of(plan)
    if planned is None:
        return
    for kind in ("assets", kind_of_plan(plan)):
        state = StagedExport(run.export(kind), kind).state()
        if state is not None and state.source not in (None, planned):
            raise ConfigurationError(
                f"The staged {kind} export comes from another Tenable instance or API user than this run was planned "
                f"for. URL, container or user differ (source {safe(planned, 20)} in the plan, {safe(state.source, 20)} "
                f"in the export). The watermark stays. Check the connection, then {_CLEAR}"
            )


__all__ = ["check_connection", "check_exports", "planned_source", "source_of"]
