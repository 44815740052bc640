"""The DAG that imports findings of web applications into Security Hub CSPM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_tenable._compat import DAG, task
from airflow_provider_tenable.dags.import_dag import Import, import_dag
from airflow_provider_tenable.dags.own_settings import own_args
from airflow_provider_tenable.failing import fail_fast
from airflow_provider_tenable.operators.was import TenableWasToAsffOperator
from airflow_provider_tenable.run.form import was_params
from airflow_provider_tenable.run.schedule import FROM_OPTIONS

DOC = """# Tenable Web App Scanning to Security Hub CSPM

Imports the findings of Tenable Web App Scanning into AWS Security Hub CSPM: everything that is new or changed since the
last run.

    plan_run -> export_assets, export_was -> plan_shards -> transform -> plan_imports -> import_findings
             -> settle -> plan_archiving -> archive_findings -> advance_watermark -> check_archived
             -> report, remove_old_runs

* It works as `tenable_to_security_hub` does, with a watermark (Variable `{dag_id}__since`), a finding index and full
  runs of its own. Its scheduled runs are dry runs until it has imported something.
* **The resource** of a finding is its web application, in the account and Region of the first destination. Where the
  param `was_load_balancers` names the load balancer of its host, it is that one, in its own account and Region.
* **An application that is deleted in Tenable**, and a finding that Tenable does not report any more, is archived.
* **Other DAGs** can wait for an import: the asset `tenable://security-hub/{dag_id}` is updated when a run is complete.

The task `report` shows what became of every record. It fails unless the run is complete.
"""


@task(multiple_outputs=True)
def plan_run(tenable_conn_id: str, **context: Any) -> dict[str, Any]:
    """Check params, connections and the watermark, and decide what the run covers."""
    from airflow_provider_tenable import pipeline

    with fail_fast():
        return dict(pipeline.plan_run(context, tenable_conn_id=tenable_conn_id, kind="was"))


KIND = Import(
    dag_id="tenable_was_to_security_hub",
    title="Tenable web applications to Security Hub CSPM",
    description="Imports findings of Tenable Web App Scanning into AWS Security Hub CSPM.",
    doc=DOC,
    tags=("was",),
    records="was",
    filters="was_filters",
    plan_run=plan_run,
    transform=TenableWasToAsffOperator,
    planned=("window", "settings", "destinations", "was_load_balancers"),
    docs={
        "export_assets": "Exports the web applications: all of them once a day, otherwise those that changed since.",
        "export_was": "Exports the findings of web applications of the window.",
        "transform": "Writes findings in AWS Security Finding Format.",
        "import_findings": "Sends the findings of one account and Region (or of several) to Security Hub CSPM.",
    },
)


def tenable_was_to_security_hub(
    dag_id: str = "tenable_was_to_security_hub",
    *,
    tenable_conn_id: str = "tenable_default",
    aws_conn_id: str | None = "aws_default",
    schedule: Any = FROM_OPTIONS,
    params: Mapping[str, Any] | None = None,
    staging_path: str | None = None,
    product: str | None = None,
    default_args: Mapping[str, Any] | None = None,
    **dag_arguments: Any,
) -> DAG:
    """Make a DAG that imports the findings of web applications of one Tenable container.

    :param dag_id: the DAG's id.
    :param tenable_conn_id: the connection to Tenable.
    :param aws_conn_id: the connection of the default destination; None for the worker's own credentials. Destinations
        that ``params`` or ``[tenable] dag_params`` give name their own.
    :param schedule: as of :func:`~airflow_provider_tenable.dags.security_hub.tenable_to_security_hub`.
    :param params: defaults of the params that differ from those of ``[tenable] dag_params``.
    :param staging_path: URI of the staging area. Default ``[tenable] staging_path``.
    :param product: ``company/product`` or ``default``. Default ``[tenable] product``.
    :param default_args: as of any DAG, in addition to the provider's own.
    :param dag_arguments: further arguments of Airflow's ``DAG``.
    :raises ConfigurationError: a default of a param, or the schedule, is invalid.
    """
    own = own_args(default_args, staging_path=staging_path, product=product)
    return import_dag(
        KIND,
        dag_id,
        tenable_conn_id=tenable_conn_id,
        schedule=schedule,
        params=was_params(params, aws_conn_id=aws_conn_id),
        own=own,
        dag_arguments=dag_arguments,
    )


__all__ = ["DOC", "tenable_was_to_security_hub"]
