"""Map staged Tenable records to AWS Security Finding Format."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import BaseOperator, fail_fast
from airflow_provider_tenable.hooks.tenable import TenableHook
from airflow_provider_tenable.observability import metrics
from airflow_provider_tenable.staging.layout import RunFolder

if TYPE_CHECKING:
    from airflow_provider_tenable.export.result import ExportResult
    from airflow_provider_tenable.observability.lineage import Data
    from airflow_provider_tenable.run.plan_file import PublicPlan
    from airflow_provider_tenable.transform.manifest import ShardManifest, ShardResult, ShardTask


#: How far the clocks of two workers may differ.
_CLOCK_SKEW_SECONDS = 3600


class _StagesFindings(BaseOperator):
    """What operators that map staged records to findings have in common, whatever the records are."""

    ui_color = "#e6e2f5"
    #: The number of findings, once the task knows.
    _findings: int | None = None
    #: What was read and written, once the task knows.
    _lineage: tuple[list[Data], list[Data]] = ([], [])
    #: The kind of the records.
    _kind = ""
    shard: ShardTask | None
    assets: ExportResult
    plan: PublicPlan
    product: str | None
    tenable_conn_id: str
    staging_path: str | None

    @property
    def outcome(self) -> str:
        """The shard and, once it is transformed, the number of its findings: for ``map_index_template``, which Airflow
        renders before and after the execution.
        """
        name = f"shard {(self.shard or {'index': 0})['index']}"
        return name if self._findings is None else f"{name}: {self._findings:,} findings"

    @cached_property
    def hook(self) -> TenableHook:
        """The hook of this task's connection; used only for look-ups."""
        return TenableHook(self.tenable_conn_id)

    def _stage(self, context: Any) -> ShardResult:
        """Transform the shard."""
        from airflow_provider_tenable.asff.identity import id_in
        from airflow_provider_tenable.export.store import staged_parts
        from airflow_provider_tenable.run.plan_file import refused_in_plan
        from airflow_provider_tenable.transform.output import FindingsWriter

        shard, began = self.shard or {"index": 0, "count": 1}, time.monotonic()
        with fail_fast(), closing(self.hook):
            self._check_inputs()
            run = RunFolder.of(context, self.staging_path)
            pool_parts: list[str] = []
            writer = FindingsWriter(run, shard["index"], id_in)
            transform = self._transform(writer, self._asset_parts(run), refused_in_plan(run), _as_of(run))
            with closing(transform):
                if shard.get("parked"):
                    from airflow_provider_tenable.transform.waiting_records import transform_pool

                    pool_parts = transform_pool(run, transform)
                elif self._replays_given_up:
                    from airflow_provider_tenable.run.given_up import read_given_up

                    transform.transform_parked(read_given_up(run))
                else:
                    parts = staged_parts(self._exported["folder"], self._kind)
                    transform.transform_parts(parts[shard["index"] :: shard["count"]])
            manifest = writer.close(transform.counts(from_pool=bool(shard.get("parked")), pool_parts=pool_parts))
        self._findings = manifest["findings"]
        metrics.transformed(manifest, time.monotonic() - began, run.dag_id)
        self._note_lineage(run, manifest)
        self.log.info(
            "Shard %d: %d records read, %d findings for %d destinations, %d parked, skipped: %s.",
            shard["index"],
            manifest["read"],
            manifest["findings"],
            len(manifest["destinations"]),
            manifest["parked"],
            manifest["skipped"] or "none",
        )
        return {
            "shard": manifest["shard"],
            "read": manifest["read"],
            "findings": manifest["findings"],
            "parked": manifest["parked"],
            "skipped": manifest["skipped"],
        }

    @property
    def _exported(self) -> ExportResult:
        """The result of the export of the records."""
        raise NotImplementedError

    @property
    def _replays_given_up(self) -> bool:
        """Whether this is the shard of a replay that retries records whose assets were missing."""
        return self.shard is not None and bool(self.shard.get("given_up"))

    def _check_inputs(self) -> None:
        """Stop if the result of an earlier task is missing."""
        from airflow_provider_tenable.run.handover import required

        required(self.plan, "plan_run")
        if self._replays_given_up:
            # These records have left the exports.
            return
        required(self.assets, "export_assets")
        required(self._exported, f"export_{self._kind}")

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Lineage, for the OpenLineage provider: from the staged exports to the staged findings, with the numbers of
        this shard.
        """
        from airflow_provider_tenable.observability.lineage import operator_lineage

        return operator_lineage(*self._lineage)

    def _note_lineage(self, run: RunFolder, manifest: ShardManifest) -> None:
        from airflow_provider_tenable.observability.lineage import staged_data

        of_replay = self._replays_given_up
        pool, assets = (run.parked, run.asset_index) if of_replay else (run.parked_pool, self.assets["folder"])
        source = str(pool) if manifest["from_pool"] or of_replay else self._exported["folder"]
        self._lineage = (
            [staged_data(source, manifest["read"]), staged_data(str(assets))],
            [staged_data(str(run.findings), manifest["findings"])],
        )

    def _asset_parts(self, run: RunFolder) -> Any:
        """Where the assets of the shard's records are."""
        if self._replays_given_up:
            from airflow_provider_tenable.run.given_up import present_assets

            return present_assets(run)
        from airflow_provider_tenable.assets.index import staged_assets

        return staged_assets(self.assets["folder"])

    def _transform(self, writer: Any, asset_parts: Any, refused: dict[str, str], as_of: int) -> Any:
        """The transform of the records."""
        raise NotImplementedError

    def _latest(self, now: int) -> datetime:
        """Tenable's clock or this worker's, whichever is ahead, and somewhat later."""
        return datetime.fromtimestamp(now + self.plan.get("clock_ahead", 0.0) + _CLOCK_SKEW_SECONDS, UTC)

    def _common(self, writer: Any, asset_parts: Any, refused: dict[str, str], as_of: int, now: int) -> dict[str, Any]:
        """What a transform needs, whatever its records are."""
        import msgspec

        from airflow_provider_tenable import config
        from airflow_provider_tenable.guards.uuids import is_uuid
        from airflow_provider_tenable.transform.routing import Destination
        from airflow_provider_tenable.transform.shard import TransformSettings

        settings, window = self.plan["settings"], self.plan["window"]
        return {
            "settings": TransformSettings(
                severities=tuple(settings["severities"]),
                states=tuple(settings["states"]),
                until=window["until"] if window["bounded"] else None,
                region_routing=settings["region_routing"],
                non_ec2_assets=settings["non_ec2_assets"],
            ),
            "destinations": msgspec.convert(self.plan["destinations"], list[Destination]),
            "asset_parts": asset_parts,
            "writer": writer,
            "refused": frozenset(refused),
            "as_of": as_of,
            "lookup": self._lookup,
            "can_look_up": is_uuid,
            "lookups": config.get("asset_lookups"),
            "now": now,
            "give_up_before": now - int(config.get("parked_days") * 86400),
            # Nobody takes what a replay keeps.
            "keeps": not settings["dry_run"] and not self._replays_given_up,
        }

    def _lookup(self, asset_id: str) -> Any:
        from airflow_provider_tenable.exceptions import TemporaryError
        from airflow_provider_tenable.tenable_vm.asset_row import row_of_details

        try:
            details = self.hook.api.asset(asset_id)
        except TemporaryError as error:
            # The record is parked, and the next run retries it.
            self.log.warning("%s", error)
            return None
        return row_of_details(details) if details else None


