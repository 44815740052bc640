"""The steps between the operators of the DAGs that import: tasks that call the package's pipeline.

What differs between these DAGs is in their own modules, and in :mod:`.import_dag`, which puts the tasks together.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_tenable._compat import TriggerRule, task
from airflow_provider_tenable.failing import fail_fast
from airflow_provider_tenable.import_event import announce, imported_findings


@task
def plan_shards(exported: Any, assets: Any, **context: Any) -> list[Any]:
    """Decide how many tasks the transform is split into, and update the asset index."""
    from airflow_provider_tenable import pipeline

    with fail_fast():
        return pipeline.plan_shards(context, exported, assets)


# If nothing was transformed, there is nothing to import, but the other tasks must still run.
@task
def plan_imports(**context: Any) -> list[Any]:
    """List the accounts and Regions that have findings."""
    from airflow_provider_tenable import pipeline

    with fail_fast():
        return pipeline.plan_imports(context)


# A run without findings maps over an empty list: its import is skipped, and the run continues.
@task(trigger_rule=TriggerRule.NONE_FAILED)
def settle(exported: Any, **context: Any) -> dict[str, Any]:
    """Make the ledger. Fails if it does not add up, or if too many findings were rejected."""
    from airflow_provider_tenable import pipeline

    with fail_fast():
        return dict(pipeline.settle_run(context, exported))


@task
def plan_archiving(exported: Any, **context: Any) -> list[Any]:
    """List what a full run archives because Tenable does not report it any more; nothing in other runs."""
    from airflow_provider_tenable import pipeline

    with fail_fast():
        return [dict(entry) for entry in pipeline.plan_archiving(context, exported)]


# The success of this task updates the asset: by then everything is imported and recorded as complete.
# One XCom instead of one per key: Airflow 3.0 does not accept null, and the first run has no earlier watermark.
# In most runs nothing is archived, so that archive_findings is skipped.
@task(multiple_outputs=False, trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
def advance_watermark(exported: Any, **context: Any) -> dict[str, Any]:
    """Move the watermark, as the last step and only if nothing was left out, and notify DAGs that wait for an
    import. Skipped at the end of a dry run.
    """
    from airflow_provider_tenable import pipeline

    with fail_fast():
        advanced = pipeline.advance_watermark(context, exported)
        announce(context, imported_findings(context["dag_run"].dag_id))
    return dict(advanced)


@task
def check_archived(**context: Any) -> None:
    """Fail if a full run saw nothing of so many active findings that it archived none of them."""
    from airflow_provider_tenable import pipeline

    with fail_fast():
        pipeline.check_archived(context)


@task
def report(**context: Any) -> None:
    """Always log what became of every record. Fails unless the run is complete, which decides the run's state."""
    from airflow_provider_tenable.links.security_hub import show_hubs
    from airflow_provider_tenable.report import report_run

    with fail_fast():
        try:
            report_run(context)
        finally:
            # Also if the run is not complete: some hubs may have their findings.
            show_hubs(context)


@task
def remove_old_runs(tenable_conn_id: str, **context: Any) -> list[str]:
    """Cancel export jobs that nobody continues, and remove the staged files of earlier runs after the retention."""
    from airflow_provider_tenable import pipeline

    return pipeline.remove_old_runs(context, tenable_conn_id=tenable_conn_id)


__all__ = [
    "advance_watermark",
    "check_archived",
    "plan_archiving",
    "plan_imports",
    "plan_shards",
    "remove_old_runs",
    "report",
    "settle",
]
