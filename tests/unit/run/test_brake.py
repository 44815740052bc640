"""How much a full run may archive of what it saw nothing of."""

from __future__ import annotations

import pytest

from airflow_provider_tenable.run.brake import TOLERATED, applied, is_too_much, is_too_much_together, ratio_of
from airflow_provider_tenable.state.gone import Gone


@pytest.mark.parametrize(
    ("count", "active", "ratio", "too_much"),
    [
        (50, 60, 0.1, False),
        (51, 60, 0.1, True),
        (100, 1000, 0.1, False),
        (101, 1000, 0.1, True),
        (1, 1000, 0.0, True),
        (0, 1000, 0.0, False),
        (1000, 1000, 1.0, False),
    ],
)
def test_a_share_and_a_number_must_both_be_exceeded(count, active, ratio, too_much):
    assert is_too_much(count, active, ratio) is too_much


def gone(absent: int, active: int = 300, terminated: int = 0, stopped: int = 0) -> Gone:
    files = [("known-00000-a.parquet", terminated)] * bool(terminated) + [("absent-00000-b.parquet", absent)]
    reasons = {"asset_terminated": terminated} if terminated else {}
    return Gone(
        [("part", 5)], files, {**reasons, "moved": absent}, active, {"not_reported": stopped} if stopped else {}
    )


def test_many_small_accounts_are_together_one_large_one():
    assert not is_too_much_together([gone(50)], 0.1)
    assert is_too_much_together([gone(31)] * 10, 0.1)
    assert not is_too_much_together([gone(30)] * 10, 0.1)
    assert not is_too_much_together([gone(5, active=20)] * 10, 0.1), "of few findings, some are a large share"
    assert is_too_much_together([gone(6, active=20)] * 10, 0.1)
    # One that is closed does not hold up the others; what Tenable says of an asset does not count.
    closed = applied(gone(310), alone=True)
    assert not is_too_much_together([closed, *[gone(10)] * 9], 0.1)
    assert is_too_much_together([closed, *[gone(31)] * 9], 0.1)
    assert not is_too_much_together([gone(0, terminated=300)] * 10, 0.1)
    assert not is_too_much_together([], 0.0)


def test_a_retry_decides_the_same_although_the_killed_try_has_stopped_some():
    all_of_them = [gone(45)] * 6
    assert is_too_much_together(all_of_them, 0.1)
    for done in range(7):
        tried = [applied(each, alone=False) if number < done else each for number, each in enumerate(all_of_them)]
        assert is_too_much_together(tried, 0.1)


def test_the_brake_leaves_what_tenable_says_of_an_asset():
    braked = applied(gone(7, terminated=3, stopped=2), alone=False)
    files, reasons = [("known-00000-a.parquet", 3)], {"asset_terminated": 3}
    assert braked == Gone([("part", 5)], files, reasons, 300, {"not_reported": 2, "moved": 7})
    assert applied(braked, alone=False) == braked
    assert applied(braked, alone=True).alone
    assert applied(applied(braked, alone=True), alone=False).alone
    assert TOLERATED == 50


@pytest.mark.parametrize(("param", "ratio"), [(None, 0.25), (0, 0.0), (1, 1.0), (0.5, 0.5)])
def test_the_param_goes_before_the_option(monkeypatch, param, ratio):
    monkeypatch.setenv("AIRFLOW__TENABLE__MAX_ARCHIVED_RATIO", "0.25")
    assert ratio_of({"settings": {"max_archived_ratio": param}}) == ratio
    # A run that an older release has planned has no such param.
    assert ratio_of({"settings": {}}) == 0.25
