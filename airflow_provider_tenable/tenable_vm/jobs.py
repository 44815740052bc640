"""An export job as Tenable describes it, and what its state machine needs of the API. No Airflow in here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

_T = TypeVar("_T")

ACTIVE = frozenset({"QUEUED", "PROCESSING", "READY"})
TERMINAL = frozenset({"FINISHED", "CANCELLED", "ERROR"})


@dataclass(frozen=True)
class JobStatus:
    """What Tenable says about a job.

    :ivar created: unix seconds; None where Tenable does not report it (assets).
    :ivar total_chunks: as reported, for progress messages only.
    :ivar counted_chunks: how many chunks must be listed once the job is FINISHED, by Tenable's own counts. 0 where it
        reports none (assets).
    """

    status: str
    chunks: frozenset[int] = frozenset()
    lost_chunks: frozenset[int] = frozenset()
    reason: str | None = None
    filters: Any = None
    chunk_size: int | None = None
    created: float | None = None
    total_chunks: int | None = None
    counted_chunks: int = 0


@dataclass(frozen=True)
class Job:
    """A line of Tenable's list of jobs; fields as in :class:`JobStatus`."""

    uuid: str
    status: str
    filters: Any
    chunk_size: int | None
    created: float | None


class ExportClient(Protocol):
    """What the state machine needs of Tenable. Errors are those of ``exceptions``."""

    def start(self, kind: str, body: dict[str, Any]) -> str: ...
    def status(self, kind: str, job_uuid: str) -> JobStatus: ...
    def receive_chunk(
        self, kind: str, job_uuid: str, chunk_id: int, receive: Callable[[Iterator[bytes]], _T]
    ) -> _T: ...
    def cancel(self, kind: str, job_uuid: str) -> None: ...
    def jobs(self, kind: str) -> list[Job]: ...
