"""The asset index under faults: whatever becomes of it, and whoever works beside it, no asset is missing and none is an
old one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_tenable.staging.layout import RunFolder
from tests.faults.pipeline import Pipeline
from tests.faults.test_state_faults import assert_delivered, cut, delete, empty, flip, lead, rescan
from tests.faults.universe import Sandbox, belongs

HOUR = 3600


def index_of(pipeline: Pipeline) -> Path:
    return pipeline.staging / "tenable_to_security_hub" / "asset_index"


def filters(sandbox: Sandbox) -> list[bool]:
    """Of each asset export whether it asked for changes only."""
    return ["since" in each["filters"] for each in sandbox.tenable("stats")["exports"] if each["kind"] == "assets"]


def change(sandbox: Sandbox, number: int) -> None:
    """An instance is another account's from now on, and all are scanned."""
    theirs = sorted(
        {each["asset_id"] for each in sandbox.truth()["vulnerabilities"] if belongs(each, sandbox.accounts)}
    )
    sandbox.change({"do": "change_asset", "asset_id": theirs[0], "set": {"account": sandbox.accounts[number % 3]}})
    rescan(sandbox)


def go_on(pipeline: Pipeline, sandbox: Sandbox, run_id: str) -> None:
    """Two hours later, another run."""
    sandbox.advance(2 * HOUR)
    sandbox.aws("reset", {})
    sandbox.aws("options", {"throttle": False})
    # The hubs are empty: nothing is known of them any more.
    shutil.rmtree(index_of(pipeline).parent / RunFolder.FINDING_INDEX, ignore_errors=True)
    rescan(sandbox)
    pipeline.succeed(run_id, params={"since": 1}, clock=-lead(sandbox))
    assert_delivered(pipeline, sandbox)


@pytest.mark.parametrize("damage", [flip, cut, empty, delete])
@pytest.mark.parametrize("name", ["manifest.json", "assets-*"])
def test_damaged_index_leads_to_a_full_export(
    pipeline: Pipeline, sandbox: Sandbox, name: str, damage: Callable[[Path], None]
) -> None:
    pipeline.succeed("run-1")
    damage(sorted(index_of(pipeline).glob(name))[0])
    go_on(pipeline, sandbox, "run-2")
    go_on(pipeline, sandbox, "run-3")
    assert filters(sandbox) == [False, False, True]
    assert "All assets are exported: " in pipeline.log


def test_part_that_is_lost_after_the_plan_fails_with_advice_and_the_cleared_run_exports_all(
    pipeline: Pipeline, sandbox: Sandbox
) -> None:
    pipeline.succeed("run-1")
    sandbox.advance(2 * HOUR)
    rescan(sandbox)
    assert pipeline.run("run-2", crash_at="shards_planned").killed
    for part in index_of(pipeline).glob("assets-*"):
        part.unlink()
    result = pipeline.run("run-2")
    assert result.error == "StagingError"
    assert "plan_run" in result.message
    assert pipeline.watermark == pipeline.watermarks[0]
    pipeline.succeed("run-2", clear=True)
    assert filters(sandbox) == [False, True, False]
    assert_delivered(pipeline, sandbox)


def test_run_that_failed_finds_its_parts_when_it_is_carried_on_days_later(pipeline: Pipeline, sandbox: Sandbox) -> None:
    """By then the index has been rebuilt, and what it named no more was removed."""
    soon = {"airflow_provider_tenable.staging.index_files:_RETIRED_SECONDS": -1.0}
    pipeline.succeed("run-1")
    sandbox.advance(2 * HOUR)
    rescan(sandbox)
    assert pipeline.run("run-2", crash_at="shards_planned").killed
    for number in (3, 4):
        sandbox.advance(30 * HOUR)
        # Else the new index would be, byte for byte, the old one.
        sandbox.change(
            {
                "do": "change_asset",
                "asset_id": sandbox.truth()["assets"][0]["asset_id"],
                "set": {"acr": number, "tags": [["run", str(number)]]},
            }
        )
        pipeline.succeed(f"run-{number}", patches=soon)
    assert filters(sandbox) == [False, True, False, False]
    pipeline.succeed("run-2", patches=soon)
    assert_delivered(pipeline, sandbox)
    # Nobody names the parts of the third run's index: they are gone. Those of the first one stay for the second run.
    assert len(list(index_of(pipeline).glob("assets-*"))) == 2


def test_backfill_beside_a_scheduled_run_spoils_neither_its_assets_nor_the_index(
    pipeline: Pipeline, sandbox: Sandbox
) -> None:
    pipeline.succeed("run-1")
    for number in (1, 2):
        sandbox.advance(2 * HOUR)
        change(sandbox, number)
        now = float(sandbox.tenable("clock")["now"])
        pids = [
            pipeline.start(f"backfill__{number}", run_type="backfill", interval=[now - 9 * 86400, now - 2 * 86400]),
            pipeline.start(f"scheduled__{number}", run_type="scheduled"),
        ]
        assert all(pipeline.wait(pid).succeeded for pid in pids), pipeline.log[-3000:]
    go_on(pipeline, sandbox, "run-last")
    assert filters(sandbox)[0] is False
    assert all(filters(sandbox)[1:])


def test_worker_whose_clock_is_wrong_leaves_no_gap_in_the_index(pipeline: Pipeline, sandbox: Sandbox) -> None:
    for number, shift in enumerate((-HOUR, HOUR, 3 * HOUR, 0)):
        pipeline.succeed(f"run-{number}", clock=shift - lead(sandbox), params={"since": 1})
        sandbox.advance(900)
        change(sandbox, number)
    go_on(pipeline, sandbox, "run-last")
    assert filters(sandbox)[0] is False
