"""Export jobs: prepared over some real seconds, in chunks that appear out of order and with gaps."""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from sandbox.clock import DAY
from sandbox.faults import Fault

QUEUED, PROCESSING, FINISHED, CANCELLED, ERROR = "QUEUED", "PROCESSING", "FINISHED", "CANCELLED", "ERROR"
CHUNK_LIFETIME = DAY
"""Chunks answer 404 so long after they were made (API docs: GET /vulns/export/{uuid}/chunks/{id})."""
CANCELLED_CHUNK_LIFETIME = 3 * DAY
JOB_LIFETIME = 3 * DAY
"""How long an ended job stays in the list of jobs."""
QUEUED_SHARE = 0.1
"""Share of its preparation that a job spends in the queue."""

Texts = Callable[[], Iterable[str]]
"""Renders the records of a chunk as JSON texts."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk: listed from `ready_after` seconds after the job's creation on."""

    id: int
    ready_after: float
    texts: Texts
    is_empty: bool = False


@dataclass(slots=True)
class Job:
    """One export.

    :param echo: the filters as its status shows them
    :param size: num_assets or chunk_size
    :param created: on the sandbox's clock, in unix seconds
    :param begun: on a real monotonic clock
    :param fault: how it fails
    """

    uuid: str
    kind: str
    echo: dict[str, Any]
    size: int
    created: float
    begun: float
    prepare_seconds: float
    chunks: list[Chunk]
    fault: Fault | None = None
    cancelled_after: float | None = None
    is_expired: bool = False
    downloads: int = 0
    failed: frozenset[int] = field(init=False)
    given_up: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        ids = sorted(chunk.id for chunk in self.chunks)
        do = self.fault.do if self.fault else ""
        if do == "late" and self.fault:
            self.prepare_seconds += float(self.fault.get("seconds"))
        self.failed = self._at(ids, "chunks") if do == "fail_chunks" else frozenset()
        self.given_up = self._at(ids, "cancelled") if do == "fail_chunks" else frozenset()
        if do in ("error", "cancelled") and self.fault:
            self.given_up = frozenset(ids[int(self.fault.get("keep_chunks", 0)) :])

    def _at(self, ids: list[int], argument: str) -> frozenset[int]:
        positions = self.fault.get(argument, []) if self.fault else []
        return frozenset(ids[position - 1] for position in positions if 1 <= position <= len(ids))

    def status(self, now: float) -> str:
        """The state at a moment of the real monotonic clock."""
        if self.cancelled_after is not None:
            return CANCELLED
        elapsed = now - self.begun
        if self.fault and self.fault.do == "stuck":
            return PROCESSING
        if elapsed < self.prepare_seconds * QUEUED_SHARE:
            return QUEUED
        if elapsed < self.prepare_seconds:
            return PROCESSING
        return {"error": ERROR, "cancelled": CANCELLED}.get(self.fault.do if self.fault else "", FINISHED)

    def is_running(self, now: float) -> bool:
        return self.status(now) in (QUEUED, PROCESSING)

    def available(self, now: float) -> list[int]:
        """Ids of the chunks that are ready, in the order in which they became so."""
        elapsed = now - self.begun if self.cancelled_after is None else self.cancelled_after
        if self.fault and self.fault.do == "stuck":
            elapsed = min(elapsed, self.prepare_seconds / 2)
        lost = self.failed | self.given_up
        ready = [chunk for chunk in self.chunks if chunk.ready_after <= elapsed and chunk.id not in lost]
        ids = [chunk.id for chunk in sorted(ready, key=lambda chunk: chunk.ready_after)]
        return [*ids, *ids] if self.fault and self.fault.do == "repeat_chunks" else ids

    def lost(self, now: float) -> tuple[list[int], list[int]]:
        """Ids of the chunks that failed and of those that were cancelled, once the job has ended."""
        if self.is_running(now):
            return [], []
        if self.cancelled_after is not None:
            return sorted(self.failed), sorted({chunk.id for chunk in self.chunks} - set(self.available(now)))
        return sorted(self.failed), sorted(self.given_up)

    def reason(self, now: float) -> str | None:
        """Why the job failed, in Tenable's words."""
        if self.is_running(now) or self.fault is None:
            return None
        if self.fault.do == "fail_chunks" and (self.failed or self.given_up):
            return (
                f"{len(self.failed | self.given_up)} of {len(self.chunks)} chunks failed to process. The "
                f"remaining chunks are available for download."
            )
        if self.fault.do in ("error", "cancelled"):
            return (
                str(self.fault.get("reason", "An unexpected error occurred. Try again."))
                if self.fault.do == "error"
                else None
            )
        return None

    def chunk(self, chunk_id: int) -> Chunk | None:
        return next((chunk for chunk in self.chunks if chunk.id == chunk_id), None)

    def has_expired(self, sandbox_now: float) -> bool:
        """Whether its chunks are gone: by age, by order, or after so many downloads as the fault allows."""
        lifetime = CHUNK_LIFETIME if self.cancelled_after is None else CANCELLED_CHUNK_LIFETIME
        by_fault = (
            self.fault is not None and self.fault.do == "expire" and self.downloads >= int(self.fault.get("after", 0))
        )
        return self.is_expired or by_fault or sandbox_now > self.created + self.prepare_seconds + lifetime


def plan_chunks(rng: random.Random, groups: list[Texts], prepare_seconds: float) -> list[Chunk]:
    """Spread a job's content over chunks: ids with gaps, ready in no particular order; now and then an empty one."""
    contents: list[tuple[Texts, bool]] = [(group, False) for group in groups]
    if len(groups) >= 4 and rng.random() < 0.2:
        contents.insert(rng.randrange(len(contents) + 1), (tuple, True))
    ids = sorted(rng.sample(range(1, len(contents) + len(contents) // 3 + 2), len(contents)))
    return [
        Chunk(chunk_id, prepare_seconds * rng.uniform(0.3, 0.95), texts, is_empty)
        for chunk_id, (texts, is_empty) in zip(ids, contents, strict=True)
    ]
