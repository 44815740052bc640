"""Launches a scan once.

A launch is not idempotent, and its response is the only handle on the run. So a note is written before it, and if the
response is lost, the run is looked for in the scan's history before the scan is launched again.
"""

from __future__ import annotations

import logging

from airflow_provider_tenable.exceptions import (
    CapacityError,
    ConfigurationError,
    ConflictError,
    ScanFailedError,
    TemporaryError,
)
from airflow_provider_tenable.scan.crash_points import ScanCrashPoint
from airflow_provider_tenable.scan.run_context import RunContext
from airflow_provider_tenable.scan.run_settings import (
    ADOPT,
    CLOCK_SLACK,
    FAIL,
    GRACE,
    LOST_LAUNCHES,
    SEARCH_INTERVAL,
    Waiting,
)
from airflow_provider_tenable.scan.run_state import Launching
from airflow_provider_tenable.scan.status import ENDED, LOST, is_active
from airflow_provider_tenable.scan.texts import duration
from airflow_provider_tenable.staging.crash_points import reached
from airflow_provider_tenable.tenable_vm.scan_runs import MOST_ACTIVE
from airflow_provider_tenable.tenable_vm.times import utc

log = logging.getLogger(__name__)


class Launch:
    """The first part of a run: until its uuid is recorded."""

    def __init__(self, run: RunContext) -> None:
        self._run = run

    def step(self) -> Waiting:
        """Launch the scan, or find the run of a launch that is not recorded."""
        if self._run.state.launching:
            return self._search(self._run.state.launching)
        latest = self._run.client.latest_status(self._run.scan)
        if is_active(latest.status):
            return self._occupied(latest.status)
        known = [run.uuid for run in self._run.client.history(self._run.scan)]
        return self._launch(Launching(latest.at, known, self._run.now()))

    def _launch(self, launching: Launching) -> Waiting:
        launching.tried_at = self._run.now()
        self._run.state.launching = launching
        self._run.save()
        reached(ScanCrashPoint.LAUNCH_NOTED)
        try:
            run_uuid = self._run.client.launch(self._run.scan, self._run.targets)
        except CapacityError as error:
            self._forget(launching)
            return self._no_capacity(error)
        except ConflictError:
            if launching.lost:
                # An earlier launch without a response has come through after all.
                return self._run.waiting(SEARCH_INTERVAL)
            self._forget(launching)
            return self._occupied(self._run.client.latest_status(self._run.scan).status)
        except ConfigurationError:
            self._forget(launching)
            raise
        except TemporaryError as error:
            log.warning("%s It is not known whether a run was launched: looking for it.", error)
            return self._run.waiting(SEARCH_INTERVAL)
        reached(ScanCrashPoint.LAUNCHED)
        return self._record(run_uuid)

    def _search(self, launching: Launching) -> Waiting:
        """Find the run of a launch that was not recorded."""
        for run in reversed(self._run.client.history(self._run.scan)):
            is_earlier = run.started and launching.at and run.started < launching.at - CLOCK_SLACK
            if run.uuid not in launching.known and not is_earlier:
                return self._record(run.uuid, found=True)
        latest = self._run.client.latest_status(self._run.scan)
        if is_active(latest.status):
            newest = self._active_run()
            if newest and newest not in launching.known:
                return self._record(newest, found=True)
            return self._run.waiting(SEARCH_INTERVAL)
        if self._run.now() - launching.tried_at < GRACE:
            return self._run.waiting(SEARCH_INTERVAL)
        launching.lost += 1
        if launching.lost >= LOST_LAUNCHES:
            self._run.state.launching = None
            self._run.save()
            raise ScanFailedError(
                f"Scan {self._run.scan.label} was launched {LOST_LAUNCHES} times, Tenable did not answer, and no run "
                "appeared. Look into Tenable's status page and the proxy's logs, and clear the task.",
                status=LOST,
            )
        log.warning("No run of scan %s has appeared in %s: launching it again.", self._run.scan.label, duration(GRACE))
        return self._launch(launching)

    def _record(self, run_uuid: str, *, found: bool = False, adopted: bool = False) -> Waiting:
        self._run.state.run_uuid = run_uuid
        self._run.state.adopted = adopted
        self._run.state.launching = self._run.state.waiting_since = None
        self._run.state.launched_at = self._run.now()
        self._run.save()
        reached(ScanCrashPoint.RUN_RECORDED)
        how = "Waiting for" if adopted else "Found the launched" if found else "Launched"
        log.info("%s run %s of scan %s.", how, run_uuid, self._run.scan.label)
        return self._run.waiting(self._run.settings.poll_interval)

    def _forget(self, launching: Launching) -> None:
        """The launch was refused, so there is no run to look for, unless an earlier one was not answered."""
        if not launching.lost:
            self._run.state.launching = None
            self._run.save()

    def _occupied(self, status: str) -> Waiting:
        """Somebody else's run is active."""
        if self._run.settings.if_running == FAIL:
            raise ConflictError(
                f"Scan {self._run.scan.label} runs already ({self._whose(status)}). if_running='adopt' waits for "
                "that run instead, if_running='wait' launches the scan after it."
            )
        if self._run.settings.if_running == ADOPT:
            newest = self._active_run()
            if newest:
                return self._record(newest, adopted=True)
        waited = self._wait_since()
        if waited >= self._run.settings.scan_timeout:
            raise ConflictError(
                f"Scan {self._run.scan.label} still runs ({self._whose(status)}) after {duration(waited)}. Stop that "
                "run, or raise scan_timeout."
            )
        return self._run.waiting(self._run.settings.poll_interval)

    def _active_run(self) -> str | None:
        """The uuid of the active run, if Tenable's results name it already and not the run before it."""
        newest = self._run.client.results(self._run.scan).run_uuid
        run = self._run.client.run(self._run.scan, newest) if newest else None
        return None if run and run.status in ENDED else newest

    def _whose(self, status: str) -> str:
        newest = self._active_run()
        run = self._run.client.run(self._run.scan, newest) if newest else None
        since = f", since {utc(run.started)}" if run and run.started else ""
        return f"run {newest or 'not listed yet'}, {status}{since}, launched by somebody else"

    def _no_capacity(self, error: CapacityError) -> Waiting:
        waited, active = self._wait_since(), self._run.client.active()
        if waited < self._run.settings.capacity_timeout:
            return self._run.waiting(self._run.settings.poll_interval)
        if active is None or active >= MOST_ACTIVE:
            raise CapacityError(
                f"Tenable runs {active or MOST_ACTIVE} scans already, its limit is {MOST_ACTIVE}. Waited "
                f"{duration(waited)}. Spread the schedules, or raise capacity_timeout."
            )
        raise error

    def _wait_since(self) -> float:
        if self._run.state.waiting_since is None:
            self._run.state.waiting_since = self._run.now()
            self._run.save()
        return self._run.now() - self._run.state.waiting_since
