"""The DAG that sends rejected findings again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_tenable._compat import DAG, TriggerRule, task
from airflow_provider_tenable.dags.own_settings import START_DATE, TAGS, own_args
from airflow_provider_tenable.failing import fail_fast
from airflow_provider_tenable.operators.asff import TenableToAsffOperator
from airflow_provider_tenable.operators.security_hub import SecurityHubImportFindingsOperator
from airflow_provider_tenable.params import replay_params

DOC = """# Replay rejected findings

Sends the findings again that Security Hub CSPM rejected in runs of `tenable_to_security_hub`, once the cause is fixed.

* **Without `transform`** the rejected findings are sent as recorded: use it if the cause was in Security Hub. Records
  that were given up because their asset was missing are mapped with the assets that Tenable exports now.
* **With `transform`** the run's staged chunks are mapped again with the current code and options, and everything is
  sent: use it if the cause was in the mapping.

`run_id` names the run, and `run_ids` several; without both it is the latest that has rejected findings.

A replay can be repeated: Security Hub ignores findings that it already has in the same version. It has its own receipts
and ledger, and does not move a watermark. It fails if findings are rejected again; its log contains the reasons.
"""


def tenable_replay_rejected(
    dag_id: str = "tenable_replay_rejected",
    *,
    of_dag: str = "tenable_to_security_hub",
    tenable_conn_id: str = "tenable_default",
    staging_path: str | None = None,
    id_scheme: str | None = None,
    product: str | None = None,
    default_args: Mapping[str, Any] | None = None,
    **dag_arguments: Any,
) -> DAG:
    """Make a DAG that sends the rejected findings of a DAG of :func:`tenable_to_security_hub` again.

    :param dag_id: the DAG's id.
    :param of_dag: the default of the param ``dag_id``: whose rejected findings are sent again.
    :param tenable_conn_id: the connection to Tenable, for looking up assets.
    :param staging_path: URI of the staging area, as that DAG has it. Default ``[tenable] staging_path``.
    :param id_scheme: ``port`` or ``tvm2aws``, as that DAG has it. Default ``[tenable] id_scheme``.
    :param product: ``company/product`` or ``default``, as that DAG has it. Default ``[tenable] product``.
    :param default_args: as of any DAG, in addition to the provider's own.
    :param dag_arguments: further arguments of Airflow's ``DAG``.
    """
    own = own_args(default_args, staging_path=staging_path, id_scheme=id_scheme, product=product)
    usual: dict[str, Any] = {
        "dag_display_name": "Tenable: replay rejected findings" if dag_id == "tenable_replay_rejected" else dag_id,
        "description": "Sends the findings again that Security Hub CSPM rejected in one or several runs.",
        "start_date": START_DATE,
        "catchup": False,
        "max_active_runs": 1,
        "doc_md": DOC,
        "tags": TAGS,
    }
    with DAG(
        dag_id=dag_id,
        schedule=None,
        params=replay_params(of_dag),
        default_args=own,
        **{**usual, **dag_arguments},
    ) as dag:
        _add_tasks(tenable_conn_id, own)
    return dag


def _add_tasks(tenable_conn_id: str, own: Mapping[str, Any]) -> None:
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

    # Airflow passes default_args to a mapped task only when it is expanded, so they are stated for these.
    to_hub = {name: own.get(name) for name in ("staging_path", "product")}
    plan = plan_replay()
    shards: Any = plan_shards(plan)
    transform = TenableToAsffOperator.partial(
        task_id="transform",
        assets=plan["assets"],
        vulnerabilities=plan["vulnerabilities"],
        plan=plan["plan"],
        tenable_conn_id=tenable_conn_id,
        map_index_template="{{ task.outcome }}",
        id_scheme=own.get("id_scheme"),
        **to_hub,
        doc_md="Maps the run's staged chunks again. Skipped if the rejected findings are sent as recorded.",
    ).expand(shard=shards)
    imports = plan_imports()
    import_findings = SecurityHubImportFindingsOperator.partial(
        task_id="import_findings",
        map_index_template="{{ task.outcome }}",
        **to_hub,
        doc_md="Sends the findings of one account and Region to Security Hub CSPM again, at its own rate, "
        "and resumes after an interruption.",
    ).expand(assignment=imports)
    transform >> imports
    import_findings >> settle() >> remove_old_runs()


__all__ = ["DOC", "tenable_replay_rejected"]
