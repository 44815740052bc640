"""Accounts and Regions that refuse findings: who is asked before the export, what fails a run, what is remembered."""

from __future__ import annotations

import pytest

from airflow_provider_tenable.exceptions import RefusedDestinationsError
from airflow_provider_tenable.run import places, refusals
from airflow_provider_tenable.run.destination_checks import Checked
from airflow_provider_tenable.run.watermark import BACKFILL, EVERYTHING, INCREMENTAL, WINDOW, Window
from airflow_provider_tenable.security_hub.refusals import forget_refusal, note_refusal, refusal_of_place
from airflow_provider_tenable.staging.files import read_json, write_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.transform.routing import DESTINATION_REFUSED, Destination, Router

A, B, REGION = "111111111111", "222222222222", "eu-west-1"
IN_A, IN_B = f"{A}/{REGION}", f"{B}/{REGION}"
ANY = Destination("aws_default", (), "Role", connection_region=REGION, caller_account=A, partition="aws")


@pytest.fixture
def run(tmp_path):
    return RunFolder(f"file://{tmp_path}", "dag", "run-1")


def test_window_begins_where_a_place_that_accepts_findings_again_is_owed_them(run):
    window = Window(INCREMENTAL, 9_000, 10_000, False, 9_500)
    assert refusals.recovering(run, window, Checked()) == (window, [])
    places.note_owed(run, IN_A, since=700, until=900, why="closed", attempted=False)
    places.note_owed(run, IN_B, since=300, until=900, why="closed", attempted=False)
    assert refusals.recovering(run, window, Checked({IN_B: "closed"}, set())) == (window, [])
    later, recovers = refusals.recovering(run, window, Checked({IN_B: "closed"}, {IN_A}))
    assert (later.since, later.until, later.watermark, recovers) == (700, 10_000, 9_500, [IN_A])
    backfill = Window(BACKFILL, 9_000, 10_000, True, 9_500)
    assert refusals.recovering(run, backfill, Checked({}, {IN_A})) == (backfill, [])


def test_place_that_refused_the_import_just_now_is_not_tried_with_everything_again(run):
    window = Window(INCREMENTAL, 9_000, 10_000, False, 9_500)
    places.note_owed(run, IN_A, since=700, until=900, why="denied", attempted=True)
    assert refusals.recovering(run, window, Checked({}, {IN_A})) == (window, [])


def ledger(*refused, reached=(), findings=1, accepted=()):
    return {
        "destinations": {place: {"accepted": 3} for place in accepted},
        "refused": {
            place: {"records": 3, "why": f"{place} is closed", "reached": place in reached} for place in refused
        },
        "findings": findings,
    }


def plan(limit=None, **window):
    return {
        "settings": {"max_refused_destinations": limit, "region_routing": "fixed"},
        "window": {"kind": INCREMENTAL, "since": 500, "until": 900, "bounded": False, "watermark": None, **window},
        "destinations": [
            {
                "aws_conn_id": "aws_default",
                "accounts": [],
                "role_name": "Role",
                "region": None,
                "caller_account": A,
                "connection_region": REGION,
                "partition": "aws",
            }
        ],
    }


@pytest.mark.parametrize(
    ("limit", "refused", "reached", "findings", "words"),
    [
        (None, [IN_A], [], 1, None),
        (None, [IN_A, IN_B], [], 1, None),
        (None, [IN_A, IN_B], [IN_B], 1, "and 1 of them accepted findings before"),
        (None, [IN_A], [], 0, "all that this run has findings for"),
        (0, [IN_A], [], 1, "more than max_refused_destinations 0 allows"),
        (1, [IN_A], [IN_A], 0, None),
        (1, [IN_A, IN_B], [], 1, "more than max_refused_destinations 1 allows"),
        (0, [], [], 0, None),
    ],
)
def test_how_many_may_refuse(run, caplog, limit, refused, reached, findings, words):
    judge = lambda: refusals.check_refused(ledger(*refused, reached=reached, findings=findings), run, plan(limit))  # noqa: E731
    if words is None:
        judge()
        assert all(f"{place} (3: {place} is closed)" in caplog.text for place in refused)
    else:
        with pytest.raises(RefusedDestinationsError, match=words) as failure:
            judge()
        assert "exclude_accounts" in str(failure.value)
        assert f"{(reached or refused)[0]} (3: " in str(failure.value)


def test_run_whose_only_place_refuses_is_tolerated_once_another_was_reached(run):
    places.note_acceptance(run, B, REGION)
    refusals.check_refused(ledger(IN_A, findings=0), run, plan())


def manifest(run, *, from_pool=False, refused=None, destinations=(), contested=0):
    write_json(run.shards, {"count": 1})
    write_json(
        run.shard_manifest(0),
        {
            "from_pool": from_pool,
            "refused": refused or {},
            "rejected_part": None,
            "parked_part": None,
            **({"contested": contested} if contested else {}),
            "destinations": list(destinations),
        },
    )


def target(account):
    return {"account": account, "region": REGION, "aws_conn_id": None, "role_name": None, "parts": []}


