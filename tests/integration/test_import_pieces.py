"""An import that is shared out to fewer tasks than there are destinations, and cut into pieces: every finding arrives
once, whatever carries it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable._compat import TaskDeferred
from airflow_provider_tenable.links.security_hub import XCOM_KEY, console_url
from airflow_provider_tenable.operators.security_hub import PAUSE_SECONDS, SecurityHubImportFindingsOperator
from airflow_provider_tenable.run import finish
from airflow_provider_tenable.run import plan as plan_module
from airflow_provider_tenable.security_hub.assignment import read_group
from tests.integration.dag_runs import ROOT, AirflowProcess, DagRuns
from tests.integration.oracle import delivered, expected
from tests.integration.pipeline_driver import Run, Variables, staged_lines
from tests.sandbox_driver import Sandbox


def test_two_tasks_in_many_pieces_deliver_what_six_would(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__IMPORT_TASKS", "2")
    monkeypatch.setenv("AIRFLOW__TENABLE__IMPORT_MINUTES", "1e-9")
    run = Run(defaults=defaults)
    plan = plan_module.plan_run(run.context)
    assets, vulnerabilities = (
        run.export("assets", plan["asset_filters"]),
        run.export("vulnerabilities", plan["vulnerability_filters"]),
    )
    run.transform(plan, assets, vulnerabilities)
    arguments = plan_module.plan_imports(run.context)
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
            operator = SecurityHubImportFindingsOperator(task_id="import", together=1, assignment=each)
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
    finish.settle_run(run.context, vulnerabilities)
    oracle = expected(sandbox.tenable("truth"), accounts=sandbox.accounts)
    assert delivered(sandbox.documents()) == oracle
    assert sum(result["accepted"] for result in results) == run.ledger["accepted"] == len(oracle)
    # Nothing was sent twice.
    assert sandbox.aws("stats")["calls"]["BatchImportFindings"] == sum(
        entry["calls"] for entry in run.ledger["destinations"].values()
    )
    assert run.ledger["destinations"].keys() == set(places)


def test_task_that_0_1_0_planned_and_dag_file_of_0_1_0_import_as_before(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    run = Run(defaults=defaults)
    plan = plan_module.plan_run(run.context)
    exports = run.export("assets", plan["asset_filters"]), run.export("vulnerabilities", plan["vulnerability_filters"])
    run.transform(plan, *exports)
    planned = plan_module.plan_imports(run.context)
    places = [each["title"] for each in planned]
    assert len(places) >= 3
    [target] = read_group(run.folder, planned[0]["group"])
    shared = {"batch_size": 100, "dry_run": False}
    old = {
        "account": target.account,
        "region": target.region,
        "aws_conn_id": target.aws_conn_id,
        "role_name": target.role_name,
        **shared,
    }
    # The XCom of 0.1.0 under the present DAG file, and the present XCom under a DAG file of 0.1.0, which uses
    # expand_kwargs.
    ways: list[dict[str, Any]] = [{"assignment": old}, planned[1], {"assignment": planned[2]}]
    for place, way in zip(places, ways, strict=False):
        operator = SecurityHubImportFindingsOperator(task_id="import", **way)
        assert operator.title == place
        result = operator.execute(run.context)
        assert f"{result['account']}/{result['region']}" == place
        # A first run does not import what is archived already.
        active = [line for line in staged_lines(run, place) if b'"RecordState":"ACTIVE"' in line]
        assert result["findings"] >= result["accepted"] == len(active) > 0
        assert set(result) == {"account", "region", "findings", "accepted", "rejected", "calls", "compared"}
        assert run.pushed[XCOM_KEY] == console_url(account=result["account"], region=result["region"])
    # A task that 0.1.0 began under its own DAG file finds its receipts.
    again = SecurityHubImportFindingsOperator(task_id="import", **old).execute(run.context)
    assert f"{again['account']}/{again['region']}" == places[0]
    assert sandbox.aws("stats")["calls"]["BatchImportFindings"] == sum(
        len(read_group(run.folder, each["group"])) for each in planned[:3]
    )


def test_airflow_itself_maps_no_more_than_it_may_and_carries_an_import_through_its_pieces(
    sandbox: Sandbox, defaults: dict[str, Any], airflow_process: AirflowProcess, tmp_path: Path
) -> None:
    sandbox.tenable("options", {"prepare_seconds": 0})
    settings = {
        "AIRFLOW__CORE__MAX_MAP_LENGTH": "2",
        "AIRFLOW__TENABLE__TRANSFORM_SHARDS": "1",
        # 0.6 ms: less than any call takes.
        "AIRFLOW__TENABLE__IMPORT_MINUTES": "0.00001",
    }
    airflow = DagRuns(tmp_path, airflow_process, [ROOT / "dags" / "tenable_to_security_hub.py"], settings)
    [run] = airflow.run(("tenable_to_security_hub", {**defaults, "batch_size": 40}))
    assert run.state == "success", run.errors
    imports = run.of("import_findings")
    assert [int(each["map_index"]) for each in imports] == [0, 1]
    assert {each["state"] for each in imports} == {"success"}
    # Pieces use no retry up.
    assert {each["try_number"] for each in imports} == {1}
    assert all(
        re.fullmatch(r"\d{12}/[a-z0-9-]+ and \d more: [\d,]+ sent, 0 rejected", each["rendered_map_index"])
        for each in imports
    ), imports
    assert run.output.count("The worker slot is released") >= 2
    assert delivered(sandbox.documents()) == expected(sandbox.tenable("truth"), accounts=sandbox.accounts)
