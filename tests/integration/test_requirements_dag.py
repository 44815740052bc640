"""The DAG of the requirements under Airflow itself."""

from __future__ import annotations

from pathlib import Path

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
