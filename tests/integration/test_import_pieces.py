"""An import that is shared out to fewer tasks than there are destinations, and cut into pieces: every finding arrives once, whatever carries it."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest

from airflow_provider_tenable import pipeline
from airflow_provider_tenable._compat import TaskDeferred
from airflow_provider_tenable.operators.security_hub import PAUSE_SECONDS, SecurityHubImportFindingsOperator
from tests.integration.oracle import delivered, expected
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox


def test_two_tasks_in_many_pieces_deliver_what_six_would(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__IMPORT_TASKS", "2")
    monkeypatch.setenv("AIRFLOW__TENABLE__IMPORT_MINUTES", "1e-9")
    run = Run(defaults=defaults)
    plan = pipeline.plan_run(run.context)
    assets, vulnerabilities = run.export("assets", plan["asset_filters"]), run.export("vulnerabilities", plan["vulnerability_filters"])
    run.transform(plan, assets, vulnerabilities)
    arguments = pipeline.plan_imports(run.context)
    places = [f"{account}/{region}" for account in sandbox.accounts for region in sandbox.process.facts["regions"]]
    assert [sorted(each) for each in arguments] == [["batch_size", "dry_run", "group", "title"]] * 2
    # XCom holds no more than a number and a name of each.
    assert len(json.dumps(arguments)) < 400
    pieces: Counter[int] = Counter()
    results = []
    for each in arguments:
        pause = None
        while True:
            # A new process, a new operator: nothing is left but receipts.
            operator = SecurityHubImportFindingsOperator(task_id="import", together=1, **each)
            assert re.fullmatch(r"\d{12}/[a-z0-9-]+ and \d more", operator.title)
            pieces[each["group"]] += 1
            try:
                results.append(getattr(operator, pause.method_name if pause else "execute")(run.context))
                break
            except TaskDeferred as deferred:
                pause = deferred
        assert pause
        assert (pause.method_name, pause.trigger.serialize()[0].rpartition(".")[2]) == ("resume", "DateTimeTrigger")
    assert PAUSE_SECONDS >= 10
    assert min(pieces.values()) >= 3
    assert sum(result["destinations"] for result in results) == len(places)
    pipeline.settle_run(run.context, vulnerabilities)
    oracle = expected(sandbox.tenable("truth"), accounts=sandbox.accounts)
    assert delivered(sandbox.documents()) == oracle
    assert sum(result["accepted"] for result in results) == run.ledger["accepted"] == len(oracle)
    # Nothing was sent twice.
    assert sandbox.aws("stats")["calls"]["BatchImportFindings"] == sum(entry["calls"] for entry in run.ledger["destinations"].values())
    assert run.ledger["destinations"].keys() == set(places)
