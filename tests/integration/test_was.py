"""Findings of web applications in the hubs, compared with the simulated Tenable's own objects as a set."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from airflow_provider_tenable.run import watermark
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox

PREFIX = "tenable/vulnerability-management/"
LABELS = ("INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL")
EVERY_SEVERITY = ["info", "low", "medium", "high", "critical"]
DAY = 86_400
Held = dict[str, tuple[str, str, str]]


def expected(sandbox: Sandbox) -> Held:
    """Tenable's id -> (resource, severity, place) of every finding that is there now."""
    return {
        each["finding_id"]: (f"https://{each['fqdn']}", LABELS[each["severity_id"]], each["url"])
        for each in sandbox.truth()["was"]
        if each["state"] != "FIXED"
    }


def held(sandbox: Sandbox, state: str = "ACTIVE") -> Held:
    """The same of what the hubs hold."""
    found = [each for each in sandbox.documents().values() if "/was/" in each["Id"] and each["RecordState"] == state]
    by_id = {
        each["ProductFields"][f"{PREFIX}finding_id"]: (
            each["Resources"][0]["Id"],
            each["Severity"]["Label"],
            each["ProductFields"].get(f"{PREFIX}url", ""),
        )
        for each in found
    }
    assert len(by_id) == len(found), "a finding has two ids"
    return by_id


class World:
    def __init__(self, sandbox: Sandbox, defaults: dict[str, Any]) -> None:
        self.sandbox = sandbox
        self.defaults = {**defaults, "severities": EVERY_SEVERITY}

    def run(self, kind: str = "was", **params: Any) -> Run:
        """A run, after which the hubs hold what Tenable has."""
        made = Run(defaults=self.defaults, params=params, kind=kind)
        made.execute()
        assert held(self.sandbox) == expected(self.sandbox)
        return made

    def one(self, state: str, number: int = 0) -> dict[str, Any]:
        found = sorted(self.sandbox.truth()["was"], key=lambda each: str(each["finding_id"]))
        one: dict[str, Any] = [each for each in found if each["state"] == state][number]
        return one

    def change(self, do: str, **order: Any) -> None:
        self.sandbox.change({"do": f"was_{do}", **order})


@pytest.fixture
def world(sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]) -> World:
    sandbox.tenable("options", {"prepare_seconds": 0})
    return World(sandbox, defaults)


def test_the_hub_holds_what_tenable_has_while_applications_live_and_are_deleted(world: World) -> None:
    sandbox = world.sandbox
    first = world.run()
    # What is fixed before the first run never was in a hub, so it is not asked for.
    assert first.ledger["exported"] == first.ledger["accepted"] == len(expected(sandbox))
    assert {each["is_licensed"] for each in sandbox.truth()["was"]} == {True, False}
    quiet = world.run()
    assert (quiet.ledger["accepted"], quiet.ledger["gone"]["archived"]) == (0, {})

    # A customer suppresses one; then nothing that happens to findings undoes that.
    kept = world.one("OPEN", 3)["finding_id"]
    document = next(each for each in sandbox.documents().values() if each["Id"].endswith(f"/was/{kept}"))
    where = {"account": document["AwsAccountId"], "region": document["Region"], "id": document["Id"]}
    sandbox.aws("customer", {**where, "set": {"Workflow": {"Status": "SUPPRESSED"}}})

    fixed, back = world.one("OPEN", 0), world.one("FIXED", 0)
    world.change("fix", finding_id=fixed["finding_id"])
    world.change("reopen", finding_id=back["finding_id"])
    world.change("recast", finding_id=world.one("OPEN", 1)["finding_id"], severity_id=1)
    world.change("rescan", finding_id=kept)
    world.change("launch", findings=4)
    made = world.run()
    # What was neither fixed nor found again is not exported, and not sent.
    assert made.ledger["exported"] < first.ledger["exported"]
    assert held(sandbox, "ARCHIVED").keys() >= {fixed["finding_id"]}
    assert back["finding_id"] in held(sandbox)

    # An accepted risk is archived, and comes back when the rule is gone.
    accepted = world.one("OPEN", 2)["finding_id"]
    world.change("accept", finding_id=accepted)
    world.change("reopen", finding_id=fixed["finding_id"])
    Run(defaults=world.defaults, kind="was").execute()
    assert expected(sandbox).keys() - held(sandbox).keys() == {accepted}
    world.change("restore", finding_id=accepted)
    # Tenable rates a plugin anew and moves no time: a full run finds out.
    rated = Counter(each["plugin_id"] for each in sandbox.truth()["was"] if each["state"] == "OPEN").most_common(1)
    world.change("rerate", plugin_id=rated[0][0], severity_id=3, silently=True)
    world.run(full=True)

    sandbox.advance(2 * DAY)
    world.run()

    # An application is deleted: its findings are never exported as fixed.
    gone = world.one("OPEN")["asset_id"]
    active = held(sandbox).keys()
    findings = {each["finding_id"] for each in sandbox.truth()["was"] if each["asset_id"] == gone} & active
    world.change("delete", asset_id=gone)
    made = world.run(full=True)
    assert made.ledger["gone"]["archived"] == {"asset_deleted": len(findings)}
    assert held(sandbox, "ARCHIVED").keys() >= findings
    # One vanishes without a trace.
    world.change("launch", findings=2)
    world.run()
    new = sandbox.truth()["web_apps"][-1]["asset_id"]
    world.change("age_out", asset_id=new)
    assert world.run(full=True).ledger["gone"]["archived"] == {"not_reported": 2}
    again = world.run(full=True)
    assert (again.ledger["accepted"], again.ledger["gone"]["archived"]) == (0, {})
    assert sandbox.documents()[document["Id"]]["Workflow"]["Status"] == "SUPPRESSED"


def test_vulnerabilities_and_web_applications_of_one_hub_leave_each_other_alone(
    world: World, variables: Variables
) -> None:
    sandbox = world.sandbox
    world.defaults = {**world.defaults, "severities": ["critical"]}
    of_vulnerabilities = Run(defaults=world.defaults)
    of_vulnerabilities.execute()
    before = sandbox.documents()
    world.defaults["severities"] = EVERY_SEVERITY
    world.run()
    assert before.items() <= sandbox.documents().items()
    sandbox.advance(3600)
    for run in (
        Run(defaults={**world.defaults, "severities": ["critical"]}, params={"full": True}),
        Run(defaults=world.defaults, params={"full": True}, kind="was"),
    ):
        marks = dict(variables.values)
        run.execute()
        assert (run.ledger["full"], run.ledger["gone"]["archived"]) == (True, {})
        changed = {name for name, value in variables.values.items() if value != marks.get(name)}
        assert changed == {watermark.variable_name(run.folder.dag_id)}
    assert held(sandbox) == expected(sandbox)


def test_an_accepted_risk_is_suppressed_in_the_hub_until_it_ends(world: World) -> None:
    world.defaults["accepted_risks"] = "suppress"
    world.run()
    finding_id = world.one("OPEN")["finding_id"]
    for order, status in (("accept", "SUPPRESSED"), ("restore", "NEW")):
        world.change(order, finding_id=finding_id)
        run = world.run(full=True)
        workflow = {
            each["ProductFields"][f"{PREFIX}finding_id"]: each["Workflow"]["Status"]
            for each in world.sandbox.documents().values()
            if "/was/" in each["Id"] and each["RecordState"] == "ACTIVE"
        }
        assert workflow.pop(finding_id) == status
        assert set(workflow.values()) == {"NEW"}
        assert run.ledger["complete"]
