"""What the transform decides about a record and its asset, where the result is easily mistaken for another one: what it
counts for whom, what it sets aside, and what it asks Tenable for.
"""

from __future__ import annotations

import gc
import json

import msgspec
import pytest

from airflow_provider_tenable.staging.parts import compress
from airflow_provider_tenable.tenable_vm.asset_row import row_of_details
from airflow_provider_tenable.transform import shard as module
from airflow_provider_tenable.transform.routing import Destination
from airflow_provider_tenable.transform.shard import Parked
from tests.unit.transform.test_parked_moments import moments_of
from tests.unit.transform.test_shard import ASSETS, DAY, NOW, A, B, C, World, ec2, parked, record

INSTANCE = "i-0123456789abcdef0"


def details(**change):
    """What Tenable answers to a look-up; ``change``: other values, without the ``aws_`` of their names."""
    aws = {"owner_id": A, "region": "eu-west-1", "ec2_instance_id": "i-0123456789abcdef9", **change}
    return lambda asset: row_of_details(
        {"id": asset, **{f"aws_{name}": [value] for name, value in aws.items() if value}}
    )


def waited(world, *entries):
    world.transform.transform_parked(iter(entries))
    return world.close()


# States.


@pytest.mark.parametrize("state", ["NEW", "new", " New "])
def test_the_state_new_of_older_data_means_open(tmp_path, state):
    assert World(tmp_path, states=("open",)).chunks([record(state=state)])["findings"] == 1
    assert World(tmp_path, states=("fixed",)).chunks([record(state=state)])["skipped"] == {"state_not_chosen": 1}


# Counts of what is left out.


def test_every_record_that_is_left_out_counts_as_one(tmp_path):
    low, late = record(severity_id=1), record(last_found="2026-10-01T00:00:00Z", indexed="2026-10-01T00:00:00Z")
    manifest = World(tmp_path, until=NOW).chunks([low, late, low, late, low], [late, record(state="X"), record()])
    assert manifest["skipped"] == {"outside_window": 3, "severity_not_chosen": 3, "state_not_chosen": 1}
    assert manifest["findings"] == 1


def test_a_record_that_cannot_be_mapped_is_rejected_with_the_reason(tmp_path):
    world = World(tmp_path)
    world.chunks([record(first_found=None, last_found=None, indexed=None)])
    (line,) = world.lines(world.run.rejected)
    assert "no usable time" in line["message"]


# Accounts and places of what is skipped.


def test_only_an_asset_without_a_region_names_its_account_among_the_unserved(tmp_path):
    """The accounts of other assets outside EC2 are not known, or no destination would help."""
    manifest = World(tmp_path).chunks(
        [record("no-region"), record("no-region", plugin=7), record("no-owner"), record("on-prem")]
    )
    assert manifest["unserved"] == {A: {"no_aws_region": 2}}
    assert manifest["skipped_accounts"] == []


def test_every_record_of_an_account_that_nobody_serves_counts_for_it(tmp_path):
    manifest = World(tmp_path).chunks([record("ec2-c"), record("ec2-c", plugin=7), record("ec2-c", plugin=8)])
    assert manifest["unserved"] == {C: {"account_not_configured": 3}}
    assert (manifest["skipped_accounts"], manifest["refused"]) == ([C], {})


@pytest.mark.parametrize(("routing", "hub"), [("fixed", "eu-west-1"), ("resource", "us-east-1")])
def test_records_that_a_hub_refuses_count_for_its_account_and_region(tmp_path, routing, hub):
    world = World(tmp_path, region_routing=routing, destinations=[Destination("hub", (), "Role", None, A, "eu-west-1")])
    world.transform.router.refused = frozenset({f"{B}/{hub}"})
    manifest = world.chunks([record("ec2-b"), record("ec2-b", plugin=7), record("ec2-b", plugin=8), record("ec2-a")])
    assert manifest["refused"] == {f"{B}/{hub}": 3}
    assert manifest["skipped"] == {"destination_refused": 3}
    assert manifest["unserved"] == {B: {"destination_refused": 3}}
    # What it is owed is on record: no destination is missing.
    assert (manifest["skipped_accounts"], manifest["findings"]) == ([], 1)


def test_an_account_is_named_if_any_of_its_records_has_no_destination(tmp_path):
    assets = [*ASSETS, {"id": "c-no-region", "cloud": {"aws": {"owner_id": C, "ec2_instance_id": INSTANCE}}}]
    manifest = World(tmp_path, assets=assets).chunks([record("c-no-region"), record("ec2-c")])
    assert manifest["unserved"] == {C: {"account_not_configured": 1, "no_aws_region": 1}}
    assert manifest["skipped_accounts"] == [C]


def test_every_finding_outside_ec2_counts_as_one(tmp_path):
    manifest = World(tmp_path, non_ec2_assets="other").chunks(
        [record("on-prem"), record("on-prem", plugin=7), record("no-owner"), record("ec2-a")]
    )
    assert (manifest["not_ec2"], manifest["findings"]) == (3, 4)


