"""# Run a scan in Tenable

Creates a scan (or uses the one of this name that the DAG has created before), runs it, and exports its results.

    plan_scan -> create_scan -> run_scan -> export_scan -> complete, delete_scan, remove_old_files

* **The scan is launched once,** whatever happens to the tasks: a retry resumes its run.
* **The form** asks for targets, credentials (the names of managed credentials in Tenable) and the formats of the
  results.
* **Other DAGs** can wait for the scan: the asset `tenable://scan/{name}` is updated when its run is completed. With
  `[tenable] import_after_scans`, `tenable_to_security_hub` then imports what the scan has found.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow_provider_tenable._compat import EXPONENTIAL_BACKOFF, Param, asset_alias, dag, task
from airflow_provider_tenable.failing import fail_fast
from airflow_provider_tenable.operators.scan_exports import TenableExportScanOperator
from airflow_provider_tenable.operators.scan_runs import TenableRunScanOperator
from airflow_provider_tenable.operators.tenable_scans import TenableCreateScanOperator, TenableDeleteScanOperator
from airflow_provider_tenable.params import scan_params

TENABLE_CONN_ID = "tenable_default"
#: The scan's name, and so its asset, is known only when a run begins.
COMPLETED_SCANS = asset_alias("tenable_scan")

PARAMS: dict[str, Param] = scan_params()


@dag(
    dag_id="tenable_scan",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    default_args={"owner": "security", "retries": 2, "retry_exponential_backoff": EXPONENTIAL_BACKOFF},
    doc_md=__doc__,
    tags=["tenable", "security-hub", "aws", "security"],
)
def tenable_scan() -> None:
    """Build the DAG."""

    @task(multiple_outputs=True)
    def plan_scan(**context: Any) -> dict[str, Any]:
        """Check the params of the run, and that there are targets."""
        from airflow_provider_tenable import scan_steps

        with fail_fast():
            return scan_steps.plan_scan(context)

    # The success of this task updates the asset: by then the results are exported.
    @task(outlets=[COMPLETED_SCANS], multiple_outputs=False)
    def complete(result: dict[str, Any], **context: Any) -> dict[str, Any]:
        """Notify DAGs that wait for this scan."""
        from airflow_provider_tenable.import_event import announce_scan

        announce_scan(context, COMPLETED_SCANS, result)
        return result

    @task.short_circuit
    def deletes(wanted: bool) -> bool:
        """Decide whether the scan is deleted."""
        return wanted

    @task
    def remove_old_files(**context: Any) -> list[str]:
        """Remove the staged files of earlier runs after the retention."""
        from airflow_provider_tenable import scan_steps

        return scan_steps.remove_old_scans(context)

    plan: Any = plan_scan()
    scan = TenableCreateScanOperator(
        task_id="create_scan",
        name=plan["name"],
        template=plan["template"],
        targets=plan["targets"],
        credentials=plan["credentials"],
        scanner=plan["scanner"],
        tenable_conn_id=TENABLE_CONN_ID,
        doc_md="Creates the scan, or updates the one of this name that this task has created.",
    )
    run = TenableRunScanOperator(
        task_id="run_scan",
        scan=scan.output,
        tenable_conn_id=TENABLE_CONN_ID,
        deferrable=True,
        doc_md="Launches the scan once and waits for the end of its run in the triggerer.",
    )
    export = TenableExportScanOperator(
        task_id="export_scan",
        scan=scan.output,
        run=run.output,
        formats=plan["formats"],
        path=plan["path"],
        tenable_conn_id=TENABLE_CONN_ID,
        deferrable=True,
        doc_md="Downloads the results in the wanted formats.",
    )
    delete = TenableDeleteScanOperator(
        task_id="delete_scan",
        scan=scan.output,
        tenable_conn_id=TENABLE_CONN_ID,
        doc_md="Deletes the scan, if the params say so.",
    )
    completed = complete(run.output)
    export >> completed >> deletes(plan["delete_after"]) >> delete
    completed >> remove_old_files()


dag = tenable_scan()
