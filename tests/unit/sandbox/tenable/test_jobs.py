"""The life of an export job: states, chunks over time, duplicates, limits, cancelling, expiry, ordered ends."""

import json
import time
from typing import Any

import pytest
from running_tenable import EVERY_STATE, Running

EVERYTHING = {"since": 1, "state": EVERY_STATE}
SLOW = {"prepare_seconds": 60}


def test_a_job_is_queued_then_processed_then_finished_and_lists_chunks_on_the_way(running: Running) -> None:
    running.control("options", {"prepare_seconds": 0.6})
    uuid = running.start(num_assets=50, filters=EVERYTHING)
    seen: list[tuple[str, int]] = []
    while not seen or seen[-1][0] != "FINISHED":
        status = running.status(uuid)
        point = (status["status"], len(status["chunks_available"]))
        if not seen or seen[-1] != point:
            seen.append(point)
        time.sleep(0.01)
    assert seen[0] == ("QUEUED", 0)
    assert [state for state, _ in seen] == sorted(
        (state for state, _ in seen), key=["QUEUED", "PROCESSING", "FINISHED"].index
    )
    assert ("PROCESSING", 1) in seen, "chunks appear while the job is still processed"
    assert seen[-1] == ("FINISHED", 2)


def test_the_status_of_vulnerabilities_echoes_the_request(running: Running) -> None:
    filters = {
        "since": 5,
        "state": ["open"],
        "severity": ["high"],
        "plugin_id": [7],
        "tag.Owner": ["x"],
        "vpr_score": {"gt": 3},
    }
    status = running.status(running.start(num_assets=200, filters=filters))
    assert set(status) == {
        "uuid",
        "status",
        "chunks_available",
        "chunks_failed",
        "chunks_cancelled",
        "total_chunks",
        "chunks_available_count",
        "empty_chunks_count",
        "finished_chunks",
        "filters",
        "num_assets_per_chunk",
        "created",
    }
    echo = status["filters"]
    assert (echo["since"], echo["indexed_at"], echo["last_found"]) == (5, 0, 0)
    assert (echo["state"], echo["severity"], echo["plugin_ids"]) == (["OPEN"], ["HIGH"], [7])
    assert echo["tags"] == {"tag.Owner": ["x"]}
    assert echo["vpr_score"] == {"eq": [], "neq": [], "gt": 3, "gte": 0, "lt": 0, "lte": 0}
    assert status["created"] == pytest.approx(running.control("clock")["now"] * 1000, abs=5_000)


def test_the_status_of_assets_tells_only_status_and_chunks(running: Running) -> None:
    assert set(running.status(running.start("assets"), "assets")) == {"status", "chunks_available"}


def test_an_empty_result_is_finished_without_chunks(running: Running) -> None:
    status = running.status(running.start(filters={"since": 9_999_999_999}))
    assert (status["status"], status["chunks_available"], status["total_chunks"]) == ("FINISHED", [], 0)


def test_a_job_is_a_snapshot_of_its_creation(running: Running) -> None:
    uuid = running.start(include_unlicensed=True, filters=EVERYTHING)
    before = {one["finding_id"]: one["state"] for one in running.truth()}
    running.control("clock", {"advance_seconds": 80_000})
    status = running.status(uuid)
    records = [record for chunk in status["chunks_available"] for record in running.chunk(uuid, chunk).json()]
    assert {record["finding_id"]: record["state"] for record in records} == before


def test_a_chunk_is_refused_before_it_is_ready_and_unknown_ones_are_not_found(running: Running) -> None:
    running.control("options", SLOW)
    uuid = running.start(filters=EVERYTHING)
    ids = [chunk.id for chunk in running.tenable.jobs[uuid].chunks]
    assert running.chunk(uuid, ids[0]).status_code == 400
    assert running.chunk(uuid, 999).status_code == 404
    assert running.chunk("nonsense", 1).status_code == 404
    running.control("jobs", {"do": "finish", "uuid": uuid})
    answer = running.chunk(uuid, ids[0])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/octet-stream")
    assert running.http.get(f"/assets/export/{uuid}/status").status_code == 404, "a job is known to its own kind only"


