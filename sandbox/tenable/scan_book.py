"""Scans of the simulated Tenable and their runs, on its clock: a run passes through pending, running and publishing,
and ends as ordered.
"""

import hashlib
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sandbox.faults import Arguments, Fault

TEMPLATES = {
    "basic": ("Basic Network Scan", "731a8e52-3ea6-a291-ec0a-d2ff0619c19d7bd788d6be818b65"),
    "advanced": ("Advanced Network Scan", "ad629e16-03b6-8c1d-cef6-ef8c9dd3c658d24bd260ef5f9e66"),
    "discovery": ("Host Discovery", "d883b87b-a09d-4eea-89ae-317d2777ec4d08c3a05ec2812bcf"),
    "cloud_audit": ("Audit Cloud Infrastructure", "97f94b3b-f843-92d1-5e7a-df02f9dbfaaef40ae03bfdfa7239"),
}
FOLDERS = {11: "My Scans", 12: "Nightly"}
US_CLOUD_SCANNER = "00000000-0000-0000-0000-00000000000000000000000000001"
#: The most active runs, and the most configurations, of a container (API docs: scan limitations).
MOST_ACTIVE, MOST_SCANS = 25, 10_000
#: What can be ordered for the next run that is launched.
RUN_VERBS = {
    # It ends so instead of "completed"; `notes` are those of its results.
    "end": Arguments.of("how", optional=("notes",)),
    # It stays in this status.
    "stay": Arguments.of("how"),
    # It takes so many seconds longer.
    "late": Arguments.of("seconds"),
    # It appears in the history only after so many seconds.
    "history_late": Arguments.of("seconds"),
    # Its results report these plugins in addition to the usual one.
    "find": Arguments.of("plugins"),
    # AWS does not accept the keys of an audit: it is completed, without results.
    "wrong_keys": Arguments.of(),
    # None of its targets answers.
    "no_hosts": Arguments.of(),
    # It began so many seconds ago, and its results are archived after 35 days.
    "old": Arguments.of("seconds"),
}
_SHARES = (("pending", 0.2), ("running", 0.8), ("publishing", 1.0))
ENDED = frozenset({"completed", "canceled", "stopped", "aborted", "imported"})


@dataclass(slots=True)
class ScanRun:
    """One run.

    :ivar started: on the sandbox's clock.
    :ivar audit_asset: uuid of the asset that an AWS audit has results for.
    :ivar is_settled: whether these are among Tenable's results of audits.
    """

    uuid: str
    number: int
    started: float
    seconds: float
    targets: list[str]
    fault: Fault | None = None
    audit_asset: str | None = None
    is_settled: bool = False
    stopped_at: float | None = None
    forced: str | None = None

    def _order(self, verb: str) -> Fault | None:
        return self.fault if self.fault and self.fault.do == verb else None

    def status(self, now: float) -> str:
        """The status at a moment of the sandbox's clock."""
        if self.forced:
            return self.forced
        if self.stopped_at is not None:
            return "stopping" if now < self.stopped_at + self.seconds * 0.1 else "canceled"
        if order := self._order("stay"):
            return str(order.get("how"))
        elapsed = now - self.started
        for status, share in _SHARES:
            if elapsed < self.seconds * share:
                return status
        order = self._order("end")
        return str(order.get("how")) if order else "completed"

    def is_active(self, now: float) -> bool:
        return self.status(now) not in ENDED

    def is_listed(self, now: float) -> bool:
        """Whether its history entry is there."""
        order = self._order("history_late")
        return now - self.started >= (float(order.get("seconds")) if order else 0.0)

    def ended(self, now: float) -> int | None:
        status = self.status(now)
        if status not in ENDED or status == "aborted":
            return None
        return int(self.stopped_at or self.started + self.seconds)

    @property
    def notes(self) -> list[dict[str, Any]]:
        order = self._order("end")
        return [{"title": "Note", "message": text, "severity": 1} for text in (order.get("notes", []) if order else [])]

    @property
    def hosts(self) -> list[dict[str, Any]]:
        """The hosts that answered, each with the uuid that Tenable would give its asset."""
        if self._order("no_hosts") or self._order("wrong_keys"):
            return []
        if self.audit_asset:
            return [{"asset_id": 2, "host_id": 2, "uuid": self.audit_asset, "hostname": "127.0.0.1", "info": 1}]
        return [
            {
                "asset_id": number,
                "host_id": number,
                "uuid": str(uuid.uuid5(uuid.NAMESPACE_DNS, target)),
                "hostname": target,
                "critical": 1,
                "high": 2,
                "medium": 3,
                "low": 0,
                "info": 10,
            }
            for number, target in enumerate(self.targets, 2)
        ]

    @property
    def plugins(self) -> list[int]:
        order = self._order("find")
        return [19506, *(order.get("plugins") if order else [])]


