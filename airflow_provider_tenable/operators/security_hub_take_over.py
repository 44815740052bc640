"""Take over from older tools in AWS Security Hub: carry decisions over to our findings, and archive the old ones."""

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
    from airflow_provider_tenable.run.take_over import TakeOverPlan
    from airflow_provider_tenable.security_hub.assignment import Target


class SecurityHubTakeOverOperator(BaseOperator):
    """Read what the hubs of a group of accounts and Regions hold of ours and of older tools (GetFindings, 3 calls a
    second); then set what the customer decided about an old finding on ours that stand for the same vulnerability
    (BatchUpdateFindings), and archive the old one (BatchImportFindings).

    Reading resumes after the last page on record, archiving after the last receipt; work that takes longer than
    ``minutes`` releases its worker slot, and resumes in another piece. A hub that refuses is left alone. Another
    failure in one account and Region does not keep the others from being taken over; then the task fails and names all
    that failed.

    The result (XCom) is ``{"read"}`` with ``only_read``, else ``{"outcomes", "updates", "archived"}``: findings by
    what became of them, fields that were set, and findings that were archived.

    .. seealso:: https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_BatchUpdateFindings.html

    :param assignment: an entry of the result of ``plan_take_over``, for ``.expand(assignment=...)``.
    :param only_read: read, and change nothing. Without it, what was read by such a task is used.
    :param product: ``company/product`` or ``default``: ours. Default ``[tenable] product``.
    :param minutes: the duration of a piece; 0: unlimited. Default ``[tenable] import_minutes``.
    :param staging_path: URI of the staging area, default ``[tenable] staging_path`` (templated).
    """

    template_fields: Sequence[str] = ("staging_path",)
    ui_color = "#f7e3cf"
    #: What was done, in words, once the task knows.
    _done: str | None = None
    #: What was read and written, once the task knows.
    _lineage: tuple[list[Data], list[Data]] = ([], [])

    def __init__(
        self,
        *,
        assignment: dict[str, Any],
        only_read: bool = False,
        product: str | None = None,
        minutes: float | None = None,
        staging_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.assignment = assignment
        self.only_read = only_read
        self.product = product
        self.minutes = minutes
        self.staging_path = staging_path

    @property
    def title(self) -> str:
        """Account and Region, or how many they are: for ``map_index_template``."""
        return str(self.assignment["title"])

    @property
    def outcome(self) -> str:
        """The title and, once the task has ended, what was done: for ``map_index_template``, which Airflow renders
        before and after the execution.
        """
        return self.title if self._done is None else f"{self.title}: {self._done}"

    def execute(self, context: Any) -> dict[str, Any]:
        """Do what has no result yet."""
        from airflow_provider_tenable import config
        from airflow_provider_tenable.exceptions import DestinationRefusedError, TenableProviderError
        from airflow_provider_tenable.run.take_over import read_plan
        from airflow_provider_tenable.run.taking_over import note_refused
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
            results, failed = dict[str, Any](), dict[str, Exception]()
            for target in targets:
                try:
                    results[str(target)] = self._work_on(run, plan, target, until)
                except DestinationRefusedError as error:
                    if not self.only_read:
                        failed[str(target)] = error
                        continue
                    self.log.warning("%s refuses, and is left alone: %s", target, error)
                    note_refused(run, target.account, target.region, str(error))
                except Exception as error:
                    own = isinstance(error, TenableProviderError)
                    self.log.error("%s: %s", target, words_of(error), exc_info=None if own else error)
                    failed[str(target)] = error
            if failed:
                count = f"{len(failed)} of {len(targets)}"
                what = (
                    f"Nothing was changed: {count} accounts and Regions could not be read. "
                    if self.only_read
                    else f"{count} accounts and Regions could not be taken over. "
                )
                raise kind_of(failed)(what + listed(failed))
        if None in results.values():
            self.log.info("%s: the worker slot is released; it resumes in %g seconds.", self.title, PAUSE_SECONDS)
            self.defer(trigger=pause(PAUSE_SECONDS), method_name="resume")
        self._note_lineage(run, targets, results)
        return self._summed(list(results.values()))

    def resume(self, context: Any, event: Any = None) -> dict[str, Any]:
        """Resume with the next piece."""
        return self.execute(context)

    def _work_on(self, run: RunFolder, plan: TakeOverPlan, target: Target, until: float | None) -> Any:
        from airflow_provider_tenable import config
        from airflow_provider_tenable.hooks.security_hub import SecurityHubHook
        from airflow_provider_tenable.run.take_over import EstateRead, TakeOverResult, read_estate_of
        from airflow_provider_tenable.run.taking_over import read_hub, take_over_hub

        account, region = target.account, target.region
        read = read_estate_of(run, str(target))
        if read is not None and read.refused and not self.only_read:
            self.log.warning("%s is left alone: %s", target, read.refused)
            return TakeOverResult()
        product = self.product or config.get("product")
        with closing(SecurityHubHook.reaching(target, account, region)) as hook:
            if not self.only_read:
                return take_over_hub(run, plan, account, region, hub=hook, product=product, until=until)
            found: EstateRead | None = read_hub(run, plan, account, region, source=hook, product=product, until=until)
            return found

    def _summed(self, results: list[Any]) -> dict[str, Any]:
        from collections import Counter

        if self.only_read:
            read = sum(each.read for each in results)
            self._done = f"{read:,} read"
            return {"read": read}
        outcomes = Counter[str]()
        for each in results:
            outcomes.update(each.counts)
        archived = sum(each.archived for each in results)
        self._done = f"{archived:,} archived"
        updates = sum(each.updates for each in results)
        return {"outcomes": dict(sorted(outcomes.items())), "updates": updates, "archived": archived}

    def _note_lineage(self, run: RunFolder, targets: list[Target], results: dict[str, Any]) -> None:
        from airflow_provider_tenable.observability.lineage import security_hub_data, staged_data

        read, written = [], []
        for target in targets:
            if (result := results.get(str(target))) is None:
                continue
            hub, staged = (target.account, target.region), str(run.take_over(target.account, target.region))
            if self.only_read:
                read.append(security_hub_data(*hub, result.read))
                written.append(staged_data(staged, result.read))
            else:
                read.append(staged_data(staged))
                written.append(security_hub_data(*hub, result.archived))
        self._lineage = (read, written)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Lineage, for the OpenLineage provider: from each hub to what was read of it, and back."""
        from airflow_provider_tenable.observability.lineage import operator_lineage

        return operator_lineage(*self._lineage)
