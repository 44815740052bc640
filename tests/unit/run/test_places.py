"""Which places were reached, and which are owed findings: kept in small files that no clean-up removes."""

from __future__ import annotations

import pytest

from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.run import places
from airflow_provider_tenable.staging.files import read_json, write_json
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
    places.note_owed(run, PLACE, since=500, until=900, why="closed", attempted=False)
    places.note_owed(run, PLACE, since=900, until=1_200, why="still closed", attempted=False)
    places.note_owed(run, OTHER, since=1, until=900, why="no role", attempted=False)
    owed = places.owed(run.beside("another"))
    assert {place: (entry["since"], entry["why"]) for place, entry in owed.items()} == {
        PLACE: (500, "still closed"),
        OTHER: (1, "no role"),
    }
    places.note_owed(run, PLACE, since=400, until=500, why="closed", attempted=False)
    assert places.owed(run)[PLACE]["since"] == 400


def test_delivery_settles_only_what_it_covered(run):
    places.note_owed(run, PLACE, since=500, until=900, why="closed", attempted=False)
    # A backfill has noted something older in the meantime.
    assert not places.settle_owed(run, PLACE, since=600, until=950)
    assert places.owed(run)
    assert places.settle_owed(run, PLACE, since=500, until=950)
    assert not places.settle_owed(run, PLACE, since=500, until=950)
    assert places.owed(run) == {}


def test_run_that_settles_late_leaves_what_a_later_run_has_noted(run):
    """A run up to 900 settles after a later one, up to 1,200, was refused."""
    places.note_owed(run, PLACE, since=500, until=900, why="closed", attempted=False)
    places.note_owed(run.beside("later"), PLACE, since=900, until=1_200, why="closed", attempted=False)
    assert not places.settle_owed(run, PLACE, since=500, until=1_199)
    assert places.owed(run)[PLACE]["until"] == 1_200
    assert places.settle_owed(run.beside("next"), PLACE, since=500, until=1_200)


def test_entry_of_an_older_version_is_settled_by_a_run_after_its_first_refusal_only(run):
    write_json(run.owed_places / "111122223333-eu-west-1.json", {"since": 500, "first": 1_000, "why": "closed"})
    assert not places.settle_owed(run, PLACE, since=1, until=999)
    places.note_owed(run, PLACE, since=900, until=950, why="closed", attempted=False)
    assert not places.settle_owed(run, PLACE, since=1, until=999)
    assert places.settle_owed(run, PLACE, since=1, until=1_000)


@pytest.mark.parametrize(("attempts", "days"), [(0, 0), (1, 0.5), (2, 1), (3, 2), (6, 16), (7, 16), (5_000, 16)])
def test_place_that_passes_the_checks_and_refuses_the_import_is_tried_less_and_less_often(attempts, days):
    entry = {"since": 1, "first": 0, "why": "", "attempts": attempts, "attempted": 1_000}
    assert places.is_due(entry, 1_000 + days * DAY)
    assert days == 0 or not places.is_due(entry, 1_000 + days * DAY - 1)


def note(run, *, attempted):
    places.note_owed(run, PLACE, since=5, until=9, why="", attempted=attempted)
    return places.owed(run)[PLACE]


def test_only_attempts_to_recover_are_counted_and_each_run_once(run):
    assert note(run, attempted=False)["attempts"] == 0
    for _ in range(2):
        assert note(run, attempted=True)["attempts"] == 1
    assert note(run.beside("run-2"), attempted=True)["attempts"] == 2
    # The retry of a task of that run.
    assert note(run.beside("run-2"), attempted=True)["attempts"] == 2
    assert note(run.beside("run-3"), attempted=False)["attempts"] == 2
    assert places.owed(run)[PLACE]["attempted"] > 0


