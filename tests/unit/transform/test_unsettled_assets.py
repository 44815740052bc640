"""Records whose asset is known, and not yet its AWS account, Region or instance: they wait, and come once it is."""

from __future__ import annotations

import json
from types import SimpleNamespace

import msgspec
import pytest

from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.transform import output, waiting_records
from airflow_provider_tenable.transform.shard import Parked
from airflow_provider_tenable.transform.waiting_records import list_pool, settle_pool, transform_pool
from tests.unit.transform.test_shard import ASSETS, DAY, NOW, World, ec2, record

UNSETTLED = {"on-prem": "no_ec2_instance", "no-owner": "no_aws_account", "no-region": "no_aws_region"}


def kept(world, manifest):
    lines = [json.loads(line) for name in manifest["waiting_parts"] for line in read(world, name)]
    return [(line["asset"], line["record"]["plugin"]["id"], line["parked_at"]) for line in lines]


def read(world, name):
    from airflow_provider_tenable.staging.parts import read_lines

    return read_lines(world.run.parked / name)


def settle(world, manifest):
    """As the end of a run does it."""
    parts = [part for part in [manifest["parked_part"]] if part] + manifest["waiting_parts"]
    settle_pool(world.run, parts, done=manifest["pool_parts"])


def next_run(tmp_path, assets, **change):
    """A later run that takes the whole pool; its manifest."""
    world = World(tmp_path, assets=assets, **change)
    write_json(world.run.root / "unparked.json", list_pool(world.run))
    done = transform_pool(world.run, world.transform)
    manifest = world.writer.close(world.transform.counts(from_pool=True, pool_parts=done))
    assert manifest["read"] == sum(manifest["skipped"].values()) + manifest["parked"] + manifest["findings"]
    return world, manifest


def settled(asset):
    return [ec2(asset, instance="i-0123456789abcdef9") if each["id"] == asset else each for each in ASSETS]


@pytest.fixture(params=sorted(UNSETTLED))
def asset(request):
    return request.param


def test_a_record_that_is_skipped_for_the_state_of_its_asset_is_kept_and_counted_under_its_reason(tmp_path, asset):
    world = World(tmp_path)
    manifest = world.chunks([record(asset, plugin=1), record(asset, plugin=2), record("ec2-a")])
    reason = UNSETTLED[asset]
    assert (manifest["skipped"], manifest["waiting"], manifest["parked"]) == ({reason: 2}, {reason: 2}, 0)
    assert kept(world, manifest) == [(asset, 1, NOW), (asset, 2, NOW)]


def test_it_becomes_a_finding_once_its_asset_has_settled(tmp_path, asset):
    first = World(tmp_path)
    settle(first, first.chunks([record(asset)]))
    world, manifest = next_run(tmp_path, settled(asset), give_up_before=NOW - DAY)
    assert (manifest["read"], manifest["findings"], manifest["waiting_parts"]) == (1, 1, [])
    [finding] = world.findings("111111111111", "eu-west-1")
    assert "i-0123456789abcdef9" in finding["Id"]
    settle(world, manifest)
    assert list_pool(world.run) == []


def test_a_part_of_which_nothing_has_settled_stays_as_it_is_and_is_not_read(tmp_path, monkeypatch):
    first = World(tmp_path)
    settle(first, first.chunks([record(each) for each in UNSETTLED]))
    before = list_pool(first.run)
    monkeypatch.setattr(waiting_records, "read_lines", lambda path: pytest.fail(f"{path} is read"))
    world, manifest = next_run(tmp_path, ASSETS, give_up_before=NOW - DAY)
    assert (manifest["read"], manifest["pool_parts"], manifest["waiting_parts"]) == (0, [], [])
    settle(world, manifest)
    assert list_pool(world.run) == before


def test_what_has_not_settled_of_a_part_waits_on_with_its_age(tmp_path):
    first = World(tmp_path)
    settle(first, first.chunks([record(each) for each in UNSETTLED]))
    world, manifest = next_run(tmp_path, settled("no-owner"), give_up_before=NOW - DAY)
    assert (manifest["findings"], manifest["skipped"], manifest["waiting"]) == (1, {}, {})
    assert kept(world, manifest) == [("on-prem", 100, NOW), ("no-region", 100, NOW)]


def test_after_the_days_it_lapses(tmp_path):
    first = World(tmp_path)
    settle(first, first.chunks([record(each) for each in UNSETTLED]))
    world, manifest = next_run(tmp_path, ASSETS, give_up_before=NOW + 1)
    assert (manifest["read"], manifest["skipped"], manifest["rejected_part"]) == (0, {}, None)
    settle(world, manifest)
    assert list_pool(world.run) == []


def test_record_whose_asset_settles_after_the_days_is_imported(tmp_path, caplog):
    """Runs may have been paused for longer than the days: the asset settled in the meantime."""
    caplog.set_level("INFO")
    first = World(tmp_path)
    settle(first, first.chunks([record(each) for each in UNSETTLED]))
    world, manifest = next_run(tmp_path, settled("no-owner"), give_up_before=NOW + 1)
    assert (manifest["read"], manifest["findings"], manifest["waiting_parts"]) == (1, 1, [])
    assert "2 waiting records are dropped" in caplog.text
    settle(world, manifest)
    assert list_pool(world.run) == []


