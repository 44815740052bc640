"""What is staged is bound to what the run is: which Tenable, which type of run, which interval. A cleared run keeps its
window.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.run import plan
from airflow_provider_tenable.staging.files import names, read_json, remove_file, write_json, write_whole
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox

INTERVAL = (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC))


def again(run: Run, **changed: Any) -> Run:
    """The same run, cleared."""
    given = {"params": run.params, "defaults": run.defaults, "run_type": run.run_type, "interval": run.interval}
    return Run(**{**given, **changed}, run_id=run.run_id)


def another_tenable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_tenable.tenable_vm.client.TenableApi.identity", lambda self: "another")


@pytest.fixture
def staged(sandbox: Sandbox, defaults: dict[str, Any], variables: Variables) -> Run:
    """A run that was planned, and whose vulnerabilities are staged."""
    run = Run(defaults=defaults, run_type="scheduled", run_id="scheduled__1", interval=INTERVAL)
    run.export("vulnerabilities", plan.plan_run(run.context)["vulnerability_filters"])
    write_json(run.folder.receipts("111122223333", "eu-west-1"), {})
    return run


def test_cleared_run_continues_with_what_it_has_staged(staged: Run) -> None:
    before = names(staged.folder.export("vulnerabilities"))
    window = plan.plan_run(again(staged).context)["window"]
    assert names(staged.folder.export("vulnerabilities")) == before
    assert window == read_json(staged.folder.plan)["window"]


@pytest.mark.parametrize(
    "changed",
    [{"run_type": "manual"}, {"interval": (INTERVAL[1], INTERVAL[1] + timedelta(days=1))}],
    ids=["type", "interval"],
)
def test_run_of_another_type_or_interval_takes_over_nothing(
    staged: Run, changed: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    plan.plan_run(again(staged, **changed).context)
    assert sorted(names(staged.folder.root)) == ["run.json"]
    assert "It starts over" in caplog.text


def test_scheduled_run_that_a_backfill_reprocesses_covers_its_interval_and_moves_nothing(
    staged: Run, variables: Variables
) -> None:
    planned = plan.plan_run(again(staged, run_type="backfill").context)
    assert planned["window"]["kind"] == "backfill"
    assert planned["window"]["since"] == int(INTERVAL[0].timestamp())


def test_chunks_of_another_tenable_are_never_delivered(
    staged: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    another_tenable(monkeypatch)
    plan.plan_run(again(staged).context)
    assert sorted(names(staged.folder.root)) == ["run.json"]
    assert "planned for another Tenable instance or API user before. It starts over" in caplog.text


def test_plan_of_an_older_release_is_compared_by_the_source_of_its_assets(
    staged: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = read_json(staged.folder.plan)
    del value["identity"]
    write_json(staged.folder.plan, value)
    plan.plan_run(again(staged).context)
    assert names(staged.folder.export("vulnerabilities"))
    value = read_json(staged.folder.plan)
    del value["identity"]
    write_json(staged.folder.plan, value)
    another_tenable(monkeypatch)
    plan.plan_run(again(staged).context)
    assert not names(staged.folder.export("vulnerabilities"))


@pytest.mark.parametrize("params", [{}, {"severities": ["medium", "high", "critical"]}], ids=["as before", "wider"])
def test_complete_run_that_is_cleared_keeps_its_window_and_what_was_rejected(
    sandbox: Sandbox, staged: Run, variables: Variables, params: dict[str, Any]
) -> None:
    window = read_json(staged.folder.plan)["window"]
    write_json(staged.folder.ledger, {"complete": True})
    write_whole(staged.folder.rejected / "part-shard-0000.jsonl.gz", b"what was rejected")
    variables.watermark = str(window["until"])
    sandbox.advance(7200)
    assert plan.plan_run(again(staged, params=params).context)["window"] == window
    assert not staged.folder.ledger.exists()
    assert sorted(names(staged.folder.root)) == ["rejected_before", "run.json"]
    (kept,) = names(staged.folder.rejected_before)
    assert kept.endswith("-part-shard-0000.jsonl.gz")
    assert (staged.folder.rejected_before / kept).read_bytes() == b"what was rejected"


def test_other_bounds_make_another_window(staged: Run) -> None:
    write_json(staged.folder.ledger, {"complete": True})
    planned = plan.plan_run(again(staged, params={"since": 1_700_000_000}).context)
    assert planned["window"]["since"] == 1_700_000_000
    assert json.dumps(planned)


def test_watermark_of_another_tenable_stops_the_run_with_what_to_do(
    sandbox: Sandbox, defaults: dict[str, Any], variables: Variables, monkeypatch: pytest.MonkeyPatch
) -> None:
    Run(defaults=defaults).execute()
    mark, jobs = variables.watermark, sandbox.jobs()["created"]
    another_tenable(monkeypatch)
    run = Run(defaults=defaults)
    with pytest.raises(ConfigurationError, match=r"belongs to another Tenable.*airflow variables delete .*sends\.json"):
        plan.plan_run(run.context)
    assert not run.folder.root.exists()
    assert (variables.watermark, sandbox.jobs()["created"]) == (mark, jobs)
    # What does not continue from the watermark needs none.
    assert plan.plan_run(Run(defaults=defaults, run_type="backfill", interval=INTERVAL).context)
    assert plan.plan_run(Run(defaults=defaults, params={"since": 1}).context)
    # What the message advises: either.
    remove_file(run.folder.sends)
    assert plan.plan_run(run.context)["window"]["watermark"] == int(mark or 0)
    assert read_json(run.folder.sends)["source"] == "another"
    variables.watermark = None
    assert plan.plan_run(Run(defaults=defaults).context)["window"]["since"] == 1
