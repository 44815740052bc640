"""Ids that come from outside and would become part of a URL: no call is made that was not meant, and no answer about
another asset is believed.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults import hostile
from tests.faults.pipeline import Pipeline
from tests.faults.universe import Sandbox

#: Each would make the look-up of an asset another call of Tenable's API, made with our keys.
HOSTILE_IDS = ["../users", "../session", "..", "x/../../scanners", "?x=1", "#", "%2e%2e/users", "", "a b", "\n", "null"]
UNKNOWN = "00000000-0000-4000-8000-0000000f0000"


def _records(*asset_ids: str) -> list[dict[str, Any]]:
    records = [hostile.record(number, 100_000 + number) for number in range(len(asset_ids))]
    for record, asset_id in zip(records, asset_ids, strict=True):
        record["asset"]["uuid"] = asset_id
    return records


def test_asset_id_that_is_no_uuid_is_not_asked_for_and_its_record_is_parked(
    pipeline: Pipeline, sandbox: Sandbox
) -> None:
    sandbox.fault({"on": "vulns_chunk", "do": "body", "body": _records(*HOSTILE_IDS, UNKNOWN)})
    # A budget of one: ids that are not asked for cost no look-up. There is nothing else, which would fail the run.
    pipeline.succeed(env={"AIRFLOW__TENABLE__ASSET_LOOKUPS": "1", "AIRFLOW__TENABLE__MAX_PARKED_RATIO": "1"})
    stats = sandbox.tenable("stats")
    assert stats["unknown_paths"] == []
    assert stats["calls"]["asset"] == 1
    assert pipeline.ledger()["parked"] == len(HOSTILE_IDS) + 1


def test_answer_about_another_asset_is_not_believed(pipeline: Pipeline, sandbox: Sandbox) -> None:
    known = next(each for each in sandbox.truth()["vulnerabilities"] if each["asset_kind"] == "ec2")
    answer = {
        "id": known["asset_id"],
        "aws_owner_id": [known["account"]],
        "aws_region": [known["region"]],
        "aws_ec2_instance_id": [known["instance_id"]],
    }
    sandbox.fault(
        {"on": "vulns_chunk", "do": "body", "body": _records(UNKNOWN, UNKNOWN[:-1] + "1")},
        {"on": "asset", "do": "body", "body": answer, "times": None},
    )
    pipeline.succeed()
    assert (pipeline.ledger()["parked"], pipeline.ledger()["findings"]) == (2, 0)
    assert sandbox.tenable("stats")["calls"]["asset"] == 2
    assert pipeline.log.count("Tenable was asked for asset") == 1


@pytest.mark.parametrize("export_uuid", ["../../users", "..", "x" * 5_000, "\nnew line"])
def test_export_id_that_is_no_uuid_is_never_asked_for(pipeline: Pipeline, sandbox: Sandbox, export_uuid: str) -> None:
    sandbox.fault({"on": "vulns_export", "do": "body", "body": {"export_uuid": export_uuid}})
    pipeline.succeed()
    assert sandbox.jobs()["created"] == 1


@pytest.mark.parametrize("chunk", ["../../users", -1, "1/../../../users", 1.5])
def test_chunk_id_that_is_no_number_is_never_asked_for(pipeline: Pipeline, sandbox: Sandbox, chunk: Any) -> None:
    sandbox.fault({"on": "vulns_status", "do": "body", "body": {"status": "FINISHED", "chunks_available": [1, chunk]}})
    pipeline.succeed()
    assert sandbox.jobs()["created"] == 1
    assert pipeline.ledger()["exported"] > 0