# Several assets of an instance.


def test_what_is_set_aside_says_where_it_goes_and_what_is_compared_of_it(tmp_path):
    shared = [*ASSETS, ec2("again", account=B, region="us-east-1", instance="i-0123456789abcdef1")]
    world = World(tmp_path, assets=shared)
    (alone,) = World(tmp_path / "alone").chunks([record("ec2-b", severity_id=4)])["destinations"]
    world.chunks([record("ec2-b", severity_id=4)])
    (line,) = world.lines(world.run.contested)
    assert {name: line[name] for name in ("account", "region", "aws_conn_id", "role_name", "severity", "as_of")} == {
        **{name: alone[name] for name in ("account", "region", "aws_conn_id", "role_name")},
        "severity": "critical",
        "as_of": 0,
    }
    assert line["id"] == json.loads(line["finding"])["Id"]
    # A finding without its row would be sent by every run.
    assert len(line["row"]) > 50


def test_what_is_set_aside_of_a_record_that_waited_speaks_for_its_export(tmp_path):
    world = World(tmp_path, assets=[ec2("late"), ec2("again")])
    waited(world, Parked(NOW - DAY, msgspec.Raw(json.dumps(record("late")).encode()), as_of=1234))
    assert [line["as_of"] for line in world.lines(world.run.contested)] == [1234]


def test_assets_outside_ec2_are_not_contested_although_they_name_the_same_instance(tmp_path):
    """Each has an id of its own: only findings of an EC2 instance can have the same id."""
    cloud = {"aws": {"region": "eu-west-1", "ec2_instance_id": INSTANCE}}
    world = World(tmp_path, assets=[{"id": name, "cloud": cloud} for name in ("one", "two")], non_ec2_assets="other")
    manifest = world.chunks([record("one"), record("two")])
    assert (manifest["contested"], manifest["findings"], manifest["not_ec2"]) == (0, 2, 2)


# Assets that are looked up.


def test_a_looked_up_asset_of_an_account_without_a_destination_is_skipped_although_the_export_has_its_instance(
    tmp_path,
):
    """It becomes no finding, so it cannot collide with those of the exported asset."""
    world = World(tmp_path, lookup=details(owner_id=C, ec2_instance_id=INSTANCE))
    manifest = world.chunks([record("new"), record("new", plugin=7)])
    assert (manifest["skipped"], manifest["parked"]) == ({"account_not_configured": 2}, 0)
    assert world.asked == ["new"]


def test_a_looked_up_asset_outside_ec2_becomes_findings_although_the_export_has_its_instance(tmp_path):
    world = World(tmp_path, lookup=details(owner_id=None, ec2_instance_id=INSTANCE), non_ec2_assets="other")
    manifest = world.chunks([record("new"), record("new", plugin=7)])
    assert (manifest["findings"], manifest["contested"], manifest["parked"]) == (2, 0, 0)


def test_a_looked_up_asset_without_an_instance_is_skipped(tmp_path):
    manifest = World(tmp_path, lookup=details(ec2_instance_id=None)).chunks([record("new")])
    assert (manifest["skipped"], manifest["parked"]) == ({"no_ec2_instance": 1}, 0)


def test_a_looked_up_asset_of_an_exported_instance_waits_and_is_asked_for_once(tmp_path):
    world = World(tmp_path, lookup=details(ec2_instance_id=INSTANCE))
    manifest = world.chunks([record("new"), record("new", plugin=7)], [record("new", plugin=8)])
    assert (manifest["parked"], manifest["findings"], manifest["contested"]) == (3, 0, 0)
    assert world.asked == ["new"]


def test_an_asset_that_was_looked_up_is_not_asked_for_again_once_its_resource_is_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_MEMO_ENTRIES", 0)
    world = World(tmp_path, lookup=details())
    manifest = world.chunks([record("new")], [record("new", plugin=7)], [record("new", plugin=8)])
    assert (world.asked, manifest["contested"], manifest["parked"]) == (["new"], 3, 0)


def test_a_resource_is_prepared_once_for_all_records_of_its_asset(tmp_path, monkeypatch):
    prepared = []
    prepare = module.table.AssetTable.get
    monkeypatch.setattr(
        module.table.AssetTable, "get", lambda table, asset: (prepared.append(asset), prepare(table, asset))[1]
    )
    world = World(tmp_path)
    world.chunks([record(), record("ec2-b"), record(plugin=7)], [record("ec2-b", plugin=7), record(plugin=8)])
    assert prepared == ["ec2-a", "ec2-b"]


def test_resources_are_forgotten_once_there_are_more_than_may_be_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_MEMO_ENTRIES", 2)
    world, kept = World(tmp_path), []
    for asset in ("ec2-a", "ec2-a", "ec2-b", "ec2-c", "ec2-a"):
        world.transform.transform_parked(iter([parked(record(asset), NOW)]))
        kept.append(len(world.transform._resources))
    world.close()
    assert kept == [1, 1, 2, 0, 1]


