"""The asset that other DAGs wait for: one per DAG, updated by the task that completes a run, and by nothing else."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_tenable import pipeline
from airflow_provider_tenable._compat import AIRFLOW_V_3_0_PLUS, AirflowFailException, AirflowSkipException
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.run.asset_event import event_extra, imported_findings
from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.staging.layout import RunFolder

ROOT = Path(__file__).resolve().parents[3]
LEDGER: dict[str, Any] = {
    "window": {"since": 100, "until": 200, "kind": "incremental"},
    "dry_run": False,
    "exported": 12,
    "unparked": 1,
    "read": 13,
    "skipped": {"no_aws_account": 2},
    "parked": 1,
    "findings": 10,
    "accepted": 9,
    "rejected": {"InvalidInput": 1},
    "unchanged": 4,
    "superseded": 0,
    "never_imported": 2,
    "full": True,
    "gone": {"archived": {"not_reported": 3}, "not_archived": {}, "left": {}, "stopped": {}},
    "severities": {"111122223333": {"high": 10}},
    "destinations": {
        "111122223333/eu-west-1": {"findings": 10, "accepted": 9, "rejected": {"InvalidInput": 1}, "calls": 1}
    },
    "watermark": {"before": 50, "after": 200, "why": "moves to the window's end"},
    "complete": True,
}


def _events() -> Any:
    """Airflow's own accessors of outlet events."""
    if AIRFLOW_V_3_0_PLUS:
        from airflow.sdk.execution_time.context import OutletEventAccessors
    else:
        from airflow.utils.context import OutletEventAccessors
    return OutletEventAccessors()


@pytest.fixture(scope="module")
def dag() -> Any:
    return runpy.run_path(str(ROOT / "dags" / "tenable_to_security_hub.py"))["dag"]


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("AIRFLOW__TENABLE__STAGING_PATH", f"file://{tmp_path}")
    return {"dag_run": SimpleNamespace(dag_id="tenable_to_security_hub", run_id="run-1"), "outlet_events": _events()}


def complete(dag: Any, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch, *, ledger: dict[str, Any]) -> Any:
    """The DAG's own last task, with a pipeline that ends as the ledger says."""

    def advance(context: Any, vulnerabilities: Any) -> dict[str, Any]:
        write_json(RunFolder.of(context).ledger, ledger)
        return dict(ledger["watermark"])

    monkeypatch.setattr(pipeline, "advance_watermark", advance)
    return dag.get_task("advance_watermark").python_callable({"records": 12}, **context)


def test_the_event_of_a_run_says_what_it_covered_and_where_its_records_ended(dag, context, monkeypatch):
    assert complete(dag, context, monkeypatch, ledger=LEDGER) == LEDGER["watermark"]
    assert len(context["outlet_events"]) == 1
    event = context["outlet_events"][imported_findings("tenable_to_security_hub")]
    run = RunFolder.of(context)
    assert event.extra == {
        **{
            name: LEDGER[name]
            for name in (
                "window",
                "watermark",
                "exported",
                "unparked",
                "skipped",
                "parked",
                "findings",
                "accepted",
                "rejected",
                "unchanged",
                "superseded",
                "never_imported",
                "full",
            )
        },
        "archived": {"not_reported": 3},
        "dag_id": "tenable_to_security_hub",
        "run_id": "run-1",
        "destinations": 1,
        "ledger": str(run.ledger),
    }
    assert json.loads(json.dumps(event.extra)) == event.extra


def test_a_backfill_is_announced_as_one(dag, context, monkeypatch):
    ledger = {
        **LEDGER,
        "window": {"since": 100, "until": 200, "kind": "backfill"},
        "watermark": {"before": 500, "after": 500, "why": "stays"},
    }
    complete(dag, context, monkeypatch, ledger=ledger)
    event = context["outlet_events"][imported_findings("tenable_to_security_hub")]
    assert event.extra["window"]["kind"] == "backfill"
    assert event.extra["watermark"]["after"] == event.extra["watermark"]["before"] == 500


def test_a_dry_run_ends_skipped_which_updates_no_asset(dag, context, monkeypatch):
    with pytest.raises(AirflowSkipException, match="nothing was imported"):
        complete(dag, context, monkeypatch, ledger={**LEDGER, "dry_run": True, "accepted": 0, "rejected": {}})
    assert len(context["outlet_events"]) == 0


def test_a_run_that_does_not_complete_announces_nothing(dag, context, monkeypatch):
    def fails(context: Any, vulnerabilities: Any) -> Any:
        raise ConfigurationError("the watermark lies in the future")

    monkeypatch.setattr(pipeline, "advance_watermark", fails)
    with pytest.raises(AirflowFailException, match="in the future"):
        dag.get_task("advance_watermark").python_callable({}, **context)
    assert len(context["outlet_events"]) == 0


def test_extra_stays_small_however_many_destinations_there_are(context):
    many = {f"{number:012d}/eu-west-1": LEDGER["destinations"]["111122223333/eu-west-1"] for number in range(5_000)}
    extra = event_extra(RunFolder.of(context), {**LEDGER, "destinations": many})
    assert extra["destinations"] == 5_000
    assert len(json.dumps(extra)) < 2_000


@pytest.mark.parametrize("path", sorted((ROOT / "dags").glob("*.py")), ids=lambda path: path.stem)
def test_only_the_task_that_completes_a_run_updates_the_asset_of_its_own_dag(path):
    dag = runpy.run_path(str(path))["dag"]
    # An alias has a name only: the scan, and so its asset, is known when the run begins.
    outlets = {
        task.task_id: [getattr(each, "uri", None) or each.name for each in task.outlets]
        for task in dag.tasks
        if task.outlets
    }
    expected = {
        "tenable_to_security_hub": {"advance_watermark": ["tenable://security-hub/tenable_to_security_hub"]},
        "tenable_compliance_to_security_hub": {
            "advance_watermark": ["tenable://security-hub/tenable_compliance_to_security_hub"]
        },
        "tenable_was_to_security_hub": {"advance_watermark": ["tenable://security-hub/tenable_was_to_security_hub"]},
        "tenable_scan": {"complete": ["tenable_scan"]},
        "tenable_aws_audit": {"complete": ["tenable_aws_audit", "tenable://aws-audits/tenable_aws_audit"]},
        "tenable_audit_security_hub": {"report": ["tenable://security-hub-audit/tenable_to_security_hub"]},
    }
    assert outlets == expected.get(dag.dag_id, {})


def test_the_asset_is_the_one_that_its_uri_gives_and_making_it_looks_up_no_provider():
    # Airflow's own constructor asks all providers. In a process of its own: what is loaded once stays.
    code = """if True:
        import sys
        from airflow_provider_tenable._compat import Asset
        from airflow_provider_tenable.import_event import imported_findings
        before = set(sys.modules)
        assets = [imported_findings(dag_id) for dag_id in ("tenable_to_security_hub", "Upper.Case-and_zw\u00f6lf")]
        assert set(sys.modules) == before, sorted(set(sys.modules) - before)
        for ours in assets:
            theirs = Asset(ours.uri)
            assert ours == theirs and repr(ours) == repr(theirs) and ours.uri.isascii(), (ours, theirs)
            assert getattr(ours, "name", ours.uri) == ours.uri
    """
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_two_dags_have_two_assets():
    assert imported_findings("one").uri != imported_findings("two").uri
    assert imported_findings().uri == "tenable://security-hub/tenable_to_security_hub"
