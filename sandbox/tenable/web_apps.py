"""Web applications, and what Tenable Web App Scanning found in them. Only asset exports of v2 have them (webapp)."""

import random
import uuid
from dataclasses import dataclass, field, replace
from typing import Any

from sandbox.clock import DAY
from sandbox.tenable.hosts import Host, HostState, generate_host
from sandbox.tenable.vulnerabilities import FIXED, NONE, OPEN, REOPENED
from sandbox.tenable.web_plugins import WEB_PLUGINS, WebPlugin

HOUR = 3600.0
SCANNED_A_DAY = 0.5
FIXED_AT_SCAN, REOPENED_AT_SCAN, FOUND_AT_SCAN = 0.1, 0.1, 0.5
PUBLISHED_AFTER = 15 * 60.0
_MOST_APPS, _FINDINGS = 20, (6, 24)
_PATHS = ("/", "/login", "/search", "/contact.php", "/api/v1/orders", "/shop/cart", "/admin/", "/static/app.js")
_INPUTS = ("q", "user", "id", "redirect")


@dataclass(frozen=True, slots=True)
class WebFinding:
    """One finding at one moment. A change makes a new object, so an export's snapshot stays as it was.

    Times are whole unix seconds, as Tenable's example has them.

    :ivar input: the name of the input that is vulnerable; empty for what is about a whole page
    """

    app: Host
    plugin: WebPlugin
    path: str
    input: str
    severity_id: int
    state: str
    first_found: float
    last_found: float
    indexed: float
    last_fixed: float | None = None
    modification: str = NONE
    recast_reason: str | None = None

    @property
    def url(self) -> str:
        return f"https://{fqdn_of(self.app)}{self.path}"

    @property
    def finding_id(self) -> str:
        """Stable over the finding's life: asset, plugin, place."""
        return str(uuid.uuid5(uuid.UUID(self.app.asset_id), f"{self.plugin.id}/{self.path}/{self.input}"))


