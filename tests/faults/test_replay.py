"""Rejected findings: on record with all that is needed, and brought again after a fix, once or twice, with receipts of
their own.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.faults.pipeline import Pipeline
from tests.faults.test_hub_faults import IMPORT, QUICK, assert_delivered, rejected, wanted_ids
from tests.faults.universe import Sandbox, belongs

TOLERANT = {"max_rejected_ratio": 1.0}


@pytest.fixture
def refused(pipeline: Pipeline, sandbox: Sandbox) -> list[str]:
    """Findings that a run could not bring, since Security Hub refused them."""
    bad = wanted_ids(sandbox)[2:5]
    for each in bad:
        sandbox.hub_fault(
            {
                "on": IMPORT,
                "do": "fail_findings",
                "code": "InvalidInput",
                "message": "for now",
                "ids_containing": each,
                "times": None,
            }
        )
    pipeline.succeed(patches=QUICK, defaults=TOLERANT)
    assert sorted({line["id"] for line in rejected(pipeline)}) == bad
    return bad


def replay_ledger(pipeline: Pipeline, run_id: str) -> dict[str, object]:
    ledger: dict[str, object] = json.loads(
        (pipeline.staging / "tenable_replay_rejected" / run_id / "ledger.json").read_text()
    )
    return ledger


@pytest.mark.parametrize("transform", [False, True])
def test_replay_after_the_fix_brings_what_was_refused(
    pipeline: Pipeline, sandbox: Sandbox, refused: list[str], transform: bool
) -> None:
    watermark = pipeline.watermark
    sandbox.clear_faults()
    before = sandbox.aws("summary")["imports"]
    pipeline.succeed("replay-1", replay={"transform": transform})
    assert_delivered(pipeline, sandbox)
    after = sandbox.aws("summary")["imports"]
    assert after["created"] - before["created"] == len(refused)
    # Mapped again or not, what the hub has already is not sent again.
    assert after["received"] - before["received"] == len(refused)
    ledger = replay_ledger(pipeline, "replay-1")
    assert ledger["unchanged"] == (ledger["findings"] - len(refused) if transform else 0)
    assert ledger["accepted"] == after["received"] - before["received"]
    assert ledger["rejected"] == {}
    assert pipeline.watermark == watermark
    assert f"{ledger['accepted']} accepted by Security Hub CSPM, 0 rejected again" in pipeline.log


def test_replay_of_several_runs_brings_what_was_refused_in_each(
    pipeline: Pipeline, sandbox: Sandbox, refused: list[str]
) -> None:
    sandbox.advance(3600)
    for each in sandbox.truth()["assets"]:
        sandbox.change({"do": "fix", "asset_id": each["asset_id"]})
    pipeline.succeed("run-2", patches=QUICK, defaults=TOLERANT)
    sandbox.clear_faults()
    watermark = pipeline.watermark
    pipeline.succeed("replay-1", replay={"run_ids": ["run-1", "run-2"]})
    assert_delivered(pipeline, sandbox)
    ledger = replay_ledger(pipeline, "replay-1")
    replayed = ledger["replayed"]
    assert isinstance(replayed, dict)
    assert {run_id: sum(counts.values()) for run_id, counts in replayed.items()} == {
        run_id: len(rejected(pipeline, run_id)) for run_id in ("run-1", "run-2")
    }
    assert ledger["findings"] == len(refused)
    assert pipeline.watermark == watermark


def test_replay_may_be_repeated(pipeline: Pipeline, sandbox: Sandbox, refused: list[str]) -> None:
    sandbox.clear_faults()
    pipeline.succeed("replay-1", replay={"run_id": "run-1"})
    documents = sandbox.documents()
    pipeline.succeed("replay-1", replay={"run_id": "run-1"}, clear=True)
    pipeline.succeed("replay-2", replay={"run_id": "run-1"})
    assert sandbox.documents() == documents
    assert_delivered(pipeline, sandbox)


@pytest.mark.parametrize(
    "point", ["findings_part_written", "before_call", "call_answered", "receipts_written", "file_not_renamed:3"]
)
def test_replay_that_is_killed_is_carried_on(
    pipeline: Pipeline, sandbox: Sandbox, refused: list[str], point: str
) -> None:
    sandbox.clear_faults()
    assert pipeline.run("replay-1", replay={}, crash_at=point).killed
    pipeline.succeed("replay-1", replay={})
    assert_delivered(pipeline, sandbox)


def test_replay_before_the_fix_fails_and_says_for_what_reasons(
    pipeline: Pipeline, sandbox: Sandbox, refused: list[str]
) -> None:
    result = pipeline.run("replay-1", replay={}, patches=QUICK)
    assert result.error == "AirflowFailException"
    assert "3 x InvalidInput" in result.message
    assert "for now" in result.message
    sandbox.clear_faults()
    pipeline.succeed("replay-2", replay={})
    assert_delivered(pipeline, sandbox)


def test_replay_does_not_undo_what_a_later_run_brought(
    pipeline: Pipeline, sandbox: Sandbox, refused: list[str]
) -> None:
    sandbox.clear_faults()
    sandbox.advance(3600)
    for each in sandbox.truth()["assets"]:
        sandbox.change({"do": "fix", "asset_id": each["asset_id"]})
    pipeline.succeed("run-2")
    documents = sandbox.documents()
    pipeline.succeed("replay-1", replay={"run_id": "run-1"})
    assert sandbox.documents() == documents
    assert_delivered(pipeline, sandbox)


def test_replay_leaves_the_folder_of_its_run_as_it_was(
    pipeline: Pipeline, sandbox: Sandbox, refused: list[str]
) -> None:
    def content(folder: Path) -> dict[str, bytes]:
        return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}

    sandbox.clear_faults()
    before = content(pipeline.run_folder())
    pipeline.succeed("replay-1", replay={"transform": True})
    assert content(pipeline.run_folder()) == before


@pytest.mark.parametrize(
    ("params", "said"), [({"run_id": "nobody"}, "There is no run 'nobody'"), ({}, "has rejected findings")]
)
def test_replay_of_nothing_says_so(pipeline: Pipeline, sandbox: Sandbox, params: dict[str, str], said: str) -> None:
    result = pipeline.run("replay-1", replay=params)
    assert result.error == "AirflowFailException"
    assert said in result.message


@pytest.fixture
def given_up(pipeline: Pipeline, sandbox: Sandbox) -> str:
    """An asset whose records a run has given up, since no export had it for too long."""
    asset = next(
        each["asset_id"]
        for each in sandbox.truth()["vulnerabilities"]
        if belongs(each, sandbox.accounts) and each["severity_id"] == 4
    )
    sandbox.change({"do": "hide_asset", "asset_id": asset, "singly": False})
    pipeline.succeed()
    parked = pipeline.ledger()["parked"]
    assert parked > 0
    # A week and an hour later.
    assert pipeline.run("run-2", clock=7 * 86400 + 3600, defaults={"max_rejected_ratio": 0.0}).succeeded
    assert pipeline.ledger("run-2")["skipped"]["asset_missing_given_up"] == parked
    return asset


@pytest.mark.parametrize("transform", [False, True])
def test_records_that_were_given_up_are_replayed_once_their_asset_is_known(
    pipeline: Pipeline, sandbox: Sandbox, given_up: str, transform: bool
) -> None:
    """The replay asks Tenable for the asset, or finds it in the index that a later run has brought up to date."""
    result = pipeline.run("replay-1", replay={"transform": transform})
    assert result.error == "AirflowFailException"
    assert "asset_missing_given_up" in result.message
    sandbox.change({"do": "show_asset", "asset_id": given_up})
    pipeline.succeed("replay-2", replay={"run_id": "run-2", "transform": transform})
    assert_delivered(pipeline, sandbox)
    ledger = replay_ledger(pipeline, "replay-2")
    assert ledger["rejected"] == {}
    pipeline.succeed("replay-3", replay={"run_id": "run-2", "transform": transform})
    assert_delivered(pipeline, sandbox)


def test_they_are_replayed_after_the_chunks_of_their_run_are_gone(
    pipeline: Pipeline, sandbox: Sandbox, given_up: str
) -> None:
    for kind in ("assets", "vulnerabilities", "parked"):
        shutil.rmtree(pipeline.run_folder("run-2") / kind, ignore_errors=True)
    sandbox.change({"do": "show_asset", "asset_id": given_up})
    pipeline.succeed("run-3")
    pipeline.succeed("replay-1", replay={"run_id": "run-2"})
    assert_delivered(pipeline, sandbox)
