"""# Replay rejected findings

Sends the findings again that Security Hub CSPM rejected in a run of `tenable_to_security_hub`, once the cause is fixed.

* **Without `transform`** the rejected findings are sent as recorded: use it if the cause was in Security Hub. Records
  that were given up because their asset was missing are mapped with the assets that Tenable exports now.
* **With `transform`** the run's staged chunks are mapped again with the current code and options, and everything is
  sent: use it if the cause was in the mapping.

A replay can be repeated: Security Hub ignores findings that it already has in the same version. It has its own receipts
and ledger, and does not move a watermark. It fails if findings are rejected again; its log contains the reasons.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow_provider_tenable._compat import EXPONENTIAL_BACKOFF, Param, TriggerRule, dag, task
from airflow_provider_tenable.failing import fail_fast
from airflow_provider_tenable.operators.asff import TenableToAsffOperator
from airflow_provider_tenable.operators.security_hub import SecurityHubImportFindingsOperator
from airflow_provider_tenable.params import replay_params

PARAMS: dict[str, Param] = replay_params()


@dag(
    dag_id="tenable_replay_rejected",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    default_args={"owner": "security", "retries": 2, "retry_exponential_backoff": EXPONENTIAL_BACKOFF},
    doc_md=__doc__,
    tags=["tenable", "security-hub", "aws", "security"],
)
def tenable_replay_rejected() -> None:
    """Build the DAG."""

    @task(multiple_outputs=True)
    def plan_replay(**context: Any) -> dict[str, Any]:
        """Find the run, and stage the findings to send."""
        from airflow_provider_tenable import replay

        with fail_fast():
            return dict(replay.plan_replay(context))

    # Airflow can map only over the complete result of a task, not over one entry of it.
    @task
    def plan_shards(plan: dict[str, Any]) -> list[dict[str, Any]]:
        """The shards of the transform; empty if nothing is transformed again."""
        return plan["shards"]

    # If nothing is transformed again, the transform is skipped, and the import continues.
    @task(trigger_rule=TriggerRule.NONE_FAILED)
    def plan_imports(**context: Any) -> list[Any]:
        """List the accounts and Regions that have findings."""
        from airflow_provider_tenable import pipeline

        with fail_fast():
            return pipeline.plan_imports(context)

    @task(trigger_rule=TriggerRule.NONE_FAILED)
    def settle(**context: Any) -> dict[str, Any]:
        """Create the ledger, and log what became of the findings."""
        from airflow_provider_tenable import replay

        with fail_fast():
            return dict(replay.settle_replay(context))

    @task
    def remove_old_runs(**context: Any) -> list[str]:
        """Remove the staged files of completed replays after the retention."""
        from airflow_provider_tenable import pipeline

        return pipeline.remove_old_runs(context)

    plan = plan_replay()
    shards: Any = plan_shards(plan)
    transform = TenableToAsffOperator.partial(
        task_id="transform",
        assets=plan["assets"],
        vulnerabilities=plan["vulnerabilities"],
        plan=plan["plan"],
        map_index_template="shard {{ task.shard['index'] }}",
        doc_md="Maps the run's staged chunks again. Skipped if the rejected findings are sent as recorded.",
    ).expand(shard=shards)
    imports = plan_imports()
    import_findings = SecurityHubImportFindingsOperator.partial(
        task_id="import_findings",
        map_index_template="{{ task.title }}",
        doc_md="Sends the findings of one account and Region to Security Hub CSPM again, at its own rate, "
        "and resumes after an interruption.",
    ).expand(assignment=imports)
    transform >> imports
    import_findings >> settle() >> remove_old_runs()


dag = tenable_replay_rejected()
