"""A backfill next to a scheduled run: their imports share the quota of an account and Region."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from airflow_provider_tenable.operators.security_hub import SecurityHubImportFindingsOperator
from airflow_provider_tenable.run import finish, plan
from tests.faults.universe import Sandbox as Universe
from tests.faults.universe import differences, expected
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox


def test_backfill_next_to_a_scheduled_run_is_throttled_and_both_deliver_everything(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    now = datetime.fromtimestamp(sandbox.advance(0), UTC)
    runs = [
        Run(defaults=defaults, run_type="scheduled", interval=(now, now)),
        Run(defaults=defaults, run_type="backfill", interval=(datetime(2020, 1, 1, tzinfo=UTC), now)),
    ]
    variables.watermark = "1"
    exported, tasks = [], []
    for run in runs:
        planned = plan.plan_run(run.context)
        assets = run.export("assets", planned["asset_filters"])
        exported.append(run.export("vulnerabilities", planned["vulnerability_filters"]))
        run.transform(planned, assets, exported[-1])
        tasks.append(
            [
                SecurityHubImportFindingsOperator(task_id=f"import_{number}", assignment=assignment)
                for number, assignment in enumerate(plan.plan_imports(run.context))
            ]
        )
    # A quota that two calls at the same time exceed.
    sandbox.aws("options", {"throttle": True, "rate": 4, "burst": 1})
    for scheduled, backfill in zip(*tasks, strict=True):
        with ThreadPoolExecutor(2) as pool:
            # Airflow 2 refuses what it wraps around `execute` in any thread but that of the task.
            both = [
                pool.submit(task.execute.__wrapped__, task, run.context)
                for task, run in zip((scheduled, backfill), runs, strict=True)
            ]
        assert all(each.result() for each in both)
    assert sandbox.aws("stats")["throttled"] > 0
    for run, vulnerabilities in zip(runs, exported, strict=True):
        finish.settle_run(run.context, vulnerabilities)
        finish.advance_watermark(run.context, vulnerabilities)
        assert run.ledger["rejected"] == {}
        assert "Complete: every record is accounted for" in run.report
    universe = Universe(sandbox.process)
    with closing(universe.client):
        assert differences(universe.held(), expected(sandbox.truth(), sandbox.accounts)) == {}
    # The backfill leaves the watermark.
    assert len(variables.writes) == 1
