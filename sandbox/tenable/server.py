"""The state of the simulated Tenable: its estate on its clock, its jobs, and what has been asked of it."""

import random
import time
import uuid
from collections import Counter
from typing import Any

from sandbox.clock import DAY, SandboxClock
from sandbox.faults import COMMON_VERBS, Arguments, FaultBook
from sandbox.tenable.access import ACCESS_KEY, SECRET_KEY, Keys, RateLimit
from sandbox.tenable.connectors import OPERATIONS as CONNECTOR_OPERATIONS
from sandbox.tenable.connectors import first_connectors
from sandbox.tenable.estate import Estate
from sandbox.tenable.evolution import evolve
from sandbox.tenable.jobs import JOB_LIFETIME, Job, Texts, plan_chunks
from sandbox.tenable.managed_credentials import OPERATIONS as CREDENTIAL_OPERATIONS
from sandbox.tenable.options import Options
from sandbox.tenable.recast_rules import OPERATIONS as RECAST_OPERATIONS
from sandbox.tenable.scan_book import RUN_VERBS, ScanBook
from sandbox.tenable.scan_exports import FILE_VERBS
from sandbox.tenable.scan_exports import OPERATIONS as SCAN_EXPORT_OPERATIONS
from sandbox.tenable.scan_runs import OPERATIONS as SCAN_RUN_OPERATIONS
from sandbox.tenable.scanners import OPERATIONS as SCANNER_OPERATIONS
from sandbox.tenable.scanners import Scanners
from sandbox.tenable.scans import OPERATIONS as SCAN_OPERATIONS

OPERATIONS = (
    "session",
    "server_status",
    "vulns_export",
    "assets_export",
    "vulns_status",
    "assets_status",
    "vulns_chunk",
    "assets_chunk",
    "was_export",
    "was_status",
    "was_chunk",
    "cancel",
    "jobs",
    "asset",
    *SCANNER_OPERATIONS,
    *SCAN_OPERATIONS,
    *SCAN_RUN_OPERATIONS,
    *SCAN_EXPORT_OPERATIONS,
    *CREDENTIAL_OPERATIONS,
    *CONNECTOR_OPERATIONS,
    *RECAST_OPERATIONS,
)
CHUNK_VERBS = {
    # Carry the call out, and repeat the chunk's records until it has so many bytes; gzip: compressed on the wire.
    "swell": Arguments.of("bytes", optional=("gzip",)),
}
JOB_VERBS = {
    # The next job that is created ends ERROR, with its first chunks kept and the rest cancelled.
    "error": Arguments.of(optional=("reason", "keep_chunks")),
    # It ends CANCELLED without a request to cancel it.
    "cancelled": Arguments.of(optional=("keep_chunks",)),
    # It ends FINISHED without these chunks (1 is the first by id); `cancelled` ones are listed as such.
    "fail_chunks": Arguments.of("chunks", optional=("cancelled",)),
    # It never ends.
    "stuck": Arguments.of(),
    # Its chunks answer 404, at once or after so many downloads.
    "expire": Arguments.of(optional=("after",)),
    # It takes so many seconds longer.
    "late": Arguments.of("seconds"),
    # Its status lists every chunk twice.
    "repeat_chunks": Arguments.of(),
}


class TooManyExportsError(Exception):
    """The container's limit of concurrent exports is reached."""


