"""Risks that are accepted in Tenable suppress findings in the hubs, and nobody's own decision is touched."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from airflow_provider_tenable.security_hub.workflow import ACCEPTED_TEXT, ENDED_TEXT
from airflow_provider_tenable.staging.files import read_json
from airflow_provider_tenable.state import accepted
from airflow_provider_tenable.state.accepted import AcceptedCrashPoint
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox

BY = "airflow-provider-tenable/tenable_to_security_hub"
FIELDS = "tenable/vulnerability-management"


class KilledError(BaseException):
    """As if the process had been killed."""


def die_at(point: AcceptedCrashPoint, reached: Any) -> None:
    if reached is point:
        raise KilledError


def open_findings(sandbox: Sandbox, *, is_accepted: bool) -> list[str]:
    return [
        name
        for name, each in sandbox.documents().items()
        if each["RecordState"] == "ACTIVE"
        and (each["ProductFields"].get(f"{FIELDS}/severity_modification") == "ACCEPTED") == is_accepted
    ]


def told(sandbox: Sandbox, name: str) -> tuple[str, str, str]:
    """Status, text of the note and its author."""
    finding = sandbox.documents()[name]
    note = finding.get("Note", {})
    return finding["Workflow"]["Status"], note.get("Text", ""), note.get("UpdatedBy", "")


def customer_sets(sandbox: Sandbox, name: str, **fields: Any) -> None:
    finding = sandbox.documents()[name]
    place = {"account": finding["AwsAccountId"], "region": finding["Region"], "id": name}
    sandbox.aws("customer", {**place, "set": fields})


def in_tenable(sandbox: Sandbox, what: str, *finding_ids: str) -> None:
    documents = sandbox.documents()
    sandbox.change(
        *({"do": what, "finding_id": documents[name]["ProductFields"][f"{FIELDS}/finding_id"]} for name in finding_ids)
    )


def counts(run: Run) -> tuple[int, int, int, dict[str, int]]:
    found = run.ledger["accepted_risks"]
    assert (found["not_done"], found["why_not"]) == ({}, {})
    return found["suppressed"], found["reopened"], found["kept"], found["left"]


def test_accepted_risks_are_suppressed_until_they_end_and_people_s_decisions_stay(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = {**defaults, "accepted_risks": "suppress"}
    run = Run(defaults=defaults)
    run.execute()
    risks, others = open_findings(sandbox, is_accepted=True), open_findings(sandbox, is_accepted=False)
    assert len(risks) > 3
    assert all(told(sandbox, name) == ("SUPPRESSED", ACCEPTED_TEXT, BY) for name in risks)
    assert {each["Workflow"]["Status"] for name, each in sandbox.documents().items() if name in others} == {"NEW"}
    assert counts(run) == (len(risks), 0, 0, {})
    assert "Accepted risks: suppressed" in run.report

    # People take one back, and suppress one themselves, whose risk is then accepted too; one rule ends, one is new.
    ended, taken_back, *stay = risks
    suppressed, accepted_now = others[:2]
    customer_sets(sandbox, taken_back, Workflow={"Status": "NEW"})
    customer_sets(sandbox, suppressed, Workflow={"Status": "SUPPRESSED"})
    in_tenable(sandbox, "restore", ended)
    in_tenable(sandbox, "accept", suppressed, accepted_now, taken_back)
    sandbox.advance(3600)
    run = Run(defaults=defaults)
    for point in AcceptedCrashPoint:
        with monkeypatch.context() as patch:
            patch.setattr(accepted, "reached", partial(die_at, point))
            with pytest.raises(KilledError):
                run.execute()
    run.execute()
    assert told(sandbox, ended) == ("NEW", ENDED_TEXT, BY)
    assert told(sandbox, accepted_now) == ("SUPPRESSED", ACCEPTED_TEXT, BY)
    assert told(sandbox, taken_back) == ("NEW", ACCEPTED_TEXT, BY)
    assert told(sandbox, suppressed) == ("SUPPRESSED", "", "")
    assert all(told(sandbox, name)[0] == "SUPPRESSED" for name in stay)
    assert counts(run)[:2] == (1, 1)
    assert counts(run)[3] == {"taken_back": 1, "workflow": 1}

    # The rule of the one that a person has suppressed ends.
    in_tenable(sandbox, "restore", suppressed)
    sandbox.advance(3600)
    run = Run(defaults=defaults)
    run.execute()
    assert told(sandbox, suppressed) == ("SUPPRESSED", "", "")
    assert counts(run)[:2] == (0, 0)

    # Without the option they are archived, and nothing of ours stays suppressed.
    run = Run(defaults={**defaults, "accepted_risks": "archive"})
    run.execute()
    assert read_json(run.folder.plan)["hubs"]["full_why"] == "accepted_risks changed since the last full run"
    for name in (*stay, accepted_now):
        assert sandbox.documents()[name]["RecordState"] == "ARCHIVED"
        assert told(sandbox, name) == ("NEW", ENDED_TEXT, BY)
    assert told(sandbox, suppressed) == ("SUPPRESSED", "", "")
    assert counts(run)[:2] == (0, len(stay) + 1)
