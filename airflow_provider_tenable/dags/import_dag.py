"""What the DAGs that import have in common: exports, transform, import, archiving, watermark and report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_tenable._compat import DAG, task_group
from airflow_provider_tenable.dags import import_steps as steps
from airflow_provider_tenable.dags.own_settings import START_DATE, TAGS
from airflow_provider_tenable.import_event import imported_findings
from airflow_provider_tenable.links.security_hub import SecurityHubFindingsLink
from airflow_provider_tenable.operators.security_hub import SecurityHubImportFindingsOperator
from airflow_provider_tenable.operators.security_hub_archive import SecurityHubArchiveFindingsOperator
from airflow_provider_tenable.operators.tenable import TenableExportOperator
from airflow_provider_tenable.run.schedule import schedule_of


@dataclass(frozen=True)
class Import:
    """What differs between the DAGs that import.

    :ivar dag_id: the id of the DAG that has all defaults. Only this one has ``title`` as its name.
    :ivar doc: of the DAG, with ``{dag_id}`` where its id is to be.
    :ivar tags: in addition to those of all DAGs.
    :ivar records: the export next to that of the assets: the end of its task's id, and the name of the operator's
        argument.
    :ivar filters: the name of that export's filters in the result of ``plan_run``.
    :ivar plan_run: the task that plans a run; it gets the connection to Tenable.
    :ivar transform: the operator that is mapped over the shards.
    :ivar planned: what that operator needs of the result of ``plan_run``.
    :ivar own: settings of the DAG that this operator needs too, next to ``staging_path`` and ``product``.
    :ivar docs: ``doc_md`` of the tasks whose texts differ, by their ids.
    """

    dag_id: str
    title: str
    description: str
    doc: str
    records: str
    filters: str
    plan_run: Callable[[str], Any]
    transform: Any
    planned: Sequence[str]
    docs: Mapping[str, str]
    own: Sequence[str] = ()
    tags: Sequence[str] = field(default_factory=tuple)


def import_dag(
    kind: Import,
    dag_id: str,
    *,
    tenable_conn_id: str,
    schedule: Any,
    params: Mapping[str, Any],
    own: Mapping[str, Any],
    dag_arguments: Mapping[str, Any],
) -> DAG:
    """Make a DAG that imports.

    :param schedule: as of the factories.
    :param params: all of them, as Airflow accepts them.
    :param own: the result of :func:`~airflow_provider_tenable.dags.own_settings.own_args`.
    :param dag_arguments: arguments of Airflow's ``DAG``, which override the usual ones.
    :raises ConfigurationError: the schedule is invalid.
    """
    usual: dict[str, Any] = {
        "dag_display_name": kind.title if dag_id == kind.dag_id else dag_id,
        "description": kind.description,
        "start_date": START_DATE,
        "catchup": False,
        "max_active_runs": 1,
        "doc_md": kind.doc.replace("{dag_id}", dag_id),
        "tags": [*TAGS, *kind.tags],
    }
    with DAG(
        dag_id=dag_id,
        schedule=schedule_of(schedule),
        params=dict(params),
        default_args=dict(own),
        **{**usual, **dag_arguments},
    ) as dag:
        _add_tasks(kind, dag_id, tenable_conn_id, own)
    return dag


def _add_tasks(kind: Import, dag_id: str, tenable_conn_id: str, own: Mapping[str, Any]) -> None:
    plan: Any = kind.plan_run(tenable_conn_id)
    # Airflow passes default_args to a mapped task only when it is expanded, so they are stated for these.
    to_hub = {name: own.get(name) for name in ("staging_path", "product")}

    # Groups fold the graph; without a prefix, the ids of the tasks stay as they are.
    @task_group(group_id="export", prefix_group_id=False, tooltip="Exports from Tenable")
    def exports() -> tuple[Any, Any]:
        assets, records = (
            TenableExportOperator(
                task_id=(task_id := f"export_{export}"),
                export=export,
                filters=plan[filters],
                tenable_conn_id=tenable_conn_id,
                deferrable=True,
                doc_md=kind.docs[task_id],
            ).output
            for export, filters in (("assets", "asset_filters"), (kind.records, kind.filters))
        )
        return assets, records

    assets, records = exports()
    transform = kind.transform.partial(
        task_id="transform",
        assets=assets,
        plan={name: plan[name] for name in kind.planned},
        tenable_conn_id=tenable_conn_id,
        map_index_template="{{ task.outcome }}",
        doc_md=kind.docs["transform"],
        **{kind.records: records, **{name: own.get(name) for name in kind.own}, **to_hub},
    ).expand(shard=steps.plan_shards(records, assets))
    imports = steps.plan_imports()
    import_findings = SecurityHubImportFindingsOperator.partial(
        task_id="import_findings",
        map_index_template="{{ task.outcome }}",
        **to_hub,
        doc_md=kind.docs["import_findings"],
    ).expand(assignment=imports)
    settled = steps.settle(records)
    archive_findings = SecurityHubArchiveFindingsOperator.partial(
        task_id="archive_findings",
        map_index_template="{{ task.outcome }}",
        **to_hub,
        doc_md="Archives what Security Hub CSPM shows as active and Tenable does not report any more.",
    ).expand(assignment=(archiving := steps.plan_archiving(records)))
    advanced = steps.advance_watermark.override(outlets=[imported_findings(dag_id)])(records)
    checked = steps.check_archived()

    reported = steps.report()
    # Of this task only, not of the class of all tasks that are functions.
    reported.operator.operator_extra_links = (SecurityHubFindingsLink(),)

    transform >> imports
    import_findings >> settled >> archiving
    [settled, archive_findings] >> advanced >> checked
    # Teardowns run whatever happened before them. The report alone decides the run's state: the tasks of a run that a
    # person marks as failed are skipped, which Airflow would take for success.
    checked >> [
        reported.as_teardown(on_failure_fail_dagrun=True),
        steps.remove_old_runs(tenable_conn_id).as_teardown(),
    ]


__all__ = ["Import", "import_dag"]
