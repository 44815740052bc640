"""Make accept rules in Tenable of findings that were suppressed in AWS Security Hub."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import BaseOperator, fail_fast
from airflow_provider_tenable.guards.foreign_text import quoted
from airflow_provider_tenable.hooks.tenable import TenableHook

if TYPE_CHECKING:
    from airflow_provider_tenable.observability.lineage import Data
    from airflow_provider_tenable.run.suppressions import Suppressed
    from airflow_provider_tenable.security_hub.assignment import Target

#: Days for which a rule may be made.
_LONGEST_DAYS = 3_650


class TenableAcceptRulesOperator(BaseOperator):
    """Make an accept rule in Tenable, with an expiry, of each imported finding that somebody has suppressed in Security
    Hub CSPM with a note that says why.

    The next import archives what was accepted, by its param ``accepted_risks``. A note makes one rule, however often
    the task runs; one that has ended is made again once the note is renewed. A rule is never changed or removed. It is
    a dry run unless ``dry_run`` is False. A DAG with ``accepted_risks`` = ``suppress`` is refused: only one of the two
    sides may decide.

    The result (XCom): what became of the findings -> how many, such as ``{"created": 2, "existing": 7, "without_note":
    1}``.

    .. seealso:: https://developer.tenable.com/reference/recast-rules-create

    :param import_dag_id: the DAG whose hubs are read: those of its last complete run.
    :param expires_days: how many days after its creation a rule ends, 1 to 3650.
    :param dry_run: only log what would be created.
    :param max_rules: rules that a run of the task creates at most.
    :param product: ``company/product`` or ``default``. Default ``[tenable] product``.
    :param tenable_conn_id: connection of type ``tenable`` (templated). Its user needs the role Administrator.
    """

    template_fields: Sequence[str] = ("tenable_conn_id",)
    ui_color = "#d5e8f7"
    #: The hubs that were read, once the task knows.
    _hubs: tuple[Data, ...] = ()

    def __init__(
        self,
        *,
        import_dag_id: str = "tenable_to_security_hub",
        expires_days: int = 90,
        dry_run: bool = True,
        max_rules: int = 100,
        product: str | None = None,
        tenable_conn_id: str = TenableHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.import_dag_id = import_dag_id
        self.expires_days = expires_days
        self.dry_run = dry_run
        self.max_rules = max_rules
        self.product = product
        self.tenable_conn_id = tenable_conn_id

    @cached_property
    def hook(self) -> TenableHook:
        """The hook of this task's connection."""
        return TenableHook(self.tenable_conn_id)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Lineage, for the OpenLineage provider: the hubs that were read."""
        from airflow_provider_tenable.observability.lineage import operator_lineage

        return operator_lineage(list(self._hubs), [])

    def execute(self, context: Any) -> dict[str, int]:
        """Read the hubs, and create the rules that do not exist."""
        from airflow_provider_tenable.exceptions import ConfigurationError
        from airflow_provider_tenable.run.last_import import last_import, targets_in
        from airflow_provider_tenable.run.suppressions import check_direction, lines_of, make_rules

        with fail_fast():
            days = self.expires_days
            if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= _LONGEST_DAYS:
                raise ConfigurationError(f"expires_days is {quoted(days, 60)}; it must be 1 to {_LONGEST_DAYS}.")
            if isinstance(self.max_rules, bool) or not isinstance(self.max_rules, int) or self.max_rules < 1:
                raise ConfigurationError(f"max_rules is {quoted(self.max_rules, 60)}; it must be a number from 1 on.")
            last = last_import(
                context, self.import_dag_id, so_there="are no findings that somebody could have suppressed"
            )
            check_direction(last, self.import_dag_id)
            targets, unreachable = targets_in(last.plan, sorted(last.places))
            expires_at = time.time() + 86_400 * days
            self._hubs = ()
            read, failed = self._read(targets, expires_at)
            counts: Counter[str] = sum((each.left for each in read), Counter())
            wanted = {key: rule for each in read for key, rule in each.rules.items()}
            with closing(self.hook) as hook:
                counts += make_rules(hook.recast_rules, wanted.values(), dry_run=self.dry_run, most=self.max_rules)
            self.log.info("Suppressed findings: %s.", "; ".join(lines_of(counts, dry_run=self.dry_run)) or "none")
            for place in unreachable:
                self.log.warning("%s was not read: no destination of the last run leads to it.", place)
            self._raise(failed, len(targets))
        return dict(sorted(counts.items()))

    def _read(self, targets: list[Target], expires_at: float) -> tuple[list[Suppressed], dict[str, Exception]]:
        """What was read, and which hubs could not be: one that refuses does not keep the others from being read."""
        from airflow_provider_tenable import config
        from airflow_provider_tenable.aws import DEFAULT_PRODUCT, product_arn
        from airflow_provider_tenable.exceptions import TenableProviderError
        from airflow_provider_tenable.hooks.security_hub import SecurityHubHook
        from airflow_provider_tenable.observability.lineage import security_hub_data
        from airflow_provider_tenable.run.suppressions import read_suppressed

        products = (self.product or config.get("product"), "tenable/vulnerability-management", DEFAULT_PRODUCT)
        read, failed = list[Any](), dict[str, Exception]()
        for target in targets:
            account, region = target.account, target.region
            arns = list(dict.fromkeys(product_arn(each, region=region, account=account) for each in products))
            try:
                with closing(SecurityHubHook.reaching(target, account, region)) as hook:
                    found = read_suppressed(hook, account, region, arns, expires_at=expires_at)
                read.append(found)
                self._hubs = (*self._hubs, security_hub_data(account, region, len(found.rules) + found.left.total()))
            except TenableProviderError as error:
                self.log.error("%s: %s", target, error)
                failed[str(target)] = error
        return read, failed

    @staticmethod
    def _raise(failed: dict[str, Exception], targets: int) -> None:
        from airflow_provider_tenable.security_hub.failures import kind_of, listed

        if failed:
            raise kind_of(failed)(
                f"The suppressed findings of {len(failed)} of {targets} accounts and Regions could not be read; the "
                f"others were. {listed(failed)}"
            )


__all__ = ["TenableAcceptRulesOperator"]