def test_no_record_is_reported_as_dropped_if_all_assets_have_settled(tmp_path, asset, caplog):
    caplog.set_level("INFO")
    first = World(tmp_path)
    settle(first, first.chunks([record(asset)]))
    _, manifest = next_run(tmp_path, settled(asset), give_up_before=NOW + 1)
    assert (manifest["findings"], "dropped" in caplog.text) == (1, False)


def test_waiting_records_are_imported_once_assets_outside_ec2_are(tmp_path, asset):
    """``non_ec2_assets`` was ``skip`` when they were exported, and is ``other`` now."""
    first = World(tmp_path)
    settle(first, first.chunks([record(asset)]))
    world, manifest = next_run(tmp_path, ASSETS, non_ec2_assets="other")
    assert (manifest["read"], manifest["findings"], manifest["not_ec2"]) == (1, 1, 1)
    settle(world, manifest)
    assert list_pool(world.run) == []


def test_assets_outside_ec2_that_are_gone_from_the_export_do_not_settle(tmp_path):
    first = World(tmp_path)
    settle(first, first.chunks([record("on-prem")]))
    world, manifest = next_run(tmp_path, ASSETS[:2], non_ec2_assets="other")
    assert (manifest["read"], manifest["pool_parts"], world.asked) == (0, [], [])


def test_the_pool_is_not_listed_once_per_part(tmp_path, monkeypatch):
    """Each listing of an object store is a request, and invalidates fsspec's cache."""
    monkeypatch.setattr(output, "KEPT_PER_PART", 1)
    first = World(tmp_path)
    settle(first, first.chunks([record("on-prem", plugin=number) for number in range(5)]))
    assert len(list_pool(first.run)) == 5
    listed = []
    list_folder = waiting_records.names
    monkeypatch.setattr(waiting_records, "names", lambda folder: (listed.append(folder), list_folder(folder))[1])
    _, manifest = next_run(tmp_path, settled("on-prem"))
    # The one that claims the parts.
    assert (manifest["findings"], len(listed)) == (5, 1)


def test_an_asset_that_is_gone_from_the_export_costs_no_look_up(tmp_path):
    first = World(tmp_path)
    settle(first, first.chunks([record("on-prem")]))
    world, _ = next_run(tmp_path, ASSETS[:2], give_up_before=NOW - DAY)
    assert world.asked == []


def test_a_record_whose_asset_appears_without_an_account_waits_on_with_its_age(tmp_path):
    world = World(tmp_path)
    line = msgspec.json.encode(record("no-owner"))
    world.transform.transform_parked(iter([Parked(NOW - 3 * DAY, msgspec.Raw(line))]))
    manifest = world.close()
    assert kept(world, manifest) == [("no-owner", 100, NOW - 3 * DAY)]
    assert manifest["skipped"] == {"no_aws_account": 1}


@pytest.mark.parametrize(
    "change", [{"keeps": False}, {"give_up_before": NOW}, {"non_ec2_assets": "other"}], ids=["dry", "no_days", "other"]
)
def test_where_nothing_is_to_be_kept_nothing_is(tmp_path, change):
    manifest = World(tmp_path, **change).chunks([record("on-prem")])
    assert (manifest["waiting"], manifest["waiting_parts"]) == ({}, [])


def test_reasons_that_are_not_the_assets_keep_nothing(tmp_path):
    manifest = World(tmp_path).chunks([record("ec2-c"), record("on-prem", severity_id=1), record("on-prem", state="X")])
    assert (sum(manifest["skipped"].values()), manifest["waiting"], manifest["waiting_parts"]) == (3, {}, [])


def test_parts_are_closed_before_they_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(output, "KEPT_PER_PART", 3)
    world = World(tmp_path)
    manifest = world.chunks([record("on-prem", plugin=number) for number in range(8)])
    assert [len(list(read(world, name))) for name in manifest["waiting_parts"]] == [3, 3, 2]
    settle(world, manifest)
    _, after = next_run(tmp_path, settled("on-prem"), give_up_before=NOW - DAY)
    assert after["findings"] == 8


def test_plugin_output_that_no_finding_may_hold_is_not_kept(tmp_path):
    secret = record("on-prem", output="root:toor")
    secret["plugin"] = {**secret["plugin"], "checks_for_default_account": True}
    world = World(tmp_path)
    [line] = [line for name in world.chunks([secret])["waiting_parts"] for line in read(world, name)]
    assert b"toor" not in line


def test_what_an_older_release_has_parked_is_read_as_ever(tmp_path):
    world = World(tmp_path)
    entry = {"parked_at": NOW, "record": record("ec2-a")}
    from airflow_provider_tenable.staging.parts import write_lines

    name = write_lines(world.run.parked, "part-shard-0000", [json.dumps(entry).encode()])
    settle_pool(world.run, [name], done=[])
    _, manifest = next_run(tmp_path, ASSETS)
    assert (manifest["read"], manifest["findings"]) == (1, 1)


def test_a_run_id_does_not_decide_what_a_part_is():
    run = SimpleNamespace(run_id="waiting-shard-0000-00000--0123456789abcdef.jsonl.gz")
    name = waiting_records._name_in_pool(run.run_id, "--part-shard-0000-0123456789abcdef.jsonl.gz")
    assert not waiting_records._WAITING_PART.search(name)
