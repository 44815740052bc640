"""Archive findings in AWS Security Hub that Tenable does not report any more."""

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
    from airflow_provider_tenable.run.plan_file import RunPlan
    from airflow_provider_tenable.security_hub.assignment import Target


class SecurityHubArchiveFindingsOperator(BaseOperator):
    """Archive what ``plan_archiving`` has listed for a group of accounts and Regions: read the complete findings
    (GetFindings, 3 calls a second), and send them back archived, resuming after the last receipt.

    A failure in one account and Region does not keep the others from being archived; then the task fails and names all
    that failed. Where ``securityhub:GetFindings`` is not allowed, or the hub refuses, the findings stay active; the log
    and the report say so, and the run goes on.

    Work that takes longer than ``minutes`` releases its worker slot (it is deferred) and resumes in another piece.

    The result (XCom) is ``{"archived", "missing", "not_archived"}``: findings, those that the hub did not have any
    more, and code -> findings.

    .. seealso:: https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_GetFindings.html

    :param assignment: an entry of the result of ``plan_archiving``, for ``.expand(assignment=...)``.
    :param product: ``company/product`` or ``default``. Default ``[tenable] product``. Findings of other products are
        left alone.
    :param minutes: the duration of a piece; 0: unlimited. Default ``[tenable] import_minutes``.
    :param staging_path: URI of the staging area, default ``[tenable] staging_path`` (templated).
    """

    template_fields: Sequence[str] = ("staging_path",)
    ui_color = "#f7e3cf"
    #: The number of findings, once the task knows.
    _archived: int | None = None
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
        """The title and, once the task has ended, what became of the findings: for ``map_index_template``, which
        Airflow renders before and after the execution.
        """
        return self.title if self._archived is None else f"{self.title}: {self._archived:,} archived"

    def execute(self, context: Any) -> dict[str, Any]:
        """Archive what has no receipt yet."""
        from airflow_provider_tenable import config
        from airflow_provider_tenable.exceptions import DestinationRefusedError, TenableProviderError
        from airflow_provider_tenable.run.plan_file import plan_of
        from airflow_provider_tenable.security_hub.assignment import read_group
        from airflow_provider_tenable.security_hub.failures import kind_of, listed, words_of
        from airflow_provider_tenable.state.archive import REFUSED, note_why_not

        with fail_fast():
            run = RunFolder.of(context, self.staging_path)
            plan = plan_of(run)
            minutes = config.get("import_minutes") if self.minutes is None else self.minutes
            until = time.monotonic() + 60 * minutes if minutes else None
            targets = read_group(run, int(self.assignment["group"]), archives=True)
            finished, failed = True, dict[str, Exception]()
            for target in targets:
                try:
                    finished &= self._archive(run, plan, target, until)
                except DestinationRefusedError as error:
                    self.log.warning("%s refuses to archive findings: %s", target, error)
                    note_why_not(run.gone(target.account, target.region), REFUSED, str(error))
                except Exception as error:
                    # Our own errors are complete without a traceback.
                    own = isinstance(error, TenableProviderError)
                    self.log.error("%s: %s", target, words_of(error), exc_info=None if own else error)
                    failed[str(target)] = error
            if failed:
                raise kind_of(failed)(
                    f"Findings could not be archived in {len(failed)} of {len(targets)} accounts and Regions. "
                    + listed(failed)
                )
        if not finished:
            self.log.info(
                "%s: the worker slot is released; archiving resumes in %g seconds.", self.title, PAUSE_SECONDS
            )
            self.defer(trigger=pause(PAUSE_SECONDS), method_name="resume")
        result = self._result(run, targets)
        self._archived = result["archived"]
        self._note_lineage(run, targets)
        return result

    def resume(self, context: Any, event: Any = None) -> dict[str, Any]:
        """Resume with the next piece."""
        return self.execute(context)

    def _archive(self, run: RunFolder, plan: RunPlan, target: Target, until: float | None) -> bool:
        from airflow_provider_tenable import config
        from airflow_provider_tenable.aws import DEFAULT_PRODUCT, product_arn
        from airflow_provider_tenable.exceptions import StagingError
        from airflow_provider_tenable.hooks.security_hub import SecurityHubHook
        from airflow_provider_tenable.run.hubs import as_of, hubs_of
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
        products = (self.product or config.get("product"), "tenable/vulnerability-management", DEFAULT_PRODUCT)
        with closing(SecurityHubHook.reaching(target, account, region)) as hook:
            return archive_listed(
                run,
                account,
                region,
                gone,
                sender=hook,
                index=index_of(run.finding_index, account, region),
                product_arns={product_arn(product, region=region, account=account) for product in products},
                planned_at=hubs.planned_at,
                as_of=as_of(run, plan),
                until=until,
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

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Lineage, for the OpenLineage provider: from the lists of what is gone to each hub, with the number of
        findings that it shows as archived.
        """
        from airflow_provider_tenable.observability.lineage import operator_lineage

        return operator_lineage(*self._lineage)

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
