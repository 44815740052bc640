"""Windows and the watermark."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable import _compat
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.run import watermark
from airflow_provider_tenable.run.watermark import (
    BACKFILL,
    EVERYTHING,
    INCREMENTAL,
    WINDOW,
    Window,
    next_watermark,
    parse_moment,
    parse_watermark,
    plan_window,
    variable_name,
)

NOW = 1_800_000_000
HOUR = 3_600
DAY = 86_400


def plan(**change):
    usual = {
        "run_type": "scheduled",
        "interval": (NOW - DAY, NOW),
        "since": None,
        "until": None,
        "watermark": NOW - DAY,
        "lag": HOUR,
        "now": NOW + 0.9,
        "server_now": None,
    }
    return plan_window(**{**usual, **change})


# What a run covers.


@pytest.mark.parametrize("run_type", ["scheduled", "manual", "asset_triggered", "operator_triggered"])
def test_a_run_without_params_goes_on_from_the_watermark_less_the_lag(run_type):
    window = plan(run_type=run_type)
    assert window == Window(INCREMENTAL, NOW - DAY - HOUR, NOW, False, NOW - DAY)
    assert window.filter == {"indexed_at": NOW - DAY - HOUR}


def test_the_first_run_covers_everything_and_says_so_as_one():
    window = plan(watermark=None)
    assert window == Window(INCREMENTAL, 1, NOW, False, None)
    assert window.filter == {"indexed_at": 1}
    assert EVERYTHING == 1


@pytest.mark.parametrize("mark", [0, 1, 5, HOUR, HOUR + 1])
def test_a_watermark_near_zero_never_asks_for_less_than_everything(mark):
    assert plan(watermark=mark).since == 1


@pytest.mark.parametrize(("server", "until"), [(None, NOW), (NOW - 100.5, NOW - 101), (NOW + 500.0, NOW)])
def test_the_earlier_of_the_two_clocks_ends_the_window(server, until):
    assert plan(server_now=server).until == until
    assert plan(server_now=server, since=5).until == until


@pytest.mark.parametrize(
    ("since", "until", "window"),
    [
        (NOW - 5 * DAY, None, Window(WINDOW, NOW - 5 * DAY, NOW, False, NOW - DAY)),
        (NOW - 5 * DAY, NOW - 4 * DAY, Window(WINDOW, NOW - 5 * DAY, NOW - 4 * DAY, True, NOW - DAY)),
        (None, NOW - HOUR, Window(WINDOW, NOW - DAY - HOUR, NOW - HOUR, True, NOW - DAY)),
        (0, None, Window(WINDOW, 1, NOW, False, NOW - DAY)),
        (0, NOW, Window(WINDOW, 1, NOW, True, NOW - DAY)),
    ],
)
@pytest.mark.parametrize("run_type", ["scheduled", "manual"])
def test_a_run_with_since_or_until_covers_what_they_say(run_type, since, until, window):
    planned = plan(run_type=run_type, since=since, until=until)
    assert planned == window
    assert planned.filter == {"since": window.since}


def test_an_until_that_lies_ahead_bounds_nothing_and_promises_nothing():
    window = plan(since=0, until=NOW + DAY, server_now=NOW - 50.0)
    assert window == Window(WINDOW, 1, NOW - 50, False, NOW - DAY)


def test_a_backfill_covers_its_interval_by_scan_time():
    window = plan(run_type="backfill", interval=(NOW - 9 * DAY + 0.7, NOW - 8 * DAY + 0.7), watermark=5)
    assert window == Window(BACKFILL, NOW - 9 * DAY, NOW - 8 * DAY, True, 5)
    assert window.filter == {"since": NOW - 9 * DAY}


def test_a_backfill_from_the_epoch_covers_everything():
    assert plan(run_type="backfill", interval=(0, 100)).since == EVERYTHING


@pytest.mark.parametrize("interval", [(None, None), (NOW, None), (None, NOW), (NOW, NOW), (NOW, NOW - 1)])
def test_a_backfill_without_an_interval_says_what_to_do(interval):
    with pytest.raises(
        ConfigurationError,
        match=r"data interval is empty.*Use the DAG's own interval timetable, or give since and until",
    ):
        plan(run_type="backfill", interval=interval)


def test_a_backfill_with_params_covers_the_params_and_stays_a_backfill():
    window = plan(run_type="backfill", interval=(None, None), since=100, until=200)
    assert window == Window(BACKFILL, 100, 200, True, NOW - DAY)


@pytest.mark.parametrize(
    ("since", "until"), [(200, 200), (201, 200), (NOW, None), (NOW + 5, NOW + 10), (None, NOW - 2 * DAY), (0, 1)]
)
def test_an_empty_window_is_refused_with_both_ends(since, until):
    with pytest.raises(
        ConfigurationError,
        match=r"The window is empty: since .*Z is not before until .*Z\. Choose an earlier since or a later until",
    ):
        plan(since=since, until=until)


def test_a_window_of_one_second_is_no_empty_one():
    assert plan(since=200, until=201).since == 200


def test_a_window_survives_its_json():
    window = plan(since=5, until=500)
    assert Window(**window.to_json()) == window


# The params.


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("  \t", None),
        (0, 0),
        ("0", 0),
        (1_790_000_000, 1_790_000_000),
        (1_790_000_000.9, 1_790_000_000),
        ("1790000000", 1_790_000_000),
        (" 1790000000 ", 1_790_000_000),
        ("1790000000.75", 1_790_000_000),
        ("2026-11-23T00:00:00Z", 1_795_392_000),
        ("2026-11-23T00:00:00", 1_795_392_000),
        ("2026-11-23", 1_795_392_000),
        ("2026-11-23 00:00:00+00:00", 1_795_392_000),
        ("2026-11-23T02:00:00+02:00", 1_795_392_000),
        ("2026-11-22T19:00:00.5-05:00", 1_795_392_000),
        ("1970-01-01", 0),
        ("9999-12-31T23:59:59Z", 253_402_300_799),
        (253_402_300_799, 253_402_300_799),
    ],
)
def test_a_moment_is_read_in_each_of_its_forms(value, seconds):
    assert parse_moment(value, "since") == seconds


@pytest.mark.parametrize(
    "value",
    [
        -1,
        -0.5,
        "-1",
        253_402_300_800,
        "9999-12-31T23:59:59-01:00",
        "1969-12-31T23:59:59Z",
        "0001-01-01T00:00:00+14:00",
        "yesterday",
        "2026-13-01",
        "1e9",
        "1_000",
        True,
        False,
        float("nan"),
        float("inf"),
        10**400,
        -(10**400),
        "9" * 5000,
        [],
        {},
        [1],
        "2026-11-23T00:00:00 UTC",
        "\ud800",
        "inf",
        "nan",
    ],
    ids=lambda value: str(value)[:20].encode("ascii", "replace").decode(),
)
def test_what_is_no_moment_is_refused_with_the_forms_that_are(value):
    with pytest.raises(
        ConfigurationError, match=r"until is .* Give unix seconds \(1790000000\) or ISO 8601 \(2026-11-23T00:00:00Z\)"
    ):
        parse_moment(value, "until")


def test_the_name_of_the_variable_is_what_people_set():
    assert variable_name("tenable_to_security_hub") == "tenable_to_security_hub__since"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (None, None),
        ("", None),
        (" \n", None),
        ("0", 0),
        ("1790000000", 1_790_000_000),
        (" 1790000000\n", 1_790_000_000),
    ],
)
def test_a_watermark_is_unix_seconds_as_text(text, value):
    assert parse_watermark(text, name="V", now=NOW) == value


@pytest.mark.parametrize(
    "text", ["x", "-5", "1.5", "1e9", "2026-11-23", "1790000000000", "None", "null", "17900 00000", "{}"]
)
def test_a_watermark_that_cannot_be_read_stops_the_run_and_says_how_to_mend_it(text):
    with pytest.raises(
        ConfigurationError,
        match=r"in Variable V cannot be read. Set the Airflow Variable V to unix seconds, or delete it",
    ):
        parse_watermark(text, name="V", now=NOW)


def test_a_long_watermark_is_quoted_only_in_part():
    with pytest.raises(ConfigurationError) as failure:
        parse_watermark("x" * 10**6, name="V", now=NOW)
    assert len(str(failure.value)) < 300


def test_a_watermark_ahead_of_the_clock_is_borne_for_five_minutes_and_not_longer():
    assert parse_watermark(str(NOW + 300), name="V", now=NOW) == NOW + 300
    with pytest.raises(
        ConfigurationError, match=r"Variable V lies in the future \(2027-01-15T08:05:01Z\)\. Set the Airflow Variable V"
    ):
        parse_watermark(str(NOW + 301), name="V", now=NOW)


@pytest.mark.parametrize("text", ["253402300799", "253402300800", "999999999999"])
def test_a_watermark_beyond_every_calendar_lies_in_the_future_too(text):
    with pytest.raises(ConfigurationError, match="lies in the future"):
        parse_watermark(text, name="V", now=NOW)


# Where the watermark goes.


def move(window=None, **change):
    window = window or Window(INCREMENTAL, NOW - DAY - HOUR, NOW, False, NOW - DAY)
    usual = {"data_from": NOW + 5.5, "current": NOW - DAY, "narrowed": False, "dry_run": False}
    return next_watermark(window, **{**usual, **change})


def test_an_incremental_run_moves_it_to_the_end_of_its_window():
    assert move() == (NOW, "moves to 2027-01-15T08:00:00Z")
    assert move(data_from=None)[0] == NOW
    assert move(Window(INCREMENTAL, 1, NOW, False, None), current=None)[0] == NOW


def test_an_adopted_older_job_moves_it_only_to_its_own_beginning():
    assert move(data_from=NOW - 500.5)[0] == NOW - 501
    assert move(data_from=NOW - DAY) == (None, "stays: it is already at or after the end of this window")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"dry_run": True}, "stays: dry_run"),
        (
            {"narrowed": True},
            "stays: the run's params deliver less than the DAG's own defaults, or deliver it differently",
        ),
        ({"window": Window(BACKFILL, 1, NOW, True, 5), "current": 5}, "stays: a backfill never moves it"),
        ({"window": Window(BACKFILL, 1, NOW, True, None), "current": None}, "stays: a backfill never moves it"),
        ({"window": Window(WINDOW, 2, NOW, False, NOW - DAY)}, "stays: a window by scan time"),
        ({"window": Window(WINDOW, NOW - 2 * DAY, NOW, True, NOW - DAY)}, "stays: a window by scan time"),
        ({"current": None}, "stays unset: the watermark was removed"),
        ({"current": NOW - DAY - HOUR - 1}, "stays: it was set back to 2027-01-14T06:59:59Z"),
        ({"current": 0}, "stays: it was set back to 1970-01-01T00:00:00Z"),
        ({"current": NOW}, "stays: it is already at or after"),
        ({"current": NOW + 1}, "stays: it is already at or after"),
    ],
    ids=str,
)
def test_it_stays_and_says_why(change, why):
    target, text = move(**change)
    assert target is None
    assert text.startswith(why)


def test_a_window_from_the_beginning_moves_it_to_its_end():
    window = Window(WINDOW, EVERYTHING, NOW - HOUR, True, None)
    assert move(window, current=None)[0] == NOW - HOUR
    assert move(window, current=NOW - DAY)[0] == NOW - HOUR
    assert move(window, current=NOW - HOUR)[0] is None


def test_a_window_that_begins_at_the_watermark_itself_leaves_no_gap():
    assert move(Window(INCREMENTAL, NOW - DAY, NOW, False, NOW - DAY), current=NOW - DAY)[0] == NOW
    assert move(Window(INCREMENTAL, NOW - DAY, NOW, False, NOW - DAY), current=NOW - DAY - 1)[0] is None


def test_another_run_that_moved_it_meanwhile_is_no_gap():
    assert move(current=NOW - HOUR)[0] == NOW


@st.composite
def runs(draw):
    """A run: when it is planned and when it ends, its params, and what a person does to the Variable in between."""
    return {
        "pause": draw(st.integers(0, 3 * DAY)),
        "lasts": draw(st.integers(0, DAY)),
        "type": draw(st.sampled_from(["scheduled", "manual", "backfill"])),
        "since": draw(st.none() | st.integers(0, 40 * DAY)),
        "until": draw(st.none() | st.integers(0, 60 * DAY)),
        "skew": draw(st.integers(-HOUR, HOUR)),
        "adopted": draw(st.none() | st.integers(0, 5 * DAY)),
        "narrowed": draw(st.booleans()),
        "dry_run": draw(st.booleans()),
        "fails": draw(st.booleans()),
        "person": draw(st.sampled_from(["nothing"] * 6 + ["deletes", "sets back"])),
    }


@settings(max_examples=200, deadline=None)
@given(st.lists(runs(), min_size=1, max_size=12), st.sampled_from([0, HOUR]))
def test_whatever_runs_follow_each_other_it_never_moves_back_nor_over_a_gap(history, lag):
    """All that Tenable had published before the watermark was in a run that was delivered."""
    now, mark = 40 * DAY, None
    # Everything that Tenable had published before this moment has been delivered (by publishing time).
    delivered = 0
    for run in history:
        now += run["pause"]
        server = now + run["skew"]
        try:
            window = plan_window(
                run_type=run["type"],
                interval=(now - DAY, now),
                since=run["since"],
                until=run["until"],
                watermark=mark,
                lag=lag,
                now=now,
                server_now=server,
            )
        except ConfigurationError:
            continue
        data_from = now if run["adopted"] is None else now - run["adopted"]
        now += run["lasts"]
        if run["person"] == "deletes":
            mark = None
        if run["person"] == "sets back" and mark:
            mark -= 10 * DAY
        if run["fails"]:
            continue
        whole = not (run["narrowed"] or run["dry_run"])
        held = min(data_from, server)
        if whole and window.kind == INCREMENTAL and window.since <= max(delivered, EVERYTHING):
            delivered = max(delivered, held)
        if whole and window.kind != INCREMENTAL and window.since == EVERYTHING:
            delivered = max(delivered, min(held, window.until) if window.bounded else held)
        target, why = next_watermark(
            window, data_from=data_from, current=mark, narrowed=run["narrowed"], dry_run=run["dry_run"]
        )
        if target is None:
            assert why.startswith("stays")
            continue
        assert whole
        assert window.kind != BACKFILL
        assert mark is None or target > mark
        assert target <= delivered, "moved over what was never delivered"
        assert target <= window.until
        mark = target


# The Variable.


def test_a_watermark_from_the_environment_is_read(monkeypatch):
    monkeypatch.setenv("AIRFLOW_VAR_SOME_DAG__SINCE", "1790000000")
    assert watermark.read_watermark("some_dag") == "1790000000"


class Variables:
    """Airflow's Variable, as far as it is used; ``hides`` plays a secrets backend that wins."""

    def __init__(self, hides=None) -> None:
        self.values, self.hides = {}, hides

    def get(self, name, default):
        return self.hides or self.values.get(name, default)

    def set(self, name, value, description=None):
        self.values[name] = value
        self.description = description