class DuplicateExportError(Exception):
    """An export with the same filters is in progress."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"Export {job.uuid} with the same filters is still running.")
        self.job = job


class Tenable:
    """One Tenable container.

    :param estate: arguments of `Estate` other than the time: seed, hosts, vulnerabilities, accounts, regions
    :param days_behind: how far in the past its clock begins
    """

    def __init__(
        self,
        *,
        estate: dict[str, Any],
        days_behind: float = 3.0,
        prepare_seconds: float = 2.0,
        access_key: str = ACCESS_KEY,
        secret_key: str = SECRET_KEY,
    ) -> None:
        self.keys = Keys(access_key, secret_key)
        self.clock = SandboxClock(-days_behind * DAY)
        chunk_verbs = {**COMMON_VERBS, **CHUNK_VERBS}
        verbs = {
            **dict.fromkeys(OPERATIONS, COMMON_VERBS),
            "vulns_chunk": chunk_verbs,
            "assets_chunk": chunk_verbs,
            "was_chunk": chunk_verbs,
            "job": JOB_VERBS,
            "scan_run": RUN_VERBS,
            "scan_file": FILE_VERBS,
        }
        self.faults = FaultBook(verbs)
        self.calls: Counter[str] = Counter()
        self.rate_limit = RateLimit()
        self.container_uuid = str(uuid.uuid4())
        self._estate_arguments = estate
        self._options_at_start = Options(prepare_seconds=prepare_seconds)
        self.reset()

    def reset(self) -> None:
        """As at the start: the same estate on the same clock, no jobs."""
        self.clock.reset()
        self.options = self._options_at_start
        self.estate = Estate(self.clock.now(), **self._estate_arguments)
        self.jobs: dict[str, Job] = {}
        self.scanners = Scanners(self.clock.now)
        self.scans = ScanBook(self.clock.now)
        self.credentials: dict[str, dict[str, Any]] = {}
        # Recast rules, as they were created.
        self.rules: list[dict[str, Any]] = []
        self.connectors = first_connectors(self.estate.accounts, self.clock.now())
        # Requested paths that the API docs do not have: the client builds URLs from values that it received.
        self.unknown_paths: list[str] = []
        self.rate_limit.clear()
        self._rng = random.Random(f"{self.estate.seed}/jobs")

    def advance(self, seconds: float) -> float:
        """Move the clock forward, let the estate change during that time, and return the new time."""
        if seconds < 0 or self.clock.now() + seconds > time.time() + 1:
            raise ValueError(
                f"The clock can go forward by {time.time() - self.clock.now():.0f} seconds before it is in the future."
            )
        # The estate does not change while real time passes, only when the clock is advanced.
        before, now = self.clock.now(), self.clock.advance(seconds)
        evolve(self.estate, before, now)
        if self.options.asset_age_out_days is not None:
            self.estate.age_out(now - self.options.asset_age_out_days * DAY)
        return now

    def start_job(self, kind: str, echo: dict[str, Any], size: int, groups: list[Texts]) -> Job:
        """Create a job, or raise `DuplicateExportError` or `TooManyExportsError`. `groups` are its chunks' contents as
        of now.
        """
        now = time.monotonic()
        running = [job for job in self.jobs.values() if job.is_running(now)]
        for job in running:
            if job.kind == kind and job.echo == echo:
                if self.options.duplicate_mode != "cancel-old" or kind != "assets":
                    raise DuplicateExportError(job)
                self.cancel(job)
        if sum(job.is_running(now) for job in running) >= self.options.max_running:
            raise TooManyExportsError
        fault = self.faults.take("job", {"kind": kind})
        chunks = plan_chunks(self._rng, groups, self.options.prepare_seconds)
        job = Job(
            str(uuid.uuid4()), kind, echo, size, self.clock.now(), now, self.options.prepare_seconds, chunks, fault
        )
        self.jobs[job.uuid] = job
        return job

    def cancel(self, job: Job) -> None:
        """Cancel a job that still runs; its finished chunks stay available. One that has ended stays as it is."""
        now = time.monotonic()
        if job.is_running(now):
            job.cancelled_after = now - job.begun

    def job_of(self, kind: str, job_uuid: str) -> Job | None:
        """A job of this kind, if it is still known."""
        job = self.jobs.get(job_uuid)
        return job if job and job.kind == kind else None

    def listed_jobs(self, kind: str) -> list[Job]:
        """The 1,000 most recent jobs, ended ones for three days (API docs: GET /{kind}/export/status)."""
        now, sandbox_now = time.monotonic(), self.clock.now()
        jobs = [job for job in self.jobs.values() if job.kind == kind]
        return [job for job in jobs if job.is_running(now) or sandbox_now - job.created <= JOB_LIFETIME][-1000:]
