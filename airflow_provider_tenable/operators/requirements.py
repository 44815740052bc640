"""Check what must be so before findings can be imported."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import BaseOperator, fail_fast
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.requirements.catalogue import CHECKS, REQUIRED, chosen

if TYPE_CHECKING:
    from airflow_provider_tenable.hooks.tenable import TenableHook

#: What a failed requirement does to the task.
FAIL, WARN = "fail", "warn"
#: The XCom with what this run has written to the staging area, for the next one.
_MARKER = "staging_marker"


class TenableRequirementsOperator(BaseOperator):
    """Check Tenable, its AWS connectors, each AWS account and Region, the staging area, and Airflow. Every check runs,
    nothing is changed, and the log has one table with a remedy for each line that is not ok.

    As the first task of another DAG, ``on_failure="warn"`` only logs the table.

    XCom: the table, as a list of ``{"check", "subject", "state", "required", "detail", "remedy"}``. ``state`` is
    ``ok``, ``failed`` or ``unchecked``.

    :param tenable_conn_id: the connection to Tenable (templated).
    :param of_dag: the DAG that imports. Its asset index names the accounts and Regions (templated).
    :param destinations: as the param of that DAG. Default: the param of this name of the task's own DAG, or that of
        ``[tenable] dag_params``.
    :param region_routing: as the param of that DAG, in the same order.
    :param product: ``company/product`` or ``default``. Default ``[tenable] product``.
    :param staging_path: URI of the staging area, default ``[tenable] staging_path`` (templated).
    :param checks: names of checks or groups (``tenable``, ``scanner``, ``connector``, ``aws``, ``staging``,
        ``airflow``) to carry out. Default: all.
    :param required: names of checks or groups whose failure fails the task. Default: all but those of connectors and a
        few others (docs/requirements.md). An empty list: none.
    :param on_failure: ``fail`` or ``warn``.
    :param max_places: how many accounts and Regions are checked at most, those with the most assets first.
    :param max_sync_age_hours: how old the last import of a connector may be.
    """

    template_fields: Sequence[str] = ("tenable_conn_id", "of_dag", "staging_path")
    ui_color = "#e3f2e1"

    def __init__(
        self,
        *,
        tenable_conn_id: str = "tenable_default",
        of_dag: str = "tenable_to_security_hub",
        destinations: list[dict[str, Any]] | None = None,
        region_routing: str | None = None,
        product: str | None = None,
        staging_path: str | None = None,
        checks: Sequence[str] | None = None,
        required: Sequence[str] | None = None,
        on_failure: str = FAIL,
        max_places: int = 50,
        max_sync_age_hours: float = 48,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tenable_conn_id = tenable_conn_id
        self.of_dag = of_dag
        self.destinations = destinations
        self.region_routing = region_routing
        self.product = product
        self.staging_path = staging_path
        self.checks = checks
        self.required = required
        self.on_failure = on_failure
        self.max_places = max_places
        self.max_sync_age_hours = max_sync_age_hours

    @cached_property
    def hook(self) -> TenableHook:
        """The hook for Tenable. It repeats a request once: a check that fails for now is unchecked."""
        from airflow_provider_tenable.hooks.tenable import TenableHook

        return TenableHook(self.tenable_conn_id, retries=1)

    def get_openlineage_facets_on_complete(self, _: Any) -> Any:
        """Nothing was read or written, for OpenLineage."""
        from airflow_provider_tenable.observability.lineage import operator_lineage

        return operator_lineage([], [])

    def execute(self, context: Any) -> list[dict[str, Any]]:
        """Carry out the checks.

        :raises AirflowFailException: a required check failed, or an argument is invalid.
        """
        from airflow_provider_tenable.requirements.check import check_all
        from airflow_provider_tenable.requirements.lines import failures, table
        from airflow_provider_tenable.run.conf import check_conf

        with fail_fast():
            if self.on_failure not in (FAIL, WARN):
                raise ConfigurationError(f"on_failure is {safe(self.on_failure, 40)!r}; it must be {FAIL} or {WARN}.")
            if context.get("dag_run") is not None:
                # Before anything is asked of anyone: what is given to the run would be ignored.
                check_conf(context, ())
            required = chosen(self.required, what="required", default=REQUIRED)
            lines, marker = check_all(self._scope(context), self.hook)
            if marker:
                context["ti"].xcom_push(key=_MARKER, value=marker)
            result = [line.as_json(required) for line in lines]
            failed = failures(lines, required)
            (self.log.warning if failed else self.log.info)("%s", table(lines, required))
            if failed and self.on_failure == FAIL:
                # Airflow does not keep the result of a task that fails.
                context["ti"].xcom_push(key="return_value", value=result)
                names = ", ".join(dict.fromkeys(line.check for line in failed))
                raise ConfigurationError(
                    f"{len(failed)} of {len(lines)} requirements are not met: {names}. The table above says what to do "
                    "about each of them. Correct that and clear the task, or leave checks out with required."
                )
        return result

    def _scope(self, context: Any) -> Any:
        from airflow_provider_tenable.requirements.check import Scope
        from airflow_provider_tenable.requirements.of_aws import destinations_of, routing_of
        from airflow_provider_tenable.run.own_options import own_option
        from airflow_provider_tenable.staging.layout import RunFolder, staging_uri_of

        dag, params = context.get("dag"), context.get("params") or {}
        dag_id = context["dag_run"].dag_id
        # Closes the folder to other users of the machine, as every task does.
        RunFolder.of(context, self.staging_path)
        return Scope(
            wanted=chosen(self.checks, what="checks", default=CHECKS),
            staging=self.staging_path or staging_uri_of(context),
            of_dag=self.of_dag,
            destinations=destinations_of(params, self.destinations),
            region_routing=routing_of(params, self.region_routing),
            product=self.product or own_option(context, "product"),
            dag_id=dag_id,
            pool=self.pool,
            max_places=self.max_places,
            max_sync_age_hours=self.max_sync_age_hours,
            earlier_marker=self._earlier_marker(context),
            max_active_runs=getattr(dag, "max_active_runs", None) if dag_id == self.of_dag else None,
        )

    def _earlier_marker(self, context: Any) -> Any:
        """What the last run of this task has written to the staging area; None if Airflow does not know."""
        try:
            # Without an index, Airflow 3 returns the list of those of all runs.
            return context["ti"].xcom_pull(task_ids=self.task_id, key=_MARKER, include_prior_dates=True, map_indexes=-1)
        except Exception as error:  # noqa: BLE001 - a run without a logical date has no earlier ones; the check says so.
            self.log.info("Cannot read the marker of an earlier run: %s", type(error).__name__)
            return None
