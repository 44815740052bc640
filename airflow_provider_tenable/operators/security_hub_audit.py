"""Compare what the hubs of AWS Security Hub show with the finding index."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import fail_fast, pause
from airflow_provider_tenable.operators.hub_groups import _WorksOnHubs
from airflow_provider_tenable.staging.layout import RunFolder

if TYPE_CHECKING:
    from airflow_provider_tenable.run.hub_audit import AuditPlan, AuditResult
    from airflow_provider_tenable.security_hub.assignment import Target


class SecurityHubAuditOperator(_WorksOnHubs):
    """Read what the hubs of a group of accounts and Regions hold of ours (GetFindings, 3 calls a second), and compare
    it with the finding index: ``missing``, ``ghost`` (active in the hub, not in the index) and ``stale`` findings
    (another state or severity).

    It waits, without a worker slot, until the hubs show all of the last run. Reading resumes after the last page that
    is on record; work that takes longer than ``minutes`` releases its worker slot, and resumes in another piece. A
    failure in one account and Region does not keep the others from being audited; then the task fails and names all
    that failed.

    The result (XCom) is ``{"missing", "ghost", "stale", "read"}``: findings.

    .. seealso:: https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_GetFindings.html
    """

    def execute(self, context: Any) -> dict[str, int]:
        """Audit what has no result yet."""
        from airflow_provider_tenable.run.hub_audit import read_plan

        with fail_fast():
            run = RunFolder.of(context, self.staging_path)
            plan = read_plan(run)
            if (seconds := plan["not_before"] - time.time()) > 0:
                self.log.info("%s: waiting %.0f seconds until the hubs show all of the last run.", self.title, seconds)
                self.defer(trigger=pause(seconds), method_name="resume")
            until, targets = self._until(), self._targets(run)
            results = self._each(
                targets,
                lambda target: self._audit(run, plan, target, until),
                failure="The hubs of {} could not be audited.",
            )
        if None in results.values():
            self._release("reading")
        self._note_lineage(run, targets, results)
        sums = _sums([result for result in results.values() if result])
        self._counted = f"{sum(sums.values()) - sums['read']:,} differ"
        return sums

    def _note_lineage(self, run: RunFolder, targets: list[Target], results: dict[str, AuditResult | None]) -> None:
        from airflow_provider_tenable.observability.lineage import security_hub_data, staged_data

        read, written = [], []
        for target in targets:
            if (result := results[str(target)]) is not None:
                read.append(security_hub_data(target.account, target.region, result.read))
                written.append(staged_data(str(run.hub_audit(target.account, target.region)), result.read))
        self._lineage = (read, written)

    def _audit(self, run: RunFolder, plan: AuditPlan, target: Target, until: float | None) -> AuditResult | None:
        from airflow_provider_tenable.hooks.security_hub import SecurityHubHook
        from airflow_provider_tenable.run.hub_reading import audit_hub

        account, region, arns = target.account, target.region, list(self._product_arns(target))
        with closing(SecurityHubHook.reaching(target, account, region)) as hook:
            return audit_hub(run, plan, account, region, source=hook, product_arns=arns, until=until)


def _sums(results: list[AuditResult]) -> dict[str, int]:
    from airflow_provider_tenable.state.hub_audit import KINDS

    sums = {kind: sum(r.differences.counts.get(kind, 0) for r in results if r.differences) for kind in KINDS}
    return {**sums, "read": sum(result.read for result in results)}
