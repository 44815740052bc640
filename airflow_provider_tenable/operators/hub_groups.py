"""What operators have in common that work through a group of accounts and Regions with GetFindings."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_tenable._compat import BaseOperator, pause
from airflow_provider_tenable.operators.security_hub import PAUSE_SECONDS
from airflow_provider_tenable.staging.layout import RunFolder

if TYPE_CHECKING:
    from airflow_provider_tenable.observability.lineage import Data
    from airflow_provider_tenable.security_hub.assignment import Target

_R = TypeVar("_R")


class _WorksOnHubs(BaseOperator):
    """An operator that is mapped over groups of accounts and Regions, and continues in pieces.

    :param assignment: an entry of the result of ``plan_archiving``, ``plan_audit`` or ``plan_take_over``, for
        ``.expand(assignment=...)``.
    :param product: ``company/product`` or ``default``. Default ``[tenable] product``. Findings of other products are
        left alone.
    :param minutes: the duration of a piece; 0: unlimited. Default ``[tenable] import_minutes``.
    :param staging_path: URI of the staging area, default ``[tenable] staging_path`` (templated).
    """

    template_fields: Sequence[str] = ("staging_path",)
    ui_color = "#f7e3cf"
    #: What became of the findings, in words, once the task knows.
    _counted = ""
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
        return f"{self.title}: {self._counted}" if self._counted else self.title

    def resume(self, context: Any, event: Any = None) -> Any:
        """Resume with the next piece."""
        return self.execute(context)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Lineage, for the OpenLineage provider: what was read and written, with the number of findings."""
        from airflow_provider_tenable.observability.lineage import operator_lineage

        return operator_lineage(*self._lineage)

    def _targets(self, run: RunFolder) -> list[Target]:
        """The accounts and Regions of the group."""
        from airflow_provider_tenable.security_hub.assignment import read_group

        return read_group(run, int(self.assignment["group"]), archives=True)

    def _until(self) -> float | None:
        """When this piece ends, by the monotonic clock; None: never."""
        from airflow_provider_tenable import config

        minutes = config.get("import_minutes") if self.minutes is None else self.minutes
        return time.monotonic() + 60 * minutes if minutes else None

    def _each(self, targets: list[Target], work: Callable[[Target], _R], *, failure: str) -> dict[str, _R]:
        """The result of each account and Region, by ``account/region``. One that fails does not keep the others from
        being worked on.

        :param failure: the beginning of the error, with ``{}`` where "2 of 3 accounts and Regions" is to be.
        :raises TenableProviderError: some have failed; the message names them all.
        """
        from airflow_provider_tenable.exceptions import TenableProviderError
        from airflow_provider_tenable.security_hub.failures import kind_of, listed, words_of

        results, failed = dict[str, _R](), dict[str, Exception]()
        for target in targets:
            try:
                results[str(target)] = work(target)
            except Exception as error:
                # Our own errors are complete without a traceback.
                own = isinstance(error, TenableProviderError)
                self.log.error("%s: %s", target, words_of(error), exc_info=None if own else error)
                failed[str(target)] = error
        if failed:
            which = f"{len(failed)} of {len(targets)} accounts and Regions"
            raise kind_of(failed)(f"{failure.format(which)} {listed(failed)}")
        return results

    def _release(self, what: str) -> None:
        """Release the worker slot, and resume in another piece."""
        self.log.info("%s: the worker slot is released; %s resumes in %g seconds.", self.title, what, PAUSE_SECONDS)
        self.defer(trigger=pause(PAUSE_SECONDS), method_name="resume")

    def _product_arns(self, target: Target) -> dict[str, None]:
        """The products that findings of ours may have, in the order in which they are asked for."""
        from airflow_provider_tenable import config
        from airflow_provider_tenable.aws import DEFAULT_PRODUCT, product_arn

        products = (self.product or config.get("product"), "tenable/vulnerability-management", DEFAULT_PRODUCT)
        return dict.fromkeys(product_arn(product, region=target.region, account=target.account) for product in products)
