"""What is staged is bound to what the run is: which Tenable, which type of run, which interval. A cleared run keeps its
window.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_tenable._compat import AirflowFailException
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.run import finish, plan
from airflow_provider_tenable.staging.files import names, read_json, remove_file, write_json, write_whole
from tests.failing import fails_at_once
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox

#: What ``plan_run`` calls the filters of each export.
FILTERS = {"assets": "asset_filters", "vulnerabilities": "vulnerability_filters"}
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


@pytest.mark.parametrize("kind", ["assets", "vulnerabilities"])
@pytest.mark.parametrize("is_complete", [True, False], ids=["complete", "running"])
def test_exports_cleared_alone_after_the_connection_was_corrected_do_not_continue_the_old_plan(
    sandbox: Sandbox,
    defaults: dict[str, Any],
    variables: Variables,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    is_complete: bool,
) -> None:
    run = Run(defaults=defaults)
    filters = plan.plan_run(run.context)[FILTERS[kind]]
    run.export(kind, filters)
    state = run.folder.export(kind) / "export.json"
    if not is_complete:
        write_json(state, {**read_json(state), "complete": False})
    before, jobs, staged = read_json(state), sandbox.jobs(), names(run.folder.export(kind))
    another_tenable(monkeypatch)
    # The person clears the export, not plan_run.
    with fails_at_once(
        rf"The {kind} export does not continue: connection 'tenable_default' leads to another Tenable.*"
        r"clear plan_run together with all tasks after it"
    ):
        run.export(kind, filters)
    assert sandbox.jobs() == jobs
    assert (read_json(state), names(run.folder.export(kind))) == (before, staged)
    assert variables.writes == []
    # What the message advises: the run is planned again, and starts over.
    filters = plan.plan_run(again(run).context)[FILTERS[kind]]
    assert run.export(kind, filters)["uuid"] != before["uuid"]
    assert read_json(state)["source"] == "another"


def test_export_that_was_not_requested_yet_is_not_requested_from_another_tenable(
    sandbox: Sandbox, defaults: dict[str, Any], variables: Variables, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(defaults=defaults)
    filters = plan.plan_run(run.context)["vulnerability_filters"]
    jobs = sandbox.jobs()
    another_tenable(monkeypatch)
    with pytest.raises(AirflowFailException, match="the watermark stays"):
        run.export("vulnerabilities", filters)
    assert sandbox.jobs() == jobs


@pytest.mark.parametrize("kind", ["assets", "vulnerabilities"])
def test_staged_export_of_another_source_is_neither_mapped_nor_settled(
    sandbox: Sandbox, defaults: dict[str, Any], variables: Variables, kind: str
) -> None:
    run = Run(defaults=defaults)
    planned = plan.plan_run(run.context)
    assets = run.export("assets", planned["asset_filters"])
    vulnerabilities = run.export("vulnerabilities", planned["vulnerability_filters"])
    state = run.folder.export(kind) / "export.json"
    recorded = read_json(state)
    assert recorded["source"] == read_json(run.folder.plan)["identity"]["source"]
    write_json(state, {**recorded, "source": "another"})
    message = rf"The staged {kind} export comes from another Tenable.*The watermark stays.*clear plan_run"
    with pytest.raises(ConfigurationError, match=message):
        plan.plan_shards(run.context, vulnerabilities, assets)
    with pytest.raises(ConfigurationError, match=message):
        finish.settle_run(run.context, vulnerabilities)
    with pytest.raises(ConfigurationError, match=message):
        finish.advance_watermark(run.context, vulnerabilities)
    assert variables.writes == []
    assert not run.folder.ledger.exists()
    # An older release does not record the source.
    del recorded["source"]
    write_json(state, recorded)
    assert plan.plan_shards(run.context, vulnerabilities, assets)


def test_run_of_another_deployment_is_not_continued_by_an_export(
    sandbox: Sandbox, defaults: dict[str, Any], variables: Variables
) -> None:
    run = Run(defaults=defaults)
    filters = plan.plan_run(run.context)["vulnerability_filters"]
    jobs = sandbox.jobs()
    write_json(run.folder.owner, {"owner": "somebody else", "at": 1})
    with pytest.raises(AirflowFailException, match="belongs to another deployment"):
        run.export("vulnerabilities", filters)
    assert sandbox.jobs() == jobs


def test_export_without_a_plan_asks_for_no_source(
    sandbox: Sandbox, defaults: dict[str, Any], variables: Variables, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(defaults=defaults)
    run.export("vulnerabilities", {"state": ["OPEN"], "since": 1})
    another_tenable(monkeypatch)
    run.export("vulnerabilities", {"state": ["OPEN"], "since": 1})
    assert "source" not in read_json(run.folder.export("vulnerabilities") / "export.json")
