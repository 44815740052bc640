"""The DAG that imports Tenable's findings into Security Hub CSPM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_tenable._compat import DAG, TriggerRule, task, task_group
from airflow_provider_tenable.dags.own_settings import START_DATE, TAGS, own_args
from airflow_provider_tenable.failing import fail_fast
from airflow_provider_tenable.import_event import announce, imported_findings
from airflow_provider_tenable.operators.asff import TenableToAsffOperator
from airflow_provider_tenable.operators.security_hub import SecurityHubImportFindingsOperator
from airflow_provider_tenable.operators.security_hub_archive import SecurityHubArchiveFindingsOperator
from airflow_provider_tenable.operators.tenable import TenableExportOperator
from airflow_provider_tenable.params import import_params
from airflow_provider_tenable.run.schedule import FROM_OPTIONS, schedule_of

DOC = """# Tenable to Security Hub CSPM

Imports the findings of Tenable Vulnerability Management into AWS Security Hub CSPM: everything that is new, changed or
fixed since the last run.

    plan_run -> export_assets, export_vulnerabilities -> plan_shards -> transform -> plan_imports -> import_findings
             -> settle -> plan_archiving -> archive_findings -> advance_watermark -> check_archived
             -> report, remove_old_runs

* **A scheduled run, or one triggered without `since` and `until`,** continues from the watermark (Variable
  `{dag_id}__since`, unix seconds) and moves it once every finding has been acknowledged or recorded as
  rejected.
* **Until the DAG has imported something,** its scheduled runs are dry runs, and their report explains how to let it
  send. A run that you trigger does what its params say.
* **A backfill** covers its data interval and never moves the watermark. For several days, one run with `since` and
  `until` does the same and exports far less: 4 times less for the last 7 days, 45 times less for the last 90.
* **After a scan:** with `[tenable] import_after_scans` it also runs whenever `tenable_scan` has completed one of those
  scans.
* **Other DAGs** can wait for an import: the asset `tenable://security-hub/{dag_id}` is updated when a
  run is complete.
* **A full run** (the first one, then one a week, or by the param `full`) also archives what the hubs show as active and
  Tenable does not report any more. If that would be too many findings, it archives none of them, and `check_archived`
  fails and says how to confirm it.
* **After a failure** clear the failed tasks, or just wait for the next run, which covers the same window again.
  Delivering findings twice does not change anything.

The task `report` always shows what became of every record. It fails unless the run is complete.
"""


@task(multiple_outputs=True)
def plan_run(tenable_conn_id: str, **context: Any) -> dict[str, Any]:
    """Check params, connections and the watermark, and decide what the run covers."""
    from airflow_provider_tenable import pipeline

    with fail_fast():
        return dict(pipeline.plan_run(context, tenable_conn_id=tenable_conn_id))


@task
def plan_shards(vulnerabilities: Any, assets: Any, **context: Any) -> list[Any]:
    """Decide how many tasks the transform is split into, and update the asset index."""
    from airflow_provider_tenable import pipeline

    with fail_fast():
        return pipeline.plan_shards(context, vulnerabilities, assets)


# If nothing was transformed, there is nothing to import, but the other tasks must still run.
@task
def plan_imports(**context: Any) -> list[Any]:
    """List the accounts and Regions that have findings."""
    from airflow_provider_tenable import pipeline

    with fail_fast():
        return pipeline.plan_imports(context)


# A run without findings maps over an empty list: its import is skipped, and the run continues.
@task(trigger_rule=TriggerRule.NONE_FAILED)
def settle(vulnerabilities: Any, **context: Any) -> dict[str, Any]:
    """Make the ledger. Fails if it does not add up, or if too many findings were rejected."""
    from airflow_provider_tenable import pipeline

    with fail_fast():
        return dict(pipeline.settle_run(context, vulnerabilities))


@task
def plan_archiving(vulnerabilities: Any, **context: Any) -> list[Any]:
    """List what a full run archives because Tenable does not report it any more; nothing in other runs."""
    from airflow_provider_tenable import pipeline

    with fail_fast():
        return [dict(entry) for entry in pipeline.plan_archiving(context, vulnerabilities)]


# The success of this task updates the asset: by then everything is imported and recorded as complete.
# One XCom instead of one per key: Airflow 3.0 does not accept null, and the first run has no earlier watermark.
# In most runs nothing is archived, so that archive_findings is skipped.
@task(multiple_outputs=False, trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
def advance_watermark(vulnerabilities: Any, **context: Any) -> dict[str, Any]:
    """Move the watermark, as the last step and only if nothing was left out, and notify DAGs that wait for an
    import. Skipped at the end of a dry run.
    """
    from airflow_provider_tenable import pipeline

    with fail_fast():
        advanced = pipeline.advance_watermark(context, vulnerabilities)
        announce(context, imported_findings(context["dag_run"].dag_id))
    return dict(advanced)


@task
def check_archived(**context: Any) -> None:
    """Fail if a full run saw nothing of so many active findings that it archived none of them."""
    from airflow_provider_tenable import pipeline

    with fail_fast():
        pipeline.check_archived(context)


@task
def report(**context: Any) -> None:
    """Always log what became of every record. Fails unless the run is complete, which decides the run's state."""
    from airflow_provider_tenable.report import report_run

    with fail_fast():
        report_run(context)


