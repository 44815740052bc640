"""Transforms staged chunks into staged findings: joins, maps, routes, writes, and accounts for every record. Free of
Airflow.

A task transforms one shard: every n-th part of the vulnerability export. Only a piece of a part is in memory at a time,
together with the assets of its records. So memory depends neither on the size of the exports nor on that of Tenable's
chunks.
"""

from __future__ import annotations

import gc
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, Generic

import msgspec
from msgspec import Struct

from airflow_provider_tenable.assets import table
from airflow_provider_tenable.assets.account import NO_REGION, UNSETTLED, skip_reason
from airflow_provider_tenable.assets.outside_ec2 import HAS_OTHER, IS_TYPED, aws_resource_of
from airflow_provider_tenable.exceptions import UnmappableError
from airflow_provider_tenable.staging.parts import read_blocks
from airflow_provider_tenable.tenable_vm import times
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow
from airflow_provider_tenable.tenable_vm.decode import decode_blocks, decode_chunk
from airflow_provider_tenable.tenable_vm.kinds import VULNERABILITIES
from airflow_provider_tenable.tenable_vm.records import Vulnerability, own_time, severity_id_of
from airflow_provider_tenable.tenable_vm.severities import SEVERITIES
from airflow_provider_tenable.transform.duplicates import Instances, contested_line
from airflow_provider_tenable.transform.manifest import GIVEN_UP, ShardCounts
from airflow_provider_tenable.transform.mapper import Mapper, PluginT, ResourceT
from airflow_provider_tenable.transform.plugin_memo import PluginMemo
from airflow_provider_tenable.transform.routing import DESTINATION_REFUSED, Destination, Router

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath
    from airflow_provider_tenable.transform.output import FindingsWriter

log = logging.getLogger(__name__)

#: Maximum number of cached resources; about 3 KB each.
_MEMO_ENTRIES = 3_000

#: Records that an older release parked do not say of which moment their export was: at most this long before.
_LONGEST_EXPORT_SECONDS = 86_400

# Reasons why a record does not become a finding, in addition to those of `assets.account` and `routing`.
SEVERITY = "severity_not_chosen"
STATE = "state_not_chosen"
OUTSIDE_WINDOW = "outside_window"
UNREADABLE = "unreadable_record"
UNMAPPABLE = "unmappable_record"
#: Missing assets are counted up to this many per shard; more do not matter to those who ask.
_MOST_COUNTED = 10_000


#: What all records of an asset share: resource, destination, hub Region, product ARN, and whether other assets have, or
#: may have, the same instance.
Target = tuple[ResourceT, Destination, str, str, bool]


class TransformSettings(Struct, frozen=True):
    """The settings of a run's plan that the transform needs."""

    severities: tuple[str, ...]
    states: tuple[str, ...]
    until: int | None
    region_routing: str
    non_ec2_assets: str


class Parked(Struct, omit_defaults=True):
    """A record that waits for its asset: since when (unix seconds), and the record as Tenable returned it. ``format``
    as of ``staging.FORMAT``. ``asset``: the asset's id, where it is known and only its account, Region or instance is
    not. ``as_of``: the moment for which Tenable reported it (``data_from`` of its export), unix milliseconds; 0 where
    an older release has parked it.
    """

    parked_at: int
    record: msgspec.Raw
    format: int = 1
    asset: str = ""
    as_of: int = 0


class Skipped(Struct, frozen=True):
    """Why the records of an asset do not become findings.

    :ivar account: the AWS account that no destination serves, where that is the reason.
    :ivar place: the account and hub Region that refuses findings, where that is the reason.
    """

    reason: str
    account: str | None = None
    place: str | None = None


def _state_of(state: str) -> str:
    """A record's state as the params name it. NEW, in older data, means open."""
    state = state.strip().upper()
    return "OPEN" if state == "NEW" else state


