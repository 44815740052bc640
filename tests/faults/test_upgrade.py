"""What version 0.1.0 has staged, this version carries on: a run that was killed in its import, the pool of parked
records, a run whose chunks are mapped again.

``tests/data/staged_by_0_1_0`` was written by that version and is never written anew: a later version that cannot read
it loses what users have under way.
"""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.transform.waiting_records import list_pool, read_pool
from tests.faults.pipeline import Pipeline
from tests.faults.universe import Sandbox

GOLDEN = Path(__file__).parent.parent / "data" / "staged_by_0_1_0"
FINDINGS: dict[str, dict[str, dict[str, str]]] = json.loads((GOLDEN / "findings.json").read_text())


@pytest.fixture
def old(pipeline: Pipeline) -> Pipeline:
    """A deployment as version 0.1.0 left it: run-0 is complete, run-1 was killed when the first destination of its
    import had its receipts.
    """
    shutil.copytree(GOLDEN / "staging", pipeline.staging)
    (pipeline.folder / "xcom").mkdir()
    for file in (GOLDEN / "xcom").iterdir():
        (pipeline.folder / "xcom" / file.name).write_text(file.read_text().replace("@FOLDER@", str(pipeline.folder)))
    shutil.copy(GOLDEN / "watermark", pipeline.folder / "watermark")
    pipeline.defaults["max_rejected_ratio"] = 1.0
    return pipeline


def held(sandbox: Sandbox) -> dict[str, float]:
    return {identity: _seconds(finding["UpdatedAt"]) for identity, finding in sandbox.documents().items()}


def staged(run: str, *, but: str = "") -> dict[str, float]:
    return {
        identity: _seconds(moment)
        for place, found in FINDINGS[run].items()
        if place != but
        for identity, moment in found.items()
    }


def _seconds(moment: str) -> float:
    return round(datetime.fromisoformat(moment).timestamp(), 3)


def test_run_of_0_1_0_is_carried_on_behind_its_receipts(old: Pipeline, sandbox: Sandbox) -> None:
    before, first = old.watermark, sorted(FINDINGS["run-1"])[0]
    old.succeed("run-1")
    # What had its receipts was in the hub of then.
    assert held(sandbox) == staged("run-1", but=first)
    ledger = old.ledger("run-1")
    assert ledger["complete"]
    assert ledger["accepted"] == ledger["findings"] == len(staged("run-1"))
    assert old.watermark == ledger["watermark"]["after"] > (before or 0)


def test_records_that_0_1_0_parked_are_read(old: Pipeline) -> None:
    run = RunFolder(f"file://{old.staging}", "tenable_to_security_hub", "run-9")
    records: list[Any] = [json.loads(bytes(parked.record)) for parked in read_pool(run, list_pool(run))]
    assert len(records) == old.ledger("run-0")["parked"] > 0
    assert len({record["asset"]["uuid"] for record in records}) == 1


def test_run_of_0_1_0_is_mapped_again_to_the_same_ids(old: Pipeline, sandbox: Sandbox) -> None:
    """Other ids would be other findings, beside those that are there."""
    old.succeed("replay-1", replay={"run_id": "run-0", "transform": True})
    brought = held(sandbox)
    assert staged("run-0").items() <= brought.items()
    # What was parked then finds its asset now: Tenable tells of it when it is asked for singly.
    assert len(brought) - len(staged("run-0")) == old.ledger("run-0")["parked"]


@pytest.mark.parametrize(
    "file", ["run.json", "shards.json", "findings/shard-0000.json", "receipts/111122223333/eu-west-1.jsonl"]
)
def test_file_of_a_newer_version_stops_the_run_and_nothing_is_imported(
    old: Pipeline, sandbox: Sandbox, file: str
) -> None:
    """As after a downgrade in mid run."""
    path = old.run_folder("run-1") / file
    text = path.read_text()
    newer = text.replace('"format":1', '"format":2').replace('"format": 1', '"format": 2')
    assert newer != text
    value = (
        json.loads(newer.splitlines()[0])
        if path.suffix == ".jsonl"
        else {key: value for key, value in json.loads(newer).items() if key != "checksum"}
    )
    path.write_text(
        "\n".join([json.dumps(value), *text.splitlines()[1:]]) if path.suffix == ".jsonl" else json.dumps(value)
    )
    watermark = old.watermark
    result = old.run("run-1")
    assert result.error == "StagingError", result
    assert "written by a newer version" in result.message
    assert old.watermark == watermark
    assert not sandbox.documents().keys() & FINDINGS["run-1"]["111122223333/eu-west-1"].keys()