def test_what_is_written_is_read_back_as_text(monkeypatch):
    variables = Variables()
    monkeypatch.setattr(_compat, "Variable", variables)
    assert watermark.read_watermark("d") is None
    watermark.write_watermark("d", 1_790_000_000)
    assert variables.values == {"d__since": "1790000000"}
    assert variables.description.startswith("Watermark of DAG d, unix seconds")
    assert watermark.read_watermark("d") == "1790000000"


def test_a_variable_that_the_environment_hides_is_an_error_that_says_so(monkeypatch):
    monkeypatch.setattr(_compat, "Variable", Variables(hides="5"))
    with pytest.raises(
        ConfigurationError, match=r"Variable d__since was set to 7 but reads differently.*Remove it there"
    ):
        watermark.write_watermark("d", 7)


# --- defined outside Airflow's database
# -------------------------------------------------------------------------------------------------


def test_variable_of_the_environment_is_found_before_anything_moves(monkeypatch):
    monkeypatch.setenv("AIRFLOW_VAR_D__SINCE", "")
    with pytest.raises(
        ConfigurationError,
        match=r"Variable d__since is defined by the environment variable AIRFLOW_VAR_D__SINCE, which overrides .* "
        r"Nothing was",
    ):
        watermark.check_not_hidden("d")
    watermark.check_not_hidden("another")


