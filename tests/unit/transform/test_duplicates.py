"""Two assets of one instance share the ids of their findings: one finding per id and run, whatever the shards and their
order.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from itertools import permutations

import msgspec
import pytest

from airflow_provider_tenable.assets.table import AssetTable
from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.run.manifests import destinations_of, shard_manifests
from airflow_provider_tenable.staging.files import names, write_json, write_whole
from airflow_provider_tenable.staging.parts import compress, read_lines
from airflow_provider_tenable.tenable_vm.asset_row import row_of_details
from airflow_provider_tenable.transform import duplicates
from airflow_provider_tenable.transform.destinations import Destination
from airflow_provider_tenable.transform.duplicates import DUPLICATE, Instances
from tests.unit.assets.parts import to_parquet
from tests.unit.transform.test_shard import A, World, ec2, record

SHARED = "i-0000000000000000a"
ASSETS = [ec2("agent", instance=SHARED), ec2("scan", instance=SHARED), ec2("alone", instance="i-0000000000000000b")]
OPEN = record("agent", last_found="2026-10-01T00:00:00Z", indexed="2026-10-01T00:10:00Z")
FIXED = record(
    "scan",
    state="FIXED",
    last_found="2026-09-10T00:00:00Z",
    last_fixed="2026-10-02T00:00:00Z",
    indexed="2026-10-02T00:10:00Z",
)


def transformed(folder, *shards, assets=ASSETS, lookup=None):
    """Each shard of records transformed by a task of its own; the folder's run and all manifests."""
    run = None
    for number, records in enumerate(shards):
        world = World(folder, assets=assets, shard=number, lookup=lookup)
        world.transform.transform_parts([_part(world, number, records)])
        world.close()
        run = world.run
    assert run is not None
    write_json(run.shards, {"count": len(shards)})
    return run, shard_manifests(run)


def _part(world, number, records):
    path = world.run.export("vulnerabilities") / f"shard-{number}"
    write_whole(path, compress(json.dumps(records).encode()))
    return path


def findings(run, manifests):
    """What an import would send: the findings of the parts that the manifests name."""
    found = []
    for entry in destinations_of(manifests):
        for name in entry["parts"]:
            found += map(json.loads, read_lines(run.destination(entry["account"], entry["region"]) / name))
    return sorted(found, key=lambda finding: (finding["Id"], finding["UpdatedAt"]))


def skipped(manifests):
    return dict(sum((Counter(manifest["skipped"]) for manifest in manifests), Counter()))


def check_sums(manifests):
    read = sum(manifest["read"] for manifest in manifests)
    assert read == sum(skipped(manifests).values()) + sum(
        manifest["parked"] + manifest["findings"] for manifest in manifests
    )


SPLITS = [([OPEN, FIXED],), ([FIXED, OPEN],), ([OPEN], [FIXED]), ([FIXED], [OPEN]), ([], [FIXED], [OPEN])]


@pytest.mark.parametrize("shards", SPLITS)
def test_open_wins_over_fixed_whatever_the_shards_and_the_order(tmp_path, shards):
    run, manifests = transformed(tmp_path, *shards)
    (finding,) = findings(run, manifests)
    assert (finding["RecordState"], finding["UpdatedAt"]) == ("ACTIVE", "2026-10-01T00:10:00.000Z")
    assert skipped(manifests) == {DUPLICATE: 1}
    check_sums(manifests)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (
            {"indexed": "2026-10-01T00:10:00.123Z"},
            {"indexed": "2026-10-01T00:10:00.123456Z"},
            "2026-10-01T00:10:00.123456Z",
        ),
        (
            {"indexed": "2026-10-01T00:10:00.124Z"},
            {"indexed": "2026-10-01T00:10:00.123456Z"},
            "2026-10-01T00:10:00.124Z",
        ),
        (
            {"state": "FIXED", "indexed": "2026-10-01T00:10:00Z"},
            {"state": "FIXED", "indexed": "2026-10-03T00:10:00Z"},
            "2026-10-03T00:10:00.000Z",
        ),
    ],
)
def test_of_two_alike_the_later_one_wins(tmp_path, one, other, expected):
    pair = record("agent", **one), record("scan", **other)
    for number, (first, second) in enumerate(permutations(pair)):
        run, manifests = transformed(tmp_path / str(number), [first], [second])
        (finding,) = findings(run, manifests)
        assert finding["UpdatedAt"] == expected