@dataclass(slots=True)
class WebApps:
    """All applications and their findings, by asset id. Applications are numbered by their birth."""

    seed: int
    accounts: tuple[str, ...]
    regions: tuple[str, ...]
    apps: dict[str, Host] = field(default_factory=dict)
    states: dict[str, HostState] = field(default_factory=dict)
    findings: dict[str, list[WebFinding]] = field(default_factory=dict)
    born: int = 0
    slices: int = 0

    def populate(self, hosts: int, now: float) -> None:
        """The applications at the start: one for 20 hosts, two at least."""
        for _ in range(min(max(hosts // 20, 2), _MOST_APPS)):
            rng = random.Random(f"{self.seed}/web app/{self.born}")
            scan = now - rng.uniform(4 * HOUR, 20 * DAY)
            asset_id = self.launch(rng.randint(*_FINDINGS), scan, scan + PUBLISHED_AFTER)
            self.findings[asset_id] = [_with_history(rng, found) for found in self.findings[asset_id]]

    def launch(self, findings: int, scan: float, indexed: float) -> str:
        """A new application, scanned once; returns its asset id."""
        number = self.born
        rng = random.Random(f"{self.seed}/web app/{number}/asset")
        app = generate_host(
            rng, number, "webapp", accounts=self.accounts, regions=self.regions, created_at=float(int(scan - DAY))
        )
        # Every third is not licensed: exported only where the request asks for such.
        app = replace(app, name=f"app-{number:03d}", time_digits=0, is_licensed=number % 3 != 2)
        self.born += 1
        self.apps[app.asset_id] = app
        self.states[app.asset_id] = HostState(float(int(scan)), float(int(indexed)))
        self.findings[app.asset_id] = []
        for _ in range(findings):
            self.find(rng, app.asset_id, scan, indexed)
        return app.asset_id

    def find(self, rng: random.Random, asset_id: str, scan: float, indexed: float) -> WebFinding | None:
        """Something new in an application; None if it has everything already."""
        app, known = self.apps[asset_id], {found.finding_id for found in self.findings[asset_id]}
        for _ in range(20):
            plugin = rng.choice(WEB_PLUGINS)
            place = (rng.choice(_PATHS), rng.choice(_INPUTS) if plugin.is_injection else "")
            scanned = float(int(scan))
            found = WebFinding(app, plugin, *place, plugin.severity_id, OPEN, scanned, scanned, float(int(indexed)))
            if found.finding_id not in known:
                self.findings[asset_id].append(found)
                return found
        return None

    def touch(self, asset_id: str, scan: float, indexed: float) -> None:
        """An application was scanned."""
        state = self.states[asset_id]
        self.states[asset_id] = replace(state, last_scan=max(float(int(scan)), state.last_scan), updated_at=indexed)

    def delete(self, asset_id: str, now: float) -> None:
        """Its findings are forgotten, and never exported as fixed."""
        at = float(int(now))
        self.states[asset_id] = replace(self.states[asset_id], deleted_at=at, updated_at=at)
        self.findings[asset_id] = []

    def forget(self, asset_id: str) -> None:
        """No export mentions it any more, not even as deleted."""
        del self.apps[asset_id], self.states[asset_id], self.findings[asset_id]

    def age_out(self, before: float) -> int:
        aged = [asset_id for asset_id, state in self.states.items() if state.last_scan < before]
        for asset_id in aged:
            self.forget(asset_id)
        return len(aged)

    def evolve(self, begin: float, until: float) -> None:
        """Let time pass: scans that see findings again, or miss them, or find new ones. Nothing is published before
        `begin`.
        """
        while begin < until:
            end = min(begin + DAY, until)
            rng = random.Random(f"{self.seed}/web apps/{self.slices}")
            for asset_id in list(self.apps):
                if rng.random() < SCANNED_A_DAY * (end - begin) / DAY and self.states[asset_id].deleted_at is None:
                    self._scan(rng, asset_id, begin, end)
            begin = end
            self.slices += 1

    def _scan(self, rng: random.Random, asset_id: str, begin: float, end: float) -> None:
        latest = end - PUBLISHED_AFTER - 1
        if latest <= begin + 1:
            return
        scan = float(int(rng.uniform(begin + 1, latest)))
        indexed = scan + PUBLISHED_AFTER
        self.findings[asset_id] = [_seen_again(rng, found, scan, indexed) for found in self.findings[asset_id]]
        if rng.random() < FOUND_AT_SCAN:
            self.find(rng, asset_id, scan, indexed)
        self.touch(asset_id, scan, indexed)

    def truth(self) -> dict[str, list[dict[str, Any]]]:
        """From the objects, and not from their rendered form."""
        return {
            "was": [_truth_of(found) for of_app in self.findings.values() for found in of_app],
            "web_apps": [
                {
                    "asset_id": app.asset_id,
                    "fqdn": fqdn_of(app),
                    "is_licensed": app.is_licensed,
                    "deleted_at": self.states[app.asset_id].deleted_at,
                }
                for app in self.apps.values()
            ],
        }


def fqdn_of(app: Host) -> str:
    """The name of an application's host, the same as in the asset export."""
    return f"{app.name}.internal.example.com"


def _with_history(rng: random.Random, found: WebFinding) -> WebFinding:
    """Found before the last scan, and some of it fixed by that, or back with it."""
    before = float(int(found.last_found - rng.uniform(5, 90) * DAY))
    match rng.randrange(8):
        case 0:
            return replace(found, state=FIXED, first_found=before, last_found=before, last_fixed=found.last_found)
        case 1:
            return replace(found, state=REOPENED, first_found=before)
        case 2 | 3 | 4:
            return replace(found, first_found=before)
    return found


def _seen_again(rng: random.Random, before: WebFinding, scan: float, indexed: float) -> WebFinding:
    chance = rng.random()
    if before.state == FIXED:
        return reopened(before, scan, indexed) if chance < REOPENED_AT_SCAN else before
    return fixed(before, scan, indexed) if chance < FIXED_AT_SCAN else rescanned(before, scan, indexed)


def fixed(before: WebFinding, scan: float, indexed: float) -> WebFinding:
    return replace(before, state=FIXED, last_fixed=scan, indexed=indexed)


def reopened(before: WebFinding, scan: float, indexed: float) -> WebFinding:
    return replace(before, state=REOPENED, last_fixed=None, last_found=scan, indexed=indexed)


def rescanned(before: WebFinding, scan: float, indexed: float) -> WebFinding:
    return replace(before, last_found=scan, indexed=indexed)


def _truth_of(found: WebFinding) -> dict[str, Any]:
    return {
        "finding_id": found.finding_id,
        "asset_id": found.app.asset_id,
        "fqdn": fqdn_of(found.app),
        "is_licensed": found.app.is_licensed,
        "url": found.url,
        "plugin_id": found.plugin.id,
        "severity_id": found.severity_id,
        "state": found.state,
        "severity_modification_type": found.modification,
        "first_found": found.first_found,
        "last_found": found.last_found,
        "last_fixed": found.last_fixed,
        "indexed": found.indexed,
    }
