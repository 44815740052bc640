"""The token bucket, under a clock that only sleeping turns."""

from __future__ import annotations

import threading

import pytest

from airflow_provider_tenable.security_hub.rate_limit import TokenBucket


class Time:
    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def bucket(**options) -> tuple[TokenBucket, Time]:
    time = Time()
    return TokenBucket(clock=time.clock, sleep=time.sleep, **options), time


def test_the_burst_passes_at_once_and_then_the_rate_rules():
    tokens, time = bucket()
    for _ in range(30):
        tokens.take()
    assert time.slept == []
    for _ in range(100):
        tokens.take()
    assert time.slept == pytest.approx([0.1] * 100)


def test_a_pause_fills_the_bucket_only_up_to_the_burst():
    tokens, time = bucket(rate=10, burst=30)
    time.now += 1e6
    for _ in range(30):
        tokens.take()
    assert time.slept == []
    tokens.take()
    assert time.slept == pytest.approx([0.1])


def test_a_short_pause_gives_what_the_rate_gives():
    tokens, time = bucket(rate=10, burst=30)
    for _ in range(30):
        tokens.take()
    time.now += 0.5
    for _ in range(5):
        tokens.take()
    assert time.slept == []
    tokens.take()
    assert time.slept == pytest.approx([0.1])


def test_emptying_takes_the_burst_and_forgives_no_debt():
    tokens, time = bucket()
    tokens.empty()
    tokens.take()
    assert time.slept == pytest.approx([0.1])
    indebted, time = bucket(burst=1)
    indebted._sleep = time.slept.append
    for _ in range(3):
        indebted.take()
    indebted.empty()
    indebted.take()
    assert time.slept == pytest.approx([0.1, 0.2, 0.3])


def test_threads_together_never_exceed_rate_and_burst():
    starts: list[float] = []
    tokens = TokenBucket(rate=10, burst=5, clock=lambda: 0.0, sleep=starts.append)
    threads = [threading.Thread(target=lambda: [tokens.take() for _ in range(25)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # All ask at the same moment: five pass, each other one waits its own multiple of a tenth of a second.
    assert sorted(starts) == pytest.approx([number / 10 for number in range(1, 96)])
