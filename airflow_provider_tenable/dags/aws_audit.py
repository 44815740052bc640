"""The DAG that audits AWS accounts with Tenable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_tenable._compat import DAG, AirflowSkipException, TriggerRule, asset_alias, task, task_group
from airflow_provider_tenable.dags.own_settings import START_DATE, TAGS, own_args
from airflow_provider_tenable.failing import fail_fast
from airflow_provider_tenable.import_event import completed_audits
from airflow_provider_tenable.operators.aws_audit import TenableAuditUserOperator, TenableRotateAuditKeyOperator
from airflow_provider_tenable.operators.aws_audit_scan import TenableAwsAuditScanOperator
from airflow_provider_tenable.operators.scan_debugging import TenableSetPluginDebuggingOperator
from airflow_provider_tenable.operators.scan_exports import TenableExportScanOperator
from airflow_provider_tenable.operators.scan_runs import TenableRunScanOperator
from airflow_provider_tenable.params import aws_audit_params
from airflow_provider_tenable.run.schedule import AUDIT_FROM_OPTION, schedule_of

DOC = """# Audit AWS accounts

Audits AWS accounts with Tenable, each with the key of a read-only IAM user of its own.

    plan_audit -> for each account: audit_user -> rotate_key -> audit_scan -> debug_on -> run_scan -> debug_off
                                                                                       -> check_results
                                                                                       -> export_db -> what_to_send
               -> complete -> report, remove_old_files

* **The key** is created in IAM and put into a managed credential in Tenable within one task; it is nowhere else.
* **One account that fails** does not stop the others; the run fails in the end, and `report` names the account.
* **The form** asks for the accounts, Regions and audit files.
* **Debugging:** with the param `debug`, plugin debugging is switched on for the run and off afterwards, also if the
  run fails; `what_to_send` says what Tenable's support needs.
* **Other DAGs** can wait for the audits: the asset `tenable://aws-audits/{dag_id}` is updated at the end of a
  run in which at least one account was audited, and `tenable://scan/AWS audit {account}` for each of them.
"""


@task(multiple_outputs=False)
def plan_audit(**context: Any) -> list[dict[str, Any]]:
    """Check the params of the run: one entry for each account."""
    from airflow_provider_tenable import aws_audit_steps

    with fail_fast():
        return aws_audit_steps.plan_audit(context)


@task(multiple_outputs=True)
def account_of(account: dict[str, Any]) -> dict[str, Any]:
    """Take the settings of one account apart."""
    return account


@task(multiple_outputs=False)
def check_results(scan: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    """Fail if the audit has no results, as it has if AWS does not accept the key."""
    from airflow_provider_tenable import aws_audit_steps

    with fail_fast():
        return aws_audit_steps.check_results(scan, result)


# Support needs it most when the run or the export has failed.
@task(trigger_rule=TriggerRule.ALL_DONE)
def what_to_send(
    debug: bool,
    scan: dict[str, Any] | None,
    result: dict[str, Any] | None,
    exported: dict[str, Any] | None,
    conn_id: str | None,
    tenable_conn_id: str,
) -> None:
    """Say what Tenable's support needs, and where it is."""
    from airflow_provider_tenable import aws_audit_steps

    if not debug:
        raise AirflowSkipException("The run is not debugged: nothing is to be sent.")
    aws_audit_steps.what_to_send(scan, result, exported, conn_id, tenable_conn_id)


@task
def report(planned: Any, completed: Any, **context: Any) -> None:
    """Log what was audited. Fails unless all accounts were, which decides the run's state."""
    from airflow_provider_tenable import aws_audit_steps

    with fail_fast():
        aws_audit_steps.report_audit(context, planned, completed)


@task
def remove_old_files(**context: Any) -> list[str]:
    """Remove the staged files of earlier runs after the retention."""
    from airflow_provider_tenable import aws_audit_steps

    return aws_audit_steps.remove_old_scans(context)


