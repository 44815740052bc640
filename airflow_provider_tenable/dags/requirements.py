"""The DAG that checks the requirements of an import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow_provider_tenable._compat import DAG
from airflow_provider_tenable.dags.own_settings import START_DATE, TAGS, own_args
from airflow_provider_tenable.operators.requirements import TenableRequirementsOperator
from airflow_provider_tenable.run.schedule import schedule_of

DOC = """# Requirements

Checks once a day what `tenable_to_security_hub` needs: the API user of Tenable and what it may view and export, the AWS
connectors of Tenable, Security Hub CSPM in each account and Region that the assets name, the staging area, and Airflow.

Every check runs, and nothing is changed. The log has one table with a remedy for each line that is not ok. The task
fails if a required check failed. A check that cannot be carried out is *unchecked*, and fails nothing.
"""


def tenable_requirements(
    dag_id: str = "tenable_requirements",
    *,
    of_dag: str = "tenable_to_security_hub",
    tenable_conn_id: str = "tenable_default",
    destinations: list[dict[str, Any]] | None = None,
    region_routing: str | None = None,
    schedule: Any = timedelta(days=1),
    staging_path: str | None = None,
    product: str | None = None,
    required: Sequence[str] | None = None,
    on_failure: str = "fail",
    default_args: Mapping[str, Any] | None = None,
    **dag_arguments: Any,
) -> DAG:
    """Make a DAG that checks what a DAG of :func:`tenable_to_security_hub` needs.

    :param dag_id: the DAG's id.
    :param of_dag: the DAG that imports.
    :param tenable_conn_id: the connection to Tenable, as that DAG has it.
    :param destinations: as the param of that DAG. Default: as in ``[tenable] dag_params``.
    :param region_routing: as the param of that DAG. Default: as in ``[tenable] dag_params``.
    :param schedule: cron text, a timedelta, None, or whatever else Airflow accepts.
    :param staging_path: URI of the staging area, as that DAG has it. Default ``[tenable] staging_path``.
    :param product: ``company/product`` or ``default``, as that DAG has it. Default ``[tenable] product``.
    :param required: checks whose failure fails the run (docs/requirements.md).
    :param on_failure: ``fail`` or ``warn``.
    :param default_args: as of any DAG, in addition to the provider's own.
    :param dag_arguments: further arguments of Airflow's ``DAG``.
    """
    usual: dict[str, Any] = {
        "dag_display_name": "Tenable: requirements" if dag_id == "tenable_requirements" else dag_id,
        "description": "Checks what importing findings of Tenable into Security Hub CSPM needs.",
        "start_date": START_DATE,
        "catchup": False,
        "max_active_runs": 1,
        "doc_md": DOC,
        "tags": TAGS,
    }
    with DAG(
        dag_id=dag_id,
        schedule=schedule_of(schedule),
        default_args=own_args(default_args, staging_path=staging_path, product=product),
        **{**usual, **dag_arguments},
    ) as dag:
        TenableRequirementsOperator(
            task_id="check_requirements",
            tenable_conn_id=tenable_conn_id,
            of_dag=of_dag,
            destinations=destinations,
            region_routing=region_routing,
            required=required,
            on_failure=on_failure,
            doc_md="Carries out every check, and logs one table with a remedy for each line that is not ok.",
        )
    return dag


__all__ = ["DOC", "tenable_requirements"]
