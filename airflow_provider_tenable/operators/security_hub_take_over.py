"""Take over from older tools in AWS Security Hub: carry decisions over to our findings, and archive the old ones."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import fail_fast, pause
from airflow_provider_tenable.operators.hub_groups import _WorksOnHubs
from airflow_provider_tenable.staging.layout import RunFolder

if TYPE_CHECKING:
    from airflow_provider_tenable.run.take_over import TakeOverPlan
    from airflow_provider_tenable.security_hub.assignment import Target


class SecurityHubTakeOverOperator(_WorksOnHubs):
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

    :param only_read: read, and change nothing. Without it, what was read by such a task is used.
    """

    def __init__(self, *, only_read: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.only_read = only_read

    def execute(self, context: Any) -> dict[str, Any]:
        """Do what has no result yet."""
        from airflow_provider_tenable.run.take_over import read_plan

        with fail_fast():
            run = RunFolder.of(context, self.staging_path)
            plan = read_plan(run)
            if (seconds := plan["not_before"] - time.time()) > 0:
                self.log.info("%s: waiting %.0f seconds until the hubs show all of the last run.", self.title, seconds)
                self.defer(trigger=pause(seconds), method_name="resume")
            until, targets = self._until(), self._targets(run)
            failure = "Nothing was changed: {} could not be read." if self.only_read else "{} could not be taken over."
            results = self._each(targets, lambda target: self._work_on(run, plan, target, until), failure=failure)
        if None in results.values():
            self._release("it")
        self._note_lineage(run, targets, results)
        return self._summed(list(results.values()))

    def _work_on(self, run: RunFolder, plan: TakeOverPlan, target: Target, until: float | None) -> Any:
        from airflow_provider_tenable import config
        from airflow_provider_tenable.exceptions import DestinationRefusedError
        from airflow_provider_tenable.hooks.security_hub import SecurityHubHook
        from airflow_provider_tenable.run.take_over import EstateRead, TakeOverResult, read_estate_of
        from airflow_provider_tenable.run.taking_over import note_refused, read_hub, take_over_hub

        account, region = target.account, target.region
        read = read_estate_of(run, str(target))
        if read is not None and read.refused and not self.only_read:
            self.log.warning("%s is left alone: %s", target, read.refused)
            return TakeOverResult()
        product = self.product or config.get("product")
        with closing(SecurityHubHook.reaching(target, account, region)) as hook:
            if not self.only_read:
                return take_over_hub(run, plan, account, region, hub=hook, product=product, until=until)
            try:
                return read_hub(run, plan, account, region, source=hook, product=product, until=until)
            except DestinationRefusedError as error:
                self.log.warning("%s refuses, and is left alone: %s", target, error)
                note_refused(run, account, region, str(error))
                return EstateRead(refused=str(error))

    def _summed(self, results: list[Any]) -> dict[str, Any]:
        from collections import Counter

        if self.only_read:
            read = sum(each.read for each in results)
            self._counted = f"{read:,} read"
            return {"read": read}
        outcomes = Counter[str]()
        for each in results:
            outcomes.update(each.counts)
        archived = sum(each.archived for each in results)
        self._counted = f"{archived:,} archived"
        updates = sum(each.updates for each in results)
        return {"outcomes": dict(sorted(outcomes.items())), "updates": updates, "archived": archived}

    def _note_lineage(self, run: RunFolder, targets: list[Target], results: dict[str, Any]) -> None:
        from airflow_provider_tenable.observability.lineage import security_hub_data, staged_data

        read, written = [], []
        for target in targets:
            result = results[str(target)]
            if self.only_read and result.refused:
                continue
            hub, staged = (target.account, target.region), str(run.take_over(target.account, target.region))
            if self.only_read:
                read.append(security_hub_data(*hub, result.read))
                written.append(staged_data(staged, result.read))
            else:
                read.append(staged_data(staged))
                written.append(security_hub_data(*hub, result.archived))
        self._lineage = (read, written)
