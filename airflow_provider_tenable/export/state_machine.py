"""The state machine of a Tenable export job. It knows neither Airflow nor HTTP: the caller passes a client, a store and
a clock.

Rules (Tenable API docs, export status and chunk pages):

* A job passes through QUEUED, PROCESSING, (READY) and FINISHED, or ends as CANCELLED or ERROR. Chunks appear while it
  runs, unordered and with gaps.
* FINISHED does not mean complete: ``chunks_failed``, ``chunks_cancelled`` or a ``reason`` say that a part is missing,
  and so do counts that exceed the listed chunks. Such a job is restarted a few times, like one that failed or expired
  or whose chunks cannot be fetched; its chunks are dropped. A partial export is never treated as complete.
* A job that somebody else cancelled is requested again, and does not count as broken. So is an adopted job whose
  records show that somebody else requested it.
* :mod:`airflow_provider_tenable.tenable_vm.retry` decides what follows an error of the client, and how often.
* A chunk counts only once it is staged. Staged chunks are not fetched again, not even by the retry of a killed task.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from airflow_provider_tenable.exceptions import (
    ConfigurationError,
    DuplicateExportError,
    ExportFailedError,
    ExportLimitError,
    ExportNotFoundError,
    ForeignExportError,
    TemporaryError,
)
from airflow_provider_tenable.export.download import ChunkDownload
from airflow_provider_tenable.export.polling import wait_for
from airflow_provider_tenable.export.reattach import lost_job, running_job, same_request
from airflow_provider_tenable.export.state import ExportState, ExportStore, Finished, Wait
from airflow_provider_tenable.guards.foreign_text import quoted, safe
from airflow_provider_tenable.staging.crash_points import CrashPoint, reached
from airflow_provider_tenable.tenable_vm import retry
from airflow_provider_tenable.tenable_vm.jobs import ACTIVE, TERMINAL, ExportClient, JobStatus

log = logging.getLogger(__name__)


class ExportRun:
    """Drives one export to its end, step by step.

    :param kind: ``assets``, ``vulnerabilities``, ``compliance`` or ``was``.
    :param body: the body of the request: filters and chunk size.
    :param now: the clock, unix seconds.
    :param poll_interval: seconds between two polls, at most.
    :param first_poll: seconds until a job that was just requested is polled; it is polled less and less often then
        (:mod:`airflow_provider_tenable.export.polling`). None: as ``poll_interval``.
    :param timeout: seconds after which a job is cancelled and the task fails, counted from the task's first request.
    :param max_restarts: how often a broken job is restarted.
    :param downloads: how many chunks are fetched at the same time.
    :param source: checks that the client reads from the Tenable source that the export is planned for, and returns it
        (a digest). Called once, before anything is requested, fetched or returned. None: the export has no plan.
    """

    def __init__(
        self,
        *,
        kind: str,
        body: dict[str, Any],
        client: ExportClient,
        store: ExportStore,
        now: Callable[[], float],
        poll_interval: float = 30.0,
        first_poll: float | None = None,
        timeout: float = 12 * 3600.0,
        max_restarts: int = retry.RESTARTS,
        downloads: int = 1,
        source: Callable[[], str] | None = None,
    ) -> None:
        self.kind = kind
        self.body = body
        self.client = client
        self.store = store
        self.now = now
        self.poll_interval = poll_interval
        self.first_poll = poll_interval if first_poll is None else first_poll
        self.timeout = timeout
        self.max_restarts = max_restarts
        self.downloads = downloads
        self._check_source = source
        self._source: str | None = None
        self._failed_polls = 0
        self._lost_request = False
        self.state = self._load()

    def _load(self) -> ExportState:
        state = self.store.load()
        if state is None:
            return self._fresh()
        if not same_request(state.body, self.body):
            return self._abandon(state, "with a different body")
        if state.uuid:
            log.info("Resuming %s export %s: %d chunks are staged.", self.kind, state.uuid, len(state.parts))
        elif state.requested_at is not None:
            self._lost_request = True
        return state

    def _fresh(self) -> ExportState:
        return ExportState(kind=self.kind, body=self.body, started_at=self.now())

    def _abandon(self, state: ExportState, requested: str) -> ExportState:
        """Replace a state that belongs to another request, and remove its chunks."""
        fresh = self._fresh()
        if state.uuid:
            log.info(
                "The %s export %s was requested %s: it is abandoned, and a new one is started.",
                self.kind,
                state.uuid,
                requested,
            )
            self.store.save(fresh)
            self.store.drop(state.uuid)
        return fresh

    @property
    def deadline(self) -> float:
        """Unix seconds at which the job is cancelled."""
        return self.state.started_at + self.timeout

    def step(self) -> Wait | Finished:
        """Do everything that can be done now.

        :raises ExportFailedError: too many restarts, or the deadline has passed.
        :raises ConfigurationError: Tenable rejects the keys, the permissions or the request, or the client reads from
            another source than the export is planned for.
        """
        late = self.now() >= self.deadline
        was_complete = self.state.complete
        try:
            self._compare_source()
            if self.state.complete:
                return Finished(self.state)
            late = self.now() >= self.deadline
            if late and self.state.uuid is None:
                self._give_up()
            outcome = self._step()
        except ConfigurationError:
            raise
        except TemporaryError as error:
            # A complete export has no deadline to wait for: the task's retry checks its source again.
            if was_complete or isinstance(error, ExportFailedError):
                raise
            if late:
                self._give_up()
            if isinstance(error, ExportLimitError):
                # Other exports occupy all slots of the container, for as long as they need.
                hours = (self.deadline - self.now()) / 3600
                log.info(
                    "Waiting for a free export slot to start the %s export, for at most another %.1f hours: %s",
                    self.kind,
                    hours,
                    error,
                )
                return self._wait()
            self._failed_polls += 1
            if self._failed_polls > retry.FAILED_POLLS:
                raise
            log.warning("Poll %d of the %s export failed, trying again: %s", self._failed_polls, self.kind, error)
            return self._wait()
        self._failed_polls = 0
        # Checked last: the job may have finished while nobody polled it.
        if late and not isinstance(outcome, Finished):
            self._give_up()
        return outcome

    def cancel(self) -> None:
        """Cancel the running job, if there is one. Errors are only logged: nothing else can be done about them."""
        job = self.state.uuid
        if not job or self.state.complete:
            return
        if self.state.adopted:
            log.info("The %s export %s may belong to somebody else, so it is not cancelled.", self.kind, job)
            return
        try:
            self.client.cancel(self.kind, job)
            log.info("Cancelled %s export %s.", self.kind, job)
        except (TemporaryError, ConfigurationError) as error:
            log.warning("Could not cancel %s export %s: %s", self.kind, job, error)

    def _compare_source(self) -> None:
        """Compare the source once per start or resume. What was requested from another one is abandoned."""
        if self._check_source is None or self._source is not None:
            return
        self._source = self._check_source()
        if self.state.source not in (None, self._source):
            self.state = self._abandon(self.state, "from another Tenable instance or by another API user")
            self._lost_request = False

    def _step(self) -> Wait | Finished:
        if self.state.uuid is None and not self._start():
            return self._wait()
        job = self.state.uuid
        assert job is not None
        try:
            status = self.client.status(self.kind, job)
            if status.status == "CANCELLED" and self.state.cancellations < retry.CANCELLATIONS:
                return self._request_again(job)
            if status.status in ("CANCELLED", "ERROR"):
                return self._restart(
                    f"it ended as {status.status}" + (f": {safe(status.reason)}" if status.reason else "")
                )
            if status.status not in ACTIVE | TERMINAL:
                raise TemporaryError(
                    f"Tenable says that {self.kind} export {job} is {quoted(status.status, 80)}, which is an unknown "
                    "state."
                )
            partial = self._partial(status)
            if partial:
                return self._restart(partial)
            download = ChunkDownload(self.state, self.client, self.store, self.now, at_once=self.downloads)
            missing = download.stage(job, status)
        except ForeignExportError as error:
            return self._leave(job, error)
        except ExportNotFoundError as error:
            return self._restart(f"it or one of its chunks has expired ({error})")
        if status.status == "FINISHED" and not missing and len(status.chunks) < status.counted_chunks:
            missing = (
                f"it finished with {status.counted_chunks} chunks by its own count, but lists {len(status.chunks)}"
            )
            return self._restart(missing) if self._is_stalled(retry.SHORT_POLLS) else self._wait()
        if missing:
            return self._restart(missing) if self._is_stalled(retry.STALLED_POLLS) else self._wait()
        if status.status != "FINISHED":
            return self._wait_for_job()
        self.state.complete = True
        self.store.save(self.state)
        reached(CrashPoint.EXPORT_COMPLETE)
        return Finished(self.state)

    @staticmethod
    def _partial(status: JobStatus) -> str | None:
        if status.status != "FINISHED":
            return None
        if status.lost_chunks:
            return f"it finished without chunks {sorted(status.lost_chunks)[:10]}" + (
                f": {safe(status.reason)}" if status.reason else ""
            )
        # The status of an asset job does not list failed chunks, so only the reason shows that some are missing.
        return f"it finished with the reason {quoted(status.reason)}" if status.reason else None

    def _is_stalled(self, limit: int) -> bool:
        """Count a poll without progress. The count is stored, because a deferred task polls only once each time it
        resumes.
        """
        self.state.stalled_polls += 1
        self.store.save(self.state)
        return self.state.stalled_polls > limit

    def _request_again(self, job: str) -> Wait:
        cancellations = self.state.cancellations + 1
        log.warning(
            "The %s export %s was cancelled, but not by this task. Requesting it again (%d of %d).",
            self.kind,
            job,
            cancellations,
            retry.CANCELLATIONS,
        )
        self._reset(self.state.restarts, started_at=self.state.started_at, cancellations=cancellations)
        return self._wait()

    def _leave(self, job: str, why: ForeignExportError) -> Wait:
        """Leave a job to whoever requested it, and request our own. The restarts do not count it."""
        log.warning(
            "The %s export %s has our filters, but somebody else requested it: %s. Leaving it, and requesting our own.",
            self.kind,
            job,
            why,
        )
        self._reset(self.state.restarts, started_at=self.state.started_at, cancellations=self.state.cancellations)
        return self._wait()

    def _start(self) -> bool:
        """Request the export, or adopt the running one. :return: False: not yet, poll again later."""
        if self._lost_request and self._adopt_lost():
            return True
        self._lost_request = False
        requested_at = self.now()
        self.state.body, self.state.requested_at, self.state.source = self.body, requested_at, self._source
        self.store.save(self.state)
        reached(CrashPoint.EXPORT_REQUEST_NOTED)
        try:
            job = self.client.start(self.kind, self.body)
        except DuplicateExportError as duplicate:
            return self._adopt(duplicate.job_uuid, requested_at)
        except ExportLimitError:
            # The request was rejected, so there is no job to find: one that looks like ours would be somebody else's.
            self.state.requested_at = None
            self.store.save(self.state)
            raise
        reached(CrashPoint.EXPORT_ASKED_FOR)
        self._take(job, requested_at)
        log.info("Requested %s export %s.", self.kind, self.state.uuid)
        return True

    def _take(self, job: str, data_from: float | None, *, adopted: bool = False) -> None:
        self.state.uuid, self.state.adopted = job, adopted
        self.state.data_from = data_from
        self.state.parts = {}
        self.store.save(self.state)
        reached(CrashPoint.EXPORT_ID_KEPT)

    def _adopt_lost(self) -> bool:
        """Find the job in Tenable's list after a task died between requesting it and storing its id."""
        job = lost_job(self.client.jobs(self.kind), self.state)
        if job is None or job.created is None:
            return False
        log.info("Found %s export %s, which was requested before this task was stopped.", self.kind, job.uuid)
        self._take(job.uuid, min(self.state.requested_at or 0.0, job.created), adopted=True)
        return True

    def _adopt(self, named: str | None, requested_at: float) -> bool:
        job = running_job(self.client.jobs(self.kind), self.state, named)
        if job is not None:
            # The job may be older than our request, so its data is certain only up to its own start.
            self._take(job.uuid, None if job.created is None else min(requested_at, job.created), adopted=True)
            log.info("Tenable is already running this %s export as %s: adopted.", self.kind, job.uuid)
            return True
        log.warning(
            "Tenable rejects the %s export as a duplicate of %s, which is not ours: it has other filters, another "
            "chunk size or other records. Waiting for that one to end.",
            self.kind,
            safe(named, 80) if named else "an unnamed job",
        )
        return False

    def _restart(self, why: str) -> Wait:
        job = self.state.uuid
        assert job is not None
        self.cancel()
        restarts = self.state.restarts
        if restarts >= self.max_restarts:
            self._reset()
            raise ExportFailedError(
                f"The {self.kind} export {job} could not be completed: {why}. It was restarted {restarts} times. "
                "Nothing was imported from it. Check the export's state in Tenable, then clear this task."
            )
        log.warning("The %s export %s is abandoned: %s. Starting it again.", self.kind, job, why)
        self._reset(restarts + 1, started_at=self.state.started_at)
        return Wait(seconds=min(self.poll_interval, 1.0), job_uuid=None, chunks_staged=0)

    def _give_up(self) -> None:
        self.cancel()
        job, staged = self.state.uuid, len(self.state.parts)
        self._reset()
        what = f"export {job} was not complete" if job else "export could not be requested"
        raise ExportFailedError(
            f"The {self.kind} {what} after {self.timeout / 3600:g} hours ({staged} chunks were staged) and has been "
            "cancelled. Raise [tenable] export_timeout_hours if Tenable needs longer, then clear this task."
        )

    def _reset(self, restarts: int = 0, *, started_at: float | None = None, cancellations: int = 0) -> None:
        """Forget the job: first in the state, then its parts. A state that names removed parts would later be taken for
        complete.

        :param started_at: when the deadline started; None: a retry of the task follows, with its own deadline.
        """
        job = self.state.uuid
        given_up = [*self.state.given_up, *([job] if job else [])]
        began = self.now() if started_at is None else started_at
        self.state = ExportState(
            kind=self.kind,
            body=self.body,
            started_at=began,
            restarts=restarts,
            given_up=given_up,
            cancellations=cancellations,
        )
        self.store.save(self.state)
        reached(CrashPoint.EXPORT_FORGOTTEN)
        if job:
            self.store.drop(job)

    def _wait_for_job(self) -> Wait:
        """Wait for a job about which nothing is wrong: briefly while it is young. After trouble, the usual interval
        gives Tenable time, and what is counted in polls takes as long as it is meant to.
        """
        asked = self.state.requested_at
        if asked is None:
            return self._wait()
        seconds = wait_for(self.now() - asked, first_poll=self.first_poll, poll_interval=self.poll_interval)
        return replace(self._wait(), seconds=seconds, is_early=seconds < self.poll_interval)

    def _wait(self) -> Wait:
        return Wait(seconds=self.poll_interval, job_uuid=self.state.uuid, chunks_staged=len(self.state.parts))
