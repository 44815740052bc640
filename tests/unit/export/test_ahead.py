"""Chunks that are fetched ahead: several at the same time, and handed over one after the other."""

from __future__ import annotations

import threading

import pytest

from airflow_provider_tenable.export.ahead import FetchAhead

#: Seconds after which a test that would wait for ever fails.
PATIENCE = 20


class Bodies:
    """Hands out bodies, and counts how many are on their way, or arrived and not taken."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.out: set[int] = set()
        self.most = 0
        self.threads: set[int] = set()
        self.errors: dict[int, Exception] = {}
        self.arrived: set[int] = set()
        #: Those that wait for ``may_arrive``; None: all.
        self.slow: set[int] | None = None
        self.may_arrive = threading.Event()
        self.may_arrive.set()
        self.begun = threading.Semaphore(0)

    def fetch(self, chunk):
        with self.lock:
            self.out.add(chunk)
            self.most = max(self.most, len(self.out))
            self.threads.add(threading.get_ident())
        self.begun.release()
        assert (self.slow is not None and chunk not in self.slow) or self.may_arrive.wait(PATIENCE)
        if chunk in self.errors:
            raise self.errors[chunk]
        self.arrived.add(chunk)
        return b"%d" % chunk

    def taken(self, chunk):
        with self.lock:
            self.out.discard(chunk)


@pytest.mark.parametrize("at_once", [2, 3, 10])
def test_so_many_are_on_their_way_at_the_same_time_and_never_more(at_once):
    bodies, chunks = Bodies(), range(1, 41)
    bodies.may_arrive.clear()
    with FetchAhead(bodies.fetch, chunks, at_once) as ahead:
        # All of them are asked for before the first one arrives.
        first = threading.Thread(target=lambda: ahead.take(1))
        first.start()
        for _ in range(at_once):
            assert bodies.begun.acquire(timeout=PATIENCE)
        bodies.may_arrive.set()
        first.join(PATIENCE)
        bodies.taken(1)
        for chunk in chunks[1:]:
            assert ahead.take(chunk) == b"%d" % chunk
            bodies.taken(chunk)
    assert bodies.most == at_once


def test_one_at_a_time_is_fetched_when_it_is_taken_and_on_the_same_thread():
    bodies = Bodies()
    with FetchAhead(bodies.fetch, [3, 5], 1) as ahead:
        assert not bodies.out
        assert ahead.take(3) == b"3"
        assert bodies.out == {3}
        assert ahead.take(5) == b"5"
    assert bodies.threads == {threading.get_ident()}


def test_an_error_is_raised_where_its_chunk_is_taken():
    bodies = Bodies()
    bodies.errors = {2: ValueError("second")}
    with FetchAhead(bodies.fetch, [1, 2, 3], 3) as ahead:
        assert ahead.take(1) == b"1"
        with pytest.raises(ValueError, match="second"):
            ahead.take(2)
        assert ahead.take(3) == b"3"


def test_at_the_end_nothing_is_on_its_way():
    bodies = Bodies()
    bodies.errors = {3: ValueError("third")}

    def stage():
        with FetchAhead(bodies.fetch, range(1, 100), 4) as ahead:
            ahead.take(1)
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk"):
        stage()
    assert [thread for thread in threading.enumerate() if thread.name.startswith("tenable-chunk")] == []
    assert bodies.arrived == {1, 2, 4}


class TaskEnded(BaseException):
    """As Airflow raises it when a task is stopped or takes too long."""


def test_a_task_that_is_ended_does_not_wait_for_what_is_on_its_way():
    bodies = Bodies()
    bodies.slow = {2, 3, 4}
    bodies.may_arrive.clear()

    def stage():
        with FetchAhead(bodies.fetch, range(1, 100), 4) as ahead:
            ahead.take(1)
            for _ in range(4):
                assert bodies.begun.acquire(timeout=PATIENCE)
            raise TaskEnded

    with pytest.raises(TaskEnded):
        stage()
    # Nobody has waited for the others, and no further download begins.
    assert bodies.arrived == {1}
    bodies.may_arrive.set()
    for thread in threading.enumerate():
        if thread.name.startswith("tenable-chunk"):
            thread.join(PATIENCE)
    assert bodies.arrived == {1, 2, 3, 4}
