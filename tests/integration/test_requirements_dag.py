"""The DAG of the requirements under Airflow itself."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs_examples import blocks, executable
from tests.integration.dag_runs import ROOT, AirflowProcess, DagRuns
from tests.sandbox_driver import Sandbox


def test_a_param_that_it_does_not_have_is_refused_before_anything_is_asked(
    sandbox: Sandbox, airflow_process: AirflowProcess, tmp_path: Path
) -> None:
    runs = DagRuns(tmp_path, airflow_process, [ROOT / "dags" / "tenable_requirements.py"], {})
    (outcome,) = runs.run(("tenable_requirements", {"severities": ["high"]}), retries=0)
    assert outcome.state == "failed"
    assert "does not have" in outcome.output
    assert sandbox.jobs() == {"created": 0, "running": 0, "cancelled": 0}


#: As on workers of several machines: each run is on another one.
WORKERS = """
from types import SimpleNamespace
from uuid import uuid4
from airflow_provider_tenable._compat import DAG
from airflow_provider_tenable.operators.requirements import TenableRequirementsOperator
from airflow_provider_tenable.requirements import of_staging

name = f"worker-{uuid4().hex}"
of_staging._executor = lambda: "CeleryExecutor"
of_staging.socket = SimpleNamespace(gethostname=lambda: name)
with DAG("workers", schedule=None) as dag:
    TenableRequirementsOperator(task_id="check", checks=["staging"])
"""


def test_each_run_finds_the_marker_of_the_one_before(
    sandbox: Sandbox, airflow_process: AirflowProcess, tmp_path: Path
) -> None:
    file = tmp_path / "workers.py"
    file.write_text(WORKERS)
    runs = DagRuns(tmp_path, airflow_process, [file])
    first, *later = runs.run(*[("workers", {})] * 3, retries=0)
    assert "No earlier run of this task has written a file." in first.output, first.errors
    for outcome in later:
        assert re.search(r"ok +staging\.shared +Worker worker-", outcome.output), outcome.output


def test_as_the_first_task_it_stops_an_import_or_only_warns(
    sandbox: Sandbox, airflow_process: AirflowProcess, tmp_path: Path
) -> None:
    [example] = [code for code in blocks(ROOT / "docs" / "requirements.md", "python") if "plan_run" in code]
    named = executable(example).replace("tenable_to_security_hub()", 'tenable_to_security_hub("{}")')
    files = []
    for dag_id, code in (("warned", named), ("stopped", named.replace(', on_failure="warn"', ""))):
        file = tmp_path / f"{dag_id}.py"
        file.write_text(code.replace("{}", dag_id))
        files.append(file)
    settings = {
        "AIRFLOW__TENABLE__TRANSFORM_SHARDS": "1",
        "AIRFLOW__TENABLE__POLL_INTERVAL_SECONDS": "1",
        "AIRFLOW__TENABLE__MAX_UNSERVED_RATIO": "1",
    }
    runs = DagRuns(tmp_path, airflow_process, files, settings)
    # The simulated Tenable's clock is days behind, which is one of the requirements.
    (stopped,) = runs.run(("stopped", {}), retries=0)
    assert stopped.state == "failed"
    assert [task["state"] for task in stopped.of("check_requirements")] == ["failed"]
    assert "tenable.clock" in stopped.output
    assert [task["state"] for task in stopped.of("plan_run")] == ["upstream_failed"]
    assert sandbox.documents() == {}
    (warned,) = runs.run(("warned", {}), retries=0)
    assert "tenable.clock" in warned.output
    assert warned.state == "success", warned.errors
    assert sandbox.documents()
