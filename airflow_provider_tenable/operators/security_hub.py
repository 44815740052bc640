"""Import staged findings into AWS Security Hub."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable import metrics
from airflow_provider_tenable._compat import BaseOperator
from airflow_provider_tenable.failing import fail_fast
from airflow_provider_tenable.links.security_hub import XCOM_KEY, SecurityHubFindingsLink, console_url
from airflow_provider_tenable.staging import RunFolder

if TYPE_CHECKING:
    from airflow_provider_tenable.hooks.security_hub import SecurityHubHook
    from airflow_provider_tenable.receipts import Receipts


class SecurityHubImportFindingsOperator(BaseOperator):
    """Import the staged findings of one account and hub Region (BatchImportFindings), at the quota's rate, resuming behind its receipts.

    Every finding ends as accepted or as rejected with Security Hub's code and message (in ``rejected/``). Throttling, outages and time-outs are
    repeated for minutes; a call that is refused as a whole is halved until the culprit is alone; a refused caller stops the import.

    The result (XCom) is ``{"account", "region", "findings", "accepted", "rejected", "calls"}``.

    .. seealso:: https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_BatchImportFindings.html

    :param account: 12 digits: whose findings (templated).
    :param region: the hub's Region (templated).
    :param aws_conn_id: AWS connection, None for the worker's own credentials (templated).
    :param role_name: role to assume in the account with the connection's credentials (templated).
    :param batch_size: findings per call, 1 to 100 (templated).
    :param dry_run: look at the hub, and send nothing (templated).
    :param product: ``company/product`` or ``default``. Default ``[tenable] product``.
    :param enable_product: subscribe the account to the product where it is not. Default ``[tenable] enable_product``.
    :param in_flight: calls at the same time.
    :param staging_path: URI of the staging area, default ``[tenable] staging_path`` (templated).
    """

    template_fields: Sequence[str] = ("account", "region", "aws_conn_id", "role_name", "batch_size", "dry_run", "staging_path")
    ui_color = "#f7e3cf"
    operator_extra_links = (SecurityHubFindingsLink(),)

    def __init__(
        self,
        *,
        account: str,
        region: str,
        aws_conn_id: str | None = "aws_default",
        role_name: str | None = None,
        batch_size: int = 100,
        dry_run: bool = False,
        product: str | None = None,
        enable_product: bool | None = None,
        in_flight: int = 4,
        staging_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.account = account
        self.region = region
        self.aws_conn_id = aws_conn_id
        self.role_name = role_name
        self.batch_size = batch_size
        self.dry_run = dry_run
        self.product = product
        self.enable_product = enable_product
        self.in_flight = in_flight
        self.staging_path = staging_path

    @cached_property
    def hook(self) -> SecurityHubHook:
        """The hook of this task's connection, account and Region."""
        from airflow_provider_tenable.hooks.security_hub import SecurityHubHook

        return SecurityHubHook(aws_conn_id=self.aws_conn_id, region_name=self.region, role_name=self.role_name, account=self.account)

    def execute(self, context: Any) -> dict[str, Any]:
        """Check the hub, then send what has no receipt yet."""
        from airflow_provider_tenable.exceptions import ConfigurationError
        from airflow_provider_tenable.receipts import Receipts

        link = console_url(account=self.account, region=self.region)
        if link:
            context["ti"].xcom_push(key=XCOM_KEY, value=link)
        with fail_fast():
            if not 1 <= int(self.batch_size) <= 100:
                raise ConfigurationError(f"batch_size is {self.batch_size}; Security Hub takes 1 to 100 findings per call.")
            run = RunFolder.of(context, self.staging_path)
            parts = staged_findings(run, self.account, self.region)
            total = sum(lines for _, lines in parts)
            receipts = Receipts(run, self.account, self.region, [name for name, _ in parts])
            if receipts.accepted or receipts.rejected:
                self.log.info("Resuming: %d of %d findings are acknowledged, %d rejected.", receipts.accepted, total, receipts.rejected.total())
            before, began = receipts.counts(), time.monotonic()
            try:
                self._import(run, receipts, parts, total)
            finally:
                # Also of a try that fails: what it has delivered, the next one will not send again.
                tags = {"dag_id": run.dag_id, "account": self.account, "region": self.region}
                metrics.imported(before, receipts.counts(), time.monotonic() - began, **tags)
        return {"account": self.account, "region": self.region, "findings": total, **receipts.counts()}

    def _import(self, run: RunFolder, receipts: Receipts, parts: list[tuple[str, int]], total: int) -> None:
        from airflow_provider_tenable import config
        from airflow_provider_tenable.importing import FindingsImport

        with closing(self.hook) as hook:
            enable = config.get("enable_product") if self.enable_product is None else self.enable_product
            hook.preflight(self.product or config.get("product"), enable_product=bool(enable) and not self.dry_run)
            if self.dry_run:
                self.log.info("dry_run: %d findings for %s/%s are staged and were not sent.", total, self.account, self.region)
                return
            findings_import = FindingsImport(sender=hook, receipts=receipts, batch_size=int(self.batch_size), in_flight=self.in_flight)
            findings_import.run(self._read(run, parts), total)

    def _read(self, run: RunFolder, parts: list[tuple[str, int]]) -> Iterator[tuple[str, Iterator[bytes]]]:
        from airflow_provider_tenable.staging import read_lines

        folder = run.destination(self.account, self.region)
        for name, _ in parts:
            yield name, read_lines(folder / name)


def staged_findings(run: RunFolder, account: str, region: str) -> list[tuple[str, int]]:
    """(name, findings) of the parts that the transform's manifests name for one account and hub Region."""
    from airflow_provider_tenable.ledger import shard_manifests

    return [
        (part["name"], part["lines"])
        for manifest in shard_manifests(run)
        for destination in manifest["destinations"]
        if (destination["account"], destination["region"]) == (account, region)
        for part in destination["parts"]
    ]
