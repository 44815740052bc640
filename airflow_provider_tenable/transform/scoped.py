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
    """Leaves out what is not in a scope, before a record is parked, kept or mapped.

    Records that have waited for their assets may be from a time before the scope: they are judged by all of it. If one
    is left out although Tenable would export it now, the full run after the change of scope has exported it again.

    :param scope: of the run.
    """

    record = NetworkedVulnerability

    def __init__(self, *, scope: Scope, **transform: Any) -> None:
        super().__init__(**transform)
        self._whole, self._scope = scope, scope.rest()
        #: Whether the tags of an asset leave it out.
        self._left_out: dict[str, bool] = {}

    def transform_parked(self, parked: Iterable[Parked]) -> None:
        self._scope = self._whole
        super().transform_parked(parked)

    def _forget(self) -> None:
        super()._forget()
        self._left_out.clear()

    def _one(self, record: Any, parked_at: int) -> None:
        if reason := self._why_not(record):
            self.skipped[reason] += 1
        else:
            super()._one(record, parked_at)

    def _why_not(self, record: NetworkedVulnerability) -> str:
        try:
            if reason := self._scope.why_not(self.mapper.traits(self._plugins.get(record.plugin))):
                return reason
        except UnmappableError:
            # Rejected with its reason, unless it is left out for another.
            pass
        if reason := self._scope.why_not_found(record):
            return reason
        return TAGS if self._scope.asset_tags and self._leaves_out(record.asset.uuid) else ""

    def _leaves_out(self, asset: str) -> bool:
        """Whether the tags of an asset leave it out. One that is missing still is not: its records wait on."""
        known = self._left_out.get(asset)
        if known is None:
            # Asks Tenable for one that the export lacks, as the record itself does afterwards.
            self._resources.get(asset) or self._resource(asset)
            row = self.assets.get(asset) or self._looked_up.get(asset)
            tags = msgspec.json.decode(row.tags, type=dict[str, list[str]]) if row is not None else None
            known = self._left_out[asset] = tags is not None and self._scope.leaves_out_tags(tags)
        return known


__all__ = ["ScopedTransform"]