class TenableToAsffOperator(_StagesFindings):
    """Join vulnerabilities with their assets, map them to ASFF, and stage the findings per account and hub Region.

    One task transforms one shard: every ``count``-th chunk, starting at ``index``. Findings are written serialised and
    within Security Hub's limits. Records that do not become findings are counted under a reason; broken records are
    stored in ``rejected/``; records whose asset is missing are parked for the following runs.

    The result (XCom) is ``{"shard", "read", "findings", "parked", "skipped"}``.

    :param shard: ``{"index": 0, "count": 8}``; with ``"parked": True`` the shard that retries parked records, with
        ``"given_up": True`` the shard of a replay that retries records whose assets were missing (templated).
    :param assets: result of the asset export (templated).
    :param vulnerabilities: result of the vulnerability export (templated).
    :param plan: the result of :func:`airflow_provider_tenable.pipeline.plan_run`: window, settings, destinations
        (templated).
    :param id_scheme: ``port`` or ``tvm2aws``. Default ``[tenable] id_scheme``.
    :param product: ``company/product`` or ``default``. Default ``[tenable] product``.
    :param tenable_conn_id: connection for looking up assets that are missing from the export (templated).
    :param staging_path: URI of the staging area, default ``[tenable] staging_path`` (templated).
    """

    template_fields: Sequence[str] = ("shard", "assets", "vulnerabilities", "plan", "tenable_conn_id", "staging_path")
    template_fields_renderers = {"shard": "json", "assets": "json", "vulnerabilities": "json", "plan": "json"}
    _kind = "vulnerabilities"

    def __init__(
        self,
        *,
        shard: ShardTask | None = None,
        assets: ExportResult,
        vulnerabilities: ExportResult,
        plan: PublicPlan,
        id_scheme: str | None = None,
        product: str | None = None,
        tenable_conn_id: str = TenableHook.default_conn_name,
        staging_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.shard = shard
        self.assets = assets
        self.vulnerabilities = vulnerabilities
        self.plan = plan
        self.id_scheme = id_scheme
        self.product = product
        self.tenable_conn_id = tenable_conn_id
        self.staging_path = staging_path

    def execute(self, context: Any) -> ShardResult:
        """Transform the shard."""
        return self._stage(context)

    @property
    def _exported(self) -> ExportResult:
        return self.vulnerabilities

    def _transform(self, writer: Any, asset_parts: Any, refused: dict[str, str], as_of: int) -> Any:
        from airflow_provider_tenable import config
        from airflow_provider_tenable.asff.finding import MappingOptions
        from airflow_provider_tenable.asff.identity import ID_SCHEMES
        from airflow_provider_tenable.asff.mapper import AsffMapper
        from airflow_provider_tenable.exceptions import ConfigurationError
        from airflow_provider_tenable.run.owner_rule import owner_rule
        from airflow_provider_tenable.run.scope import title_format
        from airflow_provider_tenable.tenable_vm.severities import TENABLE
        from airflow_provider_tenable.transform.scope import has_scope, scope_in
        from airflow_provider_tenable.transform.scoped import ScopedTransform
        from airflow_provider_tenable.transform.shard import Transform

        settings = self.plan["settings"]
        scheme = self.id_scheme or config.get("id_scheme")
        if scheme not in ID_SCHEMES:
            raise ConfigurationError(f"[tenable] id_scheme is {scheme!r}; it must be one of {', '.join(ID_SCHEMES)}.")
        now = int(time.time())
        is_scoped = has_scope(settings, self.plan["destinations"])
        transform: Any = partial(ScopedTransform, scope=scope_in(settings)) if is_scoped else Transform
        return transform(
            mapper=AsffMapper(
                MappingOptions(
                    accepted_risks=settings["accepted_risks"],
                    id_scheme=scheme,
                    plugin_output=config.get("plugin_output") == config.EXCERPT,
                    severity_source=settings.get("severity_source", TENABLE),
                    title_format=title_format(),
                    latest=self._latest(now),
                ),
                product=self.product or config.get("product"),
                owners=owner_rule(),
            ),
            **self._common(writer, asset_parts, refused, as_of, now),
        )


def _as_of(run: RunFolder) -> int:
    """The moment for which the run's export speaks, unix milliseconds; 0 where an older release has planned it."""
    from airflow_provider_tenable.staging.files import read_json

    return int((read_json(run.shards) or {}).get("as_of", 0))
