"""The tasks of the DAG ``tenable_replay_rejected``, run in order in this process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from airflow_provider_tenable.operators.asff import TenableToAsffOperator
from airflow_provider_tenable.operators.security_hub import SecurityHubImportFindingsOperator
from airflow_provider_tenable.run import plan as pipeline
from airflow_provider_tenable.run import replay

DAG_ID = "tenable_replay_rejected"


def run_replay(tasks: Any, params: dict[str, Any]) -> None:
    """All tasks of a replay.

    :param tasks: a ``run_tasks.Tasks``, which keeps the results.
    """
    context = {
        **tasks.context,
        "dag_run": SimpleNamespace(dag_id=DAG_ID, run_id=tasks.run_id, run_type="manual", conf=params),
        "params": {
            "dag_id": "tenable_to_security_hub",
            "run_id": None,
            "run_ids": None,
            "transform": False,
            "max_rejected_ratio": 0.0,
            **params,
        },
    }
    plan = tasks.once("plan_replay", lambda: replay.plan_replay(context))
    for shard in plan["shards"]:
        operator = TenableToAsffOperator(
            task_id=f"transform_{shard['index']}",
            shard=shard,
            assets=plan["assets"],
            vulnerabilities=plan["vulnerabilities"],
            plan=plan["plan"],
        )
        tasks.once(operator.task_id, lambda operator=operator: operator.execute(context))
    for number, assignment in enumerate(tasks.once("plan_imports", lambda: pipeline.plan_imports(context))):
        importer = SecurityHubImportFindingsOperator(task_id=f"import_findings_{number}", assignment=assignment)
        tasks.once(importer.task_id, lambda importer=importer: importer.execute(context))
    tasks.once("settle", lambda: replay.settle_replay(context))
