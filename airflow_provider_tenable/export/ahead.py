"""Fetches the chunks of a job ahead: while one is staged, others are being downloaded.

Only the fetching is concurrent. Chunks are handed over one after the other, in a given order, and an error is raised
where its chunk is taken. So what happens to a chunk, and what is stored of it, does not depend on how many are fetched
at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

_T = TypeVar("_T")


class FetchAhead(Generic[_T]):
    """Fetches chunks on threads. A context manager: at its end no thread is left, unless the task itself is being
    ended. Then it does not wait for downloads that are running; Python does when the process exits.

    :param fetch: fetches a chunk; called on any thread.
    :param chunks: the chunks, in the order in which they will be taken.
    :param at_once: how many are being downloaded, or have arrived and were not taken yet. With 1, each is fetched when
        it is taken, without a thread.
    """

    def __init__(self, fetch: Callable[[int], _T], chunks: Iterable[int], at_once: int) -> None:
        self._fetch = fetch
        self._chunks = iter(chunks)
        self._at_once = at_once
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="tenable-chunk") if at_once > 1 else None
        self._begun: dict[int, Future[_T]] = {}

    def __enter__(self) -> Self:
        return self

    def take(self, chunk: int) -> _T:
        """What ``fetch`` returns for the next chunk. What it raises is raised here."""
        if self._pool is None:
            return self._fetch(chunk)
        while len(self._begun) < self._at_once and (upcoming := next(self._chunks, None)) is not None:
            self._begun[upcoming] = self._pool.submit(self._fetch, upcoming)
        return self._begun.pop(chunk).result()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            # A task that is being ended still has to cancel its job, before Airflow kills it.
            is_ended = error is not None and not isinstance(error, Exception)
            self._pool.shutdown(wait=not is_ended)
