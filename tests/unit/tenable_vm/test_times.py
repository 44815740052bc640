"""Tenable's times in RFC 3339 UTC; what cannot be read is no time."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.run.watermark import parse_moment
from airflow_provider_tenable.tenable_vm import times
from airflow_provider_tenable.tenable_vm.times import parse, rfc3339, stamp, utc


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2024-12-31T23:59:58Z", "2024-12-31T23:59:58.000Z"),
        ("2022-11-08T19:18:10.472Z", "2022-11-08T19:18:10.472Z"),
        ("2023-05-04T05:13:40.809406Z", "2023-05-04T05:13:40.809406Z"),
        ("2023-05-04T05:13:40.809406999Z", "2023-05-04T05:13:40.809406Z"),
        ("2023-05-04T05:13:40.8Z", "2023-05-04T05:13:40.800Z"),
        ("2023-05-04t05:13:40z", "2023-05-04T05:13:40.000Z"),
        ("2023-05-04 05:13:40", "2023-05-04T05:13:40.000Z"),
        ("  2023-05-04T05:13:40Z\n", "2023-05-04T05:13:40.000Z"),
        ("2023-05-04T05:13:40+02:00", "2023-05-04T03:13:40.000Z"),
        ("2023-05-04T05:13:40-0530", "2023-05-04T10:43:40.000Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
        (1700000000, "2023-11-14T22:13:20.000Z"),
        (1700000000123, "2023-11-14T22:13:20.123Z"),
        ("1700000000", "2023-11-14T22:13:20.000Z"),
        (99_999_999_999, "5138-11-16T09:46:39.000Z"),
        (100_000_000_000, "1973-03-03T09:46:40.000Z"),
        (1, "1970-01-01T00:00:01.000Z"),
    ],
)
def test_time_is_normalised(value, expected):
    moment = parse(value)
    assert moment is not None
    assert rfc3339(moment) == expected


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        " ",
        "never",
        "2018-02-31T22:27:52.869Z",
        "2023-13-01T00:00:00Z",
        "2023-05-04",
        "2023-05-04T24:00:00Z",
        "2023-05-04T05:13:75Z",
        "2023-05-04T05:60:00Z",
        "0000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "2023-05-04T05:13:40.Z",
        "٢٠٢٣-05-04T05:13:40Z",
        "²",
        "-5",
        "1.5",
        0,
        -1,
        10**17,
        10**400,
        "9" * 5000,
        "2023-05-04T05:13:40Z" + " " * 1_000_000,
    ],
)
def test_what_cannot_be_read_is_no_time(value):
    assert parse(value) is None


def test_long_texts_are_not_kept_in_memory():
    times._parse.cache_clear()
    for number in range(100):
        parse(f"{number}" * 1000)
    assert times._parse.cache_info().currsize == 0


@given(st.datetimes(timezones=st.just(UTC)))
@settings(max_examples=200, deadline=None)
def test_round_trip(moment):
    assert parse(rfc3339(moment)) == moment


@given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))
@settings(max_examples=200, deadline=None)
def test_order_survives_the_text(one, other):
    assert (parse(rfc3339(one)) < parse(rfc3339(other))) == (one < other)


@given(st.one_of(st.text(), st.integers(), st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?")))
@settings(max_examples=300, deadline=None)
def test_nothing_raises(value):
    moment = parse(value)
    assert moment is None or moment.tzinfo is UTC


def test_milliseconds_are_three_digits_and_microseconds_six():
    assert rfc3339(datetime(2024, 1, 1, tzinfo=UTC)) == "2024-01-01T00:00:00.000Z"
    assert rfc3339(datetime(2024, 1, 1, 0, 0, 0, 120_000, tzinfo=UTC)) == "2024-01-01T00:00:00.120Z"
    assert rfc3339(datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=UTC)) == "2024-01-01T00:00:00.000001Z"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("never", None),
        ("2026-11-23T14:02:03.5Z", (datetime(2026, 11, 23, 14, 2, 3, 500_000, UTC), "2026-11-23T14:02:03.500Z")),
        (
            1_790_000_000,
            (datetime.fromtimestamp(1_790_000_000, UTC), rfc3339(datetime.fromtimestamp(1_790_000_000, UTC))),
        ),
    ],
)
def test_a_stamp_is_a_time_and_how_it_is_written(value, expected):
    assert stamp(value) == expected


def test_long_texts_are_no_stamps_and_are_not_kept_in_memory():
    assert parse("2026-11-23T14:02:03Z".ljust(64)) is not None
    times._stamp.cache_clear()
    assert stamp("2026-11-23T14:02:03Z".ljust(64)) is not None
    assert stamp("2026-11-23T14:02:03Z".ljust(65)) is None
    assert times._stamp.cache_info().currsize == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_790_000_000.9, "2026-09-21T14:13:20Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
        (253_402_300_800, "253402300800"),
        (10**30, "1000000000000000000…"),
        (float("nan"), "nan"),
        ("a\nb", "a b"),
    ],
)
def test_message_shows_a_time_or_what_was_found_instead(seconds, text):
    assert utc(seconds) == text


def test_no_moment_is_not_set() -> None:
    assert utc(None) == "not set"


@pytest.mark.parametrize("seconds", [0, 1_790_000_000, 253_402_300_799])
def test_a_moment_that_people_read_can_be_given_as_since(seconds: int) -> None:
    assert parse_moment(utc(seconds), "since") == seconds


#: Files that write times for machines (names of files, requests, credentials), or dates without a time.
_OTHERS = {"tenable_vm/times.py", "command/supervisor.py", "hooks/aws_session.py", "asff/threat.py"}


def test_there_is_one_way_to_write_a_moment() -> None:
    package = Path(times.__file__).parent.parent
    writers = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if re.search(r"strftime\(|isoformat\(\s*(\)|timespec)|strftime_format", path.read_text())
    }
    assert writers == _OTHERS
