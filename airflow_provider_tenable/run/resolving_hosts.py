"""Asks EC2 which of its instances the hosts are of which Tenable knows only MAC addresses and private addresses: a part
of :mod:`~airflow_provider_tenable.run.resolving`.

What EC2 said is kept for a day, as long as the host's addresses stay the same: a network interface can be moved to
another instance.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import blake2s
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from airflow_provider_tenable.assets.placement import (
    AMBIGUOUS,
    CONTRADICTS_TENABLE,
    NOT_ANSWERED,
    NOT_FOUND,
    OTHER_OWNER,
    TERMINATED,
    Place,
)
from airflow_provider_tenable.assets.unnamed_hosts import Host, Sighting, host_of, recognise
from airflow_provider_tenable.aws import ACCOUNT, INSTANCE, REGION
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow

if TYPE_CHECKING:
    from airflow_provider_tenable.hooks.ec2_instances import Ec2InstancesHook

log = logging.getLogger(__name__)

#: Filters of DescribeInstances (EC2 API reference).
BY_MAC, BY_ADDRESS = "network-interface.mac-address", "network-interface.addresses.private-ip-address"
#: Hosts that are looked at, and those that a run asks for.
_MOST_HOSTS, _MOST_DUE = 50_000, 5_000
_SECONDS, _CLOCK_SKEW_SECONDS = 86400, 300
_REMEMBERED = frozenset({NOT_FOUND, AMBIGUOUS, TERMINATED, OTHER_OWNER, CONTRADICTS_TENABLE})

Batch = tuple[str, list[str]]


class KnownHost(NamedTuple):
    """What is remembered of a host: the instance that it is and where, or why that is not known; and when EC2 said so,
    unix seconds. ``digest`` is of what it was recognised by.
    """

    at: int
    digest: str
    instance: str
    place: Place | None
    reason: str

    def is_due(self, host: Host, now: float) -> bool:
        """Whether EC2 is to be asked again."""
        is_recent = self.at - _CLOCK_SKEW_SECONDS <= now < self.at + _SECONDS
        return not is_recent or self.digest != digest_of(host)


def digest_of(host: Host) -> str:
    """Stands for all that a host is recognised by."""
    facts = [sorted(host.macs), sorted(host.addresses), host.vpc, host.account, host.region]
    return blake2s(msgspec.json.encode(facts), digest_size=8).hexdigest()


def hosts_of(rows: Mapping[str, AssetRow]) -> dict[str, Host]:
    """What EC2 can recognise hosts by, by asset: at most 50,000."""
    found: dict[str, Host] = {}
    for asset, row in sorted(rows.items()):
        host = host_of(row)
        if host is None:
            continue
        if len(found) >= _MOST_HOSTS:
            log.warning("Only %d of %d hosts without an instance id are looked at.", len(found), len(rows))
            break
        found[asset] = host
    return found


def due_hosts(hosts: Mapping[str, Host], known: Mapping[str, KnownHost], now: float) -> dict[str, Host]:
    """The hosts that EC2 is to be asked for: at most 5,000, those first that were never asked for, or longest ago."""
    due = [asset for asset, host in hosts.items() if asset not in known or known[asset].is_due(host, now)]
    if len(due) > _MOST_DUE:
        log.info("EC2 is asked for %d of %d hosts without an instance id; the next run continues.", _MOST_DUE, len(due))
        due.sort(key=lambda asset: known[asset].at if asset in known else 0)
    return {asset: hosts[asset] for asset in due[:_MOST_DUE]}


def batches_of(hosts: Iterable[Host], place: Place, most: int) -> list[Batch]:
    """What to ask a place, in calls of at most ``most`` values: MAC addresses, and addresses of hosts without one."""
    macs: set[str] = set()
    addresses: set[str] = set()
    for host in hosts:
        if host.allows(place):
            macs |= host.macs
            addresses |= host.addresses if not host.macs else frozenset()
    batches: list[Batch] = []
    for name, values in ((BY_MAC, sorted(macs)), (BY_ADDRESS, sorted(addresses))):
        batches += [(name, values[begin : begin + most]) for begin in range(0, len(values), most)]
    return batches


def call(hook: Ec2InstancesHook, batch: Batch, place: Place) -> list[Sighting]:
    """Ask a place for one batch."""
    return list(hook.find_hosts(*batch, place))


def decided(
    due: Mapping[str, Host],
    sightings: Sequence[Sighting],
    known: Mapping[str, KnownHost],
    silent: Iterable[Place],
    places: Collection[Place],
    now: int,
) -> dict[str, KnownHost]:
    """What is known of the hosts that were asked for.

    :param silent: the places that have not answered.
    :param places: all that a destination reaches.
    """
    by_mac: dict[str, list[Sighting]] = {}
    by_address: dict[str, list[Sighting]] = {}
    for sighting in sightings:
        for interface in sighting.interfaces:
            by_mac.setdefault(interface.mac, []).append(sighting)
            for address in interface.addresses:
                by_address.setdefault(address, []).append(sighting)
    found: dict[str, KnownHost] = {}
    for asset, host in due.items():
        index, keys = (by_mac, host.macs) if host.macs else (by_address, host.addresses)
        entry = known.get(asset)
        same = entry is not None and entry.digest == digest_of(host)
        earlier = (entry.instance, entry.place) if same and entry is not None and entry.place else None
        mute = {place for place in silent if host.allows(place)}
        if earlier is not None and earlier[1] not in places:
            # Nobody can say that it has moved.
            mute.add(earlier[1])
        result = recognise(
            host, [each for key in sorted(keys) for each in index.get(key, ())], earlier=earlier, silent=mute
        )
        if isinstance(result, str):
            found[asset] = KnownHost(now, digest_of(host), "", None, result)
        elif entry is not None and earlier is not None and result[1] in mute:
            # Nobody has confirmed it: the next run asks again.
            found[asset] = entry
        else:
            found[asset] = KnownHost(now, digest_of(host), *result, "")
    return found


def completed(
    rows: Mapping[str, AssetRow], hosts: Mapping[str, Host], known: Mapping[str, KnownHost]
) -> tuple[list[AssetRow], Counter[str]]:
    """The rows of hosts that are instances, with instance, account and Region; and why the others are not."""
    found: list[AssetRow] = []
    unresolved: Counter[str] = Counter()
    for asset in sorted(hosts):
        entry = known.get(asset)
        if entry is None or entry.place is None:
            unresolved[entry.reason if entry else NOT_ANSWERED] += 1
            continue
        account, region = entry.place
        row = rows[asset]
        found.append(msgspec.structs.replace(row, instance_id=entry.instance, owner_id=account, region=region))
    return found, unresolved


def remembered(known: Mapping[str, KnownHost]) -> dict[str, list[object]]:
    """What is written to a file of what is known."""
    return {
        asset: [entry.at, entry.digest, entry.instance, *(entry.place or ("", "")), entry.reason]
        for asset, entry in sorted(known.items())
        if entry.place or entry.reason in _REMEMBERED
    }


def recalled(value: object) -> dict[str, KnownHost]:
    """What :func:`remembered` has written; entries that it cannot have written are left out."""
    found: dict[str, KnownHost] = {}
    for asset, entry in value.items() if isinstance(value, dict) else ():
        if not isinstance(entry, list) or len(entry) != 6 or type(entry[0]) is not int:
            continue
        at, *texts = entry
        if not all(isinstance(text, str) for text in texts):
            continue
        digest, instance, account, region, reason = texts
        if INSTANCE.fullmatch(instance) and ACCOUNT.fullmatch(account) and REGION.fullmatch(region) and not reason:
            found[str(asset)] = KnownHost(at, digest, instance, Place(account, region), "")
        elif not (instance or account or region) and reason in _REMEMBERED:
            found[str(asset)] = KnownHost(at, digest, "", None, reason)
    return found


__all__ = [
    "KnownHost",
    "batches_of",
    "call",
    "completed",
    "decided",
    "digest_of",
    "due_hosts",
    "hosts_of",
    "recalled",
    "remembered",
]