@task
def remove_old_runs(tenable_conn_id: str, **context: Any) -> list[str]:
    """Cancel export jobs that nobody continues, and remove the staged files of earlier runs after the retention."""
    from airflow_provider_tenable import pipeline

    return pipeline.remove_old_runs(context, tenable_conn_id=tenable_conn_id)


def tenable_to_security_hub(
    dag_id: str = "tenable_to_security_hub",
    *,
    tenable_conn_id: str = "tenable_default",
    aws_conn_id: str | None = "aws_default",
    schedule: Any = FROM_OPTIONS,
    params: Mapping[str, Any] | None = None,
    staging_path: str | None = None,
    id_scheme: str | None = None,
    product: str | None = None,
    default_args: Mapping[str, Any] | None = None,
    **dag_arguments: Any,
) -> DAG:
    """Make a DAG that imports the findings of one Tenable container, or of one scope of it.

    Each DAG has its own watermark, finding index and staged files, by its id. Assign the result to a variable of the
    DAG file, where Airflow finds it.

    :param dag_id: the DAG's id.
    :param tenable_conn_id: the connection to Tenable.
    :param aws_conn_id: the connection of the default destination; None for the worker's own credentials. Destinations
        that ``params`` or ``[tenable] dag_params`` give name their own.
    :param schedule: cron text (in the time zone of ``[tenable] schedule_timezone``), a timedelta, None for no schedule,
        or whatever else Airflow accepts. Default: as ``[tenable] schedule`` or ``schedule_hours`` say.
    :param params: defaults of the params that differ from those of ``[tenable] dag_params``.
    :param staging_path: URI of the staging area. Default ``[tenable] staging_path``.
    :param id_scheme: ``port`` or ``tvm2aws``. Default ``[tenable] id_scheme``.
    :param product: ``company/product`` or ``default``. Default ``[tenable] product``.
    :param default_args: as of any DAG, in addition to the provider's own.
    :param dag_arguments: further arguments of Airflow's ``DAG``, such as ``tags`` or ``on_failure_callback``.
    :raises ConfigurationError: a default of a param, or the schedule, is invalid. Airflow shows the message among its
        DAG import errors.
    """
    own = own_args(default_args, staging_path=staging_path, id_scheme=id_scheme, product=product)
    usual: dict[str, Any] = {
        "dag_display_name": "Tenable to Security Hub CSPM" if dag_id == "tenable_to_security_hub" else dag_id,
        "description": "Imports what is new, changed or fixed in Tenable into AWS Security Hub CSPM.",
        "start_date": START_DATE,
        "catchup": False,
        "max_active_runs": 1,
        "doc_md": DOC.replace("{dag_id}", dag_id),
        "tags": TAGS,
    }
    with DAG(
        dag_id=dag_id,
        schedule=schedule_of(schedule),
        params=import_params(params, aws_conn_id=aws_conn_id),
        default_args=own,
        **{**usual, **dag_arguments},
    ) as dag:
        _add_tasks(dag_id, tenable_conn_id, own)
    return dag


