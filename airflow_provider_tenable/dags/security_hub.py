"""The DAG that imports Tenable's findings into Security Hub CSPM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_tenable._compat import DAG, task
from airflow_provider_tenable.dags.import_dag import Import, import_dag
from airflow_provider_tenable.dags.own_settings import own_args
from airflow_provider_tenable.failing import fail_fast
from airflow_provider_tenable.operators.asff import TenableToAsffOperator
from airflow_provider_tenable.params import import_params
from airflow_provider_tenable.run.schedule import FROM_OPTIONS

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


KIND = Import(
    dag_id="tenable_to_security_hub",
    title="Tenable to Security Hub CSPM",
    description="Imports what is new, changed or fixed in Tenable into AWS Security Hub CSPM.",
    doc=DOC,
    records="vulnerabilities",
    filters="vulnerability_filters",
    plan_run=plan_run,
    transform=TenableToAsffOperator,
    planned=("window", "settings", "destinations"),
    own=("id_scheme",),
    docs={
        "export_assets": "Exports the assets, reduced to what the mapping needs: all of them once a day, otherwise "
        "those that changed since. A finding may belong to any of them.",
        "export_vulnerabilities": "Exports the vulnerabilities of the window, chunk by chunk, and waits in the "
        "triggerer while Tenable prepares them.",
        "transform": "Joins vulnerabilities and assets, and writes findings in AWS Security Finding Format.",
        "import_findings": "Sends the findings of one account and Region (or of several, if there are more of them "
        "than tasks) to Security Hub CSPM, at its own rate, and resumes after an interruption.",
    },
)


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
    return import_dag(
        KIND,
        dag_id,
        tenable_conn_id=tenable_conn_id,
        schedule=schedule,
        params=import_params(params, aws_conn_id=aws_conn_id),
        own=own,
        dag_arguments=dag_arguments,
    )


__all__ = ["DOC", "tenable_to_security_hub"]
