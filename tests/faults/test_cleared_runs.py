"""A person clears what Airflow lets him clear: a whole run, one that was complete, single tasks; with other settings
than before. Nothing is lost, nothing invented.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from airflow_provider_tenable.staging.zstd import unpacked
from tests.faults.pipeline import Pipeline
from tests.faults.test_hub_faults import IMPORT, QUICK, rejected, wanted_ids
from tests.faults.test_state_faults import flip, rescan
from tests.faults.universe import Sandbox, belongs, differences, expected

#: The tasks behind the plan of the shards, by the beginnings of their names.
FROM_SHARDS_ON = [
    "plan_shards",
    "transform",
    "plan_imports",
    "import",
    "settle",
    "plan_archiving",
    "archive",
    "advance",
    "check",
]


def assert_delivered(pipeline: Pipeline, sandbox: Sandbox) -> None:
    assert differences(sandbox.held(), expected(sandbox.truth(), sandbox.accounts)) == {}


@pytest.fixture
def hidden(sandbox: Sandbox) -> list[str]:
    """Two assets that Tenable has not published yet."""
    assets = sorted(
        {each["asset_id"] for each in sandbox.truth()["vulnerabilities"] if belongs(each, sandbox.accounts)}
    )[:2]
    for asset in assets:
        sandbox.change({"do": "hide_asset", "asset_id": asset, "singly": False})
    return assets


def publish(sandbox: Sandbox, assets: list[str]) -> None:
    for asset in assets:
        sandbox.change({"do": "show_asset", "asset_id": asset})


def pool(pipeline: Pipeline) -> dict[str, set[str]]:
    """The missing assets that records wait for, by part."""
    folder = pipeline.staging / "tenable_to_security_hub" / "parked"
    return {
        file.name: {
            json.loads(line)["record"]["asset"]["uuid"]
            for line in b"".join(unpacked(file.read_bytes(), 100_000)).splitlines()
        }
        for file in folder.glob("*--part-*.jsonl.zst")
    }


def test_run_that_was_complete_and_is_cleared_twice_keeps_what_it_had_parked(
    pipeline: Pipeline, sandbox: Sandbox, hidden: list[str]
) -> None:
    pipeline.succeed()
    assert set.union(*pool(pipeline).values()) == set(hidden)
    # It takes its own records from the pool, and parks them again; what has been scanned since, it parks too.
    sandbox.advance(7200)
    rescan(sandbox)
    assert pipeline.run(clear=True, crash_at="run_complete").killed
    assert set.union(*pool(pipeline).values()) == set(hidden)
    pipeline.succeed(clear_tasks=FROM_SHARDS_ON)
    assert set.union(*pool(pipeline).values()) == set(hidden)
    publish(sandbox, hidden)
    pipeline.succeed("run-2")
    assert_delivered(pipeline, sandbox)


def test_plan_of_shards_that_is_cleared_alone_drops_no_parked_record_unread(
    pipeline: Pipeline, sandbox: Sandbox, hidden: list[str]
) -> None:
    """It claims what has come into the pool since; but its transform has read only what had been there."""
    pipeline.succeed("run-1")
    assert pipeline.run("run-2", crash_at="ledger_written").killed
    pipeline.succeed("window", params={"since": 1})
    theirs = {name for name in pool(pipeline) if name.startswith("window--")}
    assert theirs
    pipeline.succeed("run-2", clear_tasks=["plan_shards"])
    assert theirs <= pool(pipeline).keys()
    publish(sandbox, hidden)
    pipeline.succeed("run-3")
    assert pool(pipeline) == {}
    assert_delivered(pipeline, sandbox)


def test_what_a_run_claimed_that_nobody_carries_on_is_taken_by_the_next(
    pipeline: Pipeline, sandbox: Sandbox, hidden: list[str]
) -> None:
    pipeline.succeed("run-1")
    assert pipeline.run("run-2", crash_at="shards_planned").killed
    publish(sandbox, hidden)
    pipeline.succeed("run-3")
    assert pool(pipeline) == {}
    assert_delivered(pipeline, sandbox)


def test_pool_that_is_damaged_stops_the_run_with_advice_that_helps(
    pipeline: Pipeline, sandbox: Sandbox, hidden: list[str]
) -> None:
    pipeline.succeed("run-1")
    watermark = pipeline.watermark
    (part,) = (pipeline.staging / "tenable_to_security_hub" / "parked").glob("*--part-*.jsonl.zst")
    flip(part)
    publish(sandbox, hidden)
    result = pipeline.run("run-2")
    assert result.error == "StagingError"
    assert part.name in result.message
    assert "Move the file elsewhere" in result.message
    assert pipeline.watermark == watermark
    part.rename(pipeline.folder / "elsewhere")
    pipeline.succeed("run-2", clear_tasks=FROM_SHARDS_ON)
    pipeline.succeed("run-3", params={"since": 1})
    assert_delivered(pipeline, sandbox)


def test_staging_path_that_is_changed_in_mid_run_is_named_as_the_cause(
    pipeline: Pipeline, sandbox: Sandbox, tmp_path: Path
) -> None:
    assert pipeline.run(crash_at="shards_planned").killed
    elsewhere = {"AIRFLOW__TENABLE__STAGING_PATH": f"file://{tmp_path / 'elsewhere'}"}
    result = pipeline.run(env=elsewhere)
    assert result.error == "StagingError", result
    assert pipeline.watermark is None
    pipeline.succeed(env=elsewhere, clear=True)
    assert_delivered(pipeline, sandbox)
    assert "staging_path changed since the run began" in pipeline.log or "was not planned" in pipeline.log


def test_destinations_that_are_mended_between_two_attempts_count_for_the_second(
    pipeline: Pipeline, sandbox: Sandbox
) -> None:
    usual = pipeline.defaults["destinations"]
    assert pipeline.run(crash_at="receipts_written", params={"destinations": usual[:1]}).killed
    pipeline.succeed(clear=True)
    assert_delivered(pipeline, sandbox)
    assert pipeline.watermark


def test_shards_that_become_fewer_leave_nothing_behind_that_counts(
    pipeline: Pipeline, sandbox: Sandbox, hidden: list[str]
) -> None:
    """Manifests, parked and rejected parts of shards that are no more."""
    # 50 assets a chunk, and one chunk more for the pool.
    pipeline.succeed("run-1")
    assert pipeline.run("run-2", crash_at="ledger_written").killed
    shutil.rmtree(pipeline.staging / "tenable_to_security_hub" / "parked")
    before = sorted((pipeline.run_folder("run-2") / "findings").glob("shard-*.json"))
    pipeline.succeed("run-2", clear_tasks=FROM_SHARDS_ON)
    ledger = pipeline.ledger("run-2")
    assert len(before) == 2
    assert ledger["unparked"] == 0
    publish(sandbox, hidden)
    pipeline.succeed("run-3", params={"since": 1})
    assert_delivered(pipeline, sandbox)


def test_findings_that_were_refused_under_other_ids_are_not_replayed(pipeline: Pipeline, sandbox: Sandbox) -> None:
    """The run is cleared with another scheme of ids: what was refused before is no finding of it any more."""
    for each in wanted_ids(sandbox)[2:5]:
        old_id = "/".join(part for number, part in enumerate(each.split("/")) if number in (0, 2, 3))
        sandbox.hub_fault(
            {"on": IMPORT, "do": "fail_findings", "code": "InvalidInput", "ids_containing": old_id, "times": None}
        )
    tolerant = {"max_rejected_ratio": 1.0}
    assert pipeline.run(
        patches=QUICK, defaults=tolerant, env={"AIRFLOW__TENABLE__ID_SCHEME": "tvm2aws"}, crash_at="before_watermark"
    ).killed
    assert len(rejected(pipeline)) == 3
    sandbox.clear_faults()
    sandbox.aws("reset", {})
    pipeline.succeed(clear=True, defaults=tolerant)
    assert_delivered(pipeline, sandbox)
    result = pipeline.run("replay-1", replay={"run_id": "run-1"})
    assert "has no findings that Security Hub CSPM rejected" in result.message
    assert_delivered(pipeline, sandbox)