@pytest.mark.parametrize(
    ("content", "since"),
    [
        ({"refused": {IN_A: 3}}, 500),
        ({"destinations": [target(A)]}, 500),
        ({"contested": 2}, 500),
        ({"from_pool": True, "refused": {IN_A: 3}}, EVERYTHING),
        ({"from_pool": True, "destinations": [target(B), target(A)]}, EVERYTHING),
        # Findings of instances with several assets: their destination is in another manifest.
        ({"from_pool": True, "contested": 2}, EVERYTHING),
        ({"from_pool": True, "refused": {IN_B: 3}, "destinations": [target(B)]}, 500),
    ],
)
def test_place_is_owed_the_window_and_what_had_waited_before_it(run, monkeypatch, content, since):
    manifest(run, **content)
    monkeypatch.setattr(refusals, "shard_manifests", lambda run: [read_json(run.shard_manifest(0))])
    refusals.remember(run, {**plan(), "refused": {IN_A: "closed"}}, ledger(IN_A))
    assert places.owed(run)[IN_A]["since"] == since
    assert places.owed(run)[IN_A]["until"] == 900
    assert places.owed(run)[IN_A]["attempts"] == 0


@pytest.mark.parametrize(
    ("changes", "attempts"),
    [
        ({}, 0),
        ({"recovers": [IN_B]}, 0),
        ({"recovers": [IN_A]}, 1),
        # Refused by the checks of the run's second attempt: its import was not tried.
        ({"recovers": [IN_A], "refused": {IN_A: "closed"}}, 0),
    ],
)
def test_only_a_run_whose_window_begins_earlier_for_a_place_is_an_attempt(run, changes, attempts):
    manifest(run)
    for _ in range(3):
        refusals.remember(run, {**plan(), **changes}, ledger(IN_A))
    assert places.owed(run)[IN_A]["attempts"] == attempts


def test_place_that_accepts_findings_again_is_retried_by_the_next_run(run):
    for number in range(6):
        places.note_owed(run.beside(f"{number}"), IN_A, since=300, until=900, why="denied", attempted=True)
    window = Window(INCREMENTAL, 9_000, 10_000, False, 9_500)
    assert refusals.recovering(run, window, Checked({}, {IN_A})) == (window, [])
    # A daily run, whose window begins later, delivers what is new there.
    for accepted in ([], [IN_B]):
        refusals.forget_delivered(run, plan(since=800), ledger(accepted=accepted), until=1_000, narrowed=False)
        assert refusals.recovering(run, window, Checked({}, {IN_A})) == (window, [])
    refusals.forget_delivered(run, plan(since=800), ledger(accepted=[IN_A]), until=1_000, narrowed=True)
    assert refusals.recovering(run, window, Checked({}, {IN_A}))[1] == [IN_A]


@pytest.mark.parametrize(
    ("change", "narrowed", "settled"),
    [
        ({"since": 300}, False, True),
        ({"since": 299}, False, True),
        ({"since": 301}, False, False),
        ({"since": 300}, True, False),
        ({"since": 300, "kind": WINDOW}, False, False),
        ({"since": EVERYTHING, "kind": WINDOW}, False, True),
        ({"since": EVERYTHING, "kind": WINDOW, "bounded": True}, False, False),
        ({"since": EVERYTHING, "kind": BACKFILL}, False, False),
    ],
)
def test_what_was_owed_is_forgotten_only_by_a_run_that_covers_it(run, change, narrowed, settled):
    places.note_owed(run, IN_A, since=300, until=900, why="closed", attempted=False)
    refusals.forget_delivered(run, plan(**change), ledger(), until=900, narrowed=narrowed)
    assert (places.owed(run) == {}) is settled


@pytest.mark.parametrize(("until", "settled"), [(899, False), (900, True)])
def test_run_that_was_planned_before_a_later_refusal_does_not_settle_it(run, until, settled):
    places.note_owed(run, IN_A, since=300, until=900, why="closed", attempted=False)
    refusals.forget_delivered(run, plan(since=1), ledger(), until=until, narrowed=False)
    assert (places.owed(run) == {}) is settled


def test_what_is_still_refused_or_left_out_stays_owed(run):
    places.note_owed(run, IN_A, since=300, until=900, why="closed", attempted=False)
    covering = plan(since=1)
    refusals.forget_delivered(run, covering, ledger(IN_A), until=900, narrowed=False)
    refusals.forget_delivered(run, {**covering, "refused": {IN_A: "closed"}}, ledger(), until=900, narrowed=False)
    covering["destinations"][0]["exclude_accounts"] = [A]
    refusals.forget_delivered(run, covering, ledger(), until=900, narrowed=False)
    assert IN_A in places.owed(run)


def test_refusal_of_an_import_is_kept_with_the_run(run):
    assert refusal_of_place(run, A, REGION) is None
    note_refusal(run, A, REGION, "denied")
    assert refusal_of_place(run, A, REGION) == "denied"
    forget_refusal(run, A, REGION)
    forget_refusal(run, A, REGION)
    assert refusal_of_place(run, A, REGION) is None


def test_router_says_which_place_refuses():
    router = Router([ANY], "fixed", {IN_A})
    assert router.route(A, REGION) == DESTINATION_REFUSED
    assert router.place(A, REGION) == IN_A
    assert router.route(B, REGION) == (ANY, REGION)
    assert Router([ANY], "fixed").place(A, "cn-north-1") is None
