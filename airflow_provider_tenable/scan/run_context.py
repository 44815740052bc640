"""What the steps of a run share: the scan, the client, the settings, and the recorded state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from airflow_provider_tenable.scan.run_settings import RunSettings, Waiting
from airflow_provider_tenable.scan.run_state import RunState
from airflow_provider_tenable.scan.status import MISSING, is_active
from airflow_provider_tenable.tenable_vm.scan_runs import LatestStatus, Results, Run
from airflow_provider_tenable.tenable_vm.scans import Scan


class RunsClient(Protocol):
    """What the machine needs of Tenable; see :class:`~airflow_provider_tenable.tenable_vm.scan_runs.ScanRunsApi`."""

    def launch(self, scan: Scan, targets: list[str] | None = None) -> str: ...
    def history(self, scan: Scan) -> list[Run]: ...
    def run(self, scan: Scan, run_uuid: str) -> Run | None: ...
    def latest_status(self, scan: Scan) -> LatestStatus: ...
    def results(self, scan: Scan, run: Run | None = None) -> Results: ...
    def active(self) -> int | None: ...
    def stop(self, scan: Scan) -> bool: ...


class StateStore(Protocol):
    """Stores the state of one task's run."""

    def load(self) -> RunState | None: ...
    def save(self, state: RunState) -> None: ...


def status_now(client: RunsClient, scan: Scan, run_uuid: str) -> str:
    """The status of a run, for the trigger: from its entry in the history, or from the scan while there is none."""
    run = client.run(scan, run_uuid)
    if run is not None:
        return run.status
    latest = client.latest_status(scan).status
    return latest if is_active(latest) else MISSING


def is_ours(client: RunsClient, scan: Scan, run_uuid: str) -> bool:
    """Whether this run is the scan's active one. Tenable stops whatever run of the scan is active."""
    run = client.run(scan, run_uuid)
    return is_active(run.status) if run else client.results(scan).run_uuid == run_uuid


@dataclass
class RunContext:
    """The scan of a run, and the state of the run.

    :ivar targets: scanned instead of the scan's own.
    :ivar now: our clock, in unix seconds.
    """

    scan: Scan
    targets: list[str] | None
    client: RunsClient
    store: StateStore
    settings: RunSettings
    now: Callable[[], float]
    state: RunState

    def save(self) -> None:
        """Record the state."""
        self.store.save(self.state)

    def waiting(self, seconds: float) -> Waiting:
        """The outcome of a step that has nothing to do."""
        return Waiting(seconds, self.state.run_uuid, self.state.status)

    def stop(self) -> bool:
        """Stop the run, if it is active and this task launched it. :return: whether it was stopped."""
        run_uuid = self.state.run_uuid
        if run_uuid is None or self.state.adopted or self.state.result is not None or self.state.failure:
            return False
        return is_ours(self.client, self.scan, run_uuid) and self.client.stop(self.scan)