def test_equal_times_are_not_decided_by_chance(tmp_path):
    pair = record("agent"), record("scan")
    results = [
        findings(*transformed(tmp_path / str(number), [first], [second]))
        for number, (first, second) in enumerate(permutations(pair))
    ]
    assert results[0] == results[1]
    assert len(results[0]) == 1


def test_findings_that_only_one_asset_has_stay_and_so_do_those_of_other_instances(tmp_path):
    shards = (
        [OPEN, record("agent", plugin=7), record("alone")],
        [FIXED, record("scan", plugin=8), record("alone", plugin=8)],
    )
    run, manifests = transformed(tmp_path, *shards)
    assert [(finding["Id"].split("/")[2:4], finding["RecordState"]) for finding in findings(run, manifests)] == [
        ([SHARED, "100"], "ACTIVE"),
        ([SHARED, "7"], "ACTIVE"),
        ([SHARED, "8"], "ACTIVE"),
        (["i-0000000000000000b", "100"], "ACTIVE"),
        (["i-0000000000000000b", "8"], "ACTIVE"),
    ]
    assert skipped(manifests) == {DUPLICATE: 1}
    assert sum(sum(counts.values()) for manifest in manifests for counts in manifest["severities"].values()) == 5
    assert manifests[0]["findings"] == manifests[1]["findings"] == 1
    check_sums(manifests)


def details(asset_id):
    """The answer to a look-up of one of the assets."""
    aws = next(each["cloud"]["aws"] for each in ASSETS if each["id"] == asset_id)
    return row_of_details({"id": asset_id, **{f"aws_{name}": [value] for name, value in aws.items()}})


@pytest.mark.parametrize("shards", SPLITS)
@pytest.mark.parametrize("missing", ["agent", "scan"])
def test_records_of_a_looked_up_asset_whose_instance_the_export_has_wait_for_the_next_run(tmp_path, shards, missing):
    known = [each for each in ASSETS if each["id"] != missing]
    run, manifests = transformed(tmp_path, *shards, assets=known, lookup=details)
    (finding,) = findings(run, manifests)
    assert finding["RecordState"] == ("ARCHIVED" if missing == "agent" else "ACTIVE")
    assert (sum(manifest["parked"] for manifest in manifests), skipped(manifests)) == (1, {})
    (part,) = [name for manifest in manifests if (name := manifest["parked_part"])]
    (line,) = map(json.loads, read_lines(run.parked / part))
    assert line["record"]["asset"] == {"uuid": missing}
    check_sums(manifests)
    # The next run has both assets: the parked record takes part in the choice.
    run, manifests = transformed(tmp_path / "next", *shards)
    (finding,) = findings(run, manifests)
    assert finding["RecordState"] == "ACTIVE"


def test_looked_up_asset_whose_records_are_parked_is_looked_up_once(tmp_path):
    world = World(tmp_path, assets=[ASSETS[0]], lookup=details)
    manifest = world.chunks([record("scan", plugin=number) for number in range(3)], [record("scan", plugin=9)])
    assert (world.asked, manifest["parked"], manifest["missing_assets"]) == (["scan"], 4, 1)


@pytest.mark.parametrize("shards", SPLITS)
def test_of_two_looked_up_assets_of_an_instance_open_wins_whatever_the_shards(tmp_path, shards):
    run, manifests = transformed(tmp_path, *shards, assets=[ASSETS[2]], lookup=details)
    (finding,) = findings(run, manifests)
    assert (finding["RecordState"], finding["UpdatedAt"]) == ("ACTIVE", "2026-10-01T00:10:00.000Z")
    assert skipped(manifests) == {DUPLICATE: 1}
    check_sums(manifests)


def test_run_without_shared_instances_has_no_manifest_of_a_choice(tmp_path):
    run, manifests = transformed(tmp_path, [record("alone")], [record("alone", plugin=7)])
    assert len(manifests) == 2
    assert names(run.contested) == []


def test_choice_is_made_once_and_again_where_a_shard_was_transformed_again(tmp_path, monkeypatch):
    run, manifests = transformed(tmp_path, [OPEN], [FIXED])
    with monkeypatch.context() as patch:
        patch.setattr(duplicates, "FindingsWriter", None)
        assert shard_manifests(run) == manifests
    run, manifests = transformed(tmp_path, [record("alone")], [FIXED])
    assert [(each["Id"].split("/")[2], each["RecordState"]) for each in findings(run, manifests)] == [
        (SHARED, "ARCHIVED"),
        ("i-0000000000000000b", "ACTIVE"),
    ]
    assert skipped(manifests) == {}
    check_sums(manifests)


