"""The plugins of the sandbox: about 120, the same ones for every seed, as Nessus's are the same for every customer."""

import random
from dataclasses import dataclass, field
from functools import cache

from sandbox.tenable.catalogue import NONE, PRODUCTS, REMOTE_CHECKS, SMB, Product, RemoteCheck, Service

COUNT_BY_SEVERITY = (18, 12, 36, 36, 18)
"""How many plugins there are of severity 0 to 4: 15, 10, 30, 30 and 15 %, and so about the vulnerabilities."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """What a plugin reports for every host; `record` renders it. Scores are None where Tenable has none."""

    id: int
    name: str
    family: str
    family_id: int
    severity_id: int
    kind: str
    platform: str
    services: tuple[Service, ...]
    cves: tuple[str, ...] = ()
    product: Product | None = None
    cvss2: float | None = None
    cvss3: float | None = None
    cvss4: float | None = None
    vpr: float | None = None
    vpr_v2: float | None = None
    epss: float | None = None
    number: int = field(default=0, compare=False)
    """The position in the catalogue; rendering takes its quirks from it."""


@cache
def all_plugins() -> tuple[Plugin, ...]:
    """The catalogue, ordered by plugin id."""
    rng = random.Random("sandbox plugins")
    ids = sorted(rng.sample(range(10_107, 250_000), sum(COUNT_BY_SEVERITY)))
    wanted = [severity for severity, count in enumerate(COUNT_BY_SEVERITY) for _ in range(count)]
    plugins: list[Plugin] = []
    for number, check in enumerate(REMOTE_CHECKS):
        wanted.remove(check.severity)
        plugins.append(_remote(ids[number], number, check, rng))
    rng.shuffle(wanted)
    for number, severity in enumerate(wanted, start=len(plugins)):
        plugins.append(_local(ids[number], number, severity, rng))
    return tuple(plugins)


@cache
def plugins_of(platform: str) -> tuple[Plugin, ...]:
    """The plugins that can fire on a host of this platform: `linux`, `windows` or `any` (seen only from outside)."""
    return tuple(plugin for plugin in all_plugins() if plugin.platform in ("any", platform))


@cache
def plugin_by_id(plugin_id: int) -> Plugin | None:
    return next((plugin for plugin in all_plugins() if plugin.id == plugin_id), None)


def _remote(plugin_id: int, number: int, check: RemoteCheck, rng: random.Random) -> Plugin:
    scores = _scores(check.severity, bool(check.cves), number, rng)
    kind = "summary" if check.family == "Settings" else "remote"
    return Plugin(
        plugin_id,
        check.name,
        check.family,
        check.family_id,
        check.severity,
        kind,
        "any",
        check.services,
        check.cves,
        None,
        *scores,
        number,
    )


def _local(plugin_id: int, number: int, severity: int, rng: random.Random) -> Plugin:
    product = PRODUCTS[number % len(PRODUCTS)]
    cves = tuple(_cve(rng) for _ in range(rng.choice((1, 1, 1, 2, 3, 4, 6, 12)))) if severity else ()
    name, family, family_id = _local_title(product, severity, number, rng)
    services = SMB if product.platform == "windows" and number % 3 else NONE
    kind = "combined" if number % 19 == 0 else "local"
    scores = _scores(severity, bool(cves), number, rng)
    return Plugin(
        plugin_id, name, family, family_id, severity, kind, product.platform, services, cves, product, *scores, number
    )


def _local_title(product: Product, severity: int, number: int, rng: random.Random) -> tuple[str, str, int]:
    noun = "vulnerability" if number % 2 else "vulnerabilities"
    if severity == 0:
        return f"{product.name} Installed", "Windows" if product.platform == "windows" else "General", 20
    if product.vendor == "Microsoft" and product.name.startswith("Windows"):
        return (
            f"KB{rng.randint(5_030_000, 5_049_999)}: {product.name} Security Update",
            "Windows : Microsoft Bulletins",
            10,
        )
    if product.platform == "windows":
        return f"{product.name} < {product.fixed} Multiple Vulnerabilities", "Windows", 20
    match number % 3:
        case 0:
            return (
                f"Ubuntu 20.04 LTS / 22.04 LTS : {product.name} {noun} (USN-{rng.randint(5000, 6999)}-1)",
                "Ubuntu Local Security Checks",
                13,
            )
        case 1:
            return (
                f"Amazon Linux 2 : {product.name} (ALAS-2024-{rng.randint(2400, 2699)})",
                "Amazon Linux Local Security Checks",
                47,
            )
    return f"RHEL 8 : {product.name} (RHSA-2024:{rng.randint(100, 4999):04d})", "Red Hat Local Security Checks", 12


def _cve(rng: random.Random) -> str:
    # Numbers of six and more digits exist since 2014.
    number = rng.randint(100_000, 999_999) if rng.random() < 0.06 else rng.randint(1000, 52_999)
    return f"CVE-{rng.randint(2017, 2024)}-{number:04d}"


def _scores(
    severity: int, has_cve: bool, number: int, rng: random.Random
) -> tuple[float | None, float | None, float | None, float | None, float | None, float | None]:
    """cvss2, cvss3, cvss4, vpr, vpr_v2, epss. Ranges of CVSS v3 by severity as NVD rates them."""
    if severity == 0:
        return (None,) * 6
    low, high = ((0.1, 3.9), (0.1, 3.9), (4.0, 6.9), (7.0, 8.9), (9.0, 10.0))[severity]
    cvss3 = round(rng.uniform(low, high), 1)
    cvss2 = 9 if number % 9 == 0 else round(max(cvss3 - rng.uniform(0.0, 2.0), 0.1), 1)
    cvss4 = round(rng.uniform(low, high), 1) if number % 4 == 0 else None
    has_v3 = number % 13 != 5
    if not has_cve:
        return cvss2, cvss3 if has_v3 else None, None, None, None, None
    epss = round(min(rng.expovariate(1 / 6.0), 97.5), 3)
    vpr = round(min(max(cvss3 - rng.uniform(-0.5, 3.0), 0.1), 10.0), 1)
    vpr_v2 = round(rng.uniform(0.1, 9.9), 1) if number % 2 else None
    return cvss2, cvss3 if has_v3 else None, cvss4, vpr, vpr_v2, epss
