"""The estate: hosts and what is wrong with them, generated from a seed, and the truth about it."""

import random
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from sandbox.clock import DAY
from sandbox.tenable.audit_results import Audits
from sandbox.tenable.hosts import Host, HostState, generate_host, kinds_of, known_account
from sandbox.tenable.vulnerabilities import Vulnerability, generate_vulnerabilities
from sandbox.tenable.web_apps import WebApps

ACCOUNTS = ("111122223333", "222233334444", "333344445555")
REGIONS = ("us-east-1", "eu-west-1")
HOUR = 3600.0
OLDEST_RECORD_AGE = 3 * HOUR
"""At the start every record was published at least this long ago."""


class Size(NamedTuple):
    """How large an estate is."""

    hosts: int
    vulnerabilities: int


SIZES = {"tiny": Size(6, 60), "small": Size(60, 1_500), "demo": Size(400, 20_000)}


@dataclass(slots=True)
class Injected:
    """JSON texts that are sent unchanged, in addition to the estate's own records."""

    vulnerabilities: list[str] = field(default_factory=list)
    assets: list[str] = field(default_factory=list)
    compliance: list[str] = field(default_factory=list)
    was: list[str] = field(default_factory=list)


class Estate:
    """A seeded estate at a moment of the sandbox's clock.

    :param now: the moment of the start; all times are relative to it, so the same seed gives the same estate
    :param seed: what the estate is generated from
    :param hosts: number of hosts
    :param vulnerabilities: number of vulnerabilities, spread evenly over the hosts (a host holds at most about 90)
    """

    def __init__(
        self,
        now: float,
        *,
        seed: int = 7,
        hosts: int = 60,
        vulnerabilities: int = 1_500,
        accounts: tuple[str, ...] = ACCOUNTS,
        regions: tuple[str, ...] = REGIONS,
    ) -> None:
        self.seed, self.accounts, self.regions = seed, accounts, regions
        self.born = 0
        """How many hosts there have ever been; the next one's number."""
        self.slices = 0
        """How many slices of time have passed since the start; it seeds what happens in the next one."""
        self.hosts: dict[str, Host] = {}
        self.states: dict[str, HostState] = {}
        self.vulnerabilities: dict[str, list[Vulnerability]] = {}
        """By asset id."""
        self.unconnected: dict[str, Host] = {}
        """Hosts that Tenable's AWS connector does not know, as it would describe them, by asset id."""
        self.injected = Injected()
        self.audits = Audits()
        self.web = WebApps(seed, accounts, regions)
        self.web.populate(hosts, now)
        kinds = kinds_of(hosts)
        for number in range(hosts):
            share = (number + 1) * vulnerabilities // hosts - number * vulnerabilities // hosts
            self._generate(number, kinds[number], share, now)

    @classmethod
    def of_size(cls, size: str, now: float, seed: int = 7) -> "Estate":
        """One of `SIZES`."""
        return cls(now, seed=seed, **SIZES[size]._asdict())

    def add(self, host: Host, state: HostState, vulnerabilities: list[Vulnerability]) -> None:
        """Publish a host with what was found on it."""
        self.born += 1
        self.hosts[host.asset_id] = host
        self.states[host.asset_id] = state
        self.vulnerabilities[host.asset_id] = vulnerabilities

    def replace_host(self, host: Host) -> None:
        """Put a host in the place of the one of the same asset id; what was found on it is found on this one."""
        self.hosts[host.asset_id] = host
        self.vulnerabilities[host.asset_id] = [
            replace(vulnerability, host=host) for vulnerability in self.vulnerabilities[host.asset_id]
        ]

    def remove(self, asset_id: str) -> None:
        """Forget a host's vulnerabilities, as when an asset is deleted: they are never exported as fixed."""
        self.vulnerabilities[asset_id] = []

    def forget(self, asset_id: str) -> None:
        """Drop a host and its vulnerabilities: no export mentions it any more, not even as deleted."""
        del self.hosts[asset_id], self.states[asset_id], self.vulnerabilities[asset_id]
        self.unconnected.pop(asset_id, None)

    def age_out(self, before: float) -> int:
        """Drop the hosts and web applications whose last scan was before a moment; returns how many."""
        aged = [asset_id for asset_id, state in self.states.items() if state.last_scan < before]
        for asset_id in aged:
            self.forget(asset_id)
        return len(aged) + self.web.age_out(before)

    def host_of(self, reference: str) -> Host | None:
        """A host by asset id or EC2 instance id."""
        if host := self.hosts.get(reference):
            return host
        return next((host for host in self.hosts.values() if host.instance_id and host.instance_id == reference), None)

    def truth(self, now: float) -> dict[str, Any]:
        """The ground truth, from the objects and not from their rendered form. Times are unix seconds or None."""
        return {
            "now": now,
            "vulnerabilities": [
                _truth_of(vulnerability) for found in self.vulnerabilities.values() for vulnerability in found
            ],
            "assets": [_truth_of_host(host, self.states[host.asset_id]) for host in self.hosts.values()],
            "compliance": self.audits.truth(),
            **self.web.truth(),
        }

    def _generate(self, number: int, kind: str, count: int, now: float) -> None:
        rng = random.Random(f"{self.seed}/host/{number}")
        created_at = quantized(now - rng.uniform(60, 500) * DAY, 3)
        host = generate_host(rng, number, kind, accounts=self.accounts, regions=self.regions, created_at=created_at)
        scans = _past_scans(rng, host, now)
        is_terminated = host.instance_id is not None and rng.random() < 0.01
        last_scan, last_indexed = scans[-1]
        terminated_at = quantized(last_indexed + HOUR / 2, 3) if is_terminated else None
        state = HostState(last_scan, terminated_at or quantized(last_indexed, 3), terminated_at)
        self.add(host, state, generate_vulnerabilities(rng, host, count, scans))


