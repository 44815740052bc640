"""Transforms web application findings.

A record names its own application, so it never waits for its asset: what the asset export has of it (whether it was
deleted, its tags and rating) is added where it is known. An application belongs to no AWS account by itself. Its
findings go to the account and hub Region of the first destination, or to those of the load balancer that serves it,
where the param ``was_load_balancers`` names one.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from airflow_provider_tenable.exceptions import UnmappableError
from airflow_provider_tenable.guards.arns import Arn
from airflow_provider_tenable.guards.uuids import is_uuid
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow
from airflow_provider_tenable.tenable_vm.kinds import WAS
from airflow_provider_tenable.tenable_vm.records import severity_id_of
from airflow_provider_tenable.tenable_vm.severities import SEVERITIES
from airflow_provider_tenable.tenable_vm.was import WasFinding, asset_of, host_of, own_time
from airflow_provider_tenable.transform.load_balancers import LoadBalancers
from airflow_provider_tenable.transform.manifest import ShardCounts
from airflow_provider_tenable.transform.mapper import Mapper, PluginT, ResourceT
from airflow_provider_tenable.transform.shard import (
    OUTSIDE_WINDOW,
    SEVERITY,
    STATE,
    UNMAPPABLE,
    Skipped,
    Target,
    Transform,
)

#: Maximum number of cached applications; about 3 KB each.
_MEMO_ENTRIES = 3_000
#: What a record that is neither fixed nor reopened says. ACTIVE: Tenable's Data Stream.
_OPEN = frozenset({"OPEN", "NEW", "ACTIVE"})


class WasMapper(Mapper[PluginT, ResourceT], Protocol[PluginT, ResourceT]):
    """An output format for web application findings."""

    def application(self, row: AssetRow, host: str, *, account: str, region: str, arn: Arn | None) -> ResourceT:
        """Prepare an application, to be reported in an account and Region."""

    def was(
        self, record: WasFinding, plugin: PluginT, resource: ResourceT, product: str, severity: int | None
    ) -> tuple[bytes, bytes]:
        """The finding of a record, and its row.

        :raises UnmappableError: the record cannot be mapped; the message contains the reason.
        """


class WasTransform(Transform[PluginT, ResourceT]):
    """Transforms web application findings, and counts the result of each one.

    :param load_balancers: what serves the applications, as far as it is known.
    """

    record = WAS.record
    mapper: WasMapper[PluginT, ResourceT]

    def __init__(self, *, load_balancers: LoadBalancers, **transform: Any) -> None:
        super().__init__(**transform)
        self._load_balancers = load_balancers
        self._applications: dict[tuple[str, str], Target[ResourceT] | Skipped] = {}

    def _one(self, record: WasFinding, parked_at: int) -> None:
        severity = severity_id_of(record)
        if severity is not None and severity not in self._severities:
            self.skipped[SEVERITY] += 1
            return
        state = (record.state or "").strip().upper()
        if state and ("OPEN" if state in _OPEN else state) not in self._states:
            self.skipped[STATE] += 1
            return
        if self._until is not None and not self._in_window(record, self._until):
            self.skipped[OUTSIDE_WINDOW] += 1
            return
        asset = asset_of(record).lower()
        if not is_uuid(asset):
            self._reject(UNMAPPABLE, "its asset has no UUID", self._as_stored(record))
            return
        target = self._application(asset, host_of(record) or "")
        if isinstance(target, Skipped):
            self._skip(record, asset, target, parked_at)
            return
        try:
            plugin = self._plugins.get(record.plugin)
            line, row = self.mapper.was(record, plugin, target[0], target[3], severity)
        except UnmappableError as error:
            self._reject(UNMAPPABLE, str(error), self._as_stored(record))
            return
        assert severity is not None
        self._deliver(target, line, row, SEVERITIES[severity])

    def _forget(self) -> None:
        super()._forget()
        if len(self._applications) > _MEMO_ENTRIES:
            self._applications.clear()

    def _application(self, asset: str, host: str) -> Target[ResourceT] | Skipped:
        found = self._applications.get((asset, host))
        if found is None:
            found = self._applications[asset, host] = self._application_target(asset, host)
        return found

    def _application_target(self, asset: str, host: str) -> Target[ResourceT] | Skipped:
        row = self.assets.get(asset) or AssetRow(id=asset)
        arn = self._load_balancers.of(host)
        account, region = (arn.account, arn.region) if arn else self.router.home()
        route = self.router.route(account, region)
        if isinstance(route, str):
            return Skipped(route, account, self.router.place(account, region))
        destination, hub = route
        resource = self.mapper.application(row, host, account=account, region=region, arn=arn)
        # Tenable gives each finding an id of its own, so no other asset has one with the same id.
        return resource, destination, hub, self.mapper.product(resource, region=hub), False

    @staticmethod
    def _in_window(record: Any, until: int) -> bool:
        moment = own_time(record)
        return moment is None or moment.timestamp() < until

    def _as_stored(self, record: Any) -> bytes:
        # No finding has what the attack was, and what the application answered.
        return super()._as_stored(msgspec.structs.replace(record, proof=None, payload=None))

    def counts(self, *, from_pool: bool = False, pool_parts: list[str] | None = None) -> ShardCounts:
        # None of them is ever an instance, so the count would say nothing.
        return {**super().counts(from_pool=from_pool, pool_parts=pool_parts), "not_ec2": 0}


__all__ = ["WasMapper", "WasTransform"]