def test_variable_of_a_secrets_backend_is_found(tmp_path):
    """Airflow's own backend that reads a file; in a process of its own, since Airflow keeps what it has loaded."""
    secrets = tmp_path / "variables.json"
    secrets.write_text(json.dumps({"d__since": "1790000000"}))
    settings = {
        "BACKEND": "airflow.secrets.local_filesystem.LocalFilesystemBackend",
        "BACKEND_KWARGS": json.dumps({"variables_file_path": str(secrets)}),
    }
    env = {**os.environ, **{f"AIRFLOW__SECRETS__{name}": value for name, value in settings.items()}}
    code = (
        "from airflow_provider_tenable.run import watermark\n"
        "watermark.check_not_hidden('another')\n"
        "try:\n    watermark.check_not_hidden('d')\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (
        "ConfigurationError Variable d__since is defined by the secrets backend LocalFilesystemBackend, which overrides"
        in done.stdout
    )


class MetastoreBackend:
    """Named as Airflow's database."""

    def get_variable(self, key):
        return "1790000000"


class SealedVault:
    def get_variable(self, key):
        raise OSError("the vault is sealed")


@pytest.mark.parametrize(
    ("backends", "logged"),
    [
        ([MetastoreBackend()], ""),
        ([SealedVault(), MetastoreBackend()], "SealedVault defines Variable d__since: OSError"),
    ],
)
def test_database_itself_hides_nothing_and_neither_does_a_backend_that_is_out_of_order(
    monkeypatch, caplog, backends, logged
):
    path = (
        "airflow.sdk.execution_time.supervisor.ensure_secrets_backend_loaded"
        if _compat.AIRFLOW_V_3_0_PLUS
        else "airflow.configuration.ensure_secrets_loaded"
    )
    monkeypatch.setattr(path, lambda: backends)
    watermark.check_not_hidden("d")
    assert logged in caplog.text


