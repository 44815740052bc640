"""From staged chunks to staged findings: join, map, route, write, and account for every record. No Airflow in here.

A task transforms one shard: every n-th part of the vulnerability export. Parts are taken in groups whose records belong to at most
:data:`ASSETS_PER_GROUP` assets; for each group the asset parts are read once. So memory depends on neither export's size.
"""

from __future__ import annotations

import gc
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from airflow_provider_tenable import assets
from airflow_provider_tenable.asff import times
from airflow_provider_tenable.asff.findings import (
    SEVERITIES,
    MappingOptions,
    UnmappableError,
    finding_json,
    own_time,
    severity_id_of,
)
from airflow_provider_tenable.asff.identity import product_arn
from airflow_provider_tenable.asff.plugins import PluginParts, decode_plugin, plugin_parts
from airflow_provider_tenable.asff.records import Vulnerability, decode_chunk
from airflow_provider_tenable.asff.resources import AssetRow, Resource, ec2_resource, other_resource, skip_reason
from airflow_provider_tenable.destinations import Destination, Router
from airflow_provider_tenable.staging import read_part

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath
    from airflow_provider_tenable.findings_writer import FindingsWriter

log = logging.getLogger(__name__)

#: Assets whose rows are in memory at once; about 1 KB each.
ASSETS_PER_GROUP = 20_000
#: Records that are in memory at once, beyond one chunk; about 6 KB each.
_RECORDS_PER_GROUP = 5_000

# Reasons for which a record becomes no finding, beside those of `resources` and `destinations`.
SEVERITY = "severity_not_chosen"
STATE = "state_not_chosen"
OUTSIDE_WINDOW = "outside_window"
UNREADABLE = "unreadable_record"
UNMAPPABLE = "unmappable_record"
GIVEN_UP = "asset_missing_given_up"


class TransformSettings(Struct, frozen=True):
    """What a run's plan says about its transform."""

    severities: tuple[str, ...]
    states: tuple[str, ...]
    until: int | None
    region_routing: str
    non_ec2_assets: str
    product: str
    options: MappingOptions


class Parked(Struct):
    """A record that waits for its asset: since when (unix seconds), and the record as Tenable served it."""

    parked_at: int
    record: msgspec.Raw


