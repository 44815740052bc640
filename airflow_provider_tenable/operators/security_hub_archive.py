"""Archive findings in AWS Security Hub that Tenable does not report any more."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import fail_fast
from airflow_provider_tenable.operators.hub_groups import _WorksOnHubs
from airflow_provider_tenable.staging.layout import RunFolder

if TYPE_CHECKING:
    from airflow_provider_tenable.run.plan_file import RunPlan
    from airflow_provider_tenable.security_hub.assignment import Target


class SecurityHubArchiveFindingsOperator(_WorksOnHubs):
    """Archive what ``plan_archiving`` has listed for a group of accounts and Regions: read the complete findings
    (GetFindings, 3 calls a second), and send them back archived, resuming after the last receipt.

    A failure in one account and Region does not keep the others from being archived; then the task fails and names all
    that failed. Where ``securityhub:GetFindings`` is not allowed, or the hub refuses, the findings stay active; the log
    and the report say so, and the run goes on.

    Work that takes longer than ``minutes`` releases its worker slot (it is deferred) and resumes in another piece.

    The result (XCom) is ``{"archived", "missing", "not_archived"}``: findings, those that the hub did not have any
    more, and code -> findings.

    .. seealso:: https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_GetFindings.html
    """

    def execute(self, context: Any) -> dict[str, Any]:
        """Archive what has no receipt yet."""
        from airflow_provider_tenable.run.plan_file import plan_of

        with fail_fast():
            run = RunFolder.of(context, self.staging_path)
            plan, until, targets = plan_of(run), self._until(), self._targets(run)
            finished = self._each(
                targets,
                lambda target: self._archive(run, plan, target, until),
                failure="Findings could not be archived in {}.",
            )
        if not all(finished.values()):
            self._release("archiving")
        result = self._result(run, targets)
        self._counted = f"{result['archived']:,} archived"
        self._note_lineage(run, targets)
        return result

    def _archive(self, run: RunFolder, plan: RunPlan, target: Target, until: float | None) -> bool:
        """Whether everything is done that can be done. If the hub refuses, nothing can be."""
        from airflow_provider_tenable.exceptions import DestinationRefusedError
        from airflow_provider_tenable.state.archive import REFUSED, note_why_not

        try:
            return self._archive_listed(run, plan, target, until)
        except DestinationRefusedError as error:
            self.log.warning("%s refuses to archive findings: %s", target, error)
            note_why_not(run.gone(target.account, target.region), REFUSED, str(error))
            return True

    def _archive_listed(self, run: RunFolder, plan: RunPlan, target: Target, until: float | None) -> bool:
        from airflow_provider_tenable.exceptions import StagingError
        from airflow_provider_tenable.hooks.security_hub import SecurityHubHook
        from airflow_provider_tenable.run.hubs import as_of, hubs_of
        from airflow_provider_tenable.run.out_of_scope import reason_of, scopes_of
        from airflow_provider_tenable.state.archive import archive_listed
        from airflow_provider_tenable.state.gone import read_gone
        from airflow_provider_tenable.state.registry import index_of

        account, region = target.account, target.region
        gone, hubs = read_gone(run.gone(account, region)), hubs_of(plan)
        if gone is None or hubs is None:
            raise StagingError(
                f"The list of what is archived in {target} is missing or damaged. Clear the run's tasks from "
                "plan_archiving on."
            )
        with closing(SecurityHubHook.reaching(target, account, region)) as hook:
            return archive_listed(
                run,
                account,
                region,
                gone,
                sender=hook,
                index=index_of(run.finding_index, account, region),
                product_arns=set(self._product_arns(target)),
                planned_at=hubs.planned_at,
                as_of=as_of(run, plan),
                until=until,
                reason_of=partial(reason_of, scopes) if (scopes := scopes_of(plan, account, region)) else None,
            )

    def _note_lineage(self, run: RunFolder, targets: list[Target]) -> None:
        from airflow_provider_tenable.observability.lineage import security_hub_data, staged_data
        from airflow_provider_tenable.state.archive import outcome_of, read_archived
        from airflow_provider_tenable.state.gone import read_gone

        read, written = [], []
        for target in targets:
            folder = run.gone(target.account, target.region)
            if gone := read_gone(folder):
                archived, _, _ = outcome_of(gone, read_archived(folder))
                read.append(staged_data(str(folder), gone.total))
                written.append(security_hub_data(target.account, target.region, archived.total()))
        self._lineage = (read, written)

    @staticmethod
    def _result(run: RunFolder, targets: list[Target]) -> dict[str, Any]:
        from collections import Counter

        from airflow_provider_tenable.state.archive import outcome_of, read_archived
        from airflow_provider_tenable.state.gone import read_gone

        archived, missing, not_archived = 0, 0, Counter[str]()
        for target in targets:
            folder = run.gone(target.account, target.region)
            if gone := read_gone(folder):
                done, gone_already, refused = outcome_of(gone, read_archived(folder))
                archived, missing = archived + done.total(), missing + gone_already
                not_archived.update(refused)
        return {"archived": archived, "missing": missing, "not_archived": dict(sorted(not_archived.items()))}
