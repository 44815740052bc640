"""Two Tenable assets of one EC2 instance: what one of them still has is never archived because the other one is fixed.

The sandbox serves both assets, whose records are in different chunks and therefore in different shards. The hubs' state
is the oracle.
"""

from __future__ import annotations

import msgspec
import pytest

from airflow_provider_tenable.staging.location import open_path
from airflow_provider_tenable.staging.parts import read_blocks
from tests.faults.pipeline import Pipeline, Zygote
from tests.faults.universe import Sandbox, belongs, differences, expected, identity_of

#: Chunks of 50 assets, the smallest that Tenable allows.
CHUNKS = {"AIRFLOW__TENABLE__NUM_ASSETS": "50"}


@pytest.fixture
def ours(zygote: Zygote, small_sandbox: Sandbox, pipeline: Pipeline) -> Pipeline:
    small_sandbox.reset()
    return Pipeline(zygote, small_sandbox, pipeline.folder / "small", env=CHUNKS)


def with_twins(sandbox: Sandbox) -> list[tuple[str, str]]:
    """Give every EC2 instance that belongs into the hubs a second asset. :return: the pairs of asset ids."""
    instances = {
        each["instance_id"]: each["asset_id"]
        for each in sandbox.truth()["vulnerabilities"]
        if belongs(each, sandbox.accounts) and each["state"] != "FIXED"
    }
    sandbox.change(*({"do": "twin", "asset_id": asset} for asset in instances.values()))
    twins = {asset["instance_id"]: asset["asset_id"] for asset in sandbox.truth()["assets"]}
    pairs = [(asset, twins[instance]) for instance, asset in sorted(instances.items())]
    assert all(one != other for one, other in pairs)
    return pairs


def rescan(sandbox: Sandbox, *assets: str) -> None:
    for asset in assets:
        sandbox.change({"do": "rescan", "asset_id": asset, "found_ago": 60})


def fix(sandbox: Sandbox, *assets: str) -> None:
    for asset in assets:
        sandbox.change({"do": "fix", "asset_id": asset, "found_ago": 30})


def chunks_of(ours: Pipeline, run_id: str) -> dict[str, int]:
    """Asset id -> the number of the chunk with its records."""
    folder = open_path(f"file://{ours.run_folder(run_id)}/vulnerabilities")
    found = {}
    parts = sorted(path for path in folder.iterdir() if path.name.startswith("part-"))
    for number, part in enumerate(parts):
        for record in msgspec.json.decode(b"".join(read_blocks(part))):
            found[record["asset"]["uuid"]] = number
    assert len(parts) > 1
    return found


def contested(sandbox: Sandbox) -> int:
    """Findings for which both assets have a record that a first run asks for: it leaves out what is fixed."""
    identities = [
        identity_of(each)
        for each in sandbox.truth()["vulnerabilities"]
        if belongs(each, sandbox.accounts) and each["state"] != "FIXED"
    ]
    return len(identities) - len(set(identities))


@pytest.mark.parametrize("shards", [1, 2])
def test_finding_that_is_fixed_on_one_asset_of_an_instance_stays_active_for_the_other(
    ours: Pipeline, small_sandbox: Sandbox, shards: int
) -> None:
    ours.env["AIRFLOW__TENABLE__TRANSFORM_SHARDS"] = str(shards)
    pairs = with_twins(small_sandbox)
    ours.succeed("run-1")
    before = small_sandbox.held()
    assert differences(before, expected(small_sandbox.truth(), small_sandbox.accounts)) == {}
    assert ours.ledger("run-1")["skipped"]["duplicate_asset"] == contested(small_sandbox)

    # The first asset of every other pair is fixed, and the second one of the others.
    small_sandbox.advance(60)
    fixed = {pair[number % 2] for number, pair in enumerate(pairs)}
    rescan(small_sandbox, *(asset for pair in pairs for asset in pair))
    fix(small_sandbox, *fixed)
    ours.succeed("run-2")
    chunks = chunks_of(ours, "run-2")
    orders = {(chunks[one] > chunks[other]) is (one in fixed) for one, other in pairs if chunks[one] != chunks[other]}
    assert orders == {True, False}, "both orders of chunks and shards occur"
    held = small_sandbox.held()
    wanted = expected(small_sandbox.truth(), small_sandbox.accounts)
    assert differences(held, wanted) == {}
    of_pairs = {
        identity_of(each)
        for each in small_sandbox.truth()["vulnerabilities"]
        if each["asset_id"] in {asset for pair in pairs for asset in pair}
        and each["state"] != "FIXED"
        and each["severity_modification_type"] != "ACCEPTED"
        and belongs(each, small_sandbox.accounts)
        # One of the hosts is terminated: what it had is archived, or was never imported.
        and wanted[identity_of(each)].record_state == "ACTIVE"
    }
    assert len(of_pairs) > 20
    assert {held[identity].record_state for identity in of_pairs} == {"ACTIVE"}
    assert ours.ledger("run-2")["skipped"]["duplicate_asset"] > 0

    # Once it is fixed on both of them, it is archived.
    small_sandbox.advance(60)
    fix(small_sandbox, *(asset for pair in pairs for asset in pair if asset not in fixed))
    ours.succeed("run-3")
    held = small_sandbox.held()
    assert {held[identity].record_state for identity in of_pairs} == {"ARCHIVED"}
