"""Two deployments on one staging path: the second is refused before it continues or removes anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.run import finish, plan, retention
from tests.integration.oracle import delivered, expected
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_second_deployment_touches_nothing_of_the_first_one(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__RETENTION_DAYS", "0")
    first = Run(defaults=defaults, run_id="scheduled__1")
    planned = plan.plan_run(first.context)
    assets = first.export("assets", planned["asset_filters"])
    vulnerabilities = first.export("vulnerabilities", planned["vulnerability_filters"])
    before = contents(tmp_path / "staging")

    # Another metadata database: the same DAG, the same run, the same Tenable.
    own = dict(variables.values)
    variables.values.clear()
    second = Run(defaults=defaults, run_id="scheduled__1")
    with pytest.raises(ConfigurationError, match="belongs to another deployment"):
        plan.plan_run(second.context)
    # Somebody marks that task as success.
    for step in (
        lambda: plan.plan_shards(second.context, vulnerabilities, assets),
        lambda: plan.plan_imports(second.context),
        lambda: finish.settle_run(second.context, vulnerabilities),
        lambda: finish.advance_watermark(second.context, vulnerabilities),
    ):
        with pytest.raises(ConfigurationError, match="belongs to another deployment"):
            step()
    assert retention.remove_old_runs(second.context) == []
    assert contents(tmp_path / "staging") == before
    assert variables.watermark is None

    # With a path of its own it works, beside the first one.
    monkeypatch.setenv("AIRFLOW__TENABLE__STAGING_PATH", f"file://{tmp_path / 'second'}")
    Run(defaults=defaults, run_id="scheduled__1").execute()
    monkeypatch.setenv("AIRFLOW__TENABLE__STAGING_PATH", f"file://{tmp_path / 'staging'}")
    variables.values.clear()
    variables.values.update(own)
    Run(defaults=defaults, run_id="scheduled__1").execute()
    assert delivered(sandbox.documents()) == expected(sandbox.tenable("truth"), accounts=sandbox.accounts)
