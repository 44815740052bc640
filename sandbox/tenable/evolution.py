"""What happens to the estate while time passes: scans, patches, relapses, instances that come and go."""

import random
from dataclasses import replace

from sandbox.clock import DAY
from sandbox.tenable.estate import Estate, publication, quantized
from sandbox.tenable.hosts import Host, HostState, generate_host
from sandbox.tenable.vulnerabilities import FIXED, OPEN, REOPENED, Vulnerability, generate_vulnerabilities, newly_found

SCANNED_A_DAY = 0.2
TERMINATED_A_DAY = 0.004
LAUNCHED_A_DAY = 0.01
FIXED_AT_SCAN = 0.1
REOPENED_AT_SCAN = 0.05
SHORTEST_DELAY = 5 * 60.0


def evolve(estate: Estate, begin: float, until: float) -> None:
    """Let time pass from one moment to another, day by day. The same seed and the same steps give the same history.

    Nothing is published before `begin`: an export made then would have had to contain it.
    """
    estate.web.evolve(begin, until)
    while begin < until:
        end = min(begin + DAY, until)
        rng = random.Random(f"{estate.seed}/slice/{estate.slices}")
        for host in list(estate.hosts.values()):
            state = estate.states[host.asset_id]
            # A scan of what was deleted would find a new asset.
            if state.terminated_at is None and state.deleted_at is None:
                _live(rng, estate, host, begin, end)
        for _ in range(int(len(estate.hosts) * LAUNCHED_A_DAY * (end - begin) / DAY + rng.random())):
            _launch(rng, estate, begin, end)
        begin = end
        estate.slices += 1


def rescanned(
    rng: random.Random, host: Host, found: list[Vulnerability], scan: float, indexed: float
) -> list[Vulnerability]:
    """A host's vulnerabilities after one more scan: most seen again, some fixed, some back, a few new."""
    after = [_seen_again(rng, vulnerability, scan, indexed) for vulnerability in found]
    known = {(vulnerability.plugin.id, vulnerability.port) for vulnerability in after}
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        if new := newly_found(rng, host, known, scan, indexed):
            after.append(new)
            known.add((new.plugin.id, new.port))
    return after


def _live(rng: random.Random, estate: Estate, host: Host, begin: float, end: float) -> None:
    share = (end - begin) / DAY
    # The same random numbers are drawn for every host, so that no host depends on another one.
    is_scanned, is_terminated = rng.random() < SCANNED_A_DAY * share, rng.random() < TERMINATED_A_DAY * share
    state = estate.states[host.asset_id]
    if is_terminated and host.instance_id:
        at = quantized(rng.uniform(begin, end), 3)
        estate.states[host.asset_id] = replace(state, terminated_at=at, updated_at=at)
    elif is_scanned and (times := _scan_times(rng, host, begin, end)) and times[0] > state.last_scan:
        scan, indexed = times
        found = estate.vulnerabilities[host.asset_id]
        estate.vulnerabilities[host.asset_id] = rescanned(rng, host, found, scan, indexed)
        estate.states[host.asset_id] = replace(state, last_scan=scan, updated_at=quantized(indexed, 3))


def _scan_times(rng: random.Random, host: Host, begin: float, end: float) -> tuple[float, float] | None:
    """When a scan happened and was published, both within this stretch of time; None if it is too short."""
    latest = end - SHORTEST_DELAY - 1
    if latest <= begin + 1:
        return None
    # Up to a second is lost when the time is written without fractional digits.
    scan = quantized(rng.uniform(begin + 1, latest), host.time_digits)
    return scan, min(publication(rng, scan), quantized(end, 6))


def _seen_again(rng: random.Random, before: Vulnerability, scan: float, indexed: float) -> Vulnerability:
    chance = rng.random()
    if before.state == FIXED:
        if chance < REOPENED_AT_SCAN:
            return replace(before, state=REOPENED, last_found=scan, indexed=indexed, last_fixed=None, resurfaced=scan)
        return before
    if chance < FIXED_AT_SCAN:
        return replace(before, state=FIXED, last_fixed=scan, indexed=indexed)
    return replace(before, state=before.state or OPEN, last_found=scan, indexed=indexed)


def _launch(rng: random.Random, estate: Estate, begin: float, end: float) -> None:
    """A new instance: launched, scanned and published within the stretch of time."""
    number = estate.born
    host = generate_host(
        rng, number, "ec2", accounts=estate.accounts, regions=estate.regions, created_at=quantized(begin, 3)
    )
    if times := _scan_times(rng, host, begin, end):
        scan, indexed = times
        size = sum(map(len, estate.vulnerabilities.values())) // max(number, 1)
        found = generate_vulnerabilities(rng, host, max(size, 1), [(scan, indexed)])
        estate.add(host, HostState(scan, quantized(indexed, 3)), found)
