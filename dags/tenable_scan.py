"""# Run a scan in Tenable

Creates a scan (or uses the one of this name that the DAG has created before), runs it, and exports its results.

    plan_scan -> with_scanner -> prerequisites -> create_scanner -> wait_until_online
              -> create_scan -> run_scan -> remove_scanner
                                         -> export_scan -> complete -> report, delete_scan, remove_old_files

* **The scan is launched once,** whatever happens to the tasks: a retry resumes its run.
* **The form** asks for targets, credentials (the names of managed credentials in Tenable) and the formats of the
  results.
* **An ephemeral scanner:** with the param `ephemeral_scanner` the run creates a Nessus scanner on EC2 and scans with
  it. It is removed at the end whatever happens, also if the scan fails or a person marks the run as failed. Without
  the param, the three tasks before `create_scan` are skipped.
* **Other DAGs** can wait for the scan: the asset `tenable://scan/{name}` is updated when its run is completed. With
  `[tenable] import_after_scans`, `tenable_to_security_hub` then imports what the scan has found.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow_provider_tenable._compat import EXPONENTIAL_BACKOFF, Param, TriggerRule, asset_alias, dag, task
from airflow_provider_tenable.failing import fail_fast
from airflow_provider_tenable.operators.nessus_ec2 import NessusAwsPrerequisitesOperator, NessusCreateScannerOperator
from airflow_provider_tenable.operators.nessus_terminate import NessusTerminateScannerOperator
from airflow_provider_tenable.operators.scan_exports import TenableExportScanOperator
from airflow_provider_tenable.operators.scan_runs import TenableRunScanOperator
from airflow_provider_tenable.operators.tenable_scans import TenableCreateScanOperator, TenableDeleteScanOperator
from airflow_provider_tenable.params import scan_params
from airflow_provider_tenable.sensors.tenable_scanners import TenableScannerSensor

TENABLE_CONN_ID = "tenable_default"
#: The scan's name, and so its asset, is known only when a run begins.
COMPLETED_SCANS = asset_alias("tenable_scan")

PARAMS: dict[str, Param] = scan_params()


@dag(
    dag_id="tenable_scan",
    dag_display_name="Tenable: run a scan",
    description="Creates or reuses a scan in Tenable, runs it, and exports its results.",
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

    # The setup of the scanner's removal, which therefore runs whatever happens after it. A setup must not be skipped
    # itself: Airflow would skip the scan, too.
    @task.short_circuit(ignore_downstream_trigger_rules=False)
    def with_scanner(wanted: bool) -> bool:
        """Decide whether the run creates a scanner; if not, the next three tasks are skipped."""
        return wanted

    # The success of this task updates the asset: by then the results are exported.
    @task(outlets=[COMPLETED_SCANS], multiple_outputs=False)
    def complete(result: dict[str, Any], **context: Any) -> dict[str, Any]:
        """Notify DAGs that wait for this scan."""
        from airflow_provider_tenable.import_event import announce_scan

        announce_scan(context, COMPLETED_SCANS, result)
        return result

    @task
    def report(result: Any, exported: Any, **context: Any) -> None:
        """Log the scan's results. Fails unless the run is complete, which decides the run's state."""
        from airflow_provider_tenable import scan_steps

        with fail_fast():
            scan_steps.report_scan(context, result, exported)

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
    aws: dict[str, Any] = {"aws_conn_id": plan["aws_conn_id"], "region_name": plan["region"]}
    wanted = with_scanner(plan["ephemeral_scanner"])
    prerequisites = NessusAwsPrerequisitesOperator(
        task_id="prerequisites",
        name=plan["scanner_name"],
        subnet_id=plan["subnet_id"],
        tags=plan["tags"],
        doc_md="Creates the role, the profile and the security group of the run's own scanner.",
        **aws,
    )
    scanner = NessusCreateScannerOperator(
        task_id="create_scanner",
        name=plan["scanner_name"],
        image=plan["image"],
        instance_type=plan["instance_type"],
        prerequisites=prerequisites.output,
        subnet_id=plan["subnet_id"],
        tags=plan["tags"],
        tenable_conn_id=TENABLE_CONN_ID,
        deferrable=True,
        doc_md="Launches the scanner's instance once, and waits for EC2's checks in the triggerer.",
        **aws,
    )
    online = TenableScannerSensor(
        task_id="wait_until_online",
        scanner=scanner.output,
        tenable_conn_id=TENABLE_CONN_ID,
        deferrable=True,
        doc_md="Waits until the scanner is in Tenable's list, on, and has plugins.",
        **aws,
    )
    scan = TenableCreateScanOperator(
        task_id="create_scan",
        name=plan["name"],
        template=plan["template"],
        targets=plan["targets"],
        credentials=plan["credentials"],
        scanner=plan["scanner"],
        tenable_conn_id=TENABLE_CONN_ID,
        # The tasks that create a scanner are skipped in most runs.
        trigger_rule=TriggerRule.NONE_FAILED,
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
    remove_scanner = NessusTerminateScannerOperator(
        task_id="remove_scanner",
        name=plan["scanner_name"],
        # By now nobody waits for a scan that it still runs, such as one whose task a person has ended.
        force=True,
        optional=True,
        tenable_conn_id=TENABLE_CONN_ID,
        deferrable=True,
        doc_md="Unlinks the run's own scanner, terminates its instance and removes the rest, whatever happened before.",
        **aws,
    )
    completed = complete(run.output)
    wanted >> prerequisites >> scanner >> online >> scan
    # A teardown runs whenever its setup has succeeded. One that fails leaves a machine that costs money, so the run
    # fails with it.
    run >> remove_scanner.as_teardown(setups=wanted.operator, on_failure_fail_dagrun=True)
    export >> completed >> deletes(plan["delete_after"]) >> delete
    completed >> remove_old_files()
    # As a teardown, it runs whatever happened before, also in a run that a person marks as failed.
    report(completed, export.output).as_teardown(on_failure_fail_dagrun=True)


dag = tenable_scan()