def tenable_aws_audit(
    dag_id: str = "tenable_aws_audit",
    *,
    tenable_conn_id: str = "tenable_default",
    schedule: Any = AUDIT_FROM_OPTION,
    params: Mapping[str, Any] | None = None,
    staging_path: str | None = None,
    default_args: Mapping[str, Any] | None = None,
    **dag_arguments: Any,
) -> DAG:
    """Make a DAG that audits AWS accounts.

    :param dag_id: the DAG's id.
    :param tenable_conn_id: the connection to Tenable.
    :param schedule: cron text, a timedelta, None, or whatever else Airflow accepts. Default: as ``[tenable]
        audit_schedule_hours`` says. With a schedule, ``params`` must name the accounts.
    :param params: defaults of the params, such as ``{"accounts": [{"account": "111122223333"}]}``.
    :param staging_path: URI of the staging area. Default ``[tenable] staging_path``. The DAG that imports the results
        must have the same one.
    :param default_args: as of any DAG, in addition to the provider's own.
    :param dag_arguments: further arguments of Airflow's ``DAG``.
    :raises ConfigurationError: a default of a param, or the schedule, is invalid.
    """
    usual: dict[str, Any] = {
        "dag_display_name": "Tenable: audit AWS accounts" if dag_id == "tenable_aws_audit" else dag_id,
        "description": "Creates, keeps and runs a scan in Tenable that audits each of the AWS accounts.",
        "start_date": START_DATE,
        "catchup": False,
        "max_active_runs": 1,
        "doc_md": DOC.replace("{dag_id}", dag_id),
        "tags": TAGS,
    }
    with DAG(
        dag_id=dag_id,
        schedule=schedule_of(schedule),
        params=aws_audit_params(params),
        default_args=own_args(default_args, staging_path=staging_path),
        **{**usual, **dag_arguments},
    ) as dag:
        _add_tasks(dag_id, tenable_conn_id)
    return dag


def _add_tasks(dag_id: str, tenable_conn_id: str) -> None:
    # The names of the scans, and so their assets, are known only when a run begins.
    scans, audits = asset_alias(dag_id), completed_audits(dag_id)

    @task_group
    def audit(account: dict[str, Any]) -> Any:
        """Audit one account."""
        one: Any = account_of(account)
        aws: dict[str, Any] = {
            name: one[name] for name in ("aws_conn_id", "region_name", "account", "role_name", "external_id")
        }
        user = TenableAuditUserOperator(
            task_id="audit_user",
            security_audit=one["security_audit"],
            doc_md="Creates what is missing of the group and the user, and reports what differs.",
            **aws,
        )
        key = TenableRotateAuditKeyOperator(
            task_id="rotate_key",
            max_age_days=one["max_age_days"],
            tenable_conn_id=tenable_conn_id,
            doc_md="Replaces the key that Tenable has, if it is old enough.",
            **aws,
        )
        scan = TenableAwsAuditScanOperator(
            task_id="audit_scan",
            name=one["name"],
            credential=key.output,
            regions=one["regions"],
            audits=one["audits"],
            scanner=one["scanner"],
            tenable_conn_id=tenable_conn_id,
            doc_md="Creates or updates the scan, with the newest versions of the audit files.",
        )
        debug_on = TenableSetPluginDebuggingOperator(
            task_id="debug_on",
            scan=scan.output,
            level="3",
            when=one["debug"],
            tenable_conn_id=tenable_conn_id,
            doc_md="Switches plugin debugging on, if the params say so.",
        )
        run = TenableRunScanOperator(
            task_id="run_scan",
            scan=scan.output,
            # Tenable runs 25 scans at a time; with more accounts, the others wait.
            capacity_timeout=12 * 3_600.0,
            tenable_conn_id=tenable_conn_id,
            deferrable=True,
            doc_md="Launches the scan once, waits for its end in the triggerer, and records the asset of its results.",
        )
        debug_off = TenableSetPluginDebuggingOperator(
            task_id="debug_off",
            scan=scan.output,
            restore=debug_on.output,
            tenable_conn_id=tenable_conn_id,
            doc_md="Restores plugin debugging as it was, whatever happened to the run.",
        )
        export = TenableExportScanOperator(
            task_id="export_db",
            scan=scan.output,
            run=run.output,
            formats=one["formats"],
            password_conn_id=one["password_conn_id"],
            tenable_conn_id=tenable_conn_id,
            deferrable=True,
            doc_md="Exports the encrypted database of the run, if the params say that it is debugged.",
        )
        user >> key
        debug_on >> run >> debug_off.as_teardown(setups=debug_on, on_failure_fail_dagrun=True)
        what_to_send(one["debug"], scan.output, run.output, export.output, one["password_conn_id"], tenable_conn_id)
        return check_results(scan.output, run.output)

    # The success of this task updates the assets, also if some accounts have failed.
    @task(outlets=[scans, audits], trigger_rule=TriggerRule.ALL_DONE, multiple_outputs=False)
    def complete(results: Any, **context: Any) -> dict[str, Any]:
        """Notify DAGs that wait for the audits."""
        from airflow_provider_tenable import aws_audit_steps

        with fail_fast():
            return aws_audit_steps.announce_audits(context, scans, audits, results)

    plan: Any = plan_audit()
    completed = complete(audit.expand(account=plan))
    completed >> remove_old_files()
    # As a teardown, it runs whatever happened before, also in a run that a person marks as failed.
    report(plan, completed).as_teardown(on_failure_fail_dagrun=True)


__all__ = ["DOC", "tenable_aws_audit"]