# --- complete texts


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"window": Window(WINDOW, 2, NOW, False, NOW - DAY)},
            "stays: a window by scan time may miss what was published late; the next incremental run covers it",
        ),
        (
            {"current": None},
            "stays unset: the watermark was removed during the run, so nothing before the run's window is certain",
        ),
        (
            {"current": NOW - DAY - HOUR - 1},
            "stays: it was set back to 2027-01-14T06:59:59Z during the run, before this window",
        ),
        ({"current": NOW}, "stays: it is already at or after the end of this window"),
        ({"dry_run": True, "narrowed": True}, "stays: dry_run"),
    ],
    ids=str,
)
def test_reason_for_a_watermark_that_stays_is_complete(change, text):
    assert move(**change) == (None, text)


def test_messages_about_an_unusable_watermark_are_complete():
    advice = "Set the Airflow Variable V to unix seconds, or delete it to export everything again."
    with pytest.raises(ConfigurationError) as failure:
        parse_watermark(" " + "x" * 41, name="V", now=NOW)
    assert str(failure.value) == f"The watermark '{'x' * 40}' in Variable V cannot be read. {advice}"
    with pytest.raises(ConfigurationError) as failure:
        parse_watermark("253402300800", name="V", now=NOW)
    assert str(failure.value) == f"The watermark in Variable V lies in the future (253402300800). {advice}"