def test_destination_that_accepts_findings_again_is_retried_by_the_next_run(run):
    for number in range(5):
        entry = note(run.beside(f"run-{number}"), attempted=True)
    assert not places.is_due(entry, entry["attempted"] + 3 * DAY)
    places.reset_attempts(run, PLACE)
    entry = places.owed(run)[PLACE]
    assert places.is_due(entry, 1)
    assert (entry["since"], entry["until"], entry["attempts"]) == (5, 9, 0)
    places.reset_attempts(run, OTHER)
    assert set(places.owed(run)) == {PLACE}


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'"x"', b"{}", b'{"since": "1", "first": 1}', b'{"since": 5, "first": 5, "checksum": 1}']
)
def test_damaged_entry_stops_nothing_and_everything_counts_as_missing(run, caplog, content):
    note(run, attempted=False)
    path = run.owed_places / "111122223333-eu-west-1.json"
    path.write_bytes(content)
    assert places.owed(run)[PLACE]["since"] == 1
    assert "eu-west-1.json is damaged" in caplog.text
    assert "Do not remove it" in caplog.text
    assert "Remove the run's folder" not in caplog.text
    assert not places.settle_owed(run, PLACE, since=2, until=9_000)
    assert path.read_bytes() == content
    # The next refusal replaces it.
    assert note(run, attempted=False)["since"] == 1
    assert places.settle_owed(run, PLACE, since=1, until=9_000)
    assert places.owed(run) == {}


def test_damaged_entry_is_settled_by_a_run_that_delivers_everything(run):
    note(run, attempted=False)
    (run.owed_places / "111122223333-eu-west-1.json").write_bytes(b"{")
    assert places.settle_owed(run, PLACE, since=1, until=900)
    assert places.owed(run) == {}


def test_file_of_another_name_is_not_a_place(run):
    write_json(run.owed_places / "notes.json", {"since": 1})
    assert places.owed(run) == {}


@pytest.fixture
def clock(monkeypatch):
    """Turns the clock of the records."""

    def turn(seconds):
        monkeypatch.setattr(places.time, "time", lambda: seconds + 0.75)

    return turn


def test_first_acceptance_stays_on_record_with_its_run_and_time(run, clock):
    for run_id, now in (("run-1", 1_000), ("run-2", 2_000)):
        clock(now)
        places.note_acceptance(run.beside(run_id), *PLACE.split("/"))
    assert read_json(run.reached_places / "111122223333-eu-west-1.json") == {"run_id": "run-1", "at": 1_000}


def test_record_of_what_a_destination_lacks_is_complete(run, clock):
    clock(1_000)
    places.note_owed(run, PLACE, since=500, until=900, why="closed", attempted=False)
    assert places.owed(run)[PLACE] == {
        "since": 500,
        "until": 900,
        "first": 1_000,
        "why": "closed",
        "attempts": 0,
        "attempted": 0,
        "attempted_by": "",
    }
    clock(2_000)
    places.note_owed(run.beside("run-2"), PLACE, since=600, until=800, why="no role", attempted=True)
    expected = {
        "since": 500,
        "until": 900,
        "first": 1_000,
        "why": "no role",
        "attempts": 1,
        "attempted": 2_000,
        "attempted_by": "run-2",
    }
    assert places.owed(run)[PLACE] == expected
    clock(3_000)
    places.note_owed(run.beside("run-2"), PLACE, since=600, until=800, why="no role", attempted=True)
    assert places.owed(run)[PLACE] == expected
    places.reset_attempts(run, PLACE)
    assert places.owed(run)[PLACE] == {**expected, "attempts": 0, "attempted": 0, "attempted_by": ""}


def test_entry_without_any_attempt_is_due_at_once():
    assert places.is_due({"since": 1, "until": 1, "first": 0, "why": ""}, 0)


def test_every_other_run_of_an_older_release_is_learned_from_whatever_stands_between(run, caplog):
    third = "333344445555/eu-west-2"
    write_json(run.beside("a-first").ledger, {"destinations": {PLACE: {"accepted": 1}}})
    write_json(run.beside("b-strange").ledger, ["no ledger"])
    write_json(run.beside("c-empty").ledger, {})
    write_json(run.ledger, {"destinations": {third: {"accepted": 1}}})
    write_json(run.beside("zz-last").ledger, {"destinations": {OTHER: {"accepted": 2}, third: {}}})
    places.learn_from_ledgers(run)
    # Its own ledger is of an earlier attempt, which has recorded what it reached.
    assert places.accepted_before(run) == {PLACE, OTHER}
    [warning] = [record.getMessage() for record in caplog.records]
    assert warning.startswith("Cannot determine which accounts run b-strange has reached: ")


def test_damaged_entry_is_read_as_everything_missing_since_ever(run):
    note(run, attempted=False)
    (run.owed_places / "111122223333-eu-west-1.json").write_bytes(b"[]")
    assert places.owed(run)[PLACE] == {
        "since": 1,
        "until": 0,
        "first": 0,
        "why": "not known: its record was damaged",
    }
    entry = note(run, attempted=False)
    assert (entry["since"], entry["until"], entry["first"]) == (1, 9, 0)
