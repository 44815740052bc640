"""The DAG that compares what the hubs show with the finding index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_tenable._compat import DAG, TriggerRule, task
from airflow_provider_tenable.dags.own_settings import START_DATE, TAGS, own_args
from airflow_provider_tenable.failing import fail_fast
from airflow_provider_tenable.operators.security_hub_audit import SecurityHubAuditOperator
from airflow_provider_tenable.run.asset_event import audited_hubs
from airflow_provider_tenable.run.form import audit_params

DOC = """# Audit the hubs

Reads what AWS Security Hub CSPM really shows of the findings that `tenable_to_security_hub` has sent, and compares it
with the finding index. It reports findings that are missing, findings that the index does not know (ghosts), and
findings with another state or severity. It changes nothing in the hubs.

    plan_audit -> audit_hubs -> report -> remove_old_runs

* **With `repair`** the finding index is corrected: the next full run then sends what is missing or stale, and archives
  what Tenable does not report any more.
* **With `rebuild`** an index that was lost is made again from the hubs.
* **With `sample`** a share of the EC2 instances is looked at, another one each day.

Trigger it while no import is under way. The asset `tenable://security-hub-audit/{dag_id of the audited DAG}` is updated
with the counts.
"""


def tenable_audit_security_hub(
    dag_id: str = "tenable_audit_security_hub",
    *,
    of_dag: str = "tenable_to_security_hub",
    staging_path: str | None = None,
    id_scheme: str | None = None,
    product: str | None = None,
    default_args: Mapping[str, Any] | None = None,
    **dag_arguments: Any,
) -> DAG:
    """Make a DAG that audits the hubs of a DAG of :func:`tenable_to_security_hub`.

    :param dag_id: the DAG's id.
    :param of_dag: the default of the param ``dag_id``: whose hubs are audited.
    :param staging_path: URI of the staging area, as that DAG has it. Default ``[tenable] staging_path``.
    :param id_scheme: ``port`` or ``tvm2aws``, as that DAG has it. Default ``[tenable] id_scheme``.
    :param product: ``company/product`` or ``default``, as that DAG has it. Default ``[tenable] product``.
    :param default_args: as of any DAG, in addition to the provider's own.
    :param dag_arguments: further arguments of Airflow's ``DAG``, such as a ``schedule``.
    """
    own = own_args(default_args, staging_path=staging_path, id_scheme=id_scheme, product=product)
    usual: dict[str, Any] = {
        "schedule": None,
        "dag_display_name": "Tenable: audit the hubs" if dag_id == "tenable_audit_security_hub" else dag_id,
        "description": "Compares what AWS Security Hub CSPM shows with what was sent.",
        "start_date": START_DATE,
        "catchup": False,
        "max_active_runs": 1,
        "doc_md": DOC,
        "tags": TAGS,
    }
    with DAG(dag_id=dag_id, params=audit_params(of_dag), default_args=own, **{**usual, **dag_arguments}) as dag:
        _add_tasks(of_dag, own)
    return dag


def _add_tasks(of_dag: str, own: Mapping[str, Any]) -> None:
    audited = audited_hubs(of_dag)

    @task
    def plan_audit(**context: Any) -> list[dict[str, Any]]:
        """Check the params, and list the accounts and Regions."""
        from airflow_provider_tenable.run import hub_audit

        with fail_fast():
            return [dict(entry) for entry in hub_audit.plan_audit(context)]

    # Without an account and Region there is nothing to audit, and the report says so.
    @task(outlets=[audited], multiple_outputs=False, trigger_rule=TriggerRule.NONE_FAILED)
    def report(**context: Any) -> dict[str, Any]:
        """Log what was found in each account and Region, with examples, and send the metrics."""
        from airflow_provider_tenable.run import hub_audit

        with fail_fast():
            found = hub_audit.finish_audit(context)
        context["outlet_events"][audited].extra = found
        return found

    @task
    def remove_old_runs(**context: Any) -> list[str]:
        """Remove the staged files of earlier audits after the retention."""
        from airflow_provider_tenable.run import hub_audit

        return hub_audit.remove_old_audits(context)

    audits = SecurityHubAuditOperator.partial(
        task_id="audit_hubs",
        map_index_template="{{ task.outcome }}",
        **{name: own.get(name) for name in ("staging_path", "product")},
        doc_md="Reads the findings of one account and Region, and compares them with the finding index.",
    ).expand(assignment=plan_audit())
    audits >> report() >> remove_old_runs()


__all__ = ["DOC", "tenable_audit_security_hub"]
