"""Transforms compliance records: results of audits of hosts, and of AWS accounts.

Hosts are joined with the asset export, as vulnerabilities are. All audits of cloud accounts have the asset 127.0.0.1,
whose records name no account: it is known from the tasks that made the audit, or from the user. Where it is not known,
or where one asset stands for several accounts, nothing is guessed: the records are counted, kept for the following
runs, and delivered once the account is known.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from airflow_provider_tenable.exceptions import UnmappableError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.tenable_vm.compliance import (
    Compliance,
    asset_of,
    is_aws_audit,
    own_time,
    status_of,
)
from airflow_provider_tenable.tenable_vm.kinds import COMPLIANCE
from airflow_provider_tenable.tenable_vm.severities import SEVERITIES
from airflow_provider_tenable.transform.manifest import ShardCounts
from airflow_provider_tenable.transform.mapper import Mapper, ResourceT
from airflow_provider_tenable.transform.routing import DESTINATION_REFUSED, Destination, Router
from airflow_provider_tenable.transform.shard import OUTSIDE_WINDOW, UNMAPPABLE, Skipped, Target, Transform

log = logging.getLogger(__name__)

#: Why a record becomes no finding, in addition to those of vulnerabilities.
STATUS = "status_not_chosen"
UNKNOWN_ACCOUNT = "unknown_account"
#: Assets of unknown accounts that a log names.
_MOST_EXPLAINED = 20


class AuditedAccount(Struct, frozen=True):
    """The AWS account that an asset stands for. ``partition`` is empty where it is not known."""

    account: str
    partition: str = ""
    regions: tuple[str, ...] = ()


class ComplianceMapper(Mapper[Any, ResourceT], Protocol[ResourceT]):
    """An output format for audits."""

    def account_resource(self, account: str, *, region: str, partition: str, asset: str, gone: str = "") -> ResourceT:
        """Prepare an AWS account, to be reported in the hub of a Region."""

    def compliance(self, record: Compliance, resource: ResourceT, product: str) -> tuple[bytes, bytes, int]:
        """The finding of a record, its row, and its severity, 0 to 4.

        :raises UnmappableError: the record cannot be mapped; the message contains the reason.
        """


def route_of(router: Router, account: AuditedAccount) -> tuple[Destination, str] | str:
    """Where the findings of an AWS account's audit go."""
    return router.route_account(account.account, account.regions, account.partition)


class ComplianceTransform(Transform[Any, ResourceT]):
    """Transforms compliance records, and counts the result of each one.

    :param statuses: which results become findings (:data:`airflow_provider_tenable.tenable_vm.compliance.STATUSES`).
    :param accounts: asset uuid in lower case -> the account that it stands for.
    :param shared: asset uuid in lower case -> why its account cannot be told.
    """

    record = COMPLIANCE.record
    mapper: ComplianceMapper[ResourceT]

    def __init__(
        self,
        *,
        statuses: tuple[str, ...],
        accounts: Mapping[str, AuditedAccount],
        shared: Mapping[str, str],
        **transform: Any,
    ) -> None:
        super().__init__(**transform)
        self._statuses = frozenset(statuses)
        self._accounts = accounts
        self._shared = shared
        assets = Counter(each.account for each in accounts.values())
        self._several = {account for account, count in assets.items() if count > 1}
        self._targets: dict[str, Target[ResourceT] | Skipped] = {}
        self._explained: set[str] = set()
        #: account -> audit file -> status -> findings.
        self.audits: dict[str, dict[str, Counter[str]]] = {}

    def is_settled(self, asset_id: str) -> bool:
        return asset_id.lower() in self._accounts or super().is_settled(asset_id)

    def _one(self, record: Compliance, parked_at: int) -> None:
        status = status_of(record)
        if status is not None and status not in self._statuses:
            self.skipped[STATUS] += 1
            return
        if self._until is not None and not self._in_window(record, self._until):
            self.skipped[OUTSIDE_WINDOW] += 1
            return
        asset = asset_of(record)
        if not asset:
            self._reject(UNMAPPABLE, "it names no asset", self._as_stored(record))
            return
        if is_aws_audit(record):
            target: Target[ResourceT] | Skipped | None = self._account(asset)
        else:
            target = self._resources.get(asset) or self._resource(asset)
        if isinstance(target, tuple):
            try:
                line, row, severity = self.mapper.compliance(record, target[0], target[3])
            except UnmappableError as error:
                self._reject(UNMAPPABLE, str(error), self._as_stored(record))
                return
            self._deliver(target, line, row, SEVERITIES[severity])
            assert status is not None
            of_account = self.audits.setdefault(target[0].account, {})
            of_account.setdefault((record.audit_file or "").strip()[:200], Counter())[status] += 1
        elif target is None:
            self._park(record, asset, parked_at)
        else:
            self._skip(record, asset, target, parked_at)

    def _account(self, asset: str) -> Target[ResourceT] | Skipped:
        asset = asset.lower()
        found = self._targets.get(asset)
        if found is None:
            found = self._targets[asset] = self._account_target(asset)
        return found

    def _account_target(self, asset: str) -> Target[ResourceT] | Skipped:
        known = self._accounts.get(asset)
        if known is None:
            return Skipped(UNKNOWN_ACCOUNT)
        route = route_of(self.router, known)
        if isinstance(route, str):
            place = self._place_of(known) if route == DESTINATION_REFUSED else None
            return Skipped(route, known.account, place)
        destination, hub = route
        row = self.assets.get(asset)
        resource = self.mapper.account_resource(
            known.account, region=hub, partition=known.partition, asset=asset, gone=row.gone if row else ""
        )
        # Several scans may audit an account, each with an asset of its own.
        is_shared = known.account in self._several
        return resource, destination, hub, self.mapper.product(resource, region=hub), is_shared

    def _place_of(self, known: AuditedAccount) -> str | None:
        route = route_of(Router(self.router.destinations, self.router.routing), known)
        return None if isinstance(route, str) else f"{known.account}/{route[1]}"

    def _skip(self, record: Compliance, asset: str, skipped: Skipped, parked_at: int) -> None:
        super()._skip(record, asset, skipped, parked_at)
        if skipped.reason == UNKNOWN_ACCOUNT:
            self._explain(asset)
            if self.keeps and parked_at > self.give_up_before:
                self._wait(record, asset, UNKNOWN_ACCOUNT, parked_at)

    def _explain(self, asset: str) -> None:
        asset = asset.lower()
        if asset in self._explained or len(self._explained) >= _MOST_EXPLAINED:
            return
        self._explained.add(asset)
        log.warning(
            "%s",
            self._shared.get(asset)
            or f"Results of an AWS audit hang on asset {safe(asset, 100)}, which no audit of this deployment made: its "
            f'AWS account is not known. Give the param audit_accounts {{"{safe(asset, 100)}": "<account>"}}. The '
            "records are kept until then.",
        )

    @staticmethod
    def _in_window(record: Any, until: int) -> bool:
        moment = own_time(record)
        return moment is None or moment.timestamp() < until

    def _as_stored(self, record: Any) -> bytes:
        return msgspec.json.encode(record)

    def counts(self, *, from_pool: bool = False, pool_parts: list[str] | None = None) -> ShardCounts:
        return {
            **super().counts(from_pool=from_pool, pool_parts=pool_parts),
            "audits": {
                account: {audit: dict(sorted(counts.items())) for audit, counts in sorted(audits.items())}
                for account, audits in sorted(self.audits.items())
            },
        }
