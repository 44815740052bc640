"""How soon a running export is polled again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_tenable.export.polling import longer, wait_for

USUAL = {"first_poll": 1.0, "poll_interval": 30.0}


def polls(seconds: float, **options: float) -> list[float]:
    """Ages at which a job is polled that takes so long; the last one notices its end."""
    ages = [0.0]
    while ages[-1] < seconds:
        ages.append(ages[-1] + wait_for(ages[-1], **{**USUAL, **options}))
    return ages


def test_a_small_export_is_noticed_within_seconds_and_an_hour_costs_little_more_than_before():
    assert polls(4.0) == [0, 1, 2, 3, 4.5]
    assert polls(12.0)[-1] == pytest.approx(15.19, abs=0.01)
    assert polls(12.0, first_poll=30.0) == [0, 30]
    evenly, adaptive = len(polls(3600.0, first_poll=30.0)), len(polls(3600.0))
    assert (evenly, adaptive) == (121, 130)


@given(age=st.floats(-1e9, 1e9), first=st.floats(1, 86_400), longest=st.floats(1, 86_400))
def test_no_wait_is_longer_than_the_interval_or_shorter_than_the_first(age, first, longest):
    wait = wait_for(age, first_poll=first, poll_interval=longest)
    assert min(first, longest) <= wait <= longest


@given(seconds=st.floats(2.0, 7_200.0))
def test_an_export_is_noticed_half_as_late_as_it_took_at_most(seconds):
    late = polls(seconds)[-1] - seconds
    assert late <= min(30.0, seconds / 2)


@given(age=st.floats(2.0, 1e6))
def test_who_knows_the_last_wait_only_waits_as_long_as_who_knows_the_age(age):
    wait = wait_for(age, **USUAL)
    following = wait_for(age + wait, **USUAL)
    assert longer(wait, poll_interval=30.0) == pytest.approx(following) or wait == following == 30.0


def test_the_first_poll_may_be_as_late_as_the_others():
    assert {wait_for(age, first_poll=30.0, poll_interval=30.0) for age in (0.0, 5.0, 70.0)} == {30.0}
    assert {wait_for(age, first_poll=300.0, poll_interval=30.0) for age in (0.0, 5.0, 70.0)} == {30.0}
