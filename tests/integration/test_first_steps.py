"""A new deployment, from the switch that is thrown to the first finding in Security Hub: nothing is sent before
somebody has let the DAG send.
"""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_tenable.run import plan
from airflow_provider_tenable.staging.files import read_json, remove, remove_file, write_json
from tests.integration.oracle import delivered, expected
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox


def scheduled(defaults: dict[str, Any], number: int = 1, **more: Any) -> Run:
    return Run(defaults=defaults, run_type="scheduled", run_id=f"scheduled__{number}", **more)


def sent(sandbox: Sandbox) -> int:
    return int(sandbox.aws("stats")["calls"].get("BatchImportFindings", 0))


def test_scheduled_runs_of_a_new_deployment_send_nothing_until_a_run_was_triggered(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2):
        caplog.clear()
        run = scheduled(defaults, number)
        assert run.execute()["why"] == "stays: dry_run"
        # It looked as a real run does: every finding is mapped and counted, and each hub was checked.
        assert run.ledger["findings"] > 300
        assert len(run.ledger["destinations"]) == 6
        assert (sent(sandbox), sandbox.documents(), variables.watermark) == (0, {}, None)
        assert "tenable_to_security_hub has not imported anything yet" in caplog.text
        assert "DRY RUN, nothing was sent" in run.report
        assert "To let it send" in run.report

    assert Run(defaults=defaults).execute()["why"].startswith("moves")
    assert delivered(sandbox.documents()) == expected(sandbox.tenable("truth"), accounts=sandbox.accounts)

    sandbox.advance(86400)
    run = scheduled(defaults, 3)
    assert run.execute()["why"].startswith("moves")
    assert run.ledger["accepted"] > 0
    assert delivered(sandbox.documents()) == expected(sandbox.tenable("truth"), accounts=sandbox.accounts)


def test_option_lets_the_first_scheduled_run_send(
    sandbox: Sandbox,
    variables: Variables,
    defaults: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__FIRST_SCHEDULED_RUN", "send")
    scheduled(defaults).execute()
    assert delivered(sandbox.documents()) == expected(sandbox.tenable("truth"), accounts=sandbox.accounts)
    assert variables.watermark is not None
    assert "has not imported anything yet" not in caplog.text


def test_watermark_that_a_person_sets_lets_it_send(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    variables.watermark = "1000000"
    run = scheduled(defaults)
    run.execute()
    assert run.ledger["accepted"] == run.ledger["findings"] > 300


def test_run_of_one_account_that_somebody_tries_first_does_not_let_the_others_go(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    one = [{**defaults["destinations"][0], "accounts": sandbox.accounts[:1]}]
    Run(params={"destinations": one}, defaults=defaults).execute()
    calls = sent(sandbox)
    assert calls > 0
    assert scheduled(defaults).execute()["why"] == "stays: dry_run"
    assert sent(sandbox) == calls


def test_deleted_watermark_exports_everything_again_and_sends_what_differs(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    Run(defaults=defaults).execute()
    variables.watermark = None
    run = scheduled(defaults)
    assert run.execute()["why"].startswith("moves")
    assert run.ledger["unchanged"] > 300
    assert run.ledger["accepted"] == 0
    # Without the finding index nobody knows what the hubs hold.
    remove(run.folder.finding_index)
    run = scheduled(defaults, 1)
    run.execute()
    assert run.ledger["full"]
    assert run.ledger["accepted"] == run.ledger["findings"] - run.ledger["never_imported"] > 300


def test_deployment_of_an_earlier_release_goes_on_sending(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    first = Run(defaults=defaults)
    first.execute()
    # As that release left it: a watermark, and no note.
    remove_file(first.folder.sends)
    remove(first.folder.finding_index)
    variables.watermark = str(int(variables.watermark or 0) - 90 * 86400)
    run = scheduled(defaults, 1)
    run.execute()
    assert run.ledger["full"]
    assert run.ledger["accepted"] == run.ledger["findings"] - run.ledger["never_imported"] > 0
    # From now on the watermark may be deleted, as always.
    variables.watermark = None
    again = scheduled(defaults, 2)
    again.execute()
    assert again.ledger["unchanged"] > 300


@pytest.mark.parametrize("complete", [False, True])
def test_run_that_was_held_back_stays_so_when_it_is_cleared(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], complete: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = scheduled(defaults)
    if complete:
        run.execute()
    else:
        plan.plan_run(run.context)
    monkeypatch.setenv("AIRFLOW__TENABLE__FIRST_SCHEDULED_RUN", "send")
    assert plan.plan_run(run.context)["held_back"]
    assert run.execute()["why"] == "stays: dry_run"
    assert sent(sandbox) == 0
    # Another run is decided anew.
    assert not plan.plan_run(scheduled(defaults, 2).context)["held_back"]


@pytest.mark.parametrize("newer", ["accept_fewer_assets", "max_refused_destinations"])
def test_run_that_an_older_release_held_back_stays_so_when_it_is_cleared(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], newer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = scheduled(defaults)
    plan.plan_run(run.context)
    # As a release left it that did not have this param yet.
    earlier = read_json(run.folder.plan)
    del earlier["asked"][newer]
    write_json(run.folder.plan, earlier)
    monkeypatch.setenv("AIRFLOW__TENABLE__FIRST_SCHEDULED_RUN", "send")
    assert plan.plan_run(run.context)["held_back"]


def test_run_that_was_planned_to_send_does_so_when_it_is_cleared(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    variables.watermark = "1000000"
    run = scheduled(defaults)
    plan.plan_run(run.context)
    variables.watermark = None
    remove_file(run.folder.sends)
    assert not plan.plan_run(run.context)["settings"]["dry_run"]


def test_dry_run_that_the_defaults_ask_for_is_no_run_that_was_held_back(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    run = scheduled({**defaults, "dry_run": True})
    assert run.execute()["why"] == "stays: dry_run"
    assert "although its params do not ask for one" not in caplog.text
    assert not read_json(run.folder.plan)["held_back"]


def test_backfill_is_asked_for(sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]) -> None:
    run = Run(params={"since": 1}, defaults=defaults, run_type="backfill")
    run.execute()
    assert run.ledger["accepted"] == run.ledger["findings"] - run.ledger["never_imported"] > 300
    # It moved no watermark, so it decides nothing for the scheduled runs.
    assert scheduled(defaults).execute()["why"] == "stays: dry_run"