@dataclass(slots=True)
class ScanConfig:
    """A scan as configured."""

    id: int
    uuid: str
    body: dict[str, Any]
    owner: str
    created: float
    remediation: bool = False
    runs: list[ScanRun] = field(default_factory=list)

    @property
    def settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = self.body["settings"]
        return settings

    @property
    def name(self) -> str:
        return str(self.settings["name"])

    @property
    def enabled(self) -> bool:
        # A scan without a schedule can be launched; one whose schedule is switched off cannot.
        return self.settings.get("enabled") is not False

    @property
    def targets(self) -> list[str]:
        return [each.strip() for each in str(self.settings.get("text_targets") or "").split(",") if each.strip()]

    def active(self, now: float) -> ScanRun | None:
        return next((run for run in reversed(self.runs) if run.is_active(now)), None)

    def listed(self, now: float) -> list[ScanRun]:
        """The runs in the history, newest first."""
        return [run for run in reversed(self.runs) if run.is_listed(now)]

    def status(self, now: float) -> str:
        """The status of the newest run."""
        return self.runs[-1].status(now) if self.runs else "empty"


@dataclass(slots=True)
class ScanFile:
    """An export of a run. :ivar begun: on the sandbox's clock."""

    id: str
    scan: ScanConfig
    run: ScanRun
    format: str
    body: dict[str, Any]
    begun: float
    seconds: float
    fault: Fault | None = None

    def status(self, now: float) -> str:
        if now - self.begun < self.seconds:
            return "loading"
        return "error" if self.fault and self.fault.do == "error" else "ready"

    @property
    def content(self) -> bytes:
        if self.fault and self.fault.do == "empty":
            return b""
        if self.format == "nessus":
            hosts = "".join(f'<ReportHost name="{host["hostname"]}"/>' for host in self.run.hosts)
            return f'<?xml version="1.0" ?><NessusClientData_v2>{hosts}</NessusClientData_v2>\n'.encode()
        if self.format == "csv":
            return "".join(f"19506,{host['hostname']}\r\n" for host in self.run.hosts).encode() or b"Plugin ID,Host\r\n"
        return random.Random(self.id).randbytes(300_000)


class ScanBook:
    """All scans, runs and exports of the container.

    :param now: the sandbox's clock
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._rng = random.Random("scans")
        self.scans: dict[int, ScanConfig] = {}
        self.files: dict[str, ScanFile] = {}
        self.uploads: dict[str, bytes] = {}
        self._next_scan, self._next_run = 36, 10_535_512

    def add(self, body: dict[str, Any], owner: str, *, remediation: bool = False) -> ScanConfig:
        """A new configuration."""
        tail = self._rng.randbytes(6).hex()
        config = ScanConfig(self._next_scan, f"template-{self._uuid()}{tail}aa", body, owner, self._now(), remediation)
        self._next_scan += 1
        self.scans[config.id] = config
        return config

    def find(self, reference: str) -> ScanConfig | None:
        """A scan by number or schedule uuid."""
        return next((each for each in self.scans.values() if reference in (str(each.id), each.uuid)), None)

    def active(self) -> int:
        """How many runs are active."""
        return sum(run.is_active(self._now()) for config in self.scans.values() for run in config.runs)

    def launch(
        self,
        config: ScanConfig,
        seconds: float,
        targets: list[str] | None,
        fault: Fault | None,
        *,
        shares_audit_asset: bool = False,
    ) -> ScanRun:
        """A new run."""
        started = self._now()
        if fault and fault.do == "late":
            seconds += float(fault.get("seconds"))
        if fault and fault.do == "old":
            started -= float(fault.get("seconds"))
        run = ScanRun(self._uuid(), self._next_run, started, seconds, targets or config.targets, fault)
        if config.body["uuid"] == TEMPLATES["cloud_audit"][1]:
            asset = "127.0.0.1" if shares_audit_asset else f"127.0.0.1/{config.uuid}"
            run.audit_asset = str(uuid.uuid5(uuid.NAMESPACE_DNS, asset))
        self._next_run += 1
        config.runs.append(run)
        return run

    def export(
        self, config: ScanConfig, run: ScanRun, body: dict[str, Any], seconds: float, fault: Fault | None
    ) -> ScanFile:
        """An export; the same request gives the same file."""
        kind, marks = str(body["format"]), ""
        filters = {name: value for name, value in body.items() if name.startswith("filter.")}
        if filters:
            marks += f"-F:{_hash(filters)}"
        if body.get("chapters"):
            marks += f"-C:{_hash(body['chapters'])}"
        prefix = "SSEF" if filters else "SSEUF" if marks else "SSE"
        asset = f"-{_hash(body['asset_id'])}" if body.get("asset_id") else ""
        file_id = f"{prefix}-{run.uuid}{marks}{asset}-{kind}"
        known = self.files.get(file_id)
        if known is None or known.status(self._now()) == "error":
            self.files[file_id] = ScanFile(file_id, config, run, kind, body, self._now(), seconds, fault)
        return self.files[file_id]

    def _uuid(self) -> str:
        return str(uuid.UUID(bytes=self._rng.randbytes(16), version=4))


def _hash(value: Any) -> str:
    text = hashlib.sha256(repr(value).encode()).hexdigest()
    return f"{text[:8]}-{text[8:11]}-{text[11:14]}-{text[14:16]}-{text[16:27]}"
