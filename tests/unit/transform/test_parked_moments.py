"""For which moment a finding speaks: that of the run's export, or, where its record has waited, that of the export that
the record came from, however often it was parked since.
"""

from __future__ import annotations

import numpy as np
import pytest

from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.state.staged import staged_rows
from airflow_provider_tenable.transform.waiting_records import list_pool, read_pool, transform_pool
from tests.unit.transform.test_shard import ASSETS, NOW, World, ec2, record
from tests.unit.transform.test_unsettled_assets import settle, settled

FIRST, SECOND, THIRD = 1000 * NOW + 1, 1000 * NOW + 2, 1000 * NOW + 3
#: An asset that no export has yet, and one whose account is not known yet.
MISSING, UNSETTLED = "not-exported-yet", "no-owner"


def run_at(tmp_path, as_of, assets=ASSETS, records=()):
    """A run over the pool, and over records of its own, each in a shard of its own. Both manifests."""
    own = World(tmp_path, assets=assets, as_of=as_of)
    manifests = [own.chunks(list(records))]
    world = World(tmp_path, assets=assets, as_of=as_of, shard=1)
    write_json(world.run.root / "unparked.json", list_pool(world.run))
    done = transform_pool(world.run, world.transform)
    manifests.append(world.writer.close(world.transform.counts(from_pool=True, pool_parts=done)))
    for manifest in manifests:
        settle(world, manifest)
    return world, manifests


def moments_of(world, manifests):
    """For which moment each staged finding speaks; 0 for that of the run's export."""
    rows = [
        staged_rows(world.run, each["account"], each["region"], part["name"], part["lines"])
        for manifest in manifests
        for each in manifest["destinations"]
        for part in each["parts"]
    ]
    return sorted(np.concatenate(rows)["as_of"].tolist())


def waiting(world):
    return sorted(entry.as_of for entry in read_pool(world.run, list_pool(world.run)))


def later_assets(asset):
    if asset == MISSING:
        return [*ASSETS, ec2(MISSING, instance="i-0123456789abcdef9")]
    return settled(asset)


@pytest.mark.parametrize("asset", [MISSING, UNSETTLED])
def test_a_record_that_waited_speaks_for_the_export_that_it_came_from(tmp_path, asset):
    world, _ = run_at(tmp_path, FIRST, records=[record(asset)])
    assert waiting(world) == [FIRST]
    # The second run finds it still waiting.
    world, _ = run_at(tmp_path, SECOND)
    assert waiting(world) == [FIRST]
    assert moments_of(*run_at(tmp_path, THIRD, later_assets(asset), [record("ec2-b")])) == [0, FIRST]


@pytest.mark.parametrize("asset", [MISSING, UNSETTLED])
def test_a_full_run_parks_what_waits_already_again_with_its_own_moment(tmp_path, asset):
    run_at(tmp_path, FIRST, records=[record(asset)])
    # A full run exports everything that is open, also what waits in the pool.
    world, manifests = run_at(tmp_path, SECOND, records=[record(asset, last_found="2026-09-03T00:00:00Z")])
    assert sum(manifest["findings"] for manifest in manifests) == 0
    assert waiting(world) == [FIRST, SECOND]
    # Of the two, the comparison sends the later one.
    assert moments_of(*run_at(tmp_path, THIRD, later_assets(asset))) == [FIRST, SECOND]
    assert waiting(world) == []