def test_chunk_ids_have_gaps_and_come_unordered() -> None:
    import random

    from sandbox.tenable.jobs import plan_chunks

    plans = [plan_chunks(random.Random(seed), [tuple] * 12, 10) for seed in range(20)]
    assert all(len(plan) - any(chunk.is_empty for chunk in plan) == 12 for plan in plans)
    assert any(max(chunk.id for chunk in plan) > len(plan) for plan in plans)
    assert any([c.id for c in sorted(plan, key=lambda c: c.ready_after)] != [c.id for c in plan] for plan in plans)
    assert 0 < sum(any(chunk.is_empty for chunk in plan) for plan in plans) < 12


def test_a_second_export_with_the_same_filters_is_a_conflict(running: Running) -> None:
    running.control("options", SLOW)
    uuid = running.start(filters=EVERYTHING)
    answer = running.http.post(
        "/vulns/export", json={"num_assets": 77, "filters": {**EVERYTHING, "state": ["OPEN", "REOPENED", "FIXED"]}}
    )
    assert answer.status_code == 409
    assert answer.json()["active_job_id"] == uuid
    assert running.start(filters={**EVERYTHING, "since": 2}) != uuid
    running.control("jobs", {"do": "finish"})
    assert running.start(filters=EVERYTHING) != uuid


@pytest.mark.parametrize("mode", ["429", "429-template"])
def test_a_duplicate_can_answer_as_it_did_in_2023(running: Running, mode: str) -> None:
    running.control("options", {**SLOW, "duplicate_mode": mode})
    uuid = running.start(filters=EVERYTHING)
    answer = running.http.post("/vulns/export", json={"filters": EVERYTHING})
    assert answer.status_code == 429
    assert "job_uuid=" in answer.text
    assert uuid in answer.text


def test_a_duplicate_of_assets_can_cancel_the_old_job(running: Running) -> None:
    running.control("options", {**SLOW, "duplicate_mode": "cancel-old"})
    old = running.start("assets")
    new = running.start("assets")
    assert running.status(old, "assets")["status"] == "CANCELLED"
    assert running.status(new, "assets")["status"] == "QUEUED"


def test_more_than_ten_exports_at_once_are_too_many(running: Running) -> None:
    running.control("options", {**SLOW, "retry_after": 12})
    for since in range(9):
        running.start(filters={"since": 1 + since})
    running.start("assets")
    answer = running.http.post("/vulns/export", json={"filters": {"since": 99}})
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "12"
    assert answer.headers["content-type"].startswith("text/html")


def test_cancel_ends_a_running_job_and_leaves_an_ended_one(running: Running) -> None:
    running.control("options", SLOW)
    uuid = running.start(filters=EVERYTHING)
    assert running.http.post(f"/vulns/export/{uuid}/cancel").json() == {"status": "CANCELLED"}
    assert running.status(uuid)["chunks_cancelled"] == [chunk.id for chunk in running.tenable.jobs[uuid].chunks]
    running.control("options", {"prepare_seconds": 0})
    ended = running.start(filters=EVERYTHING)
    assert running.http.post(f"/vulns/export/{ended}/cancel").json() == {"status": "FINISHED"}
    assert running.http.post("/vulns/export/nonsense/cancel").status_code == 404
    assert running.control("stats")["jobs"]["vulns"] == {"created": 2, "running": 0, "cancelled": 1}


def test_chunks_are_gone_after_a_day_on_the_sandboxes_clock(running: Running) -> None:
    uuid = running.start(filters=EVERYTHING)
    chunk = running.status(uuid)["chunks_available"][0]
    running.control("clock", {"advance_seconds": 86_000})
    assert running.chunk(uuid, chunk).status_code == 200
    running.control("clock", {"advance_seconds": 1_000})
    assert running.chunk(uuid, chunk).status_code == 404
    assert running.status(uuid)["status"] == "FINISHED"


