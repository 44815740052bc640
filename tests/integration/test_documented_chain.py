"""The chain of operators in docs/operators.md, executed task by task against the sandbox."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_tenable.operators.asff import TenableToAsffOperator
from tests.integration.pipeline_driver import Run, Variables, staged_lines
from tests.sandbox_driver import Sandbox
from tests.unit.test_docs import _example


def test_documented_chain_delivers_the_critical_findings_of_its_account(
    sandbox: Sandbox, variables: Variables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__POLL_INTERVAL_SECONDS", "1")
    account, region = sandbox.accounts[0], sandbox.process.facts["regions"][0]
    dag = _example("criticals_of_one_account")()
    assert set(dag.task_ids) == {"plan", "assets", "vulnerabilities", "shards", "transform", "load"}
    assert dag.get_task("load").upstream_task_ids == {"transform"}
    run = Run(params={"severities": ["critical"], "since": 1})

    def execute(task_id: str, **arguments: Any) -> Any:
        operator = dag.get_task(task_id)
        for name, value in arguments.items():
            assert name in operator.template_fields
            setattr(operator, name, value)
        return operator.execute(run.context)

    plan = dag.get_task("plan").python_callable(**run.context)
    assets = execute("assets", filters=plan["asset_filters"])
    vulnerabilities = execute("vulnerabilities", filters=plan["vulnerability_filters"])
    transformed = 0
    for shard in dag.get_task("shards").python_callable(vulnerabilities, **run.context):
        arguments = {
            "plan": {name: plan[name] for name in ("window", "settings", "destinations")},
            "assets": assets,
            "vulnerabilities": vulnerabilities,
        }
        assert dag.get_task("transform").partial_kwargs.keys() >= arguments.keys()
        transformed += TenableToAsffOperator(task_id=f"transform_{shard['index']}", shard=shard, **arguments).execute(
            run.context
        )["findings"]
    loaded = execute("load", account=account, region=region)

    truth = sandbox.tenable("truth")["vulnerabilities"]
    assert vulnerabilities["records"] == sum(1 for each in truth if each["severity_id"] == 4)
    assert loaded["findings"] == transformed
    # A first run does not import what is archived already.
    active = [line for line in staged_lines(run, f"{account}/{region}") if b'"RecordState":"ACTIVE"' in line]
    assert transformed >= loaded["accepted"] == len(active) > 0
    held = sandbox.documents()
    assert len(held) == loaded["accepted"]
    assert {finding["AwsAccountId"] for finding in held.values()} == {account}
    assert {finding["FindingProviderFields"]["Severity"]["Label"] for finding in held.values()} == {"CRITICAL"}
