"""The hosts of the estate: mostly EC2 instances, and the others that a real estate has among them."""

import random
import uuid
from dataclasses import dataclass

DAY = 86_400.0
DEFAULT_NETWORK = "00000000-0000-0000-0000-000000000000"
FOREIGN_ACCOUNT = "999900001111"
"""An AWS account that Tenable sees, but that the customer has not configured."""

SPECIAL_KINDS = {
    # share of the estate, and what is special
    "on_prem": 0.04,  # no `cloud` at all
    "azure": 0.015,
    "gcp": 0.015,
    "webapp": 0.01,  # `cloud.aws` with a bogus instance id, as in Tenable's own published example
    "foreign_account": 0.02,  # an EC2 instance of an account that is not configured
    "ec2_zone_only": 0.02,  # availability zone, but no region
    "no_owner": 0.015,  # EC2 attributes without owner_id
    "canonical_owner": 0.01,  # owner_id as the schema text describes it: 64 hex digits
    "ec2_many_ips": 0.01,  # more IPv4 addresses than Security Hub takes
}
ROUTABLE_KINDS = ("ec2", "ec2_zone_only", "ec2_many_ips")
"""Kinds of EC2 instances whose account and region Tenable exports."""
EC2_KINDS = (*ROUTABLE_KINDS, "foreign_account", "no_owner", "canonical_owner")

_LINUX = (
    "Linux Kernel 5.15.0-1051-aws on Ubuntu 22.04",
    "Linux Kernel 5.10.205-195.807.amzn2.x86_64",
    "Red Hat Enterprise Linux 8.9",
)
_WINDOWS = ("Microsoft Windows Server 2019 Datacenter", "Microsoft Windows Server 2022 Datacenter")
_ROLES = ("web", "api", "db", "batch", "cache", "bastion", "build", "queue")
_TYPES = ("t3.micro", "t3.large", "m5.xlarge", "c6i.2xlarge", "r6g.large", "i-metal.24xlarge")
_ENVIRONMENTS = ("prod", "staging", "dev")


@dataclass(frozen=True, slots=True)
class Host:
    """What does not change about a host. Account, region and instance are the true ones, whatever Tenable exports."""

    asset_id: str
    kind: str
    number: int
    name: str
    platform: str
    operating_system: str
    account: str | None
    region: str | None
    zone: str | None
    instance_id: str | None
    ipv4s: tuple[str, ...]
    ipv6s: tuple[str, ...]
    mac: str
    is_licensed: bool
    acr: int | None
    has_agent: bool
    tags: tuple[tuple[str, str], ...]
    resource_tags: tuple[tuple[str, str], ...]
    created_at: float
    time_digits: int
    """How many fractional digits this host's scan times have in exports: 0, 3 or 6."""
    ami: str = ""
    vpc: str = ""
    subnet: str = ""
    instance_type: str = ""
    arn: str = ""
    """What Tenable calls the resource, where it says so; by order only."""
    attributes: tuple[str, ...] = ()
    """Values of custom attributes."""
    network_id: str = DEFAULT_NETWORK


@dataclass(frozen=True, slots=True)
class HostState:
    """What changes about a host; a change makes a new object, so that an export's snapshot stays as it was."""

    last_scan: float
    updated_at: float
    terminated_at: float | None = None
    deleted_at: float | None = None
    is_hidden: bool = False
    """Left out of asset exports: scanned, but its asset is not published yet."""
    is_hidden_singly: bool = False
    """Not answered by GET /assets/{id} either."""


def kinds_of(hosts: int) -> list[str]:
    """The kind of each host of an estate of this size. From 40 hosts on every kind is there at least once."""
    specials: list[str] = []
    for kind, share in SPECIAL_KINDS.items():
        specials += [kind] * (max(round(hosts * share), 1) if hosts >= 40 else 0)
    if hosts < 40:
        specials = list(SPECIAL_KINDS)[: hosts // 3]
    kinds = ["ec2"] * hosts
    # Anywhere, or a regular distance would hit one account and region only.
    for position, kind in zip(random.Random(hosts).sample(range(hosts), len(specials)), specials, strict=True):
        kinds[position] = kind
    return kinds


def generate_host(
    rng: random.Random,
    number: int,
    kind: str,
    *,
    accounts: tuple[str, ...],
    regions: tuple[str, ...],
    created_at: float,
) -> Host:
    """One host. Accounts and regions are filled evenly, by the host's number."""
    platform = _platform(rng, kind)
    account = accounts[number % len(accounts)]
    region = regions[number // len(accounts) % len(regions)]
    is_ec2 = kind in EC2_KINDS
    addresses = 14 if kind == "ec2_many_ips" else rng.choice((1, 1, 1, 2, 2, 3))
    role, environment = rng.choice(_ROLES), rng.choice(_ENVIRONMENTS)
    return Host(
        asset_id=str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        kind=kind,
        number=number,
        name=f"{environment}-{role}-{number:04d}",
        platform=platform,
        operating_system=rng.choice(_WINDOWS if platform == "windows" else _LINUX),
        account=_account(kind, account) if is_ec2 else None,
        region=region if is_ec2 else None,
        zone=region + rng.choice("abc") if is_ec2 else None,
        instance_id=f"i-{rng.getrandbits(68):017x}" if is_ec2 else None,
        ipv4s=tuple(f"10.{number // 250 % 250}.{number % 250}.{10 + index}" for index in range(addresses))
        + ((f"203.0.113.{number % 250}",) if rng.random() < 0.3 else ()),
        ipv6s=(f"2001:db8:{number:x}::{rng.getrandbits(16):x}",) if rng.random() < 0.15 else (),
        mac=":".join(f"{byte:02x}" for byte in (0x02, *rng.randbytes(5))),
        is_licensed=not (is_ec2 and rng.random() < 0.05),
        acr=rng.randint(1, 10) if rng.random() < 0.6 else None,
        has_agent=rng.random() < 0.4,
        tags=(("Environment", environment), ("Owner", rng.choice(("payments", "search", "platform"))))
        if rng.random() < 0.4
        else (),
        resource_tags=(
            ("Name", f"{environment}-{role}"),
            ("cost-centre", f"cc-{rng.randint(100, 999)}"),
            ("empty", ""),
        )[: rng.randint(1, 3)]
        # AWS's own tags stand among the others.
        + ((("aws:autoscaling:groupName", f"{environment}-{role}"),) if number % 6 == 0 else ())
        if is_ec2
        else (),
        created_at=created_at,
        time_digits=rng.choice((0, 3, 3, 3, 3, 3, 3, 3, 3, 6)),
        ami=f"ami-{rng.getrandbits(68):017x}",
        vpc=f"vpc-{rng.getrandbits(68):017x}",
        subnet=f"subnet-{rng.getrandbits(68):017x}",
        instance_type=rng.choice(_TYPES[:5]),
    )


def _platform(rng: random.Random, kind: str) -> str:
    if kind == "webapp":
        return "any"
    return "windows" if rng.random() < 0.35 else "linux"


def _account(kind: str, account: str) -> str:
    return FOREIGN_ACCOUNT if kind == "foreign_account" else account


def known_account(host: Host) -> str | None:
    """The account as Tenable exports it: 12 digits or nothing."""
    return None if host.kind in ("no_owner", "canonical_owner") else host.account


def network_name(host: Host) -> str:
    """The name of its network."""
    return "Default" if host.network_id == DEFAULT_NETWORK else f"Network {host.network_id[:8]}"
