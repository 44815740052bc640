"""``non_ec2_assets`` = ``typed`` and ``typed_or_other``: AWS resources come to their accounts, with their types."""

from __future__ import annotations

import json

import pytest

from airflow_provider_tenable.run.manifests import destinations_of, shard_manifests
from airflow_provider_tenable.staging.files import names, write_json
from airflow_provider_tenable.staging.parts import compress, read_lines
from airflow_provider_tenable.tenable_vm.asset_row import row_of_details
from airflow_provider_tenable.transform import duplicates
from airflow_provider_tenable.transform.shard import Parked
from tests.unit.transform.test_shard import NOW, A, B, C, World, record

DB = f"arn:aws:rds:us-east-1:{B}:db:orders"
BUCKET = "arn:aws:s3:::logs"
ASSETS = [
    {"id": "db", "name": DB},
    {"id": "bucket", "name": BUCKET, "cloud": {"aws": {"owner_id": A, "region": "eu-west-1"}}},
    {"id": "foreign", "name": DB.replace(B, C)},
    {"id": "wrong", "name": DB, "cloud": {"aws": {"owner_id": A}}},
    {"id": "on-prem", "name": "db.example.com"},
]
RECORDS = [record(asset["id"]) for asset in ASSETS]


def settled(world, *records):
    """A shard of records, and all findings of the run once duplicates are resolved: (finding by id, manifests)."""
    manifest = world.chunks(list(records))
    write_json(world.run.shards, {"count": 1})
    manifests = shard_manifests(world.run)
    found = {}
    for entry in destinations_of(manifests):
        folder = world.run.destination(entry["account"], entry["region"])
        for part in entry["parts"]:
            for line in map(json.loads, read_lines(folder / part)):
                assert line["Id"] not in found
                found[line["Id"]] = (f"{entry['account']}/{entry['region']}", line)
    return found, manifest, manifests


def test_resources_come_to_their_own_account_and_the_others_are_skipped(tmp_path):
    world = World(tmp_path, assets=ASSETS, non_ec2_assets="typed")
    found, manifest, _ = settled(world, *RECORDS)
    assert {
        identity: (place, each["Resources"][0]["Type"], each["Resources"][0]["Id"])
        for identity, (place, each) in found.items()
    } == {
        f"us-east-1/{B}/rds%3Adb%3Aorders/100/tcp/443": (f"{B}/us-east-2", "AwsRdsDbInstance", DB),
        f"eu-west-1/{A}/s3%3Alogs/100/tcp/443": (f"{A}/eu-west-1", "AwsS3Bucket", BUCKET),
    }
    assert manifest["skipped"] == {"account_not_configured": 1, "no_ec2_instance": 2}
    # Only what is in AWS and has no destination is unserved.
    assert manifest["unserved"] == {C: {"account_not_configured": 1}}
    assert manifest["not_ec2"] == 0
    assert manifest["waiting"] == {"no_ec2_instance": 2}


def test_the_others_can_be_imported_too(tmp_path):
    world = World(tmp_path, assets=ASSETS, non_ec2_assets="typed_or_other")
    found, manifest, _ = settled(world, *RECORDS)
    others = [each for _, each in found.values() if each["Resources"][0]["Type"] == "Other"]
    assert sorted(each["Resources"][0]["Id"] for each in others) == ["tenable-asset/on-prem", "tenable-asset/wrong"]
    assert len(found) == 4
    assert (manifest["not_ec2"], manifest["skipped"]) == (2, {"account_not_configured": 1})


@pytest.mark.parametrize("choice", ["skip", "other"])
def test_without_it_nothing_is_different(tmp_path, choice):
    world = World(tmp_path, assets=ASSETS, non_ec2_assets=choice)
    found, manifest, _ = settled(world, *RECORDS)
    types = {each["Resources"][0]["Type"] for _, each in found.values()}
    assert types == ({"Other"} if choice == "other" else set())
    assert manifest["contested"] == 0
    assert len(found) == manifest["not_ec2"] == (5 if choice == "other" else 0)


def test_two_assets_of_a_resource_give_one_finding_whichever_comes_first(tmp_path):
    assets = [{"id": "old", "name": DB}, {"id": "new", "tags": [{"key": "AWS", "value": DB}]}]
    fixed = record("old", state="FIXED", last_fixed="2026-10-02T00:00:00Z", indexed="2026-10-02T00:10:00Z")
    for number, records in enumerate(([fixed, record("new")], [record("new"), fixed])):
        world = World(tmp_path / str(number), assets=assets, non_ec2_assets="typed")
        found, _, manifests = settled(world, *records)
        ((_, only),) = found.values()
        assert only["RecordState"] == "ACTIVE"
        assert manifests[-1]["skipped"] == {duplicates.DUPLICATE: 1}


def test_an_asset_that_was_looked_up_is_one_of_its_resource_s(tmp_path):
    details = {"id": "late", "aws_arn": [DB]}
    world = World(tmp_path, assets=ASSETS, lookup=lambda _: row_of_details(details), non_ec2_assets="typed")
    found, _, manifests = settled(world, record("db"), record("late"))
    assert len(found) == 1
    assert manifests[-1]["skipped"] == {duplicates.DUPLICATE: 1}


def test_records_that_wait_are_imported_once_their_asset_names_its_resource(tmp_path):
    world = World(tmp_path, assets=[{"id": "db", "name": "orders"}], non_ec2_assets="typed")
    manifest = world.chunks([record("db")])
    assert manifest["waiting"] == {"no_ec2_instance": 1}
    (part,) = manifest["waiting_parts"]
    (entry,) = world.lines(world.run.parked)
    assert part in names(world.run.parked)
    later = World(tmp_path / "later", assets=ASSETS, non_ec2_assets="typed")
    assert later.transform.is_settled("db")
    assert not any(map(later.transform.is_settled, ("wrong", "on-prem", "unknown")))
    later.transform.transform_parked([Parked(NOW - 1, json.dumps(entry["record"]).encode(), asset="db")])  # type: ignore[arg-type]
    assert later.close()["contested"] == 1


def test_the_mode_without_others_needs_no_hub_region_of_its_own(tmp_path):
    from airflow_provider_tenable.transform.routing import Destination

    world = World(
        tmp_path,
        assets=ASSETS,
        non_ec2_assets="typed",
        region_routing="resource",
        destinations=[Destination("hub", (B,), "Role", None, A, None)],
    )
    found, _, _ = settled(world, record("db"), record("on-prem"))
    assert [place for place, _ in found.values()] == [f"{B}/us-east-1"]


def test_parts_of_an_older_release_name_no_resource(tmp_path):
    import io

    import pyarrow.parquet as pq

    world = World(tmp_path, assets=ASSETS, non_ec2_assets="typed")
    (part,) = world.asset_parts
    table = pq.read_table(io.BytesIO(part.read_bytes())).drop_columns(["resource_name"])
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    part.write_bytes(buffer.getvalue())
    world.transform.transform_parts(world.put("vulnerabilities", [compress(json.dumps([record("db")]).encode())]))
    assert world.close()["skipped"] == {"no_ec2_instance": 1}
