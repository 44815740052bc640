"""Runs of scans: launch, status, results, stop.

.. seealso:: https://developer.tenable.com/docs/scan-status-tio
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable.exceptions import (
    CapacityError,
    ConflictError,
    NotFoundError,
    TemporaryError,
    TenablePermissionError,
    TenableProviderError,
)
from airflow_provider_tenable.tenable_vm.calls import Caller, Special
from airflow_provider_tenable.tenable_vm.http_time import http_date
from airflow_provider_tenable.tenable_vm.json_fields import number, object_in, objects, objects_in, text
from airflow_provider_tenable.tenable_vm.scan_ids import is_long_id, is_schedule_uuid, run_path, scan_path
from airflow_provider_tenable.tenable_vm.scans import NEEDS, Scan

if TYPE_CHECKING:
    from tenable.io import TenableIO

#: The runs that are active in a container at the same time (API docs: scan limitations).
MOST_ACTIVE = 25
#: The newest runs that a page of the history contains.
_PAGE = 50
#: ``severity`` of a compliance check -> what it means.
_COMPLIANCE = {3: "failed", 2: "warning", 1: "passed"}


@dataclass(frozen=True)
class Run:
    """One run of a scan.

    :ivar history_id: the number that exports ask for.
    :ivar started: unix seconds, as ``ended``. A run that was aborted may have no end.
    """

    uuid: str
    status: str
    history_id: int | None = None
    started: float | None = None
    ended: float | None = None


@dataclass(frozen=True)
class LatestStatus:
    """The status of a scan's newest run, whoever launched it.

    :ivar at: Tenable's clock, in unix seconds, from the response's Date header.
    """

    status: str
    at: float | None


@dataclass(frozen=True)
class Host:
    """A host in a run's results. :ivar uuid: of its asset; old results have none."""

    name: str
    uuid: str | None
    host_id: int | None


@dataclass(frozen=True)
class Results:
    """The results of a run (``GET /scans/{id}``). Archived runs (older than 35 days) have no hosts.

    :ivar severities: number of results by severity: critical, high, medium, low, info.
    :ivar compliance: number of checks: failed, warning, passed.
    :ivar plugins: the ids of plugins that reported something.
    :ivar notes: Tenable's remarks on the run, such as why it was aborted.
    """

    status: str
    run_uuid: str | None
    hosts: list[Host] = field(default_factory=list)
    severities: Mapping[str, int] = field(default_factory=dict)
    compliance: Mapping[str, int] = field(default_factory=dict)
    plugins: frozenset[int] = frozenset()
    notes: list[str] = field(default_factory=list)
    is_archived: bool = False
    scanner: str = ""
    scan_type: str = ""