def _add_tasks(dag_id: str, tenable_conn_id: str, own: Mapping[str, Any]) -> None:
    plan: Any = plan_run(tenable_conn_id)
    # Airflow passes default_args to a mapped task only when it is expanded, so they are stated for these.
    to_hub = {name: own.get(name) for name in ("staging_path", "product")}

    # Groups fold the graph; without a prefix, the ids of the tasks stay as they are.
    @task_group(group_id="export", prefix_group_id=False, tooltip="Exports from Tenable")
    def exports() -> tuple[Any, Any]:
        assets = TenableExportOperator(
            task_id="export_assets",
            export="assets",
            filters=plan["asset_filters"],
            tenable_conn_id=tenable_conn_id,
            deferrable=True,
            doc_md="Exports the assets, reduced to what the mapping needs: all of them once a day, otherwise "
            "those that changed since. A finding may belong to any of them.",
        )
        vulnerabilities = TenableExportOperator(
            task_id="export_vulnerabilities",
            export="vulnerabilities",
            filters=plan["vulnerability_filters"],
            tenable_conn_id=tenable_conn_id,
            deferrable=True,
            doc_md="Exports the vulnerabilities of the window, chunk by chunk, and waits in the triggerer while "
            "Tenable prepares them.",
        )
        return assets.output, vulnerabilities.output

    assets, vulnerabilities = exports()
    transform = TenableToAsffOperator.partial(
        task_id="transform",
        assets=assets,
        vulnerabilities=vulnerabilities,
        plan={"window": plan["window"], "settings": plan["settings"], "destinations": plan["destinations"]},
        tenable_conn_id=tenable_conn_id,
        map_index_template="{{ task.outcome }}",
        id_scheme=own.get("id_scheme"),
        **to_hub,
        doc_md="Joins vulnerabilities and assets, and writes findings in AWS Security Finding Format.",
    ).expand(shard=plan_shards(vulnerabilities, assets))
    imports = plan_imports()
    import_findings = SecurityHubImportFindingsOperator.partial(
        task_id="import_findings",
        map_index_template="{{ task.outcome }}",
        **to_hub,
        doc_md="Sends the findings of one account and Region (or of several, if there are more of them than tasks) "
        "to Security Hub CSPM, at its own rate, and resumes after an interruption.",
    ).expand(assignment=imports)
    settled = settle(vulnerabilities)
    archive_findings = SecurityHubArchiveFindingsOperator.partial(
        task_id="archive_findings",
        map_index_template="{{ task.outcome }}",
        **to_hub,
        doc_md="Archives what Security Hub CSPM shows as active and Tenable does not report any more.",
    ).expand(assignment=(archiving := plan_archiving(vulnerabilities)))
    advanced = advance_watermark.override(outlets=[imported_findings(dag_id)])(vulnerabilities)
    checked = check_archived()

    transform >> imports
    import_findings >> settled >> archiving
    [settled, archive_findings] >> advanced >> checked
    # Teardowns run whatever happened before them. The report alone decides the run's state: the tasks of a run that a
    # person marks as failed are skipped, which Airflow would take for success.
    checked >> [
        report().as_teardown(on_failure_fail_dagrun=True),
        remove_old_runs(tenable_conn_id).as_teardown(),
    ]


__all__ = ["DOC", "tenable_to_security_hub"]
