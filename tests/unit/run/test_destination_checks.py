"""Which accounts and Regions are checked before the export, in which order, and what their answers mean."""

from __future__ import annotations

import pytest

from airflow_provider_tenable.exceptions import (
    ConfigurationError,
    DestinationRefusedError,
    NotSubscribedError,
    StagingError,
    TemporaryError,
)
from airflow_provider_tenable.run import destination_checks, places
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.transform.routing import Destination, Router

A, B, REGION = "111111111111", "222222222222", "eu-west-1"
IN_A, IN_B = f"{A}/{REGION}", f"{B}/{REGION}"
ANY = Destination("aws_default", (), "Role", connection_region=REGION, caller_account=A, partition="aws")


@pytest.fixture
def run(tmp_path):
    return RunFolder(f"file://{tmp_path}", "dag", "run-1")


class Hook:
    def __init__(self, answer):
        self.answer = answer

    def preflight(self, product, *, enable_product):
        assert not enable_product
        if isinstance(self.answer, Exception):
            raise self.answer

    def close(self):
        pass


def checked(run, monkeypatch, answers, router=None, assets=None):
    """What is known of the places, by place -> answer of its hub; others must not be asked."""
    monkeypatch.setattr(destination_checks, "_hook", lambda place, destination: Hook(answers[place]))
    monkeypatch.setattr(destination_checks, "_places_of", lambda parts, router: assets or {})
    return destination_checks.check_places(run, router or Router([ANY], "fixed"), [])


def owe(run, place):
    places.note_owed(run, place, since=5, until=9, why="closed", attempted=False)


def test_places_without_a_successful_import_and_those_that_are_owed_are_asked(run, monkeypatch):
    places.note_acceptance(run, A, REGION)
    owe(run, IN_B)
    third = f"333333333333/{REGION}"
    found = checked(
        run,
        monkeypatch,
        {IN_B: None, third: DestinationRefusedError("no role")},
        assets={IN_A: ANY, third: ANY},
    )
    assert (found.refused, found.accepting) == ({third: "no role"}, {IN_B})
    assert not run.checks.exists()


def test_place_that_is_owed_and_no_longer_a_destination_is_not_asked(run, monkeypatch):
    owe(run, IN_B)
    excluded = Destination(
        "aws_default", (), "Role", connection_region=REGION, caller_account=A, exclude_accounts=(B,), partition="aws"
    )
    elsewhere = Destination("aws_default", (), "Role", connection_region="us-east-1", caller_account=A, partition="aws")
    for destination in (excluded, elsewhere):
        found = checked(run, monkeypatch, {}, Router([destination], "fixed"))
        assert (found.refused, found.accepting) == ({}, set())


@pytest.mark.parametrize("error", [TemporaryError("503"), ConfigurationError("keys"), RuntimeError("whatever")])
def test_answer_that_says_nothing_about_the_place_refuses_nothing(run, monkeypatch, caplog, error):
    found = checked(run, monkeypatch, {IN_A: error}, assets={IN_A: ANY})
    assert (found.refused, found.accepting) == ({}, set())
    assert f"Cannot determine before the export whether {IN_A} accepts findings" in caplog.text


def test_connection_that_cannot_be_read_does_not_stop_the_checks_of_other_destinations(run, monkeypatch, caplog):
    def hook(place, destination):
        if place == IN_A:
            raise RuntimeError("the secrets backend does not answer")
        return Hook(None)

    monkeypatch.setattr(destination_checks, "_hook", hook)
    monkeypatch.setattr(destination_checks, "_places_of", lambda parts, router: {IN_A: ANY, IN_B: ANY})
    found = destination_checks.check_places(run, Router([ANY], "fixed"), [])
    assert (found.refused, found.accepting) == ({}, {IN_B})
    words = f"Cannot determine before the export whether {IN_A} accepts findings: the secrets backend does not answer"
    assert words in caplog.text


@pytest.mark.parametrize("enable", [True, False])
def test_product_that_the_import_will_subscribe_is_no_refusal(run, monkeypatch, enable):
    monkeypatch.setenv("AIRFLOW__TENABLE__ENABLE_PRODUCT", str(enable))
    found = checked(run, monkeypatch, {IN_A: NotSubscribedError("no")}, assets={IN_A: ANY})
    assert (found.refused, found.accepting) == (({}, {IN_A}) if enable else ({IN_A: "no"}, set()))


class Slow:
    """Hubs whose checks take the time of :attr:`per_run` checks out of the seconds of a run.

    :ivar looked_up: the destinations whose connection was looked up, in order.
    """

    def __init__(self, monkeypatch, per_run):
        self.looked_up, self.monkeypatch, self.per_run = [], monkeypatch, per_run
        monkeypatch.setattr(destination_checks, "_TOGETHER", 1)

    def check(self, run, assets):
        self.looked_up, began = [], destination_checks.time.monotonic()

        def hook(place, destination):
            self.looked_up.append(place)
            return Hook(None)

        # The clock moves on with every look-up.
        self.monkeypatch.setattr(destination_checks, "_SECONDS", float(self.per_run))
        self.monkeypatch.setattr(destination_checks.time, "monotonic", lambda: began + len(self.looked_up))
        self.monkeypatch.setattr(destination_checks, "_hook", hook)
        self.monkeypatch.setattr(destination_checks, "_places_of", lambda parts, router: assets)
        return destination_checks.check_places(run, Router([ANY], "fixed"), []).accepting


@pytest.mark.parametrize("per_run", [2, 3, 7])
def test_every_destination_has_its_turn_however_few_checks_a_run_has_time_for(run, monkeypatch, per_run):
    new = {f"{number:012d}/{REGION}": ANY for number in range(100, 120)}
    outstanding = [f"{number:012d}/{REGION}" for number in range(500, 510)]
    for place in outstanding:
        owe(run, place)
    slow, seen = Slow(monkeypatch, per_run), []
    for number in range(20 // (per_run // 2) + 1):
        accepting = slow.check(run.beside(f"run-{number}"), new)
        seen.append(accepting)
        # Only what is checked is looked up.
        assert len(slow.looked_up) == len(set(slow.looked_up)) == per_run
        assert accepting == set(slow.looked_up)
        assert accepting & set(outstanding)
        assert accepting & set(new)
    assert set().union(*seen) == {*new, *outstanding}


def test_damaged_note_of_the_last_check_starts_at_the_beginning(run, monkeypatch, caplog):
    new = {f"{number:012d}/{REGION}": ANY for number in range(100, 104)}
    slow = Slow(monkeypatch, 2)
    first = slow.check(run, new)
    for content in (b"{", b"[]", b'{"unreached": 5}'):
        run.checks.write_bytes(content)
        assert slow.check(run, new) == first
    assert slow.check(run, new) == set(new) - first
    assert "start with the first account and Region: " in caplog.text
    assert "Remove" not in caplog.text


def test_note_that_cannot_be_written_stops_nothing(run, monkeypatch, caplog):
    def full(path, value):
        raise StagingError("no room")

    monkeypatch.setattr(destination_checks, "write_json", full)
    assert Slow(monkeypatch, 1).check(run, {IN_A: ANY, IN_B: ANY}) == {IN_A}
    assert "Cannot record which accounts and Regions were checked: no room" in caplog.text