def test_choice_does_not_need_what_it_was_made_of(tmp_path):
    """Clean-up removes findings and what was set aside, but not the manifests."""
    run, manifests = transformed(tmp_path, [OPEN], [FIXED])
    for name in names(run.contested):
        (run.contested / name).unlink()
    assert shard_manifests(run) == manifests


@pytest.mark.parametrize(("shards", "left_out"), [(([OPEN], [FIXED]), {DUPLICATE: 1}), (([OPEN], []), {})])
def test_manifest_of_the_choice_accounts_for_what_was_set_aside_and_for_nothing_else(tmp_path, shards, left_out):
    run, manifests = transformed(tmp_path, *shards)
    choice = dict(manifests[-1])
    (destination,) = choice.pop("destinations")
    assert (destination["account"], destination["region"]) == (A, "eu-west-1")
    assert [part["lines"] for part in destination["parts"]] == [1]
    assert choice == {
        "read": 0,
        "skipped": left_out,
        "skipped_accounts": [],
        "parked": 0,
        "findings": 1,
        "from_pool": False,
        "pool_parts": [],
        "resolves": names(run.contested),
        "shard": 2,
        "parked_part": None,
        "waiting_parts": [],
        "rejected_part": None,
        "contested_part": None,
        "severities": {A: {"high": 1}},
    }


def test_choice_also_counts_where_a_shard_of_an_older_release_set_nothing_aside(tmp_path):
    run, manifests = transformed(tmp_path, [record("alone")], [OPEN], [FIXED])
    older = {name: value for name, value in manifests[0].items() if not name.startswith("contested")}
    write_json(run.shard_manifest(0), older)
    run.shard_manifest(3).unlink()
    assert shard_manifests(run) == [older, *manifests[1:]]


@pytest.mark.parametrize(
    "change",
    [
        {"account": "../../x"},
        {"region": "a/b"},
        {"aws_conn_id": "{{ x }}"},
        {"role_name": "a b"},
        {"external_id": "{{ x }}"},
    ],
)
def test_place_that_was_changed_after_it_was_written_is_refused(tmp_path, change):
    run, _ = transformed(tmp_path, [OPEN], [FIXED])
    run.shard_manifest(2).unlink()
    (name, *_) = names(run.contested)
    (line,) = read_lines(run.contested / name)
    write_whole(run.contested / name, compress(msgspec.json.encode({**msgspec.json.decode(line), **change}) + b"\n"))
    with pytest.raises(
        StagingError, match=r"was changed after it was written: .+\. Clear the tasks of the transform\.$"
    ):
        shard_manifests(run)


def test_ids_of_shared_instances_alone_are_held(tmp_path):
    rows = [ec2(f"asset-{number}", instance=f"i-{number:017x}") for number in range(3_000)]
    rows += [ec2("again", instance="i-00000000000000005"), {"id": "on-prem"}, {"id": "on-prem-2"}]
    path = World(tmp_path).run.export("assets") / "part-x"
    write_whole(path, to_parquet(json.dumps(rows).encode())[0])
    with closing(AssetTable([path])) as table, closing(Instances(table)) as instances:
        assert instances.shared() == {"i-00000000000000005"}
        assert instances.contains("i-00000000000000007")
        assert not instances.contains("i-0000000000000ffff")
        # Reading the table again for that changes nothing.
        assert instances.shared() == {"i-00000000000000005"}


def test_asset_that_two_parts_hold_is_one(tmp_path):
    world = World(tmp_path)
    parts = []
    for number in range(2):
        path = world.run.export("assets") / f"part-{number}"
        write_whole(path, to_parquet(json.dumps([ec2("agent", account=A, instance=SHARED)]).encode())[0])
        parts.append(path)
    with closing(AssetTable(parts)) as table, closing(Instances(table)) as instances:
        assert instances.shared() == frozenset()


def test_finding_that_was_set_aside_keeps_how_its_hub_is_reached():
    via = Destination("hub", (), "Role", external_id="ours")
    line = duplicates.contested_line(A, "eu-west-1", via, "high", ("the-id", "1now"), b'{"Id":"the-id"}')
    assert json.loads(line) == {
        "account": A,
        "region": "eu-west-1",
        "aws_conn_id": "hub",
        "role_name": "Role",
        "external_id": "ours",
        "severity": "high",
        "id": "the-id",
        "order": "1now",
        "row": "",
        "as_of": 0,
        "finding": '{"Id":"the-id"}',
    }
