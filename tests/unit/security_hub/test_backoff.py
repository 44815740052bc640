"""Pauses between attempts, and how often a call before the import is made."""

from __future__ import annotations

import random

import pytest

from airflow_provider_tenable.exceptions import ConfigurationError, TemporaryError
from airflow_provider_tenable.security_hub.backoff import patiently, pause


@pytest.mark.parametrize(
    ("luck", "pauses"), [(1.0, [0.5, 1, 2, 4, 8, 16, 30, 30]), (0.0, [0.25, 0.5, 1, 2, 4, 8, 15, 15])]
)
def test_a_pause_doubles_up_to_half_a_minute_and_luck_takes_half_of_it_at_most(monkeypatch, luck, pauses):
    monkeypatch.setattr(random, "uniform", lambda low, high: low + luck * (high - low))
    assert [pause(attempt) for attempt in range(8)] == pauses


@pytest.mark.parametrize(("failures", "passes"), [(0, True), (1, True), (5, True), (6, False)])
def test_a_call_before_the_import_is_made_six_times_at_most(failures, passes, monkeypatch):
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    calls, slept = [], []

    def call():
        calls.append(1)
        if len(calls) <= failures:
            raise TemporaryError(f"trouble {len(calls)}")
        return "answer"

    if passes:
        assert patiently(call, sleep=slept.append) == "answer"
    else:
        with pytest.raises(TemporaryError, match="trouble 6"):
            patiently(call, sleep=slept.append)
    assert len(calls) == min(failures + 1, 6)
    assert slept == [0.5, 1, 2, 4, 8][:failures]


@pytest.mark.parametrize("trouble", [ConfigurationError("wrong"), KeyError("bug")])
def test_what_is_not_temporary_is_not_repeated(trouble):
    slept = []

    def call():
        raise trouble

    with pytest.raises(type(trouble)):
        patiently(call, sleep=slept.append)
    assert slept == []


def test_every_failed_attempt_before_the_import_is_logged_with_its_error(caplog):
    answers = iter([TemporaryError("trouble 1"), TemporaryError("trouble 2"), None])

    def call():
        if (failure := next(answers)) is not None:
            raise failure

    patiently(call, sleep=lambda seconds: None)
    assert [record.getMessage() for record in caplog.records] == [
        "Attempt 1 of 6 failed, trying again: trouble 1",
        "Attempt 2 of 6 failed, trying again: trouble 2",
    ]
