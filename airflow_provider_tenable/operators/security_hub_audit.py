"""Compare what the hubs of AWS Security Hub show with the finding index."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import BaseOperator, fail_fast, pause
from airflow_provider_tenable.operators.security_hub import PAUSE_SECONDS
from airflow_provider_tenable.staging.layout import RunFolder

if TYPE_CHECKING:
    from airflow_provider_tenable.observability.lineage import Data
    from airflow_provider_tenable.run.hub_audit import AuditPlan, AuditResult
    from airflow_provider_tenable.security_hub.assignment import Target


class SecurityHubAuditOperator(BaseOperator):
    """Read what the hubs of a group of accounts and Regions hold of ours (GetFindings, 3 calls a second), and compare
    it with the finding index: ``missing``, ``ghost`` (active in the hub, not in the index) and ``stale`` findings
    (another state or severity).

    It waits, without a worker slot, until the hubs show all of the last run. Reading resumes after the last page that
    is on record; work that takes longer than ``minutes`` releases its worker slot, and resumes in another piece. A
    failure in one account and Region does not keep the others from being audited; then the task fails and names all
    that failed.

    The result (XCom) is ``{"missing", "ghost", "stale", "read"}``: findings.

    .. seealso:: https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_GetFindings.html

    :param assignment: an entry of the result of ``plan_audit``, for ``.expand(assignment=...)``.
    :param product: ``company/product`` or ``default``. Default ``[tenable] product``.
    :param minutes: the duration of a piece; 0: unlimited. Default ``[tenable] import_minutes``.
    :param staging_path: URI of the staging area, default ``[tenable] staging_path`` (templated).
    """

    template_fields: Sequence[str] = ("staging_path",)
    ui_color = "#f7e3cf"
    #: How many findings differ, once the task knows.
    _different: int | None = None
    #: What was read and written, once the task knows.
    _lineage: tuple[list[Data], list[Data]] = ([], [])

    def __init__(
        self,
        *,
        assignment: dict[str, Any],
        product: str | None = None,
        minutes: float | None = None,
        staging_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.assignment = assignment
        self.product = product
        self.minutes = minutes
        self.staging_path = staging_path

    @property
    def title(self) -> str:
        """Account and Region, or how many they are: for ``map_index_template``."""
        return str(self.assignment["title"])

    @property
    def outcome(self) -> str:
        """The title and, once the task has ended, how many findings differ: for ``map_index_template``, which Airflow
        renders before and after the execution.
        """
        return self.title if self._different is None else f"{self.title}: {self._different:,} differ"

    def execute(self, context: Any) -> dict[str, int]:
        """Audit what has no result yet."""
        from airflow_provider_tenable import config
        from airflow_provider_tenable.exceptions import TenableProviderError
        from airflow_provider_tenable.run.hub_audit import read_plan
        from airflow_provider_tenable.security_hub.assignment import read_group
        from airflow_provider_tenable.security_hub.failures import kind_of, listed, words_of

        with fail_fast():
            run = RunFolder.of(context, self.staging_path)
            plan = read_plan(run)
            if (seconds := plan["not_before"] - time.time()) > 0:
                self.log.info("%s: waiting %.0f seconds until the hubs show all of the last run.", self.title, seconds)
                self.defer(trigger=pause(seconds), method_name="resume")
            minutes = config.get("import_minutes") if self.minutes is None else self.minutes
            until = time.monotonic() + 60 * minutes if minutes else None
            targets = read_group(run, int(self.assignment["group"]), archives=True)
            results: dict[str, AuditResult | None] = {}
            failed = dict[str, Exception]()
            for target in targets:
                try:
                    results[str(target)] = self._audit(run, plan, target, until)
                except Exception as error:
                    own = isinstance(error, TenableProviderError)
                    self.log.error("%s: %s", target, words_of(error), exc_info=None if own else error)
                    failed[str(target)] = error
            if failed:
                raise kind_of(failed)(
                    f"The hubs of {len(failed)} of {len(targets)} accounts and Regions could not be audited. "
                    + listed(failed)
                )
        if None in results.values():
            self.log.info("%s: the worker slot is released; reading resumes in %g seconds.", self.title, PAUSE_SECONDS)
            self.defer(trigger=pause(PAUSE_SECONDS), method_name="resume")
        self._note_lineage(run, targets, results)
        sums = _sums([result for result in results.values() if result])
        self._different = sum(sums.values()) - sums["read"]
        return sums

    def resume(self, context: Any, event: Any = None) -> dict[str, int]:
        """Resume with the next piece."""
        return self.execute(context)

    def _note_lineage(self, run: RunFolder, targets: list[Target], results: dict[str, AuditResult | None]) -> None:
        from airflow_provider_tenable.observability.lineage import security_hub_data, staged_data

        read, written = [], []
        for target in targets:
            if (result := results[str(target)]) is not None:
                read.append(security_hub_data(target.account, target.region, result.read))
                written.append(staged_data(str(run.hub_audit(target.account, target.region)), result.read))
        self._lineage = (read, written)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Lineage, for the OpenLineage provider: from each hub to what was read of it, with the number of findings."""
        from airflow_provider_tenable.observability.lineage import operator_lineage

        return operator_lineage(*self._lineage)

    def _audit(self, run: RunFolder, plan: AuditPlan, target: Target, until: float | None) -> AuditResult | None:
        from airflow_provider_tenable import config
        from airflow_provider_tenable.aws import DEFAULT_PRODUCT, product_arn
        from airflow_provider_tenable.hooks.security_hub import SecurityHubHook
        from airflow_provider_tenable.run.hub_reading import audit_hub

        account, region = target.account, target.region
        products = (self.product or config.get("product"), "tenable/vulnerability-management", DEFAULT_PRODUCT)
        arns = dict.fromkeys(product_arn(product, region=region, account=account) for product in products)
        with closing(SecurityHubHook.reaching(target, account, region)) as hook:
            return audit_hub(run, plan, account, region, source=hook, product_arns=list(arns), until=until)


def _sums(results: list[AuditResult]) -> dict[str, int]:
    from airflow_provider_tenable.state.hub_audit import KINDS

    sums = {kind: sum(r.differences.counts.get(kind, 0) for r in results if r.differences) for kind in KINDS}
    return {**sums, "read": sum(result.read for result in results)}
