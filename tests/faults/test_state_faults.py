"""Wrong clocks, late publishing, runs beside each other, full disks and damaged files."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.pipeline import Pipeline
from tests.faults.universe import Sandbox, belongs, differences, expected

HOUR = 3600


def assert_delivered(pipeline: Pipeline, sandbox: Sandbox) -> None:
    assert differences(sandbox.held(), expected(sandbox.truth(), sandbox.accounts)) == {}


def rescan(sandbox: Sandbox, **order: float) -> None:
    """All hosts are scanned again, and every second finding is fixed, or comes back: the hubs must show that. What is
    merely found again is not sent.
    """
    found = [each for each in sandbox.truth()["vulnerabilities"] if belongs(each, sandbox.accounts)]
    found.sort(key=lambda each: str(each["finding_id"]))
    orders: list[dict[str, Any]] = [
        {"do": "rescan", "asset_id": asset} for asset in sorted({each["asset_id"] for each in found})
    ]
    orders += [
        {"do": "reopen" if each["state"] == "FIXED" else "fix", "finding_id": each["finding_id"]} for each in found[::2]
    ]
    sandbox.change(*({**each, **order} for each in orders))


# --- Clocks ---


def lead(sandbox: Sandbox) -> float:
    """By how many seconds the worker's clock is ahead of Tenable's."""
    return time.time() - float(sandbox.tenable("clock")["now"])


@pytest.mark.parametrize("shift", [-HOUR, 0, HOUR])
def test_worker_whose_clock_is_wrong_skips_nothing(pipeline: Pipeline, sandbox: Sandbox, shift: int) -> None:
    clock = shift - lead(sandbox)
    pipeline.succeed("run-1", clock=clock)
    assert pipeline.watermark
    assert pipeline.watermark <= sandbox.tenable("clock")["now"]
    for number in (2, 3):
        sandbox.advance(1800)
        rescan(sandbox, found_ago=60)
        pipeline.succeed(f"run-{number}", clock=shift - lead(sandbox))
        assert_delivered(pipeline, sandbox)
    assert pipeline.watermarks == sorted(pipeline.watermarks)


def test_clock_set_back_between_two_runs_neither_skips_nor_moves_the_watermark_back(
    pipeline: Pipeline, sandbox: Sandbox
) -> None:
    pipeline.succeed("run-1", clock=-lead(sandbox))
    first = pipeline.watermark
    sandbox.advance(600)
    rescan(sandbox, found_ago=60)
    pipeline.succeed("run-2", clock=-lead(sandbox) - 700)
    assert pipeline.watermark == first
    assert_delivered(pipeline, sandbox)
    # Far enough back, and the watermark lies in the future: rather no run than one that skips something.
    result = pipeline.run("run-wrong", clock=-lead(sandbox) - 2 * HOUR)
    assert "lies in the future" in result.message
    assert pipeline.watermark == first
    sandbox.advance(600)
    rescan(sandbox, found_ago=60)
    pipeline.succeed("run-3", clock=-lead(sandbox))
    assert pipeline.watermark > first
    assert_delivered(pipeline, sandbox)


def test_export_whose_id_was_lost_is_found_in_the_list_of_jobs(pipeline: Pipeline, sandbox: Sandbox) -> None:
    """It is over by then, so that no refusal would name it."""
    assert pipeline.run(crash_at="export_asked_for:2", clock=-lead(sandbox)).killed
    time.sleep(0.1)
    pipeline.succeed(clock=-lead(sandbox))
    assert sandbox.jobs()["created"] == 1
    assert_delivered(pipeline, sandbox)


@pytest.mark.parametrize("text", ["4102444800", "yesterday", "-5", "1e9"])
def test_watermark_that_cannot_be_right_stops_the_run_before_anything_is_exported(
    pipeline: Pipeline, sandbox: Sandbox, text: str
) -> None:
    (pipeline.folder / "watermark").write_text(text)
    result = pipeline.run()
    assert result.error == "AirflowFailException"
    assert "tenable_to_security_hub__since" in result.message
    assert sandbox.jobs()["created"] == 0
    assert (pipeline.folder / "watermark").read_text() == text


# --- Late publishing ---


@pytest.mark.parametrize("minutes", [1, 15, 60])
def test_finding_that_is_published_late_is_not_lost(pipeline: Pipeline, sandbox: Sandbox, minutes: int) -> None:
    """Also without a lag: the filter asks when a record was indexed, and not when it was scanned."""
    for number in range(3):
        sandbox.advance(900)
        rescan(sandbox, found_ago=minutes * 60)
        pipeline.succeed(f"run-{number}", env={"AIRFLOW__TENABLE__LAG_SECONDS": "0"})
        assert_delivered(pipeline, sandbox)


def test_negative_control_a_cursor_on_scan_time_does_lose_it(pipeline: Pipeline, sandbox: Sandbox) -> None:
    pipeline.succeed("run-1")
    sandbox.advance(900)
    rescan(sandbox, found_ago=3000)
    pipeline.succeed("scan-time", params={"since": pipeline.watermark})
    assert pipeline.ledger("scan-time")["exported"] == 0
    assert differences(sandbox.held(), expected(sandbox.truth(), sandbox.accounts)), (
        "the control loses nothing, so it proves nothing"
    )
    # Nor has it moved the watermark: the next run makes it good.
    pipeline.succeed("run-2")
    assert_delivered(pipeline, sandbox)


# --- Runs beside each other ---


def test_two_runs_at_once_share_an_export_and_both_end_right(pipeline: Pipeline, sandbox: Sandbox) -> None:
    sandbox.tenable("options", {"prepare_seconds": 2.0})
    pids = [pipeline.start(run_id) for run_id in ("run-a", "run-b")]
    assert all(pipeline.wait(pid).succeeded for pid in pids)
    assert sandbox.jobs()["created"] == 1
    assert_delivered(pipeline, sandbox)
    assert pipeline.watermarks == sorted(pipeline.watermarks)


def test_two_runs_at_once_lose_no_parked_record(pipeline: Pipeline, sandbox: Sandbox) -> None:
    asset = next(each["asset_id"] for each in sandbox.truth()["vulnerabilities"] if belongs(each, sandbox.accounts))
    sandbox.change({"do": "hide_asset", "asset_id": asset, "singly": False})
    pipeline.succeed("run-1")
    assert pipeline.ledger("run-1")["parked"] > 0
    sandbox.change({"do": "show_asset", "asset_id": asset})
    pids = {run_id: pipeline.start(run_id) for run_id in ("run-a", "run-b")}
    for run_id, pid in pids.items():
        if not pipeline.wait(pid).succeeded:
            # The other was faster: what it took from the pool is gone, and delivered.
            pipeline.succeed(run_id, clear=True)
    assert_delivered(pipeline, sandbox)


@pytest.mark.parametrize("point", ["before_watermark", "ledger_written", "shards_planned"])
def test_run_that_ends_after_a_later_one_does_not_set_the_watermark_back(
    pipeline: Pipeline, sandbox: Sandbox, point: str
) -> None:
    assert pipeline.run("run-a", crash_at=point).killed
    sandbox.advance(HOUR)
    rescan(sandbox)
    pipeline.succeed("run-b")
    later = pipeline.watermark
    pipeline.succeed("run-a")
    assert pipeline.watermark == later
    if point == "ledger_written":
        # The run that was killed had delivered findings of a host that was terminated since, and had not yet reported
        # which rows it had written. The next run sees them, and archives them.
        sandbox.advance(HOUR)
        pipeline.succeed("run-c")
    assert_delivered(pipeline, sandbox)


def test_backfill_beside_a_scheduled_run_leaves_the_watermark_to_it(pipeline: Pipeline, sandbox: Sandbox) -> None:
    now = float(sandbox.tenable("clock")["now"])
    pids = [
        pipeline.start("backfill__1", run_type="backfill", interval=[now - 9 * 86400, now - 2 * 86400]),
        pipeline.start("scheduled__1", run_type="scheduled"),
    ]
    assert all(pipeline.wait(pid).succeeded for pid in pids)
    assert_delivered(pipeline, sandbox)
    assert pipeline.ledger("backfill__1")["watermark"]["why"] == "stays: a backfill never moves it"
    assert pipeline.watermarks == [pipeline.ledger("scheduled__1")["watermark"]["after"]]


def test_runs_that_catch_up_move_the_watermark_run_by_run(pipeline: Pipeline, sandbox: Sandbox) -> None:
    for number in range(5):
        pipeline.succeed(f"run-{number}", run_type="scheduled")
        sandbox.advance(2 * HOUR)
        rescan(sandbox)
    pipeline.succeed("run-last")
    assert pipeline.watermarks == sorted(set(pipeline.watermarks))
    assert sandbox.jobs() == {"created": 6, "running": 0, "cancelled": 0}
    assert_delivered(pipeline, sandbox)


# --- Disks and damaged files ---


@pytest.mark.parametrize("limit", [100, 600, 2_000])
def test_full_disk_fails_with_advice_and_the_run_goes_on_when_there_is_room(
    pipeline: Pipeline, sandbox: Sandbox, limit: int
) -> None:
    result = pipeline.run(limit_file_bytes=limit)
    assert result.error == "StagingError"
    assert "Free space" in result.message
    assert pipeline.watermark is None
    assert not list(pipeline.staging.rglob("*.tmp"))
    pipeline.succeed()
    assert_delivered(pipeline, sandbox)


def test_staging_that_is_no_folder_fails_with_advice(pipeline: Pipeline, sandbox: Sandbox) -> None:
    pipeline.staging.write_text("a file")
    result = pipeline.run()
    assert result.error == "StagingError"
    assert "[tenable] staging_path" in result.message
    pipeline.staging.unlink()
    pipeline.succeed()
    assert_delivered(pipeline, sandbox)


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def delete(file: Path) -> None:
    file.unlink()


#: Where the run stands when a file of it is damaged, and which.
DAMAGED = [
    ("shards_planned", "run.json"),
    ("shards_planned", "vulnerabilities/export.json"),
    ("shards_planned", "vulnerabilities/part-*"),
    ("shards_planned", "assets/export.json"),
    ("shards_planned", "assets/part-*"),
    ("before_call", "shards.json"),
    ("before_call", "findings/shard-0000.json"),
    ("before_call", "findings/*/*/part-*"),
    ("receipts_written", "receipts/*/*.jsonl"),
    ("before_watermark", "ledger.json"),
]


@pytest.mark.parametrize("damage", [flip, cut, empty, delete])
@pytest.mark.parametrize(("point", "name"), DAMAGED)
def test_damaged_file_is_never_taken_for_a_whole_one(
    pipeline: Pipeline, sandbox: Sandbox, point: str, name: str, damage: Callable[[Path], None]
) -> None:
    assert pipeline.run(crash_at=point).killed
    damage(sorted(pipeline.run_folder().glob(name))[0])
    if not pipeline.run().succeeded:
        assert pipeline.watermark is None
        # As the message says: clear the run; where that is not enough, without its folder.
        if not pipeline.run(clear=True).succeeded:
            assert "Remove the" in pipeline.log.splitlines()[-1] or "Remove the" in pipeline.log
            shutil.rmtree(pipeline.run_folder())
            pipeline.succeed(clear=True)
    assert_delivered(pipeline, sandbox)


def flipped(data: bytes, at: int) -> bytes:
    """The data with another bit in a byte, so that they say something else: the last of 17 digits of a moment may be
    another one, and the number the same.
    """
    for bit in range(8):
        changed = bytearray(data)
        changed[at] ^= 1 << bit
        try:
            if json.loads(changed) != json.loads(data):
                break
        except ValueError:
            break
    return bytes(changed)


@pytest.mark.parametrize("where", range(0, 100, 9))
def test_any_byte_of_the_plan_that_flips_is_found(pipeline: Pipeline, sandbox: Sandbox, where: int) -> None:
    """A digit of the window's end would move the watermark over a gap."""
    assert pipeline.run(crash_at="before_watermark").killed
    file = pipeline.run_folder() / "run.json"
    before = file.read_bytes()
    file.write_bytes(flipped(before, len(before) * where // 100))
    result = pipeline.run()
    assert result.error == "DamagedFileError"
    assert pipeline.watermark is None
    shutil.rmtree(pipeline.run_folder())
    pipeline.succeed(clear=True)
    assert_delivered(pipeline, sandbox)


def test_parts_of_a_killed_write_count_for_nothing(pipeline: Pipeline, sandbox: Sandbox) -> None:
    for number in (4, 9, 14):
        pipeline.run(crash_at=f"file_not_renamed:{number}")
    assert list(pipeline.staging.rglob("*.tmp"))
    pipeline.succeed()
    assert_delivered(pipeline, sandbox)


@pytest.mark.parametrize(
    "setting", [{"AIRFLOW__TENABLE__ID_SCHEME": "tvm2aws"}, {"AIRFLOW__TENABLE__TRANSFORM_SHARDS": "1"}]
)
def test_receipts_do_not_speak_for_the_findings_of_another_transform(
    pipeline: Pipeline, sandbox: Sandbox, setting: dict[str, str]
) -> None:
    """A run dies in its import, an option is changed, and the run is cleared: what is transformed now has no
    receipts.
    """
    assert pipeline.run(crash_at="receipts_written:2").killed
    pipeline.succeed(clear=True, env=setting)
    # A first run does not send what is archived.
    truth = expected(sandbox.truth(), sandbox.accounts)
    wanted = {identity for identity, version in truth.items() if version.record_state == "ACTIVE"}
    if "ID_SCHEME" in str(setting):
        # {region}/{instance}/{plugin}
        wanted_ids = {
            "/".join(part for number, part in enumerate(identity.split("/")) if number in (0, 2, 3))
            for identity in wanted
        }
        assert wanted_ids <= sandbox.documents().keys()
    else:
        assert_delivered(pipeline, sandbox)
    assert pipeline.ledger()["accepted"] == len(wanted)
