"""Map staged compliance records of Tenable to AWS Security Finding Format."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable.hooks.tenable import TenableHook
from airflow_provider_tenable.operators.asff import _StagesFindings

if TYPE_CHECKING:
    from airflow_provider_tenable.export.result import ExportResult
    from airflow_provider_tenable.run.plan_file import PublicPlan
    from airflow_provider_tenable.transform.compliance import AuditedAccount
    from airflow_provider_tenable.transform.manifest import ShardResult, ShardTask


class TenableComplianceToAsffOperator(_StagesFindings):
    """Map results of audits to ASFF with ``Compliance.Status``, and stage the findings per account and hub Region.

    Audits of hosts are joined with their assets, as vulnerabilities are. Audits of AWS accounts become findings of the
    ``AwsAccount``; which one it is, the tasks that made the audit have recorded in the staging area. Where it is not
    known, records are counted as ``unknown_account`` and kept for the following runs.

    The result (XCom) is that of :class:`~airflow_provider_tenable.operators.asff.TenableToAsffOperator`.

    :param shard: ``{"index": 0, "count": 8}``; with ``"parked": True`` the shard that retries waiting records
        (templated).
    :param assets: result of the asset export (templated).
    :param compliance: result of the compliance export (templated).
    :param plan: the result of :func:`airflow_provider_tenable.pipeline.plan_run` with ``kind="compliance"``
        (templated).
    :param severity: result (``failed``, ``warning``, ``passed``, ``not_available``) -> ASFF's label. Default
        ``[tenable] audit_severity``.
    :param product: ``company/product`` or ``default``. Default ``[tenable] product``.
    :param tenable_conn_id: connection for looking up assets that are missing from the export (templated).
    :param staging_path: URI of the staging area, default ``[tenable] staging_path`` (templated).
    """

    template_fields: Sequence[str] = ("shard", "assets", "compliance", "plan", "tenable_conn_id", "staging_path")
    template_fields_renderers = {"shard": "json", "assets": "json", "compliance": "json", "plan": "json"}
    _kind = "compliance"

    def __init__(
        self,
        *,
        shard: ShardTask | None = None,
        assets: ExportResult,
        compliance: ExportResult,
        plan: PublicPlan,
        severity: Mapping[str, str] | None = None,
        product: str | None = None,
        tenable_conn_id: str = TenableHook.default_conn_name,
        staging_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.shard = shard
        self.assets = assets
        self.compliance = compliance
        self.plan = plan
        self.severity = severity
        self.product = product
        self.tenable_conn_id = tenable_conn_id
        self.staging_path = staging_path

    def execute(self, context: Any) -> ShardResult:
        """Transform the shard."""
        return self._stage(context)

    @property
    def _exported(self) -> ExportResult:
        return self.compliance

    def _transform(self, writer: Any, asset_parts: Any, refused: dict[str, str], as_of: int) -> Any:
        from airflow_provider_tenable import config
        from airflow_provider_tenable.asff.compliance import AuditOptions
        from airflow_provider_tenable.asff.mapper import AsffComplianceMapper
        from airflow_provider_tenable.run.audit_severity import severity_of
        from airflow_provider_tenable.run.owner_rule import owner_rule
        from airflow_provider_tenable.transform.compliance import ComplianceTransform

        now = int(time.time())
        accounts, shared = self._accounts(writer)
        options = AuditOptions(
            severity=severity_of(self.severity),
            actual_value=config.get("plugin_output") == config.EXCERPT,
            latest=self._latest(now),
        )
        return ComplianceTransform(
            statuses=tuple(self.plan.get("audit_statuses", ("passed", "failed", "warning"))),
            accounts=accounts,
            shared=shared,
            mapper=AsffComplianceMapper(options, self.product or config.get("product"), owner_rule()),
            **self._common(writer, asset_parts, refused, as_of, now),
        )

    def _accounts(self, writer: Any) -> tuple[dict[str, AuditedAccount], dict[str, str]]:
        """The accounts of audits by asset: as recorded, and as the params say, which come first; and why those of other
        assets cannot be told.
        """
        from airflow_provider_tenable.scan.audited_accounts import read_all
        from airflow_provider_tenable.transform.compliance import AuditedAccount

        recorded = read_all(str(writer.run.dag_root.parent))
        known = {
            asset: AuditedAccount(audited.account, audited.partition, audited.regions)
            for asset, audited in recorded.by_asset.items()
        }
        known |= {asset: AuditedAccount(account) for asset, account in self.plan.get("audit_accounts", {}).items()}
        return known, {collision.asset: str(collision) for collision in recorded.collisions}
