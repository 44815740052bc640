"""The transform of a run that has a scope. One without a scope uses :class:`Transform`, and spends nothing on it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from airflow_provider_tenable.exceptions import UnmappableError
from airflow_provider_tenable.tenable_vm.records import NetworkedVulnerability
from airflow_provider_tenable.transform.mapper import PluginT, ResourceT
from airflow_provider_tenable.transform.scope import TAGS, Scope
from airflow_provider_tenable.transform.shard import Parked, Transform


class ScopedTransform(Transform[PluginT, ResourceT]):
    """Leaves out what is not in a scope, before a record is parked, kept or mapped; and of what has a destination, what
    is not in that destination's.

    Records that have waited for their assets may be from a time before the scope: they are judged by all of it. If one
    is left out although Tenable would export it now, the full run after the change of scope has exported it again.

    :param scope: of the run.
    """

    record = NetworkedVulnerability

    def __init__(self, *, scope: Scope, **transform: Any) -> None:
        super().__init__(**transform)
        self._whole, self._scope = scope, scope.rest()
        #: Tenable's tags of an asset; None: it is missing.
        self._tags: dict[str, dict[str, list[str]] | None] = {}

    def transform_parked(self, parked: Iterable[Parked]) -> None:
        self._scope = self._whole
        super().transform_parked(parked)

    def _forget(self) -> None:
        super()._forget()
        self._tags.clear()

    def _one(self, record: Any, parked_at: int) -> None:
        reason = self._why_not(self._scope, record)
        if not reason:
            target = self._target_of(record.asset.uuid)
            if isinstance(target, tuple) and target[1].scope is not None:
                reason = self._why_not(target[1].scope, record)
        if reason:
            self.skipped[reason] += 1
        else:
            super()._one(record, parked_at)

    def _target_of(self, asset: str) -> Any:
        """Asks Tenable for an asset that the export lacks, as the record itself would do afterwards."""
        return self._resources.get(asset) or self._resource(asset)

    def _why_not(self, scope: Scope, record: NetworkedVulnerability) -> str:
        try:
            if reason := scope.why_not(self.mapper.traits(self._plugins.get(record.plugin))):
                return reason
        except UnmappableError:
            # Rejected with its reason, unless it is left out for another.
            pass
        if reason := scope.why_not_found(record):
            return reason
        return TAGS if scope.asset_tags and self._leaves_out(scope, record.asset.uuid) else ""

    def _leaves_out(self, scope: Scope, asset: str) -> bool:
        """Whether the tags of an asset leave it out. One that is missing still is not: its records wait on."""
        if asset not in self._tags:
            self._target_of(asset)
            row = self.assets.get(asset) or self._looked_up.get(asset)
            self._tags[asset] = None if row is None else msgspec.json.decode(row.tags, type=dict[str, list[str]])
        tags = self._tags[asset]
        return tags is not None and scope.leaves_out_tags(tags)


__all__ = ["ScopedTransform"]
