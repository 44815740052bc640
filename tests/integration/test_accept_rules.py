"""A finding that somebody suppresses in a hub, with a note, becomes an accept rule in Tenable; the next import archives
it.
"""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_tenable._compat import AirflowFailException
from airflow_provider_tenable.operators.accept_rules import TenableAcceptRulesOperator
from sandbox.standalone.airflow import connections
from tests.integration.conftest import connect
from tests.integration.pipeline_driver import Run, Variables
from tests.integration.test_accepted_risks import customer_sets, open_findings
from tests.sandbox_driver import Sandbox


def accept(run: Run, **arguments: Any) -> dict[str, int]:
    operator = TenableAcceptRulesOperator(task_id="accept", **{"dry_run": False, **arguments})
    return operator.execute(run.context)


def test_what_is_suppressed_with_a_note_is_accepted_in_tenable_and_archived_by_the_next_import(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(defaults=defaults)
    run.execute()
    noted, twice, silent, *_ = open_findings(sandbox, is_accepted=False)
    note = {"Text": "Behind a WAF.\nUntil March.", "UpdatedBy": "ada"}
    for name in (noted, twice):
        customer_sets(sandbox, name, Workflow={"Status": "SUPPRESSED"}, Note=note)
    customer_sets(sandbox, silent, Workflow={"Status": "SUPPRESSED"})
    calls = sandbox.tenable("stats")["calls"].get("recast_rule_create", 0)
    assert accept(run, dry_run=True) == {"created": 2, "without_note": 1}
    assert sandbox.tenable("stats")["calls"].get("recast_rule_create", 0) == calls

    # One after the other, and the answer to the second one is lost: the rule is there, and is found.
    assert accept(run, max_rules=1) == {"created": 1, "later": 1, "without_note": 1}
    sandbox.fault({"on": "recast_rule_create", "do": "lose_answer"})
    with pytest.raises(Exception, match="accept rule"):
        accept(run)
    assert accept(run) == {"existing": 2, "without_note": 1}

    sandbox.advance(3600)
    after = Run(defaults=defaults)
    after.execute()
    for name in (noted, twice):
        found = sandbox.documents()[name]
        assert found["RecordState"] == "ARCHIVED"
        assert found["ProductFields"]["tenable/vulnerability-management/recast_reason"] == "Behind a WAF. Until March."
        assert (found["Workflow"]["Status"], found["Note"]["Text"]) == ("SUPPRESSED", note["Text"])
    assert after.ledger["archived"] == {"risk_accepted": 2}
    assert accept(after) == {"without_note": 1}

    # Only one side decides.
    both = Run(defaults={**defaults, "accepted_risks": "suppress"})
    both.execute()
    with pytest.raises(AirflowFailException, match="only one of the two"):
        accept(both)

    # And not without the right to.
    Run(defaults=defaults).execute()
    fields = next(value for each, value in connections(sandbox.process).items() if each == "tenable_default")
    connect(monkeypatch, "tenable_default", {**fields, "login": f"noadmin-{fields['login']}"})
    with pytest.raises(AirflowFailException, match="role Administrator"):
        accept(run)
