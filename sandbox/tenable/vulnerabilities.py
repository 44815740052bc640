"""Vulnerabilities: what a plugin found on a port of a host, and its history so far."""

import hashlib
import random
import uuid
from dataclasses import dataclass

from sandbox.tenable.hosts import Host
from sandbox.tenable.plugins import Plugin, plugins_of

OPEN, REOPENED, FIXED = "OPEN", "REOPENED", "FIXED"
NONE, RECASTED, ACCEPTED = "NONE", "RECASTED", "ACCEPTED"


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """One vulnerability at one moment. A change makes a new object, so an export's snapshot stays as it was.

    Times are unix seconds; those of one scan are one object in memory, shared by all that it found.
    """

    host: Host
    plugin: Plugin
    port: int
    protocol: str
    service: str
    severity_id: int
    state: str
    first_found: float
    last_found: float
    indexed: float
    last_fixed: float | None = None
    resurfaced: float | None = None
    modification: str = NONE
    recast_reason: str | None = None

    @property
    def key(self) -> str:
        """What identifies it, as for Tenable: asset, plugin, protocol, port."""
        return f"{self.host.asset_id}/{self.plugin.id}/{self.protocol}/{self.port}"

    @property
    def digest(self) -> bytes:
        """16 bytes derived from the key: ids and quirks of the record come from it, so that they never change."""
        return hashlib.md5(self.key.encode(), usedforsecurity=False).digest()

    @property
    def finding_id(self) -> str:
        """Stable over the vulnerability's life."""
        return str(uuid.UUID(bytes=self.digest, version=5))


def generate_vulnerabilities(
    rng: random.Random, host: Host, count: int, scans: list[tuple[float, float]]
) -> list[Vulnerability]:
    """About `count` vulnerabilities of a host.

    :param scans: past scans of the host, oldest first, as (time of the scan, time it was published)
    """
    plugins = plugins_of(host.platform)
    found: list[Vulnerability] = []
    for plugin in rng.sample(plugins, min(count, len(plugins))):
        services = plugin.services
        # The same plugin on several ports of one host, as a web server on 443 and 8443 shows it.
        several = len(services) > 1 and rng.random() < 0.2
        for service in services[:2] if several else (rng.choice(services),):
            found.append(_with_history(rng, host, plugin, service, scans))
            if len(found) == count:
                return found
    return found


def newly_found(
    rng: random.Random, host: Host, known: set[tuple[int, int]], scan: float, indexed: float
) -> Vulnerability | None:
    """A vulnerability that a host did not have before (`known`: plugin id and port), or None if it has them all."""
    candidates = [
        (plugin, service)
        for plugin in plugins_of(host.platform)
        for service in plugin.services[:1]
        if (plugin.id, service.port) not in known
    ]
    if not candidates:
        return None
    plugin, service = rng.choice(candidates)
    return Vulnerability(
        host, plugin, service.port, service.protocol, service.name, plugin.severity_id, OPEN, scan, scan, indexed
    )


def _with_history(
    rng: random.Random, host: Host, plugin: Plugin, service: tuple[int, str, str], scans: list[tuple[float, float]]
) -> Vulnerability:
    port, protocol, name = service
    severity, modification, reason = _modification(rng, plugin.severity_id)
    first = rng.randrange(len(scans))
    (last_scan, last_indexed), fate = scans[-1], rng.random()
    if fate < 0.12 and len(scans) - first >= 2:
        # Last seen by one scan, missed by a later one.
        fixed_at = rng.randrange(first + 1, len(scans))
        return Vulnerability(
            host,
            plugin,
            port,
            protocol,
            name,
            severity,
            FIXED,
            scans[first][0],
            scans[fixed_at - 1][0],
            scans[fixed_at][1],
            scans[fixed_at][0],
            None,
            modification,
            reason,
        )
    if fate < 0.18 and len(scans) - first >= 3:
        back_at = rng.randrange(first + 2, len(scans))
        return Vulnerability(
            host,
            plugin,
            port,
            protocol,
            name,
            severity,
            REOPENED,
            scans[first][0],
            last_scan,
            last_indexed,
            None,
            scans[back_at][0],
            modification,
            reason,
        )
    return Vulnerability(
        host,
        plugin,
        port,
        protocol,
        name,
        severity,
        OPEN,
        scans[first][0],
        last_scan,
        last_indexed,
        None,
        None,
        modification,
        reason,
    )


def _modification(rng: random.Random, severity: int) -> tuple[int, str, str | None]:
    chance = rng.random()
    if severity and chance < 0.02:
        recast = rng.choice([other for other in range(5) if other != severity])
        return recast, RECASTED, "Compensating control in place; see the risk register."
    if severity and chance < 0.03:
        return severity, ACCEPTED, None
    return severity, NONE, None
