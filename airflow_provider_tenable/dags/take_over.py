"""The DAG that takes over from older tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_tenable._compat import DAG, TriggerRule, task
from airflow_provider_tenable.dags.own_settings import START_DATE, TAGS, own_args
from airflow_provider_tenable.failing import fail_fast
from airflow_provider_tenable.operators.security_hub_take_over import SecurityHubTakeOverOperator
from airflow_provider_tenable.run.form import take_over_params

DOC = """# Take over from an older tool

For those who come from `sechubingest.py` or `tvm2aws`: carries what people decided about the old findings in AWS
Security Hub CSPM (workflow status, note, user-defined fields, verification state, changed severity) over to the
findings of `tenable_to_security_hub`, and archives the old ones. Nothing is deleted.

    plan_take_over -> read_hubs -> check_old_tool -> take_over_hubs -> report -> remove_old_runs

* **It is a dry run by default:** read the table in the log of `report`, then trigger it with `dry_run` off.
* **It refuses while an old tool still writes:** its findings must be older than a day, or confirm `old_tool_is_off`.
* **Nothing is guessed:** what cannot be matched, and decisions that contradict each other, stay as they are, and are
  listed in a file that the report names.

Before, let `tenable_to_security_hub` complete a run with `full` on: only that knows what Tenable does not have any
more. Trigger this one while no import is under way. It may be repeated, and resumes after a failure.
"""


def tenable_take_over(
    dag_id: str = "tenable_take_over",
    *,
    of_dag: str = "tenable_to_security_hub",
    staging_path: str | None = None,
    id_scheme: str | None = None,
    product: str | None = None,
    default_args: Mapping[str, Any] | None = None,
    **dag_arguments: Any,
) -> DAG:
    """Make a DAG that puts the findings of a DAG of :func:`tenable_to_security_hub` in the place of those of old tools.

    :param dag_id: the DAG's id.
    :param of_dag: the default of the param ``dag_id``: whose findings take their place.
    :param staging_path: URI of the staging area, as that DAG has it. Default ``[tenable] staging_path``.
    :param id_scheme: ``port`` or ``tvm2aws``, as that DAG has it. Default ``[tenable] id_scheme``.
    :param product: ``company/product`` or ``default``, as that DAG has it. Default ``[tenable] product``.
    :param default_args: as of any DAG, in addition to the provider's own.
    :param dag_arguments: further arguments of Airflow's ``DAG``.
    """
    own = own_args(default_args, staging_path=staging_path, id_scheme=id_scheme, product=product)
    usual: dict[str, Any] = {
        "schedule": None,
        "dag_display_name": "Tenable: take over from an older tool" if dag_id == "tenable_take_over" else dag_id,
        "description": "Carries decisions over from the findings of sechubingest.py and tvm2aws, and archives those.",
        "start_date": START_DATE,
        "catchup": False,
        "max_active_runs": 1,
        "doc_md": DOC,
        "tags": TAGS,
    }
    with DAG(dag_id=dag_id, params=take_over_params(of_dag), default_args=own, **{**usual, **dag_arguments}) as dag:
        _add_tasks(own)
    return dag


def _add_tasks(own: Mapping[str, Any]) -> None:
    @task
    def plan_take_over(**context: Any) -> list[dict[str, Any]]:
        """Check the params, note what Tenable has, and list the accounts and Regions."""
        from airflow_provider_tenable.run import take_over

        with fail_fast():
            return [dict(entry) for entry in take_over.plan_take_over(context)]

    # Without an account and Region there is nothing to take over, and the report says so.
    @task(trigger_rule=TriggerRule.NONE_FAILED)
    def check_old_tool(**context: Any) -> float | None:
        """Refuse, before anything is changed, if an old tool has written within a day."""
        from airflow_provider_tenable.run import take_over

        with fail_fast():
            return take_over.check_old_tool(context)

    @task(multiple_outputs=False, trigger_rule=TriggerRule.NONE_FAILED)
    def report(**context: Any) -> dict[str, Any]:
        """Log what became of the old findings in each account and Region, with examples."""
        from airflow_provider_tenable.run import take_over

        with fail_fast():
            return take_over.finish_take_over(context)

    @task
    def remove_old_runs(**context: Any) -> list[str]:
        """Remove the staged files of earlier takeovers after the retention."""
        from airflow_provider_tenable.run import take_over

        return take_over.remove_old_take_overs(context)

    options: dict[str, Any] = {
        "map_index_template": "{{ task.outcome }}",
        **{name: own.get(name) for name in ("staging_path", "product")},
    }
    planned = plan_take_over()
    read = SecurityHubTakeOverOperator.partial(
        task_id="read_hubs",
        only_read=True,
        doc_md="Reads the findings of one account and Region: ours, and those of the old tools.",
        **options,
    ).expand(assignment=planned)
    taken = SecurityHubTakeOverOperator.partial(
        task_id="take_over_hubs",
        trigger_rule=TriggerRule.NONE_FAILED,
        doc_md="Carries decisions over in one account and Region, and archives the old findings.",
        **options,
    ).expand(assignment=planned)
    read >> check_old_tool() >> taken >> report() >> remove_old_runs()


__all__ = ["DOC", "tenable_take_over"]
