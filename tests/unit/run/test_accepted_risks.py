"""Which runs suppress findings whose risk is accepted, which take that back, and what the ledger says of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from airflow_provider_tenable.run.accepted_risks import (
    accepted_counts,
    accepted_risks,
    with_taken_back,
    works_on_accepted,
)
from airflow_provider_tenable.security_hub.assignment import Target
from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.state import accepted
from airflow_provider_tenable.state.accepted_record import AcceptedOutcome

ACCOUNT, REGION = "111122223333", "eu-west-1"
TARGET = Target(ACCOUNT, REGION, None, None, [("part", 3)])


@pytest.fixture
def run(tmp_path: Any) -> RunFolder:
    return RunFolder(f"file://{tmp_path}", "my-dag", "run-1")


def plan_of(choice: str | None, **more: Any) -> Any:
    """A plan; None: one of a release that had no such param."""
    return {"settings": {} if choice is None else {"accepted_risks": choice}, "narrowed": False, **more}


@pytest.mark.parametrize("choice", ["archive", "import", "suppress", None])
@pytest.mark.parametrize("narrowed", [True, False])
@pytest.mark.parametrize("has_suppressed", [True, False])
def test_what_earlier_runs_suppressed_is_taken_back_where_the_dag_itself_suppresses_no_more(
    run, choice, narrowed, has_suppressed
):
    if has_suppressed:
        write_json(run.suppresses, {"suppresses": True})
    plan = plan_of(choice, narrowed=narrowed)
    taken_back = choice != "suppress" and has_suppressed and not narrowed
    assert with_taken_back(run, plan) is plan
    assert plan.get("takes_back_accepted", False) is taken_back
    assert works_on_accepted(plan) is (taken_back or choice == "suppress")
    # A replay sends what was so once: nobody's workflow follows that.
    assert works_on_accepted({**plan, "replays": "my-dag/earlier"}) is False


class Settled:
    """Records what is done in an account and Region, and whether it was on record by then that the DAG suppresses."""

    def __init__(self, run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[dict[str, Any]] = []
        self.done = True

        def settle(folder: RunFolder, target: Target, workflow: Any, **how: bool) -> bool:
            asked: list[Any] = []
            hook.read_page = lambda filters, **more: asked.append(filters) or ([], None)
            assert workflow.ours() == set()
            by, account, region = (asked[0][name][0]["Value"] for name in ("NoteUpdatedBy", "AwsAccountId", "Region"))
            self.calls.append({"by": by, "where": (account, region), "on_record": run.suppresses.exists(), **how})
            assert (folder, target) == (run, TARGET)
            return self.done

        hook = self.hook = SimpleNamespace()
        monkeypatch.setattr(accepted, "settle_accepted", settle)


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize(
    ("plan", "dry_run", "suppresses", "on_record"),
    [
        (plan_of("suppress"), False, True, True),
        (plan_of("suppress"), True, True, False),
        (plan_of("archive", takes_back_accepted=True), False, False, False),
        (plan_of("archive", takes_back_accepted=True), True, False, False),
    ],
    ids=["suppresses", "would suppress", "takes back", "would take back"],
)
def test_a_hub_is_settled_by_the_dag_s_name_once_it_is_on_record_that_the_dag_suppresses(
    run, monkeypatch, plan, dry_run, suppresses, on_record, done
):
    settled = Settled(run, monkeypatch)
    settled.done = done
    write_json(run.plan, plan)
    settle = accepted_risks(run, dry_run=dry_run)
    # Only what is really done anywhere has to be taken back.
    assert not run.suppresses.exists()
    assert [settle(TARGET, settled.hook) for _ in range(2)] == [done, done]
    call = {"by": "airflow-provider-tenable/my-dag", "where": (ACCOUNT, REGION), "on_record": on_record}
    assert settled.calls == [{**call, "suppresses": suppresses, "dry_run": dry_run}] * 2


@pytest.mark.parametrize("plan", [None, plan_of("archive"), plan_of(None), plan_of("suppress", replays="my-dag/x")])
def test_other_runs_do_nothing_and_are_done(run, monkeypatch, plan):
    settled = Settled(run, monkeypatch)
    if plan is not None:
        write_json(run.plan, plan)
    assert accepted_risks(run, dry_run=False)(TARGET, settled.hook) is True
    assert (settled.calls, run.suppresses.exists()) == ([], False)


def delivery(account: str, **parts: int) -> Any:
    return {"account": account, "region": REGION, "parts": list(parts), "lines": list(parts.values())}


def test_the_ledger_has_the_sums_of_all_hubs_and_why_some_are_left_out(run):
    record = AcceptedOutcome([("a", 1), ("b", 2)], 0.0, True, 5, 3, 2, {"note": 1, "workflow": 2}, {"Throttled": 4})
    other = AcceptedOutcome([("c", 3)], 0.0, True, 50, 30, 20, {"note": 10}, {"not_visible": 9, "Throttled": 1}, "Off.")
    for account, outcome in {"1": record, "2": other, "3": other}.items():
        write_json(run.compared(account, REGION) / "accepted.json", msgspec.to_builtins(outcome))
    # The record of the third one is about other parts, and there is none of the fourth one.
    places = [delivery("1", a=1, b=2), delivery("2", c=3), delivery("3", c=4), delivery("4", d=1)]
    missing = "its import is not complete"
    assert accepted_counts(run, plan_of("suppress"), places) == {
        "suppressed": 55,
        "reopened": 33,
        "kept": 22,
        "left": {"note": 11, "workflow": 2},
        "not_done": {"Throttled": 5, "not_visible": 9},
        "why_not": {f"2/{REGION}": "Off.", f"3/{REGION}": missing, f"4/{REGION}": missing},
    }
    assert accepted_counts(run, plan_of("archive"), places) is None
    empty = {"suppressed": 0, "reopened": 0, "kept": 0, "left": {}, "not_done": {}, "why_not": {}}
    assert accepted_counts(run, plan_of("archive", takes_back_accepted=True), []) == empty