def test_jobs_are_listed_by_kind_with_the_filters_in_their_own_form(running: Running) -> None:
    running.start(filters=EVERYTHING)
    running.start("assets", filters={"is_deleted": False})
    (vulns,) = running.http.get("/vulns/export/status").json()["exports"]
    (assets,) = running.http.get("/assets/export/status").json()["exports"]
    assert vulns["filters"]["since"] == 1
    assert json.loads(assets["filters"]) == {"is_deleted": False}
    assert vulns.keys() == assets.keys() >= {"uuid", "status", "total_chunks", "created", "num_assets_per_chunk"}


def ordered_end(running: Running, fault: dict[str, Any], kind: str = "vulns") -> dict[str, Any]:
    running.control("faults", {"on": "job", **fault})
    uuid = running.start(
        kind, **({"num_assets": 50, "include_unlicensed": True, "filters": EVERYTHING} if kind == "vulns" else {})
    )
    return {"uuid": uuid, **running.status(uuid, kind)}


def test_an_ordered_error_keeps_the_first_chunks_and_says_why(running: Running) -> None:
    status = ordered_end(
        running, {"do": "error", "keep_chunks": 1, "reason": "The export request timed out. Try again."}
    )
    assert (status["status"], status["reason"]) == ("ERROR", "The export request timed out. Try again.")
    assert (len(status["chunks_available"]), len(status["chunks_cancelled"])) == (1, 1)
    assert running.chunk(status["uuid"], status["chunks_available"][0]).status_code == 200
    assert running.chunk(status["uuid"], status["chunks_cancelled"][0]).status_code == 404


def test_an_ordered_cancel_ends_a_job_that_nobody_cancelled(running: Running) -> None:
    assert ordered_end(running, {"do": "cancelled"})["status"] == "CANCELLED"


def test_failed_chunks_leave_a_finished_job_that_is_not_complete(running: Running) -> None:
    status = ordered_end(running, {"do": "fail_chunks", "chunks": [2]})
    assert status["status"] == "FINISHED"
    assert (len(status["chunks_available"]), len(status["chunks_failed"])) == (1, 1)
    assert status["reason"].startswith("1 of 2 chunks failed to process.")
    assert running.chunk(status["uuid"], status["chunks_failed"][0]).status_code == 404


def test_a_partial_asset_export_shows_only_in_its_reason(running: Running) -> None:
    status = ordered_end(running, {"do": "fail_chunks", "chunks": [1]}, "assets")
    assert status["status"] == "FINISHED"
    assert status["chunks_available"] == []
    assert "1 of 1 chunks failed" in status["reason"]
    assert "chunks_failed" not in status


def test_a_stuck_job_never_ends_until_it_is_cancelled(running: Running) -> None:
    status = ordered_end(running, {"do": "stuck"})
    assert status["status"] == "PROCESSING"
    assert running.http.post(f"/vulns/export/{status['uuid']}/cancel").json()["status"] == "CANCELLED"


def test_a_late_job_takes_longer(running: Running) -> None:
    assert ordered_end(running, {"do": "late", "seconds": 600})["status"] == "QUEUED"


def test_chunks_can_expire_between_downloads(running: Running) -> None:
    status = ordered_end(running, {"do": "expire", "after": 1})
    answers = [running.chunk(status["uuid"], chunk).status_code for chunk in status["chunks_available"]]
    assert answers == [200, 404]
    other = running.start(filters=EVERYTHING)
    running.control("jobs", {"do": "expire", "uuid": other})
    assert running.chunk(other, running.status(other)["chunks_available"][0]).status_code == 404


def test_chunks_can_be_listed_twice(running: Running) -> None:
    listed = ordered_end(running, {"do": "repeat_chunks"})["chunks_available"]
    assert len(listed) == 2 * len(set(listed)) == 4


def test_a_fault_can_be_for_one_kind_of_job(running: Running) -> None:
    running.control("faults", {"on": "job", "do": "error", "kind": "assets"})
    assert running.status(running.start(filters=EVERYTHING))["status"] == "FINISHED"
    assert running.status(running.start("assets"), "assets")["status"] == "ERROR"