def test_message_of_an_empty_window_is_complete():
    with pytest.raises(ConfigurationError) as failure:
        plan(since=NOW - HOUR, until=NOW - DAY)
    assert str(failure.value) == (
        "The window is empty: since 2027-01-15T07:00:00Z is not before until 2027-01-14T08:00:00Z. Choose an earlier "
        "since or a later until."
    )
    with pytest.raises(ConfigurationError) as failure:
        plan(run_type="backfill", interval=(NOW, NOW))
    assert str(failure.value) == (
        "This backfill's data interval is empty, so it does not cover anything. Use the DAG's own interval timetable, "
        "or give since and until."
    )


def test_messages_about_a_hidden_variable_are_complete(monkeypatch):
    monkeypatch.setenv("AIRFLOW_VAR_D__SINCE", "5")
    with pytest.raises(ConfigurationError) as failure:
        watermark.check_not_hidden("d")
    assert str(failure.value) == (
        "Variable d__since is defined by the environment variable AIRFLOW_VAR_D__SINCE, which overrides the value that "
        "a run sets: the watermark could never move. Nothing was exported. Remove it there. To start at a chosen time, "
        "set it in Airflow's database: airflow variables set d__since 1790000000."
    )
    monkeypatch.setattr(_compat, "Variable", Variables(hides="5"))
    with pytest.raises(ConfigurationError) as failure:
        watermark.write_watermark("d", 7)
    assert str(failure.value) == (
        "Variable d__since was set to 7 but reads differently: the environment or a secrets backend also defines it. "
        "Remove it there; the watermark must be stored in Airflow's database."
    )


def test_current_watermark_is_that_of_the_dag_and_is_checked_against_the_clock(monkeypatch):
    variables = Variables()
    monkeypatch.setattr(_compat, "Variable", variables)
    monkeypatch.setattr(watermark.time, "time", lambda: float(NOW))
    assert watermark.current("d") is None
    variables.values = {"d__since": str(NOW + 300), "other__since": "5"}
    assert watermark.current("d") == NOW + 300
    variables.values = {"d__since": str(NOW + 301)}
    with pytest.raises(ConfigurationError, match="The watermark in Variable d__since lies in the future"):
        watermark.current("d")
    variables.values = {"d__since": 1_790_000_000}
    assert watermark.read_watermark("d") == "1790000000"


def test_window_of_the_epoch_is_written_as_a_date():
    with pytest.raises(
        ConfigurationError, match=r"since 1970-01-01T00:00:01Z is not before until 1970-01-01T00:00:00Z"
    ):
        plan(since=0, until=0)


def test_times_in_messages_are_utc_wherever_the_worker_is(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        assert move() == (NOW, "moves to 2027-01-15T08:00:00Z")
        assert parse_moment("2027-01-15T08:00:00", "since") == NOW
    time.tzset()
