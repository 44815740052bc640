"""The transform of a run that has a scope. One without a scope uses :class:`Transform`, and spends nothing on it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow_provider_tenable.exceptions import UnmappableError
from airflow_provider_tenable.transform.mapper import PluginT, ResourceT
from airflow_provider_tenable.transform.scope import Scope
from airflow_provider_tenable.transform.shard import Parked, Transform


class ScopedTransform(Transform[PluginT, ResourceT]):
    """Leaves out what is not in a scope, before a record is parked, kept or mapped.

    Records that have waited for their assets may be from a time before the scope: they are judged by all of it. If one
    is left out although Tenable would export it now, the full run after the change of scope has exported it again.

    :param scope: of the run.
    """

    def __init__(self, *, scope: Scope, **transform: Any) -> None:
        super().__init__(**transform)
        self._whole, self._scope = scope, scope.rest()

    def transform_parked(self, parked: Iterable[Parked]) -> None:
        self._scope = self._whole
        super().transform_parked(parked)

    def _one(self, record: Any, parked_at: int) -> None:
        try:
            reason = self._scope.why_not(self.mapper.traits(self._plugins.get(record.plugin)))
        except UnmappableError:
            # Rejected with its reason, unless it is left out for another.
            reason = ""
        if reason:
            self.skipped[reason] += 1
        else:
            super()._one(record, parked_at)


__all__ = ["ScopedTransform"]