class ScanRunsApi:
    """Calls about runs. Parameters as in :class:`~airflow_provider_tenable.tenable_vm.scans.ScansApi`."""

    def __init__(self, client: TenableIO, *, once: TenableIO, name: str) -> None:
        self._client = client
        self._once = once
        self._name = name
        self._calls = Caller(client, name=name, needs=NEEDS)
        self._calls_once = Caller(once, name=name, needs=NEEDS, repeats=0)

    def launch(self, scan: Scan, targets: list[str] | None = None) -> str:
        """Launch a scan. Never repeated by the client: a second POST starts a second run.

        :param targets: scanned instead of the scan's own.
        :return: the run's uuid.
        :raises ConflictError: a run is active (409).
        :raises CapacityError: no further run can start now (429).
        :raises ConfigurationError: Tenable refuses the launch.
        :raises TemporaryError: any other: it is unknown whether a run was launched.
        """
        answer = self._calls_once.json(
            f"launch scan {scan.label}",
            self._once.post,
            f"{scan_path(scan.schedule_uuid)}/launch",
            json={"alt_targets": list(targets)} if targets else {},
            special=Special(error_of=self._disabled(scan), by_status={429: CapacityError, 409: ConflictError}),
        )
        run_uuid = object_in(answer, "the launched run").get("scan_uuid")
        if not is_long_id(run_uuid):
            raise TemporaryError("Tenable's response to the launch of a scan contains no uuid of the run.")
        return str(run_uuid)

    def history(self, scan: Scan) -> list[Run]:
        """The newest runs, newest first. Runs without a valid uuid are left out."""
        answer = self._calls.json(
            f"list the runs of scan {scan.label}",
            self._client.get,
            f"{scan_path(scan.schedule_uuid)}/history",
            params={"limit": _PAGE, "offset": 0, "sort": "start_date:DESC"},
        )
        listed = objects_in(answer, "history", "runs")
        return [
            Run(
                uuid=str(item["scan_uuid"]),
                status=text(item.get("status"), 40).lower(),
                history_id=number(item.get("id")),
                started=_time(item.get("time_start")),
                ended=_time(item.get("time_end")),
            )
            for item in listed
            if is_long_id(item.get("scan_uuid"))
        ]

    def run(self, scan: Scan, run_uuid: str) -> Run | None:
        """A run's entry in the history; None if there is none (yet). Tenable does not say when an entry appears.

        It looks among the newest runs first: pyTenable logs an error for each 404 of :meth:`entry`.
        """
        newest = self.history(scan)
        found = next((run for run in newest if run.uuid == run_uuid and run.status), None)
        return found if found or len(newest) < _PAGE else self.entry(scan, run_uuid)

    def entry(self, scan: Scan, run_uuid: str) -> Run | None:
        """One entry of the history, however old; None if there is none."""
        try:
            answer = self._calls.json(
                f"look up a run of scan {scan.label}", self._client.get, run_path(scan.schedule_uuid, run_uuid)
            )
        except NotFoundError:
            return None
        entry = object_in(answer, "a run")
        status = text(entry.get("status"), 40).lower()
        if not status:
            raise TemporaryError(f"Tenable's response about run {run_uuid} contains no status.")
        return Run(
            uuid=run_uuid,
            status=status,
            history_id=number(entry.get("object_id")),
            started=_time(entry.get("scan_start")),
            ended=_time(entry.get("scan_end")),
        )

    def latest_status(self, scan: Scan) -> LatestStatus:
        """The status of the scan's newest run; ``empty`` if it has never run."""
        answer, headers = self._calls.answer(
            f"poll scan {scan.label}", self._client.get, f"{scan_path(scan.schedule_uuid)}/latest-status"
        )
        status = text(object_in(answer, "the status of a scan").get("status"), 40).lower()
        if not status:
            raise TemporaryError(f"Tenable's response about the status of scan {scan.label} contains no status.")
        return LatestStatus(status, http_date(headers.get("Date")))

    def results(self, scan: Scan, run: Run | None = None) -> Results:
        """The results of a run, or of the newest one."""
        history = (run.history_id or run.uuid) if run else None
        answer = self._calls.json(
            f"read the results of scan {scan.label}",
            self._client.get,
            scan_path(scan.schedule_uuid),
            params={"history_id": history} if history else {},
        )
        return _results(object_in(answer, "the results of a scan"))

    def active(self) -> int | None:
        """The number of active runs in the container; None if the user may not count them, or Tenable does not say."""
        try:
            answer = self._calls.json(
                "count the active scans", self._client.get, "scans/count", params={"active": "true"}
            )
        except (NotFoundError, TenablePermissionError):
            return None
        return number(object_in(answer, "the number of active scans").get("count"))

    def stop(self, scan: Scan) -> bool:
        """Stop the scan's active run, whoever launched it. :return: False if none can be stopped (409)."""
        return self._steer(scan, "stop")

    def force_stop(self, scan: Scan) -> bool:
        """End a run that is stopping or publishing: its finished parts are indexed, and it becomes aborted."""
        if not is_schedule_uuid(scan.schedule_uuid):
            return False
        return self._steer(scan, "force-stop")

    def _steer(self, scan: Scan, action: str) -> bool:
        try:
            self._calls.done(
                f"{action} scan {scan.label}", self._client.post, f"{scan_path(scan.schedule_uuid)}/{action}"
            )
        except (ConflictError, NotFoundError):
            return False
        return True

    def _disabled(self, scan: Scan) -> Any:
        def error_of(status: int, _text: str) -> TenableProviderError | None:
            if status != 403:
                return None
            return TenablePermissionError(
                f"Scan {scan.label} is disabled, or the API user of {self._name} lacks 'Can Execute' on it. "
                "Enable the scan, or share it with the user."
            )

        return error_of


def _results(answer: dict[str, Any]) -> Results:
    info = answer.get("info")
    info = info if isinstance(info, dict) else {}
    hosts = objects(answer.get("hosts"))
    compliance = objects(answer.get("compliance"))
    severities = {
        name: sum(number(host.get(name)) or 0 for host in hosts)
        for name in ("critical", "high", "medium", "low", "info")
    }
    plugins = (number(item.get("plugin_id")) for item in objects(answer.get("vulnerabilities")))
    return Results(
        status=text(info.get("status"), 40).lower(),
        run_uuid=info["uuid"] if is_long_id(info.get("uuid")) else None,
        hosts=[
            Host(
                text(host.get("hostname")),
                host["uuid"] if is_long_id(host.get("uuid")) else None,
                number(host.get("host_id")),
            )
            for host in hosts
        ],
        severities=severities,
        compliance={
            meaning: sum(number(item.get("count")) or 0 for item in compliance if item.get("severity") == severity)
            for severity, meaning in _COMPLIANCE.items()
        },
        plugins=frozenset(plugin for plugin in plugins if plugin is not None),
        notes=[_note(note) for note in objects(answer.get("notes"))],
        is_archived=info.get("is_archived") is True,
        scanner=text(info.get("scanner_name"), 100),
        scan_type=text(info.get("scan_type"), 40),
    )


def _note(note: dict[str, Any]) -> str:
    return ": ".join(part for part in (text(note.get("title"), 200), text(note.get("message"), 500)) if part)


def _time(value: Any) -> float | None:
    seconds = number(value)
    return float(seconds) if seconds else None
