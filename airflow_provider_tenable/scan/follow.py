"""Follows a run to its end.

The run's entry in the history decides. While there is none, the scan's latest status stands for it, since Tenable does
not say when an entry appears.
"""

from __future__ import annotations

import logging

from airflow_provider_tenable.exceptions import ScanFailedError
from airflow_provider_tenable.scan.run_context import RunContext
from airflow_provider_tenable.scan.run_settings import GRACE, Ended, Waiting
from airflow_provider_tenable.scan.status import COMPLETED, ENDED, KNOWN, LOST, MISSING, PAUSED, PENDING, is_active
from airflow_provider_tenable.scan.texts import duration
from airflow_provider_tenable.tenable_vm.scan_runs import Results, Run

log = logging.getLogger(__name__)


class Follow:
    """The second part of a run: from its uuid to its end."""

    def __init__(self, run: RunContext) -> None:
        self._run = run

    def step(self, run_uuid: str) -> Waiting | Ended:
        """Poll the run."""
        run = self._run.client.run(self._run.scan, run_uuid)
        if run is None:
            run = self._unlisted(run_uuid)
        self._report(run_uuid, run.status)
        if run.status in ENDED:
            return self._end(run)
        self._check_time(run_uuid, run.status)
        return self._run.waiting(self._run.settings.poll_interval)

    def _unlisted(self, run_uuid: str) -> Run:
        """A run without an entry in the history: Tenable does not say when one appears."""
        latest = self._run.client.latest_status(self._run.scan).status
        newest = self._run.client.results(self._run.scan)
        if is_active(latest) and newest.run_uuid in (run_uuid, None):
            if self._run.state.missing_since is not None:
                self._run.state.missing_since = None
                self._run.save()
            return Run(run_uuid, latest)
        if newest.run_uuid == run_uuid and newest.status in ENDED:
            return Run(run_uuid, newest.status)
        if self._run.state.missing_since is None:
            self._run.state.missing_since = self._run.now()
            self._run.save()
        if self._run.now() - self._run.state.missing_since < GRACE:
            return Run(run_uuid, MISSING)
        self._run.state.failure = LOST
        self._run.save()
        raise ScanFailedError(
            f"Tenable does not know run {run_uuid} of scan {self._run.scan.label} any more, and the scan is {latest}. "
            "Somebody may have deleted it. The task's retry launches the scan again.",
            status=LOST,
            run_uuid=run_uuid,
        )

    def _report(self, run_uuid: str, status: str) -> None:
        if status == self._run.state.status:
            return
        self._run.state.status = status
        self._run.save()
        if status in PAUSED:
            log.warning(
                "Run %s of scan %s is %s, by a person or at the end of its time window. Tenable aborts it after 14 "
                "days. Resume it in Tenable.",
                run_uuid,
                self._run.scan.label,
                status,
            )
        elif status not in KNOWN and status != MISSING:
            log.warning("Run %s of scan %s has the unknown status %r: waiting.", run_uuid, self._run.scan.label, status)
        else:
            log.info("Run %s of scan %s is %s.", run_uuid, self._run.scan.label, status)

    def _check_time(self, run_uuid: str, status: str) -> None:
        waited = self._run.now() - (self._run.state.launched_at or self._run.now())
        if status in PENDING and waited >= self._run.settings.pending_timeout:
            scanner = self._run.client.results(self._run.scan).scanner or "not named by Tenable"
            problem = (
                f"No scanner has taken scan {self._run.scan.label} for {duration(waited)}. Its scanner is "
                f"{scanner}. With AUTO-ROUTED, no route matches the targets. For cloud audits, give the scan a "
                "dedicated scanner"
            )
        elif waited >= self._run.settings.scan_timeout:
            problem = (
                f"Run {run_uuid} of scan {self._run.scan.label} has not ended within {duration(waited)}; it is "
                f"{status}. Raise scan_timeout, or scan fewer targets"
            )
        else:
            return
        stopped = self._run.settings.stop_on_timeout and self._run.stop()
        self._run.state.failure = "timeout"
        self._run.save()
        raise ScanFailedError(
            f"{problem}. {'The run was stopped' if stopped else 'The run was not stopped'}.",
            status=status,
            run_uuid=run_uuid,
        )

    def _end(self, run: Run) -> Ended:
        results = self._run.client.results(self._run.scan, run)
        if run.status != COMPLETED and run.status not in self._run.settings.accept:
            self._run.state.failure = run.status
            self._run.save()
            raise ScanFailedError(self._why(run, results), status=run.status, run_uuid=run.uuid)
        return Ended(
            {
                "scan": self._run.scan.id,
                "schedule_uuid": self._run.scan.schedule_uuid,
                "name": self._run.scan.name,
                "run_uuid": run.uuid,
                "history_id": run.history_id,
                "status": run.status,
                "started_at": run.started,
                "ended_at": run.ended,
                "hosts": len(results.hosts),
                "severities": dict(results.severities),
                "compliance": dict(results.compliance),
            }
        )

    def _why(self, run: Run, results: Results) -> str:
        after = duration(self._run.now() - (self._run.state.launched_at or self._run.now()))
        notes = "; ".join(results.notes)[:1_000] or "none"
        if run.status == "aborted":
            return (
                f"Run {run.uuid} of scan {self._run.scan.label} was aborted by Tenable after {after}. Notes: {notes}. "
                "Usual causes: no scanner for the targets, a scanner that was lost. For cloud audits, give the scan a "
                "dedicated scanner."
            )
        if run.status == "imported":
            return f"Run {run.uuid} of scan {self._run.scan.label} is an uploaded result, not a run. Launch the scan."
        return (
            f"Run {run.uuid} of scan {self._run.scan.label} was stopped by a person after {after}, so its results are "
            f"partial. Notes: {notes}. accept=['{run.status}'] would take them all the same."
        )