class Transform(Generic[PluginT, ResourceT]):
    """Transforms records and counts the result of each one.

    :param mapper: the output format.
    :param lookup: asks Tenable for one asset; None where it does not know it either.
    :param lookups: how often ``lookup`` may be called.
    :param can_look_up: whether an asset's id is one that Tenable can be asked for. Others cost no look-up.
    :param refused: accounts and hub Regions (``account/region``) that refuse findings for good: their records are
        counted and left out.
    :param give_up_before: records parked before this moment (unix seconds) are given up.
    :param keeps: whether records that are skipped for the state of their asset are kept for the following runs.
    :param as_of: the moment for which the run's export speaks, unix milliseconds; 0: unknown.
    """

    #: What is decoded of a record.
    record: type[Struct] = VULNERABILITIES.record

    def __init__(
        self,
        *,
        settings: TransformSettings,
        mapper: Mapper[PluginT, ResourceT],
        destinations: list[Destination],
        asset_parts: list[ObjectStoragePath],
        writer: FindingsWriter,
        lookup: Callable[[str], AssetRow | None],
        lookups: int,
        now: int,
        give_up_before: int,
        can_look_up: Callable[[str], bool] = lambda asset_id: True,
        keeps: bool = True,
        refused: Collection[str] = frozenset(),
        as_of: int = 0,
    ) -> None:
        self.settings = settings
        self.mapper = mapper
        self.router = Router(destinations, settings.region_routing, refused)
        self.assets = table.AssetTable(asset_parts)
        self.writer = writer
        self.lookup = lookup
        self.lookups_left = lookups
        self.can_look_up = can_look_up
        self.now = now
        self.give_up_before = give_up_before
        self.keeps = keeps
        self.skipped: Counter[str] = Counter()
        #: Records by account and reason.
        self.unserved: dict[str, Counter[str]] = {}
        #: Records by account and hub Region that refuses them.
        self.refused: Counter[str] = Counter()
        self.not_ec2 = 0
        self.parked = 0
        #: Of the skipped records, those that are kept until their asset is known, by reason.
        self.waiting: Counter[str] = Counter()
        self._missing_assets: set[str] = set()
        self.contested = 0
        self.read = 0
        self._export_as_of = as_of
        #: The moment for which Tenable reported the current record, unix milliseconds; 0 for that of the run's export.
        self._as_of = 0
        self._severities = frozenset(SEVERITIES.index(name) for name in settings.severities)
        self._states = frozenset(name.upper() for name in settings.states)
        # Each is looked up for every record.
        self._until, self._map, self._write = settings.until, mapper.finding, writer.write
        self._plugins = PluginMemo(mapper.plugin, mapper.weight)
        self._resources: dict[str, Target[ResourceT] | Skipped] = {}
        self._looked_up: dict[str, AssetRow] = {}
        self._missing: set[str] = set()
        self._instances = Instances(self.assets)

    def close(self) -> None:
        """Remove the temporary files."""
        self._instances.close()
        self.assets.close()

    def transform_parts(self, parts: list[ObjectStoragePath]) -> None:
        """Transform the parts of a shard."""
        for number, part in enumerate(parts, 1):
            # A chunk is a tree of a million small objects without cycles: looking for cycles in it costs as much as
            # parsing it.
            gc.disable()
            try:
                for records, unreadable in decode_blocks(read_blocks(part), self.record):
                    self.read += len(records) + len(unreadable)
                    for data, reason in unreadable:
                        self._reject(UNREADABLE, reason, self.mapper.without_output(data))
                    for record in records:
                        self._one(record, self.now)
                    self._forget()
            finally:
                gc.enable()
            log.info(
                "%d of %d parts transformed: %d records, %d findings.",
                number,
                len(parts),
                self.read,
                self.writer.findings,
            )

    def transform_parked(self, parked: Iterable[Parked]) -> None:
        """Try records again that waited for their assets."""
        for entry in parked:
            self.read += 1
            # A parked record is as old as the export that it came from, not as the moment when it was parked.
            self._as_of = entry.as_of or max(1000 * (entry.parked_at - _LONGEST_EXPORT_SECONDS), 1)
            records, unreadable = decode_chunk(b"[" + bytes(entry.record) + b"]", self.record)
            for data, reason in unreadable:
                self._reject(UNREADABLE, reason, self.mapper.without_output(data))
            for record in records:
                self._one(record, entry.parked_at)
            self._forget()

    def is_settled(self, asset_id: str) -> bool:
        """Whether the records of an asset need not wait any longer: its account, Region and instance are known by now,
        or assets outside EC2 become findings too.
        """
        row = self.assets.get(asset_id)
        if row is None:
            return False
        choice = self.settings.non_ec2_assets
        is_resource = choice in IS_TYPED and aws_resource_of(row) is not None
        return choice in HAS_OTHER or skip_reason(row) is None or is_resource

    def keep(self, entry: Parked) -> None:
        """Keep a record that is still waiting, with its age. It has been counted where it was skipped."""
        self.writer.keep(msgspec.json.encode(entry), entry.asset, entry.parked_at)

    def _forget(self) -> None:
        """Plugins repeat in all chunks, assets within one; both are built again rather than kept without bounds."""
        self._plugins.forget_if_full()
        if len(self._resources) > _MEMO_ENTRIES:
            self._resources.clear()

    def _one(self, record: Any, parked_at: int) -> None:
        # The usual case: Tenable reports the severity as a number, and it is one of the chosen ones.
        severity = record.severity_id
        if severity not in self._severities:
            severity = severity_id_of(record)
        if severity is not None and severity not in self._severities:
            self.skipped[SEVERITY] += 1
        elif record.state not in self._states and record.state and _state_of(record.state) not in self._states:
            self.skipped[STATE] += 1
        elif self._until is not None and not self._in_window(record, self._until):
            self.skipped[OUTSIDE_WINDOW] += 1
        else:
            target = self._resources.get(record.asset.uuid) or self._resource(record.asset.uuid)
            # A tuple first: it is what nearly all are, and asking whether something is a Struct takes three times as
            # long.
            if isinstance(target, tuple):
                resource, destination, region, product, is_shared = target
                try:
                    line, row = self._map(record, self._plugins.get(record.plugin), resource, product, severity)
                except UnmappableError as error:
                    self._reject(UNMAPPABLE, str(error), self._as_stored(record))
                    return
                assert severity is not None
                # _deliver does the same. Nearly all findings are neither shared nor outside AWS, so the call is saved.
                if is_shared or not (resource.is_ec2 or resource.is_typed):
                    self._deliver(target, line, row, SEVERITIES[severity])
                else:
                    self._write(resource.account, region, line, SEVERITIES[severity], destination, row, self._as_of)
            elif target is None:
                self._park(record, record.asset.uuid, parked_at)
            else:
                self._skip(record, record.asset.uuid, target, parked_at)

    def _deliver(self, target: Target[ResourceT], line: bytes, row: bytes, severity: str) -> None:
        """Write a finding, or set it aside if other assets may have one with the same id."""
        resource, destination, region, _, is_shared = target
        if not resource.is_ec2 and not resource.is_typed:
            self.not_ec2 += 1
        if is_shared:
            self.contested += 1
            precedence = self.mapper.precedence(line)
            self.writer.contest(
                contested_line(resource.account, region, destination, severity, precedence, line, row, self._as_of)
            )
        else:
            self._write(resource.account, region, line, severity, destination, row, self._as_of)

    @staticmethod
    def _in_window(record: Vulnerability, until: int) -> bool:
        moment = own_time(record)
        return moment is None or moment.timestamp() < until

    def _resource(self, asset_id: str) -> Target[ResourceT] | Skipped | None:
        row = self.assets.get(asset_id)
        if row is not None:
            target = self._target(row)
        else:
            row = self._looked_up.get(asset_id) or self._look_up(asset_id)
            if row is None:
                return None
            target = self._target(row, is_looked_up=True)
            if self._has_exported_twin(row, target):
                # As if it were unknown: the next run's index should contain both assets.
                del self._looked_up[asset_id]
                self._missing.add(asset_id)
                return None
        self._resources[asset_id] = target
        return target

    def _target(self, row: AssetRow, *, is_looked_up: bool = False) -> Target[ResourceT] | Skipped:
        reason, choice = skip_reason(row), self.settings.non_ec2_assets
        if reason is None:
            resource = self.mapper.ec2_resource(row)
        elif choice in IS_TYPED and (arn := aws_resource_of(row)):
            resource = self.mapper.aws_resource(row, arn)
        elif choice in HAS_OTHER:
            account, region = self.router.home()
            resource = self.mapper.other_resource(row, account=account, region=region)
        else:
            return Skipped(reason, (row.owner_id or "") if reason == NO_REGION else None)
        route = self.router.route(resource.account, resource.region)
        if isinstance(route, str):
            # None but for a hub that refuses: only what would be served has a place.
            return Skipped(route, resource.account, self.router.place(resource.account, resource.region))
        destination, hub = route
        # Another shard may look up another asset of the same instance. How many assets another AWS resource has, nobody
        # counts, because there are few of them.
        is_shared = resource.is_typed or (
            resource.is_ec2 and (is_looked_up or row.instance_id in self._instances.shared())
        )
        return resource, destination, hub, self.mapper.product(resource, region=hub), is_shared

    def _has_exported_twin(self, row: AssetRow, target: Target[ResourceT] | Skipped) -> bool:
        """Whether an asset that was looked up would become a resource whose findings other assets' records become, too,
        without being set aside (:mod:`~airflow_provider_tenable.transform.duplicates`).
        """
        if not isinstance(target, tuple) or not target[0].is_ec2 or row.instance_id is None:
            return False
        return self._instances.contains(row.instance_id)

    def _look_up(self, asset_id: str) -> AssetRow | None:
        """Tenable publishes assets and findings at different times: ask for the one that the export lacks."""
        if asset_id in self._missing or self.lookups_left <= 0 or not self.can_look_up(asset_id):
            return None
        self.lookups_left -= 1
        row = self.lookup(asset_id)
        if row is None:
            self._missing.add(asset_id)
        else:
            self._looked_up[asset_id] = row
        return row

    def _as_stored(self, record: Any) -> bytes:
        """A record as it may lie in staging beyond this run: with its output only where a finding may have it too."""
        if record.output is not None and not self._shows_output(record):
            record.output = None
        return msgspec.json.encode(record)

    def _shows_output(self, record: Vulnerability) -> bool:
        try:
            return self.mapper.shows_output(self._plugins.get(record.plugin))
        except UnmappableError:
            return False

    def _park(self, record: Any, asset: str, parked_at: int) -> None:
        encoded = self._as_stored(record)
        if parked_at < self.give_up_before:
            self.skipped[GIVEN_UP] += 1
            since = times.parse(parked_at)
            self.writer.reject(
                GIVEN_UP,
                f"asset {asset} has been in no export since {times.rfc3339(since) if since else parked_at}",
                encoded,
                as_of=self._as_of,
            )
            return
        self.parked += 1
        if len(self._missing_assets) < _MOST_COUNTED:
            self._missing_assets.add(asset)
        self.writer.park(msgspec.json.encode(Parked(parked_at, msgspec.Raw(encoded), as_of=self._reported_as_of)))

    @property
    def _reported_as_of(self) -> int:
        return self._as_of or self._export_as_of

    def _skip(self, record: Any, asset: str, skipped: Skipped, parked_at: int) -> None:
        """Count a record that becomes no finding. Where its asset may still settle, keep it for as long as one whose
        asset is missing; it counts as skipped all the same, since most of these assets are not in AWS at all.
        """
        self.skipped[skipped.reason] += 1
        if skipped.account is not None:
            self.unserved.setdefault(skipped.account, Counter())[skipped.reason] += 1
        if skipped.place is not None:
            self.refused[skipped.place] += 1
        if skipped.reason in UNSETTLED and self.keeps and parked_at > self.give_up_before:
            self._wait(record, asset, skipped.reason, parked_at)

    def _wait(self, record: Any, asset: str, reason: str, parked_at: int) -> None:
        self.waiting[reason] += 1
        stored = msgspec.Raw(self._as_stored(record))
        self.keep(Parked(parked_at, stored, asset=asset, as_of=self._reported_as_of))

    def _reject(self, reason: str, detail: str, record: bytes) -> None:
        self.skipped[reason] += 1
        self.writer.reject(reason, detail, record)

    def counts(self, *, from_pool: bool = False, pool_parts: list[str] | None = None) -> ShardCounts:
        """The counts of this shard for the ledger."""
        return {
            "from_pool": from_pool,
            "pool_parts": pool_parts or [],
            "read": self.read,
            "skipped": dict(sorted(self.skipped.items())),
            # Not the accounts of assets without a Region: a destination may serve those. Nor those that refuse: what
            # they are owed is on record.
            "skipped_accounts": sorted(
                account for account, reasons in self.unserved.items() if set(reasons) - {NO_REGION, DESTINATION_REFUSED}
            ),
            "refused": dict(sorted(self.refused.items())),
            "unserved": {account: dict(sorted(reasons.items())) for account, reasons in sorted(self.unserved.items())},
            "not_ec2": self.not_ec2,
            "parked": self.parked,
            "missing_assets": len(self._missing_assets),
            "waiting": dict(sorted(self.waiting.items())),
            "contested": self.contested,
            "findings": self.writer.findings,
        }
