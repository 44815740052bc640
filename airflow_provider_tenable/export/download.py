"""Stages the chunks of an export job. A chunk counts only once it is staged, and is not fetched again, not even by the
retry of a killed task.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import NamedTuple

from airflow_provider_tenable.exceptions import (
    ChunkNotReadyError,
    ExportNotFoundError,
    ForeignExportError,
    TemporaryError,
)
from airflow_provider_tenable.export.ahead import FetchAhead
from airflow_provider_tenable.export.chunks import Encoded
from airflow_provider_tenable.export.reattach import foreign_shape, may_be_foreign
from airflow_provider_tenable.export.state import ExportState, ExportStore, Part
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.staging.crash_points import CrashPoint, reached
from airflow_provider_tenable.tenable_vm import retry
from airflow_provider_tenable.tenable_vm.decode import HEAD_BYTES
from airflow_provider_tenable.tenable_vm.jobs import ExportClient, JobStatus

log = logging.getLogger(__name__)

#: Chunks after which the state is written; a killed task fetches at most this many again.
_SAVE_EVERY = 10


class _Received(NamedTuple):
    """A chunk that has arrived and is not staged yet: encoded, or why it is not a JSON array. ``head``: its beginning,
    where the job may be somebody else's.
    """

    chunk: Encoded | ValueError
    head: bytearray


class ChunkDownload:
    """Fetches the chunks of one job.

    :param state: the export's state, which records what is staged.
    :param now: the clock, unix seconds.
    :param at_once: how many chunks are fetched at the same time.
    """

    def __init__(
        self,
        state: ExportState,
        client: ExportClient,
        store: ExportStore,
        now: Callable[[], float],
        *,
        at_once: int = 1,
    ) -> None:
        self.state = state
        self._at_once = at_once
        self._kind = state.kind
        self._client = client
        self._store = store
        self._now = now

    def stage(self, job: str, status: JobStatus) -> str | None:
        """Stage the listed chunks that are not staged yet.

        :return: why a listed chunk of a finished job could not be fetched, in words; None if all of them are staged, or
            if the job has not finished, so that the chunk may still become available.
        :raises ExportNotFoundError: a chunk has expired, or cannot be decoded.
        :raises ForeignExportError: somebody else requested the job.
        """
        waiting = sorted(chunk for chunk in status.chunks if str(chunk) not in self.state.parts)
        with FetchAhead(lambda chunk: self._received(job, chunk), waiting, self._at_once) as ahead:
            missing = self._stage(job, status, waiting, ahead)
        if missing and status.status != "FINISHED":
            # More chunks may follow, including the missing one.
            return None
        return missing

    def _stage(self, job: str, status: JobStatus, waiting: list[int], ahead: FetchAhead[_Received]) -> str | None:
        began, fetched_bytes, unsaved, failed = self._now(), 0, 0, 0
        missing: str | None = None
        try:
            for chunk in waiting:
                try:
                    part = self._fetch(job, chunk, ahead)
                    reached(CrashPoint.CHUNK_STAGED)
                except ChunkNotReadyError as error:
                    log.info("Chunk %d of %s export %s is not ready yet.", chunk, self._kind, job)
                    missing = f"chunk {chunk} is listed but cannot be fetched: {error}"
                    continue
                except (ExportNotFoundError, ForeignExportError):
                    raise
                except TemporaryError as error:
                    # The others are fetched first: a chunk that never becomes available must not delay them.
                    failed += 1
                    missing = f"chunk {chunk} cannot be fetched: {error}"
                    log.warning("Chunk %d of %s export %s cannot be fetched yet: %s", chunk, self._kind, job, error)
                    if failed >= retry.FAILED_CHUNKS:
                        break
                    continue
                failed = 0
                self.state.parts[str(chunk)] = part
                self.state.stalled_polls = 0
                fetched_bytes, unsaved = fetched_bytes + part.bytes, unsaved + 1
                if unsaved >= _SAVE_EVERY:
                    self._store.save(self.state)
                    unsaved = 0
                    self._log_progress(job, status, fetched_bytes, began)
        finally:
            if unsaved:
                self._store.save(self.state)
                self._log_progress(job, status, fetched_bytes, began)
        return missing

    def _log_progress(self, job: str, status: JobStatus, fetched_bytes: int, began: float) -> None:
        parts = self.state.parts.values()
        seconds = max(self._now() - began, 1e-3)
        total = status.total_chunks or (len(status.chunks) if status.status == "FINISHED" else None)
        log.info(
            "%s export %s (%s): %d of %s chunks, %d records, %.1f MB staged; %.1f MB/s.",
            self._kind.capitalize(),
            job,
            status.status,
            len(parts),
            total or f"at least {len(status.chunks)}",
            sum(part.records for part in parts),
            sum(part.bytes for part in parts) / 1e6,
            fetched_bytes / 1e6 / seconds,
        )

    def _fetch(self, job: str, chunk: int, ahead: FetchAhead[_Received]) -> Part:
        for attempt in range(1, retry.CHUNK_FETCHES + 1):
            received = ahead.take(chunk) if attempt == 1 else self._received(job, chunk)
            if may_be_foreign(self.state) and (foreign := foreign_shape(self.state, received.head)):
                raise ForeignExportError(foreign)
            if not isinstance(received.chunk, ValueError):
                return self._store.put(job, chunk, received.chunk)
            log.warning(
                "Chunk %d of %s export %s cannot be decoded (fetch %d): %s",
                chunk,
                self._kind,
                job,
                attempt,
                safe(received.chunk),
            )
        raise ExportNotFoundError(f"chunk {chunk} could not be decoded in {retry.CHUNK_FETCHES} fetches")

    def _received(self, job: str, chunk: int) -> _Received:
        """Encode a chunk while it arrives. :class:`FetchAhead` calls it on its threads."""
        return self._client.receive_chunk(self._kind, job, chunk, self._encoded)

    def _encoded(self, pieces: Iterator[bytes]) -> _Received:
        # If this chunk is not the first one to be staged, its beginning is not needed: parts are only added meanwhile.
        head, wanted = bytearray(), HEAD_BYTES if may_be_foreign(self.state) else 0

        def passed_on() -> Iterator[bytes]:
            for piece in pieces:
                if len(head) < wanted:
                    head.extend(piece)
                yield piece

        try:
            return _Received(self._store.encode(passed_on()), head)
        except ValueError as error:
            return _Received(error, head)
