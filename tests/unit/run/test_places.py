"""Which places were reached, and which are owed findings: kept in small files that no clean-up removes."""

from __future__ import annotations

import pytest

from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.run import places
from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.staging.layout import RunFolder

PLACE, OTHER = "111122223333/eu-west-1", "222233334444/us-gov-west-1"
DAY = 86_400


@pytest.fixture
def run(tmp_path):
    return RunFolder(f"file://{tmp_path}", "dag", "run-1")


def test_place_that_was_reached_stays_so_for_every_later_run(run):
    assert places.accepted_before(run) == set()
    places.note_acceptance(run, *PLACE.split("/"))
    places.note_acceptance(run.beside("run-2"), *OTHER.split("/"))
    places.note_acceptance(run.beside("run-2"), *PLACE.split("/"))
    assert places.accepted_before(run.beside("run-3")) == {PLACE, OTHER}


def test_import_does_not_fail_where_the_note_cannot_be_written(run, caplog, monkeypatch):
    def full(path, value):
        raise StagingError("no room")

    monkeypatch.setattr(places, "write_json", full)
    places.note_acceptance(run, *PLACE.split("/"))
    assert "Cannot record that 111122223333/eu-west-1 was reached: no room" in caplog.text


def test_reached_places_are_learned_from_the_ledgers_of_an_older_release_once(run):
    old = run.beside("old")
    write_json(
        old.ledger,
        {"destinations": {PLACE: {"accepted": 5}, OTHER: {"accepted": 0}, "../../x/y": {"accepted": 1}}},
    )
    write_json(run.beside("strange").ledger, ["no ledger"])
    places.learn_from_ledgers(run)
    assert places.accepted_before(run) == {PLACE}
    write_json(old.ledger, {"destinations": {OTHER: {"accepted": 5}}})
    places.learn_from_ledgers(run)
    assert places.accepted_before(run) == {PLACE}


def test_place_is_owed_everything_since_the_earliest_run_that_it_refused(run):
    places.note_owed(run, PLACE, since=500, why="closed", attempted=False)
    places.note_owed(run, PLACE, since=900, why="still closed", attempted=False)
    places.note_owed(run, OTHER, since=1, why="no role", attempted=False)
    owed = places.owed(run.beside("another"))
    assert {place: (entry["since"], entry["why"]) for place, entry in owed.items()} == {
        PLACE: (500, "still closed"),
        OTHER: (1, "no role"),
    }
    places.note_owed(run, PLACE, since=400, why="closed", attempted=False)
    assert places.owed(run)[PLACE]["since"] == 400


def test_delivery_settles_only_what_it_covered(run):
    places.note_owed(run, PLACE, since=500, why="closed", attempted=False)
    # A backfill has noted something older in the meantime.
    places.settle_owed(run, PLACE, since=600)
    assert places.owed(run)
    places.settle_owed(run, PLACE, since=500)
    places.settle_owed(run, PLACE, since=500)
    assert places.owed(run) == {}


@pytest.mark.parametrize(("attempts", "days"), [(0, 0), (1, 0.5), (2, 1), (3, 2), (6, 16), (7, 16), (5_000, 16)])
def test_place_that_passes_the_checks_and_refuses_the_import_is_tried_less_and_less_often(attempts, days):
    entry = {"since": 1, "first": 0, "why": "", "attempts": attempts, "attempted": 1_000}
    assert places.is_due(entry, 1_000 + days * DAY)
    assert days == 0 or not places.is_due(entry, 1_000 + days * DAY - 1)


def test_attempts_are_counted_only_where_the_import_refused(run):
    places.note_owed(run, PLACE, since=5, why="", attempted=False)
    assert places.owed(run)[PLACE]["attempts"] == 0
    for _ in range(2):
        places.note_owed(run, PLACE, since=5, why="", attempted=True)
    places.note_owed(run, PLACE, since=5, why="", attempted=False)
    assert places.owed(run)[PLACE]["attempts"] == 2
    assert places.owed(run)[PLACE]["attempted"] > 0


def test_file_of_another_name_is_not_a_place(run):
    write_json(run.owed_places / "notes.json", {"since": 1})
    assert places.owed(run) == {}
