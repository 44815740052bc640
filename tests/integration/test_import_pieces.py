"""An import that is shared out to fewer tasks than there are destinations, and cut into pieces: every finding arrives once, whatever carries it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable import pipeline
from airflow_provider_tenable._compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_2_PLUS, TaskDeferred
from airflow_provider_tenable.operators.security_hub import PAUSE_SECONDS, SecurityHubImportFindingsOperator
from tests.integration.oracle import delivered, expected
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox

ROOT = Path(__file__).resolve().parents[2]


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
    pipeline.settle_run(run.context, vulnerabilities)
    oracle = expected(sandbox.tenable("truth"), accounts=sandbox.accounts)
    assert delivered(sandbox.documents()) == oracle
    assert sum(result["accepted"] for result in results) == run.ledger["accepted"] == len(oracle)
    # Nothing was sent twice.
    assert sandbox.aws("stats")["calls"]["BatchImportFindings"] == sum(entry["calls"] for entry in run.ledger["destinations"].values())
    assert run.ledger["destinations"].keys() == set(places)


PROGRAM = """
import runpy, sys, json
from airflow_provider_tenable.operators import security_hub
security_hub.PAUSE_SECONDS = 0.5
dag = runpy.run_path(sys.argv[1])["dag"]
run = dag.test(run_conf=json.loads(sys.argv[2]))
print("RESULT", json.dumps({
    "state": str(getattr(run.state, "value", run.state)),
    "imports": sorted([each.map_index, str(each.state), each.try_number, each.rendered_map_index] for each in run.get_task_instances() if each.task_id == "import_findings"),
}))
"""


def test_airflow_itself_maps_no_more_than_it_may_and_carries_an_import_through_its_pieces(sandbox: Sandbox, defaults: dict[str, Any], tmp_path: Path) -> None:
    sandbox.tenable("options", {"prepare_seconds": 0})
    env = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__MAX_MAP_LENGTH": "2",
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        "AIRFLOW__TENABLE__TRANSFORM_SHARDS": "1",
        "AIRFLOW__TENABLE__IMPORT_MINUTES": "0.002",
    }

    def python(*arguments: str) -> str:
        done = subprocess.run([sys.executable, "-W", "ignore", *arguments], env=env, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout

    python("-m", "airflow", "db", "migrate")
    if AIRFLOW_V_3_0_PLUS and not AIRFLOW_V_3_2_PLUS:
        # To Airflow 3.0's dag.test, an asset is not active before its DAG processor has seen it.
        python("-m", "airflow", "dags", "reserialize")
    output = python("-c", PROGRAM, str(ROOT / "dags" / "tenable_to_security_hub.py"), json.dumps({**defaults, "batch_size": 40}))
    result = json.loads(next(line for line in output.splitlines() if line.startswith("RESULT")).removeprefix("RESULT"))
    assert result["state"] == "success", output[-6000:]
    assert [each[0] for each in result["imports"]] == [0, 1]
    assert {each[1] for each in result["imports"]} == {"success"}
    # Pieces use no retry up.
    assert {each[2] for each in result["imports"]} == {1}
    assert all(re.fullmatch(r"\d{12}/[a-z0-9-]+ and \d more", each[3]) for each in result["imports"]), result
    assert output.count("The worker slot is handed back") >= 2
    assert delivered(sandbox.documents()) == expected(sandbox.tenable("truth"), accounts=sandbox.accounts)
