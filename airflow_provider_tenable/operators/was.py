"""Map staged web application findings of Tenable to AWS Security Finding Format."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable.hooks.tenable import TenableHook
from airflow_provider_tenable.operators.asff import _StagesFindings

if TYPE_CHECKING:
    from airflow_provider_tenable.export.result import ExportResult
    from airflow_provider_tenable.run.plan_file import PublicPlan
    from airflow_provider_tenable.transform.manifest import ShardResult, ShardTask


class TenableWasToAsffOperator(_StagesFindings):
    """Map findings of Tenable Web App Scanning to ASFF, and stage them per account and hub Region.

    The resource of a finding is its web application, in the account and hub Region of the first destination; or, where
    the param ``was_load_balancers`` names one for its host, the load balancer that serves it, in its own account.

    The result (XCom) is that of :class:`~airflow_provider_tenable.operators.asff.TenableToAsffOperator`.

    :param shard: ``{"index": 0, "count": 8}`` (templated).
    :param assets: result of the asset export (templated).
    :param was: result of the export of web application findings (templated).
    :param plan: the result of :func:`airflow_provider_tenable.pipeline.plan_run` with ``kind="was"`` (templated).
    :param product: ``company/product`` or ``default``. Default ``[tenable] product``.
    :param tenable_conn_id: the connection to Tenable (templated).
    :param staging_path: URI of the staging area, default ``[tenable] staging_path`` (templated).
    """

    template_fields: Sequence[str] = ("shard", "assets", "was", "plan", "tenable_conn_id", "staging_path")
    template_fields_renderers = {"shard": "json", "assets": "json", "was": "json", "plan": "json"}
    _kind = "was"

    def __init__(
        self,
        *,
        shard: ShardTask | None = None,
        assets: ExportResult,
        was: ExportResult,
        plan: PublicPlan,
        product: str | None = None,
        tenable_conn_id: str = TenableHook.default_conn_name,
        staging_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.shard = shard
        self.assets = assets
        self.was = was
        self.plan = plan
        self.product = product
        self.tenable_conn_id = tenable_conn_id
        self.staging_path = staging_path

    def execute(self, context: Any) -> ShardResult:
        """Transform the shard."""
        return self._stage(context)

    @property
    def _exported(self) -> ExportResult:
        return self.was

    def _transform(self, writer: Any, asset_parts: Any, refused: dict[str, str], as_of: int) -> Any:
        from airflow_provider_tenable import config
        from airflow_provider_tenable.asff.finding import MappingOptions
        from airflow_provider_tenable.asff.mapper import AsffWasMapper
        from airflow_provider_tenable.run.owner_rule import owner_rule
        from airflow_provider_tenable.run.scope import title_format
        from airflow_provider_tenable.run.was_params import parse_load_balancers
        from airflow_provider_tenable.tenable_vm.severities import TENABLE
        from airflow_provider_tenable.transform.load_balancers import LoadBalancers
        from airflow_provider_tenable.transform.was import WasTransform

        settings = self.plan["settings"]
        now = int(time.time())
        options = MappingOptions(
            accepted_risks=settings["accepted_risks"],
            plugin_output=config.get("plugin_output") == config.EXCERPT,
            severity_source=settings.get("severity_source", TENABLE),
            title_format=title_format(),
            latest=self._latest(now),
        )
        return WasTransform(
            # Checked again: the plan has come through an XCom.
            load_balancers=LoadBalancers(parse_load_balancers(self.plan.get("was_load_balancers"))),
            mapper=AsffWasMapper(options, self.product or config.get("product"), owner_rule()),
            **self._common(writer, asset_parts, refused, as_of, now),
        )