class Transform:
    """Transforms records and counts where each one ends.

    :param lookup: asks Tenable for one asset; None where it does not know it either.
    :param lookups: how often ``lookup`` may be called.
    :param give_up_before: records parked before this moment (unix seconds) are given up.
    """

    def __init__(
        self,
        *,
        settings: TransformSettings,
        destinations: list[Destination],
        asset_parts: list[ObjectStoragePath],
        writer: FindingsWriter,
        lookup: Callable[[str], AssetRow | None],
        lookups: int,
        now: int,
        give_up_before: int,
    ) -> None:
        self.settings = settings
        self.router = Router(destinations, settings.region_routing)
        self.asset_parts = asset_parts
        self.writer = writer
        self.lookup = lookup
        self.lookups_left = lookups
        self.now = now
        self.give_up_before = give_up_before
        self.skipped: Counter[str] = Counter()
        self.skipped_accounts: set[str] = set()
        self.parked = 0
        self.read = 0
        self._severities = frozenset(SEVERITIES.index(name) for name in settings.severities)
        self._states = frozenset(name.upper() for name in settings.states)
        self._plugins: dict[bytes, PluginParts | str] = {}
        self._resources: dict[str, tuple[Resource, Destination, str, str] | str] = {}
        self._rows: dict[str, AssetRow] = {}
        self._missing: set[str] = set()

    def transform_parts(self, parts: list[ObjectStoragePath]) -> None:
        """Transform the parts of a shard."""
        group: list[list[Vulnerability]] = []
        wanted: set[str] = set()
        for number, part in enumerate(parts, 1):
            # A chunk is a tree of a million small objects without cycles: looking for cycles in it costs as much as parsing it.
            gc.disable()
            try:
                records, unreadable = decode_chunk(read_part(part), Vulnerability)
            finally:
                gc.enable()
            self.read += len(records) + len(unreadable)
            for data, reason in unreadable:
                self._reject(UNREADABLE, reason, data)
            group.append(records)
            wanted.update(record.asset.uuid for record in records)
            # Records are held as structs that point into their chunk: one chunk at a time is the rule, small ones go together.
            if len(wanted) >= ASSETS_PER_GROUP or sum(map(len, group)) >= _RECORDS_PER_GROUP or number == len(parts):
                self._transform_group(group, wanted, None)
                group, wanted = [], set()
                log.info("%d of %d parts transformed: %d records, %d findings.", number, len(parts), self.read, self.writer.findings)

    def transform_parked(self, parked: Iterator[Parked]) -> None:
        """Try records again that waited for their assets."""
        entries = list(parked)
        self.read += len(entries)
        group, ages = [], []
        for entry in entries:
            records, unreadable = decode_chunk(b"[" + bytes(entry.record) + b"]", Vulnerability)
            for data, reason in unreadable:
                self._reject(UNREADABLE, reason, data)
            group += records
            ages += [entry.parked_at] * len(records)
        self._transform_group([group], {record.asset.uuid for record in group}, ages)

    def _transform_group(self, group: list[list[Vulnerability]], wanted: set[str], parked_at: list[int] | None) -> None:
        self._rows = assets.find(self.asset_parts, wanted) if wanted else {}
        self._resources.clear()
        for records in group:
            self._plugins.clear()
            for number, record in enumerate(records):
                self._one(record, self.now if parked_at is None else parked_at[number])

    def _one(self, record: Vulnerability, parked_at: int) -> None:
        severity = severity_id_of(record)
        if severity is not None and severity not in self._severities:
            self.skipped[SEVERITY] += 1
        elif record.state and record.state.upper() not in self._states:
            self.skipped[STATE] += 1
        elif not self._in_window(record):
            self.skipped[OUTSIDE_WINDOW] += 1
        else:
            target = self._resources.get(record.asset.uuid) or self._resource(record.asset.uuid)
            if target is None:
                self._park(record, parked_at)
            elif isinstance(target, str):
                self.skipped[target] += 1
            else:
                self._write(record, *target)

    def _in_window(self, record: Vulnerability) -> bool:
        if self.settings.until is None:
            return True
        moment = own_time(record)
        return moment is None or moment.timestamp() < self.settings.until

    def _write(self, record: Vulnerability, resource: Resource, destination: Destination, region: str, product: str) -> None:
        plugin = self._plugin(record.plugin)
        try:
            if isinstance(plugin, str):
                raise UnmappableError(plugin)
            line = finding_json(record, plugin, resource, product, self.settings.options)
        except UnmappableError as error:
            self._reject(UNMAPPABLE, str(error), msgspec.json.encode(record))
            return
        severity = severity_id_of(record)
        assert severity is not None
        self.writer.write(resource.account, region, line, SEVERITIES[severity], destination)

    def _plugin(self, raw: msgspec.Raw) -> PluginParts | str:
        key = bytes(raw)
        parts = self._plugins.get(key)
        if parts is None:
            try:
                parts = plugin_parts(decode_plugin(key))
            except (ValueError, RecursionError) as error:
                parts = f"its plugin cannot be read: {error}"
            self._plugins[key] = parts
        return parts

    def _resource(self, asset_id: str) -> tuple[Resource, Destination, str, str] | str | None:
        row = self._rows.get(asset_id) or self._look_up(asset_id)
        if row is None:
            return None
        target = self._target(row)
        self._resources[asset_id] = target
        return target

    def _target(self, row: AssetRow) -> tuple[Resource, Destination, str, str] | str:
        reason = skip_reason(row)
        if reason is None:
            resource = ec2_resource(row)
        elif self.settings.non_ec2_assets == "other":
            account, region = self.router.home()
            resource = other_resource(row, account=account, region=region)
        else:
            return reason
        route = self.router.route(resource.account, resource.region)
        if isinstance(route, str):
            self.skipped_accounts.add(resource.account)
            return route
        destination, hub = route
        return resource, destination, hub, product_arn(self.settings.product, region=hub, account=resource.account)

    def _look_up(self, asset_id: str) -> AssetRow | None:
        """Tenable publishes assets and findings at different times: ask for the one that the export lacks."""
        if asset_id in self._missing or self.lookups_left <= 0:
            return None
        self.lookups_left -= 1
        row = self.lookup(asset_id)
        if row is None:
            self._missing.add(asset_id)
        else:
            self._rows[asset_id] = row
        return row

    def _park(self, record: Vulnerability, parked_at: int) -> None:
        encoded = msgspec.json.encode(record)
        if parked_at < self.give_up_before:
            self.skipped[GIVEN_UP] += 1
            since = times.parse(parked_at)
            self.writer.reject(GIVEN_UP, f"asset {record.asset.uuid} is in no export since {times.rfc3339(since) if since else parked_at}", encoded)
            return
        self.parked += 1
        self.writer.park(msgspec.json.encode(Parked(parked_at, msgspec.Raw(encoded))))

    def _reject(self, reason: str, detail: str, record: bytes) -> None:
        self.skipped[reason] += 1
        self.writer.reject(reason, detail, record)

    def counts(self) -> dict[str, Any]:
        """The counts of this shard for the ledger."""
        return {
            "read": self.read,
            "skipped": dict(sorted(self.skipped.items())),
            "skipped_accounts": sorted(self.skipped_accounts),
            "parked": self.parked,
            "findings": self.writer.findings,
        }

