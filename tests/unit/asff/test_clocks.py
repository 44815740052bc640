"""A scanner's clock that is ahead freezes no finding: nothing counts that is later than Tenable's own clock says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from airflow_provider_tenable.asff.finding import MappingOptions, UnmappableError
from airflow_provider_tenable.tenable_vm.records import own_time
from airflow_provider_tenable.tenable_vm.times import rfc3339
from tests.unit.asff.mapping import decode, finding_of, record

INDEXED = "2024-02-01T00:10:00.000Z"
AHEAD = "2024-02-03T00:00:00Z"
NOW = datetime(2024, 2, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("name", ["first_found", "last_found", "last_fixed", "resurfaced_date"])
def test_time_after_the_index_time_counts_as_the_index_time(name):
    finding = finding_of(record(**{name: AHEAD}))
    assert finding["UpdatedAt"] == INDEXED
    assert finding["CreatedAt"] == (INDEXED if name == "first_found" else "2024-01-01T00:00:00.000Z")
    assert finding["FirstObservedAt"] == finding["CreatedAt"]
    assert finding["LastObservedAt"] == (INDEXED if name == "last_found" else "2024-02-01T00:00:00.000Z")


@pytest.mark.parametrize("name", ["indexed", "indexed_at"])
def test_index_time_counts_under_either_name_and_the_later_one_wins(name):
    times = {"indexed": None, "indexed_at": None, name: INDEXED}
    assert finding_of(record(**times, last_found=AHEAD))["UpdatedAt"] == INDEXED
    both = record(indexed="2024-02-01T00:00:00Z", indexed_at="2024-02-01T00:00:00Z", last_found=AHEAD)
    assert finding_of({**both, name: INDEXED})["UpdatedAt"] == INDEXED


def test_a_moment_before_the_index_time_stays_to_the_microsecond():
    assert (
        finding_of(record(last_found="2024-02-01T00:09:59.999999Z", indexed=None, indexed_at=INDEXED))["LastObservedAt"]
        == "2024-02-01T00:09:59.999999Z"
    )


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_fix_that_another_scanner_reports_is_newer_than_what_a_clock_ahead_said(order):
    life = [
        record(last_found=AHEAD),
        record(state="FIXED", last_found=AHEAD, last_fixed="2024-02-01T09:00:00Z", indexed="2024-02-01T09:05:00Z"),
        record(
            state="REOPENED", last_found="2024-02-01T10:00:00Z", resurfaced_date=AHEAD, indexed="2024-02-01T10:05:00Z"
        ),
    ]
    stored: dict = {}
    for number in order:
        sent = finding_of(life[number])
        if not stored or sent["UpdatedAt"] > stored["UpdatedAt"]:
            stored = sent
    assert stored == finding_of(life[2])


@pytest.mark.parametrize("indexed", ["9999-12-31T00:00:00Z", "2024-02-01T12:00:00.000001Z"])
def test_index_time_after_tenables_clock_is_ignored_and_so_is_every_such_time(indexed):
    chosen = MappingOptions(latest=NOW)
    finding = finding_of(record(indexed=indexed, last_fixed=AHEAD), options=chosen)
    assert finding["UpdatedAt"] == finding["LastObservedAt"] == "2024-02-01T00:00:00.000Z"
    finding = finding_of(record(indexed=indexed, last_found=AHEAD), options=chosen)
    assert "LastObservedAt" not in finding
    assert finding["UpdatedAt"] == "2024-01-01T00:00:00.000Z"


def test_time_of_tenables_clock_itself_counts():
    assert (
        finding_of(record(indexed="2024-02-01T12:00:00Z"), options=MappingOptions(latest=NOW))["UpdatedAt"]
        == "2024-02-01T12:00:00.000Z"
    )


def test_record_whose_every_time_is_in_the_future_has_none():
    future = dict.fromkeys(("first_found", "last_found", "indexed"), AHEAD)
    with pytest.raises(UnmappableError, match=r"no usable time \(readable and not in the future\)"):
        finding_of(record(**future), options=MappingOptions(latest=NOW))
    assert (
        finding_of(record(**future), options=MappingOptions(latest=NOW + timedelta(days=2)))["UpdatedAt"]
        == "2024-02-03T00:00:00.000Z"
    )


@pytest.mark.parametrize(
    "times", [{"last_found": AHEAD}, {"last_found": AHEAD, "indexed": None, "indexed_at": INDEXED}]
)
def test_window_looks_at_the_index_time_where_a_clock_was_ahead(times):
    moment = own_time(decode(record(**times)))
    assert moment is not None
    assert rfc3339(moment) == INDEXED
    fixed = own_time(decode(record(state="FIXED", last_fixed=AHEAD, **times)))
    assert fixed == moment
