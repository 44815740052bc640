"""Fetches the chunks of a job ahead: while one is staged, others are being downloaded.

Only the fetching is concurrent. Chunks are handed over one after the other, in a given order, and an error is raised
where its chunk is taken. So what happens to a chunk, and what is stored of it, does not depend on how many are fetched
at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import IO, Self

Body = bytes | IO[bytes]


class FetchAhead:
    """Fetches chunks on threads. A context manager: at its end no thread is left, and no file is open, unless the task
    itself is being ended. Then it does not wait for downloads that are running; Python does when the process exits.

    :param fetch: fetches a chunk; called on any thread. A body that is a file is closed by whoever takes it.
    :param chunks: the chunks, in the order in which they will be taken.
    :param at_once: how many are being downloaded, or have arrived and were not taken yet. With 1, each is fetched when
        it is taken, without a thread.
    """

    def __init__(self, fetch: Callable[[int], Body], chunks: Iterable[int], at_once: int) -> None:
        self._fetch = fetch
        self._chunks = iter(chunks)
        self._at_once = at_once
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="tenable-chunk") if at_once > 1 else None
        self._begun: dict[int, Future[Body]] = {}

    def __enter__(self) -> Self:
        return self

    def take(self, chunk: int) -> Body:
        """The body of the next chunk. What ``fetch`` raises for it is raised here."""
        if self._pool is None:
            return self._fetch(chunk)
        while len(self._begun) < self._at_once and (upcoming := next(self._chunks, None)) is not None:
            self._begun[upcoming] = self._pool.submit(self._fetch, upcoming)
        return self._begun.pop(chunk).result()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is None:
            return
        # A task that is being ended still has to cancel its job, before Airflow kills it.
        is_ended = error is not None and not isinstance(error, Exception)
        self._pool.shutdown(wait=not is_ended)
        for future in self._begun.values():
            future.add_done_callback(_discard)


def _discard(future: Future[Body]) -> None:
    """Close what nobody takes."""
    if future.exception() is None and not isinstance(body := future.result(), bytes):
        body.close()


__all__ = ["Body", "FetchAhead"]
