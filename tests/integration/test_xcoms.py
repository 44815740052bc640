"""What the DAG's tasks leave as XComs. Airflow 3.0's API server answers 422 to one that is null, and so fails the task
that leaves it.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from airflow_provider_tenable.operators.security_hub import SecurityHubImportFindingsOperator
from airflow_provider_tenable.run import finish
from airflow_provider_tenable.run import plan as plan_module
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox

DAG_FILE = Path(__file__).resolve().parent.parent.parent / "dags" / "tenable_to_security_hub.py"


def test_no_xcom_of_a_first_run_is_null(sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]) -> None:
    run = Run(defaults=defaults)
    plan = plan_module.plan_run(run.context)
    assets, vulnerabilities = (
        run.export("assets", plan["asset_filters"]),
        run.export("vulnerabilities", plan["vulnerability_filters"]),
    )
    run.transform(plan, assets, vulnerabilities)
    for number, assignment in enumerate(plan_module.plan_imports(run.context)):
        SecurityHubImportFindingsOperator(task_id=f"import_{number}", assignment=assignment).execute(run.context)
    settled = finish.settle_run(run.context, vulnerabilities)
    results = {
        "plan_run": plan,
        "settle": settled,
        "advance_watermark": finish.advance_watermark(run.context, vulnerabilities),
    }
    assert results["advance_watermark"]["before"] is None

    # A task with multiple outputs leaves one for each key of its result.
    several = {
        task.task_id for task in runpy.run_path(str(DAG_FILE))["dag"].tasks if getattr(task, "multiple_outputs", False)
    }
    assert "plan_run" in several
    assert [f"{name}.{key}" for name in several for key, value in results[name].items() if value is None] == []


def test_filters_of_the_exports_hold_no_text_that_a_person_chose(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    """They are templated fields of deferred tasks, and ``dag.test`` of Airflow 2 renders these once more when they are
    resumed.
    """
    chosen = {
        "since": "2026-11-01T00:00:00Z",
        "until": "2026-11-02T00:00:00+00:00",
        "severities": ["critical", "low"],
        "states": ["fixed", "open"],
    }
    plan = plan_module.plan_run(Run(defaults=defaults, params=chosen).context)
    texts, left = set(), [plan["asset_filters"], plan["vulnerability_filters"]]
    while left:
        value = left.pop()
        left += [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
        texts |= {value} if isinstance(value, str) else set()
    assert texts == {"state", "severity", "since", "critical", "low", "FIXED", "OPEN"}
