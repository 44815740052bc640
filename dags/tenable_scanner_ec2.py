"""# A Nessus scanner on EC2

* **`action=create`** creates what the scanner needs in AWS (role, profile, security group without ingress), launches an
  instance that links itself to Tenable, and waits until it can scan. A run with the name of a scanner that exists
  adopts it.
* **`action=terminate`** waits for its running scans, unlinks it, terminates the instance and removes the rest.

A person must have accepted the terms of the Nessus product in AWS Marketplace once per account; otherwise
`create_scanner` fails and shows the link. The linking key is read from Tenable by `create_scanner`, stored in SSM, and
read there by the machine; it is not in the user data.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow_provider_tenable._compat import EXPONENTIAL_BACKOFF, Param, dag, task
from airflow_provider_tenable.failing import fail_fast
from airflow_provider_tenable.operators.nessus_ec2 import NessusAwsPrerequisitesOperator, NessusCreateScannerOperator
from airflow_provider_tenable.operators.nessus_terminate import NessusTerminateScannerOperator
from airflow_provider_tenable.params import scanner_params
from airflow_provider_tenable.sensors.tenable_scanners import TenableScannerSensor

PARAMS: dict[str, Param] = scanner_params()


@dag(
    dag_id="tenable_scanner_ec2",
    dag_display_name="Tenable: a Nessus scanner on EC2",
    description="Creates a Nessus scanner on EC2 that is linked to Tenable, or removes it.",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    default_args={"owner": "security", "retries": 2, "retry_exponential_backoff": EXPONENTIAL_BACKOFF},
    doc_md=__doc__,
    tags=["tenable", "security-hub", "aws", "security"],
)
def tenable_scanner_ec2() -> None:
    """Build the DAG."""

    @task(multiple_outputs=True)
    def plan_scanner(**context: Any) -> dict[str, Any]:
        """Check the params of the run."""
        from airflow_provider_tenable import scanner

        with fail_fast():
            return scanner.plan_scanner(context)

    @task.branch
    def choose(action: str) -> str:
        """Decide between creating and removing the scanner."""
        return "terminate" if action == "terminate" else "prerequisites"

    @task
    def report(scanner: dict[str, Any], online: dict[str, Any]) -> dict[str, Any]:
        """Log what there is now."""
        from airflow_provider_tenable import scanner as steps

        return steps.report_scanner(scanner, online)

    plan = plan_scanner()
    aws: dict[str, Any] = {"aws_conn_id": plan["aws_conn_id"], "region_name": plan["region"]}
    prerequisites = NessusAwsPrerequisitesOperator(
        task_id="prerequisites",
        name=plan["name"],
        subnet_id=plan["subnet_id"],
        ingress=plan["ingress"],
        tags=plan["tags"],
        doc_md="Creates what is missing of the scanner's role, profile and security group.",
        **aws,
    )
    scanner = NessusCreateScannerOperator(
        task_id="create_scanner",
        name=plan["name"],
        image=plan["image"],
        instance_type=plan["instance_type"],
        prerequisites=prerequisites.output,
        subnet_id=plan["subnet_id"],
        aws_scanner=plan["aws_scanner"],
        update_os=plan["update_os"],
        tags=plan["tags"],
        doc_md="Launches the instance, or adopts the one that carries the scanner's tag, and waits for EC2's checks.",
        **aws,
    )
    online = TenableScannerSensor(
        task_id="wait_until_online",
        scanner=scanner.output,
        doc_md="Waits until the scanner is in Tenable's list, on, and has plugins.",
        **aws,
    )
    terminate = NessusTerminateScannerOperator(
        task_id="terminate",
        name=plan["name"],
        cleanup=plan["cleanup"],
        doc_md="Waits for running scans, unlinks the scanner, terminates its instance and removes the rest.",
        **aws,
    )
    choose(plan["action"]) >> [prerequisites, terminate]
    prerequisites >> scanner >> online
    report(scanner.output, online.output)


dag = tenable_scanner_ec2()