# Records that wait.


@pytest.mark.parametrize(
    ("parked_at", "moment"), [(NOW, 1000 * (NOW - DAY)), (DAY + 7, 7_000), (DAY, 1), (5, 1)], ids=str
)
def test_a_record_that_an_older_release_parked_is_at_most_a_day_older(tmp_path, parked_at, moment):
    """It does not say of which export it is, which may have taken a day. 0 would mean this run's own."""
    world = World(tmp_path)
    manifest = waited(world, Parked(parked_at, msgspec.Raw(json.dumps(record()).encode())))
    assert moments_of(world, [manifest]) == [moment]


def test_records_that_wait_again_keep_their_moment_and_others_get_that_of_the_export(tmp_path):
    world = World(tmp_path, as_of=2222)
    world.transform.transform_parts([])
    waited(
        world,
        Parked(NOW - DAY, msgspec.Raw(json.dumps(record("gone")).encode()), as_of=1111),
        Parked(NOW - DAY, msgspec.Raw(json.dumps(record("gone", plugin=7)).encode())),
    )
    assert [line["as_of"] for line in world.lines(world.run.parked)] == [1111, 1000 * (NOW - 2 * DAY)]
    later = World(tmp_path / "later", as_of=2222)
    later.chunks([record("gone")])
    assert [line["as_of"] for line in later.lines(later.run.parked)] == [2222]


def test_every_record_that_is_given_up_counts_and_says_of_which_export_it_is(tmp_path):
    world = World(tmp_path)
    old = [
        Parked(NOW - 30 * DAY, msgspec.Raw(json.dumps(record("gone", plugin=each)).encode()), as_of=77)
        for each in (7, 8)
    ]
    assert waited(world, *old)["skipped"] == {"asset_missing_given_up": 2}
    assert [line["as_of"] for line in world.lines(world.run.rejected)] == [77, 77]


def test_a_moment_that_is_no_time_does_not_keep_a_record_from_being_given_up(tmp_path):
    world = World(tmp_path)
    assert waited(world, parked(record("gone"), 0))["skipped"] == {"asset_missing_given_up": 1}
    (line,) = world.lines(world.run.rejected)
    assert line["message"] == "asset gone has been in no export since 0"


def test_missing_assets_are_counted_once_each_and_up_to_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_MOST_COUNTED", 3)
    records = [record(f"gone-{number}", plugin=plugin) for number in range(2) for plugin in (7, 8)]
    assert World(tmp_path / "few").chunks(records)["missing_assets"] == 2
    many = World(tmp_path / "many").chunks([record(f"gone-{number}") for number in range(5)])
    assert (many["missing_assets"], many["parked"]) == (3, 5)


def test_output_that_is_left_out_leaves_no_empty_one_behind(tmp_path):
    world = World(tmp_path, options={"plugin_output": False})
    world.chunks([record("gone", output="out")])
    (line,) = world.lines(world.run.parked)
    assert line["record"]["output"] is None


# Counts.


def test_the_order_of_records_does_not_change_the_counts_of_a_shard(tmp_path):
    """A retry writes the same bytes; Tenable may return chunks in another order."""
    records = [record("ec2-c"), record("no-region"), record(severity_id=0), record("on-prem"), record("no-owner")]
    destinations = [Destination("hub", (A, B, C), "Role", None, A, "eu-west-1")]
    written = []
    for number, order in enumerate((records, records[::-1])):
        world = World(tmp_path / str(number), destinations=destinations)
        world.transform.router.refused = frozenset({f"{C}/eu-west-1"})
        manifest = world.chunks(order)
        assert manifest["read"] == 5
        written.append(json.dumps({**manifest, "waiting_parts": []}))
    assert written[0] == written[1]


def test_counts_say_whether_the_shard_took_the_pool_and_which_parts(tmp_path):
    world = World(tmp_path)
    own, pool = world.transform.counts(), world.transform.counts(from_pool=True, pool_parts=["part"])
    world.close()
    assert (own["from_pool"], own["pool_parts"]) == (False, [])
    assert (pool["from_pool"], pool["pool_parts"]) == (True, ["part"])


# The garbage collector.


@pytest.mark.parametrize("failing", [False, True])
def test_garbage_is_not_collected_within_a_part_and_again_after_it_whatever_happens(tmp_path, monkeypatch, failing):
    world, seen = World(tmp_path), []
    decode = module.decode_blocks

    def watched(blocks, kind):
        seen.append(gc.isenabled())
        if failing:
            raise OSError("gone")
        return decode(blocks, kind)

    monkeypatch.setattr(module, "decode_blocks", watched)
    parts = world.put("vulnerabilities", [compress(json.dumps([record()]).encode())] * 2)
    if failing:
        with pytest.raises(OSError, match="gone"):
            world.transform.transform_parts(parts)
        world.transform.close()
    else:
        world.transform.transform_parts(parts)
        assert world.close()["findings"] == 2
    assert (seen, gc.isenabled()) == ([False] * (1 if failing else 2), True)
