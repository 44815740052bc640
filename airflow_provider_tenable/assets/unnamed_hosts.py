"""Assets of which Tenable knows neither an instance id nor another name in AWS: hosts that EC2 can recognise by the MAC
addresses and private addresses of their network interfaces.

Nothing is guessed. A MAC address and a private address must belong to the same interface where both are known. A
private address alone counts only within a VPC that Tenable names: networks outside AWS use the same addresses. Two
instances that match are none.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from airflow_provider_tenable.assets.parquet import read_table
from airflow_provider_tenable.assets.placement import (
    AMBIGUOUS,
    CONTRADICTS_TENABLE,
    NOT_ANSWERED,
    NOT_FOUND,
    Answer,
    Place,
    decide,
)
from airflow_provider_tenable.aws import ACCOUNT, INSTANCE, region_of
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

#: The private networks of RFC 1918, and the one of RFC 6598 that VPCs may use too.
_PRIVATE = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")))
#: MAC and private addresses of a host that are looked at.
_MOST = 50


class Host(msgspec.Struct, frozen=True):
    """What EC2 can recognise a host by. Empty texts are unknown.

    :ivar addresses: its private IPv4 addresses.
    """

    macs: frozenset[str]
    addresses: frozenset[str]
    vpc: str
    account: str
    region: str

    def allows(self, place: Place) -> bool:
        """Whether the host may be at a place."""
        return self.account in ("", place.account) and self.region in ("", place.region)


class Interface(NamedTuple):
    """A network interface of an instance, as EC2 describes it."""

    mac: str
    addresses: frozenset[str]
    vpc: str


class Sighting(NamedTuple):
    """An instance that EC2 describes, with its network interfaces."""

    answer: Answer
    interfaces: tuple[Interface, ...]


def unnamed_hosts(parts: Iterable[ObjectStoragePath]) -> dict[str, AssetRow]:
    """The assets that EC2 could recognise, by id. If several parts contain an asset, its last row counts.

    :raises StagingError: a part is missing or damaged.
    """
    import pyarrow.compute as pc

    found: dict[str, AssetRow] = {}
    for part in parts:
        table = read_table(part)
        last = {asset: number for number, asset in enumerate(table["id"].to_pylist())}
        for asset in found.keys() & last.keys():
            del found[asset]
        nameless = pc.and_(pc.is_null(table["instance_id"]), pc.is_null(table["resource_name"]))
        known = pc.or_(pc.is_valid(table["macs"]), pc.is_valid(table["vpc_id"]))
        numbers = pc.indices_nonzero(pc.and_(nameless, known)).to_pylist()
        for number, values in zip(numbers, table.take(numbers).to_pylist(), strict=True) if numbers else ():
            row = AssetRow(**values)
            if last[row.id] == number and not row.gone and host_of(row) is not None:
                found[row.id] = row
    return found


def host_of(row: AssetRow) -> Host | None:
    """What EC2 can recognise an asset by; None where that is not enough, or contradicts itself."""
    if row.owner_id and not ACCOUNT.fullmatch(row.owner_id):
        return None
    region = region_of(row.region, row.availability_zone)
    if region is None and (row.region or row.availability_zone):
        return None
    macs = msgspec.json.decode(row.macs or "[]", type=list[str])[:_MOST]
    addresses = [each for each in msgspec.json.decode(row.addresses, type=list[str]) if _is_private(each)][:_MOST]
    host = Host(frozenset(macs), frozenset(addresses), row.vpc_id or "", row.owner_id or "", region or "")
    return host if host.macs or (host.addresses and host.vpc) else None


def _is_private(text: str) -> bool:
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return any(address in network for network in _PRIVATE)


def is_same(host: Host, sighting: Sighting) -> bool:
    """Whether an instance is certainly the host: one of its interfaces agrees with all that is known of it."""
    return any(
        (each.mac in host.macs if host.macs else bool(host.vpc))
        and (not host.addresses or not host.addresses.isdisjoint(each.addresses))
        and host.vpc in ("", each.vpc)
        for each in sighting.interfaces
    )


def recognise(
    host: Host,
    sightings: Iterable[Sighting],
    *,
    earlier: tuple[str, Place] | None = None,
    silent: Collection[Place] = (),
) -> tuple[str, Place] | str:
    """The instance that a host is, and its place; or the reason why that is not known.

    :param sightings: the instances with one of its MAC addresses or private addresses.
    :param earlier: what EC2 said before. It stands as long as that place does not answer.
    :param silent: the places that have not answered, or were not asked.
    """
    answers: dict[str, list[Answer]] = {}
    has_mac = False
    for sighting in sightings:
        if not (host.allows(sighting.answer.place) and INSTANCE.fullmatch(sighting.answer.instance)):
            continue
        has_mac = has_mac or any(each.mac in host.macs for each in sighting.interfaces)
        if is_same(host, sighting):
            answers.setdefault(sighting.answer.instance, []).append(sighting.answer)
    if earlier is not None and earlier[1] in silent:
        answers.setdefault(earlier[0], [])
    if len(answers) > 1:
        return AMBIGUOUS
    for instance, of_instance in answers.items():
        found = decide(of_instance, earlier=earlier[1] if earlier else None, silent=silent)
        if isinstance(found, str):
            return found
        # Only a MAC address is known: another instance with it may be where nobody answers.
        is_open = bool(silent) and not host.addresses and found not in silent
        return NOT_ANSWERED if is_open else (instance, found)
    if has_mac:
        return CONTRADICTS_TENABLE
    return NOT_ANSWERED if silent else NOT_FOUND


__all__ = ["Host", "Interface", "Sighting", "host_of", "is_same", "recognise", "unnamed_hosts"]
