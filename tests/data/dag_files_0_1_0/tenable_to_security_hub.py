"""# Tenable to Security Hub CSPM

Imports the findings of Tenable Vulnerability Management into AWS Security Hub CSPM: everything that is new, changed or
fixed since the last run.

    plan_run -> export_assets, export_vulnerabilities -> plan_shards -> transform -> plan_imports -> import_findings
             -> settle -> plan_archiving -> archive_findings -> advance_watermark -> check_archived
             -> report, remove_old_runs

* **A scheduled run, or one triggered without `since` and `until`,** continues from the watermark (Variable
  `tenable_to_security_hub__since`, unix seconds) and moves it once every finding has been acknowledged or recorded as
  rejected.
* **Until the DAG has imported something,** its scheduled runs are dry runs, and their report explains how to let it
  send. A run that you trigger does what its params say.
* **A backfill** covers its data interval and never moves the watermark. For several days, one run with `since` and
  `until` does the same and exports far less: 4 times less for the last 7 days, 45 times less for the last 90.
* **After a scan:** with `[tenable] import_after_scans` it also runs whenever `tenable_scan` has completed one of those
  scans.
* **Other DAGs** can wait for an import: the asset `tenable://security-hub/tenable_to_security_hub` is updated when a
  run is complete.
* **A full run** (the first one, then one a week, or by the param `full`) also archives what the hubs show as active and
  Tenable does not report any more. If that would be too many findings, it archives none of them, and `check_archived`
  fails and says how to confirm it.
* **After a failure** clear the failed tasks, or just wait for the next run, which covers the same window again.
  Delivering findings twice does not change anything.

The task `report` always shows what became of every record. It fails unless the run is complete.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_tenable import config
from airflow_provider_tenable._compat import (
    EXPONENTIAL_BACKOFF,
    DeltaDataIntervalTimetable,
    Param,
    TriggerRule,
    any_asset_or,
    dag,
    task,
)
from airflow_provider_tenable.failing import fail_fast
from airflow_provider_tenable.import_event import announce, imported_findings, scans_from_option
from airflow_provider_tenable.operators.asff import TenableToAsffOperator
from airflow_provider_tenable.operators.security_hub import SecurityHubImportFindingsOperator
from airflow_provider_tenable.operators.security_hub_archive import SecurityHubArchiveFindingsOperator
from airflow_provider_tenable.operators.tenable import TenableExportOperator
from airflow_provider_tenable.params import import_params

DAG_ID = "tenable_to_security_hub"
TENABLE_CONN_ID = "tenable_default"
IMPORTED_FINDINGS = imported_findings(DAG_ID)

PARAMS: dict[str, Param] = import_params()


def own_schedule() -> Any:
    """Data intervals of ``[tenable] schedule_hours``, and the scans of ``[tenable] import_after_scans``. None without
    both: then nothing starts by itself, and switching the DAG on does not start a run.
    """
    hours, scans = config.get("schedule_hours"), scans_from_option()
    intervals = DeltaDataIntervalTimetable(timedelta(hours=hours)) if hours else None
    return any_asset_or(intervals, scans) if scans else intervals


@task(multiple_outputs=True)
def plan_run(**context: Any) -> dict[str, Any]:
    """Check params, connections and the watermark, and decide what the run covers."""
    from airflow_provider_tenable import pipeline

    with fail_fast():
        return dict(pipeline.plan_run(context, tenable_conn_id=TENABLE_CONN_ID))


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
@task(outlets=[IMPORTED_FINDINGS], multiple_outputs=False, trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
def advance_watermark(vulnerabilities: Any, **context: Any) -> dict[str, Any]:
    """Move the watermark, as the last step and only if nothing was left out, and notify DAGs that wait for an
    import. Skipped at the end of a dry run.
    """
    from airflow_provider_tenable import pipeline

    with fail_fast():
        advanced = pipeline.advance_watermark(context, vulnerabilities)
        announce(context, IMPORTED_FINDINGS)
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
def remove_old_runs(**context: Any) -> list[str]:
    """Cancel export jobs that nobody continues, and remove the staged files of earlier runs after the retention."""
    from airflow_provider_tenable import pipeline

    return pipeline.remove_old_runs(context, tenable_conn_id=TENABLE_CONN_ID)


@dag(
    dag_id=DAG_ID,
    schedule=own_schedule(),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    # The first delay between retries, and the longest, are Airflow's own settings: [core] default_task_retry_delay and
    # max_task_retry_delay.
    default_args={"owner": "security", "retries": 2, "retry_exponential_backoff": EXPONENTIAL_BACKOFF},
    doc_md=__doc__,
    tags=["tenable", "security-hub", "aws", "security"],
)
def tenable_to_security_hub() -> None:
    """Build the DAG."""
    plan = plan_run()
    settings: Any = plan["settings"]
    export_assets = TenableExportOperator(
        task_id="export_assets",
        export="assets",
        filters=plan["asset_filters"],
        tenable_conn_id=TENABLE_CONN_ID,
        deferrable=True,
        doc_md="Exports the assets, reduced to what the mapping needs: all of them once a day, otherwise "
        "those that changed since. A finding may belong to any of them.",
    )
    export_vulnerabilities = TenableExportOperator(
        task_id="export_vulnerabilities",
        export="vulnerabilities",
        filters=plan["vulnerability_filters"],
        tenable_conn_id=TENABLE_CONN_ID,
        deferrable=True,
        doc_md="Exports the vulnerabilities of the window, chunk by chunk, and waits in the triggerer while Tenable "
        "prepares them.",
    )
    transform = TenableToAsffOperator.partial(
        task_id="transform",
        assets=export_assets.output,
        vulnerabilities=export_vulnerabilities.output,
        plan={"window": plan["window"], "settings": settings, "destinations": plan["destinations"]},
        tenable_conn_id=TENABLE_CONN_ID,
        map_index_template="shard {{ task.shard['index'] }}",
        doc_md="Joins vulnerabilities and assets, and writes findings in AWS Security Finding Format.",
    ).expand(shard=plan_shards(export_vulnerabilities.output, export_assets.output))
    imports = plan_imports()
    import_findings = SecurityHubImportFindingsOperator.partial(
        task_id="import_findings",
        map_index_template="{{ task.title }}",
        doc_md="Sends the findings of one account and Region (or of several, if there are more of them than tasks) "
        "to Security Hub CSPM, at its own rate, and resumes after an interruption.",
    ).expand(assignment=imports)
    settled = settle(export_vulnerabilities.output)
    archive_findings = SecurityHubArchiveFindingsOperator.partial(
        task_id="archive_findings",
        map_index_template="{{ task.title }}",
        doc_md="Archives what Security Hub CSPM shows as active and Tenable does not report any more.",
    ).expand(assignment=(archiving := plan_archiving(export_vulnerabilities.output)))
    advanced = advance_watermark(export_vulnerabilities.output)
    checked = check_archived()

    transform >> imports
    import_findings >> settled >> archiving
    [settled, archive_findings] >> advanced >> checked
    # Teardowns run whatever happened before them. The report alone decides the run's state: the tasks of a run that a
    # person marks as failed are skipped, which Airflow would take for success.
    checked >> [report().as_teardown(on_failure_fail_dagrun=True), remove_old_runs().as_teardown()]


dag = tenable_to_security_hub()
