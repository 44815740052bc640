"""Whether a run is full, and what it knows of the hubs."""

from __future__ import annotations

import pytest

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.run.hubs import full_window, index_root, moment_of, plan_hubs
from airflow_provider_tenable.run.watermark import BACKFILL, EVERYTHING, INCREMENTAL, WINDOW, Window
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.state.choice import FIRST, KNOWN, UNKNOWN
from airflow_provider_tenable.state.parts import VERSION
from airflow_provider_tenable.state.registry import Registry, note_emptied, note_lost, write_registry

NOW, DAY, SOURCE = 1_790_000_000.0, 86_400, "tenable-1"


@pytest.fixture
def run(tmp_path):
    return RunFolder(f"file://{tmp_path}", "dag", "run")


def window(kind=INCREMENTAL, watermark=int(NOW) - DAY):
    return Window(kind, 1 if watermark is None else watermark - 3600, int(NOW), False, watermark)


def planned(run, **change):
    usual = {
        "source": SOURCE,
        "window": window(),
        "may_move": True,
        "asked": False,
        "full_run_days": 7.0,
        "refresh_days": 30.0,
        "lag": 3600,
        "sent_before": True,
        "planned_at": NOW,
    }
    return plan_hubs(run, **{**usual, **change})


def register(run, *, days=1.0, **change):
    usual = {"version": VERSION, "source": SOURCE, "full_as_of": 5, "full_at": NOW - days * DAY}
    write_registry(run.finding_index, Registry(**{**usual, **change}))


def test_the_first_run_is_full_and_knows_that_nothing_was_sent(run):
    hubs = planned(run, window=window(watermark=None), sent_before=False)
    assert (hubs.state, hubs.full, hubs.full_why) == (FIRST, True, "there is no watermark")


def test_after_an_upgrade_the_next_run_that_may_move_the_watermark_is_full_and_says_so(run, caplog):
    hubs = planned(run)
    assert (hubs.state, hubs.full) == (UNKNOWN, True)
    assert hubs.delivered_until == int(NOW) - DAY - 3600
    assert "It is not known what the hubs hold: there is no finding index yet. This run is a full one" in caplog.text
    caplog.clear()
    narrowed = planned(run, may_move=False)
    assert (narrowed.state, narrowed.full) == (UNKNOWN, False)
    assert "until a full run has made the index again" in caplog.text


@pytest.mark.parametrize("kind", [WINDOW, BACKFILL])
def test_a_window_or_a_backfill_is_never_full(run, kind):
    assert not planned(run, window=window(kind)).full
    with pytest.raises(ConfigurationError, match="leave since and until empty"):
        planned(run, window=window(kind), asked=True)


@pytest.mark.parametrize(
    ("days", "every", "full"), [(1, 7, False), (6.9, 7, False), (7, 7, True), (900, 0, False), (0.1, 0.1, True)]
)
def test_a_run_is_full_so_many_days_after_the_last_full_one(run, days, every, full):
    register(run, days=days)
    hubs = planned(run, full_run_days=every)
    assert (hubs.state, hubs.full, hubs.full_as_of) == (KNOWN, full, 5)


@pytest.mark.parametrize(
    ("before", "now", "why"),
    [
        ({"severities": "1"}, {"severities": "1"}, ""),
        ({"severities": "1"}, {"severities": "2"}, "severities changed since the last full run"),
        ({"a": "1", "b": "1"}, {"b": "2", "a": "2"}, "a, b changed since the last full run"),
        # What the release of before did not have, or this one has no more, has not changed.
        ({"a": "1", "old": "1"}, {"a": "1", "new": "1"}, ""),
        ({}, {"severities": "2"}, ""),
    ],
)
def test_another_scope_makes_the_next_run_full_that_may_move_the_watermark(run, before, now, why):
    register(run, scope=before)
    hubs = planned(run, scope=now)
    assert (hubs.full, hubs.full_why, hubs.scope) == (bool(why), why, now)
    assert not planned(run, scope=now, may_move=False).full
    assert not planned(run, scope=now, window=window(WINDOW)).full


def test_the_param_makes_any_run_full(run):
    register(run)
    hubs = planned(run, asked=True, may_move=False)
    assert (hubs.full, hubs.full_why) == (True, "by the param full")


@pytest.mark.parametrize("change", [{"source": "another"}, {"version": VERSION + 1}])
def test_an_index_of_another_tenable_or_version_is_unknown(run, change):
    register(run, **change)
    hubs = planned(run)
    assert (hubs.state, hubs.full) == (UNKNOWN, True)
    assert "another" in hubs.why


def test_a_damaged_registry_is_unknown(run, tmp_path):
    register(run)
    (tmp_path / "dag" / "finding_index" / "manifest.json").write_bytes(b"{")
    assert "damaged" in planned(run).why


def test_an_index_that_was_lost_makes_the_next_run_full(run, caplog):
    register(run)
    note_lost(run.finding_index, "111122223333/eu-west-1", "gone")
    hubs = planned(run)
    assert (hubs.state, hubs.full) == (KNOWN, True)
    assert "1 accounts and Regions was lost" in hubs.full_why
    assert "the index of 111122223333/eu-west-1 was lost" in caplog.text


@pytest.mark.parametrize(("ago", "full"), [(0.5, True), (1.5, False)])
def test_a_hub_that_was_enabled_since_the_last_full_run_makes_the_next_one_full(run, ago, full):
    register(run, days=1)
    note_emptied(run.finding_index, "111122223333/eu-west-1", int(1000 * (NOW - ago * DAY)))
    hubs = planned(run)
    assert (hubs.state, hubs.full) == (KNOWN, full)
    assert hubs.full_why == (
        "Security Hub CSPM was enabled in 111122223333/eu-west-1 after findings were delivered" if full else ""
    )


def test_a_full_window_begins_with_everything_and_keeps_the_watermark():
    assert full_window(window()) == Window(INCREMENTAL, EVERYTHING, int(NOW), False, int(NOW) - DAY)


def test_an_export_speaks_for_the_moment_up_to_which_it_moves_the_watermark():
    plan = {"window": {"until": 100}}
    assert (moment_of(plan, None), moment_of(plan, 90.5), moment_of(plan, 110.0)) == (100_000, 90_500, 100_000)


@pytest.mark.parametrize(
    ("bounded", "ahead", "moment"), [(False, 7.5, 98_000), (False, -7.5, 90_500), (True, 7.5, 90_500)]
)
def test_it_speaks_by_tenables_clock_where_the_workers_is_behind_and_no_window_is_asked_for(bounded, ahead, moment):
    assert moment_of({"window": {"until": 100, "bounded": bounded}, "clock_ahead": ahead}, 90.5) == moment


def test_a_replay_compares_with_the_index_of_the_dag_that_it_repeats(run):
    assert index_root(run, {"replays": "other/run-1"}) == run.dag_root.parent / "other" / "finding_index"
    assert index_root(run, {}) == run.finding_index
