"""A task that a person marks as success has done nothing: what is on record decides, and the message names what to
clear.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable._compat import AirflowFailException, BaseOperator, fail_fast
from airflow_provider_tenable.exceptions import ConfigurationError, LedgerError, RejectedFindingsError
from airflow_provider_tenable.operators.asff import TenableToAsffOperator
from airflow_provider_tenable.operators.security_hub import SecurityHubImportFindingsOperator
from airflow_provider_tenable.operators.tenable import TenableExportOperator
from airflow_provider_tenable.run import finish, plan
from airflow_provider_tenable.transform.waiting_records import list_pool
from tests.faults.universe import belongs
from tests.integration.dag_runs import ROOT, AirflowProcess, DagRuns
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox


def until_imports(run: Run) -> dict[str, Any]:
    """All tasks before the imports; the result of the vulnerability export."""
    planned = plan.plan_run(run.context)
    assets = run.export("assets", planned["asset_filters"])
    vulnerabilities = run.export("vulnerabilities", planned["vulnerability_filters"])
    run.transform(planned, assets, vulnerabilities)
    return vulnerabilities


def import_all(run: Run) -> None:
    for number, assignment in enumerate(plan.plan_imports(run.context)):
        SecurityHubImportFindingsOperator(task_id=f"import_{number}", assignment=assignment).execute(run.context)


def test_imports_and_settle_that_are_marked_move_no_watermark_and_are_not_reported_as_complete(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    run = Run(defaults=defaults)
    vulnerabilities = until_imports(run)
    with pytest.raises(LedgerError, match="does not add up"):
        finish.settle_run(run.context, vulnerabilities)
    # settle is marked as success.
    with pytest.raises(LedgerError, match=r"does not add up: .*The watermark stays"):
        finish.advance_watermark(run.context, vulnerabilities)
    assert variables.writes == []
    assert "NOT COMPLETE" in run.report


def test_settle_that_is_marked_before_it_ever_ran_is_made_up_for(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    truth = sandbox.truth()
    asset = next(each["asset_id"] for each in truth["vulnerabilities"] if belongs(each, sandbox.accounts))
    sandbox.change({"do": "hide_asset", "asset_id": asset, "singly": False})
    run = Run(defaults=defaults)
    vulnerabilities = until_imports(run)
    import_all(run)
    assert finish.advance_watermark(run.context, vulnerabilities)["why"].startswith("moves")
    assert run.ledger["parked"] > 0
    # The watermark has passed the parked records: they wait in the pool.
    assert len(list_pool(run.folder)) > 0
    assert "Complete: every record is accounted for" in run.report


def test_settle_that_failed_for_rejected_findings_and_is_marked_still_holds_the_watermark(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    sandbox.hub_fault(
        {"on": "BatchImportFindings", "do": "fail_findings", "code": "InvalidInput", "share": 0.2, "times": None}
    )
    run = Run(defaults={**defaults, "max_rejected_ratio": 0.0})
    vulnerabilities = until_imports(run)
    import_all(run)
    with pytest.raises(RejectedFindingsError):
        finish.settle_run(run.context, vulnerabilities)
    with pytest.raises(RejectedFindingsError, match="The watermark stays"):
        finish.advance_watermark(run.context, vulnerabilities)
    assert variables.writes == []


def test_run_that_was_complete_and_lost_a_shard_since_is_not_reported_as_complete(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    run = Run(defaults=defaults)
    run.execute()
    assert "Complete: every record" in run.report
    from airflow_provider_tenable.staging.files import read_json, remove_file, write_json

    manifest = read_json(run.folder.shard_manifest(0))
    write_json(run.folder.shard_manifest(0), {**manifest, "read": manifest["read"] + 1})
    assert "NO LONGER COMPLETE: The ledger does not add up" in run.report
    remove_file(run.folder.shard_manifest(0))
    assert "NO LONGER COMPLETE" in run.report


@pytest.mark.parametrize("step", [finish.settle_run, finish.advance_watermark, plan.plan_shards])
def test_export_that_is_marked_is_named_as_the_task_to_clear(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], step: Any
) -> None:
    run = Run(defaults=defaults)
    until_imports(run)
    import_all(run)
    with (
        pytest.raises(
            AirflowFailException, match=r"export_vulnerabilities has no result.*Clear export_vulnerabilities"
        ),
        fail_fast(),
    ):
        step(run.context, None)
    assert variables.writes == []


@pytest.mark.parametrize("missing", ["assets", "vulnerabilities", "plan"])
def test_transform_names_the_task_whose_result_is_missing(
    sandbox: Sandbox, defaults: dict[str, Any], missing: str
) -> None:
    run = Run(defaults=defaults)
    given = {
        "assets": {"folder": "x"},
        "vulnerabilities": {"folder": "x"},
        "plan": {"settings": {}, "window": {}, "destinations": []},
    }
    given[missing] = dict.fromkeys(given[missing]) if missing == "plan" else None  # type: ignore[assignment]
    task = {"assets": "export_assets", "vulnerabilities": "export_vulnerabilities", "plan": "plan_run"}[missing]
    with pytest.raises(AirflowFailException, match=rf"{task} has no result.*Clear {task}"):
        TenableToAsffOperator(task_id="transform", shard={"index": 0, "count": 1}, **given).execute(run.context)


def test_export_whose_filters_come_from_a_task_without_a_result_asks_tenable_for_nothing(
    sandbox: Sandbox, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As Airflow renders the output of a task that was marked as success.
    monkeypatch.setattr(BaseOperator, "render_template_fields", lambda self, *_: setattr(self, "filters", None))
    operator = TenableExportOperator(task_id="export", filters={"since": 1}, deferrable=False)
    context = Run(defaults=defaults).context
    for _ in range(2):
        operator.render_template_fields(context)
    with pytest.raises(AirflowFailException, match=r"The filters of export have no value.*plan_run"):
        operator.execute(context)
    assert sandbox.jobs()["created"] == sandbox.jobs("assets")["created"] == 0


def test_plan_that_is_marked_starts_no_export_under_airflow_itself(
    sandbox: Sandbox, airflow_process: AirflowProcess, tmp_path: Path
) -> None:
    text = (ROOT / "dags" / "tenable_to_security_hub.py").read_text()
    marked = 'dag.get_task("plan_run").python_callable = lambda *_, **__: None\n'
    (tmp_path / "marked.py").write_text(text + marked)
    (outcome,) = DagRuns(tmp_path / "runs", airflow_process, [tmp_path / "marked.py"]).run(("marked", {}), retries=0)
    assert "have no value" in outcome.output, outcome.errors
    assert sandbox.jobs()["created"] == sandbox.jobs("assets")["created"] == 0
    assert sandbox.documents() == {}


def test_error_of_a_missing_result_is_one_that_no_retry_can_mend() -> None:
    from airflow_provider_tenable.run.handover import required

    assert required({"a": 1}, "export_assets") == {"a": 1}
    with pytest.raises(ConfigurationError, match="export_assets has no result"):
        required(None, "export_assets")