def quantized(seconds: float, digits: int) -> float:
    """A time as it can be written with so many fractional digits; the truth must equal what a record says."""
    unit = (1, 1_000, 1_000_000)[digits // 3]
    return round(int(seconds * unit) / unit, digits)


def publication(rng: random.Random, scan: float) -> float:
    """When the records of a scan are published: 5 to 40 minutes after it."""
    return quantized(scan + rng.uniform(5 * 60, 40 * 60), 6)


def _past_scans(rng: random.Random, host: Host, now: float) -> list[tuple[float, float]]:
    """Up to eight scans, oldest first; the newest was mostly within the last two weeks, for a few hosts long ago."""
    newest = rng.uniform(35, 80) * DAY if rng.random() < 0.05 else OLDEST_RECORD_AGE + HOUR + rng.uniform(0, 14) * DAY
    ages = sorted((newest, *(newest + rng.uniform(1, 200) * DAY for _ in range(rng.randint(2, 7)))), reverse=True)
    scans = [quantized(now - age, host.time_digits) for age in ages]
    return [(scan, publication(rng, scan)) for scan in scans]


def _truth_of(vulnerability: Vulnerability) -> dict[str, Any]:
    host = vulnerability.host
    return {
        "account": known_account(host),
        "region": host.region,
        "instance_id": host.instance_id,
        "asset_id": host.asset_id,
        "asset_kind": host.kind,
        "is_licensed": host.is_licensed,
        "plugin_id": vulnerability.plugin.id,
        "protocol": vulnerability.protocol.lower(),
        "port": vulnerability.port,
        "severity_id": vulnerability.severity_id,
        "state": vulnerability.state,
        "severity_modification_type": vulnerability.modification,
        "first_found": vulnerability.first_found,
        "last_found": vulnerability.last_found,
        "last_fixed": vulnerability.last_fixed,
        "resurfaced": vulnerability.resurfaced,
        "indexed": vulnerability.indexed,
        "finding_id": vulnerability.finding_id,
    }


def _truth_of_host(host: Host, state: HostState) -> dict[str, Any]:
    return {
        "asset_id": host.asset_id,
        "asset_kind": host.kind,
        "account": known_account(host),
        "region": host.region,
        "instance_id": host.instance_id,
        "is_licensed": host.is_licensed,
        "is_hidden": state.is_hidden,
        "updated_at": state.updated_at,
        "terminated_at": state.terminated_at,
        "deleted_at": state.deleted_at,
    }
