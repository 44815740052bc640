"""From staged chunks to staged findings: every record is accounted for under exactly one heading."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.asff.finding import MappingOptions
from airflow_provider_tenable.asff.mapper import AsffMapper
from airflow_provider_tenable.staging.files import names, write_whole
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import compress, read_lines
from airflow_provider_tenable.tenable_vm.asset_row import row_of_details
from airflow_provider_tenable.transform import output, plugin_memo
from airflow_provider_tenable.transform import shard as module
from airflow_provider_tenable.transform.output import FindingsWriter
from airflow_provider_tenable.transform.routing import Destination
from airflow_provider_tenable.transform.shard import Parked, Transform, TransformSettings
from tests.unit.asff.mapping import RECORD
from tests.unit.assets.parts import to_parquet

A, B, C = "111111111111", "222222222222", "333333333333"
NOW = 1_790_000_000
DAY = 86_400


def ec2(asset_id, account=A, region="eu-west-1", instance="i-0123456789abcdef0"):
    return {"id": asset_id, "cloud": {"aws": {"owner_id": account, "region": region, "ec2_instance_id": instance}}}


def record(asset="ec2-a", *, plugin=100, **change):
    usual = {
        **RECORD,
        "asset": {"uuid": asset},
        "plugin": {
            "id": plugin,
            "name": f"Plugin {plugin}",
            "description": "d",
            "cve": ["CVE-2025-0001", "CVE-2025-0002"],
        },
        "port": {"port": 443, "protocol": "TCP"},
        "first_found": "2026-09-01T00:00:00Z",
        "last_found": "2026-09-02T00:00:00Z",
        "indexed": "2026-09-02T00:10:00Z",
    }
    return {name: value for name, value in {**usual, **change}.items() if value is not None}


ASSETS = [
    ec2("ec2-a"),
    ec2("ec2-b", account=B, region="us-east-1", instance="i-0123456789abcdef1"),
    ec2("ec2-c", account=C, instance="i-0123456789abcdef2"),
    {"id": "on-prem", "network": {"fqdns": ["db.example.com"], "ipv4s": ["10.0.0.9"]}},
    {"id": "no-owner", "cloud": {"aws": {"region": "eu-west-1", "ec2_instance_id": "i-0123456789abcdef3"}}},
    {"id": "no-region", "cloud": {"aws": {"owner_id": A, "ec2_instance_id": "i-0123456789abcdef4"}}},
]
DESTINATIONS = [
    Destination("own", (A,), None, None, A, "eu-west-1"),
    Destination("hub", (B,), "Role", "us-east-2", A, "eu-west-1"),
]


class World:
    def __init__(
        self, tmp_path, *, assets=ASSETS, destinations=DESTINATIONS, lookup=None, lookups=100, shard=0, **change
    ) -> None:
        self.run = RunFolder(f"file://{tmp_path}", "dag", "run")
        self.asset_parts = self.put("assets", [to_parquet(json.dumps(assets).encode())[0]])
        options = {"accepted_risks": "archive", "id_scheme": "port", **change.pop("options", {})}
        usual = {
            "severities": ("high", "critical"),
            "states": ("open", "reopened", "fixed"),
            "until": None,
            "region_routing": "fixed",
            "non_ec2_assets": "skip",
        }
        keeps = change.pop("keeps", True)
        product = change.pop("product", "tenable/vulnerability-management")
        give_up, as_of = change.pop("give_up_before", NOW - 7 * DAY), change.pop("as_of", 0)
        self.asked: list[str] = []
        self.writer = FindingsWriter(self.run, shard)
        self.arguments = {
            "settings": TransformSettings(**{**usual, **change}),
            "mapper": AsffMapper(MappingOptions(**options), product),
            "destinations": destinations,
            "asset_parts": self.asset_parts,
            "writer": self.writer,
            "lookup": lambda asset: (self.asked.append(asset), (lookup or (lambda _: None))(asset))[1],
            "lookups": lookups,
            "now": NOW,
            "give_up_before": give_up,
            "keeps": keeps,
            "as_of": as_of,
        }
        self.transform = Transform(**self.arguments)

    def use(self, kind, **arguments):
        """Another kind of transform, with arguments of its own."""
        self.transform.close()
        self.transform = kind(**self.arguments, **arguments)
        return self

    def put(self, kind, contents):
        folder = self.run.export(kind)
        for number, content in enumerate(contents):
            write_whole(folder / f"part-{number:03d}", content)
        return [folder / name for name in names(folder)]

    def chunks(self, *chunks):
        """Transform chunks of records (or raw bytes) and close the shard; the manifest is returned."""
        encoded = [chunk if isinstance(chunk, bytes) else json.dumps(chunk).encode() for chunk in chunks]
        self.transform.transform_parts(self.put("vulnerabilities", [compress(chunk) for chunk in encoded]))
        return self.close()

    def close(self):
        manifest = self.writer.close({**self.transform.counts(), "from_pool": False})
        self.transform.close()
        assert (
            manifest["read"]
            == sum(manifest["skipped"].values()) + manifest["parked"] + manifest["findings"] + manifest["contested"]
        )
        return manifest

    def findings(self, account, region):
        folder = self.run.destination(account, region)
        return [json.loads(line) for name in names(folder) for line in read_lines(folder / name)]

    def lines(self, folder):
        parts = [name for name in names(folder) if ".jsonl." in name]
        return [json.loads(line) for name in parts for line in read_lines(folder / name)]


def test_records_become_findings_of_their_accounts_in_their_hubs(tmp_path):
    world = World(tmp_path)
    manifest = world.chunks([record("ec2-a"), record("ec2-b", severity_id=4)], [record("ec2-a", plugin=200)])
    assert (manifest["read"], manifest["findings"], manifest["skipped"], manifest["parked"]) == (3, 3, {}, 0)
    assert [
        (
            each["account"],
            each["region"],
            each["aws_conn_id"],
            each["role_name"],
            [part["lines"] for part in each["parts"]],
        )
        for each in manifest["destinations"]
    ] == [
        (A, "eu-west-1", "own", None, [2]),
        (B, "us-east-2", "hub", "Role", [1]),
    ]
    assert manifest["severities"] == {A: {"high": 2}, B: {"critical": 1}}
    assert [finding["Id"] for finding in world.findings(A, "eu-west-1")] == [
        f"eu-west-1/{A}/i-0123456789abcdef0/100/tcp/443",
        f"eu-west-1/{A}/i-0123456789abcdef0/200/tcp/443",
    ]
    (other,) = world.findings(B, "us-east-2")
    assert other["Id"].startswith(f"us-east-1/{B}/")
    assert other["ProductArn"] == "arn:aws:securityhub:us-east-2::product/tenable/vulnerability-management"
    assert other["AwsAccountId"] == B


@pytest.mark.parametrize(("number", "word"), [(None, "High"), (5, "high"), (-1, " HIGH ")])
def test_the_word_decides_where_the_number_is_not_a_severity(tmp_path, number, word):
    manifest = World(tmp_path).chunks([record(severity_id=number, severity=word)])
    assert manifest["severities"] == {A: {"high": 1}}


def test_with_resource_routing_each_region_has_its_hub(tmp_path):
    world = World(
        tmp_path, region_routing="resource", destinations=[Destination("hub", (), "Role", None, A, "eu-west-1")]
    )
    manifest = world.chunks([record("ec2-a"), record("ec2-b"), record("ec2-c")])
    assert [(each["account"], each["region"]) for each in manifest["destinations"]] == [
        (A, "eu-west-1"),
        (B, "us-east-1"),
        (C, "eu-west-1"),
    ]


@pytest.mark.parametrize(
    ("lost", "reason"),
    [
        (record(severity_id=2), "severity_not_chosen"),
        (record(severity_id=0), "severity_not_chosen"),
        (record(severity_id=None, severity="low"), "severity_not_chosen"),
        (record(severity_id=7, severity="low"), "severity_not_chosen"),
        (record(severity_id=7, severity=None), "unmappable_record"),
        (record(state="WEIRD"), "state_not_chosen"),
        (record("on-prem"), "no_ec2_instance"),
        (record("no-owner"), "no_aws_account"),
        (record("no-region"), "no_aws_region"),
        (record("ec2-c"), "account_not_configured"),
        (record(severity_id=None, severity=None), "unmappable_record"),
        (record(first_found=None, last_found=None, indexed=None), "unmappable_record"),
        (record(plugin="no number"), "unmappable_record"),
        ({**record(), "plugin": "text"}, "unmappable_record"),
        ({**record(), "plugin": {}}, "unmappable_record"),
        (record(port={"port": "9" * 600, "protocol": "tcp"}), "unmappable_record"),
        ({**record(), "asset": {}}, "unreadable_record"),
        ({**record(), "asset": None}, "unreadable_record"),
        ({}, "unreadable_record"),
        (None, "unreadable_record"),
        (7, "unreadable_record"),
        ("text", "unreadable_record"),
        ([], "unreadable_record"),
    ],
    ids=lambda value: str(value)[-60:],
)
def test_each_record_that_becomes_no_finding_is_counted_under_its_reason(tmp_path, lost, reason):
    world = World(tmp_path)
    manifest = world.chunks([record(), lost, record(plugin=101)])
    assert manifest["skipped"] == {reason: 1}
    assert manifest["findings"] == 2
    rejected = world.lines(world.run.rejected)
    assert [line["code"] for line in rejected] == (
        [reason] if reason in ("unreadable_record", "unmappable_record") else []
    )
    for line in rejected:
        assert set(line) == {"id", "account", "region", "code", "message", "finding", "record"}
        assert line["message"]


def test_the_states_that_were_not_chosen_are_counted(tmp_path):
    manifest = World(tmp_path, states=("open",)).chunks(
        [record(), record(state="fixed"), record(state="Reopened"), record(state=None), record(state="open")]
    )
    assert manifest["skipped"] == {"state_not_chosen": 2}
    assert manifest["findings"] == 3


def test_records_of_another_partition_are_counted_and_sent_nowhere(tmp_path):
    gov = Destination("gov", (), "Role", None, A, "us-gov-west-1", partition="aws-us-gov")
    world = World(tmp_path, destinations=[gov])
    manifest = world.chunks([record("ec2-a"), record("ec2-b")])
    assert manifest["skipped"] == {"other_partition": 2}
    assert manifest["unserved"] == {A: {"other_partition": 1}, B: {"other_partition": 1}}
    assert (manifest["findings"], manifest["destinations"]) == (0, [])


def test_an_account_without_a_role_is_counted_and_named(tmp_path):
    world = World(tmp_path, destinations=[Destination("own", (), None, None, A, "eu-west-1")])
    manifest = world.chunks([record("ec2-a"), record("ec2-b"), record("ec2-b", plugin=5), record("ec2-c")])
    assert manifest["skipped"] == {"account_not_reachable_without_role": 3}
    assert manifest["skipped_accounts"] == [B, C]


@pytest.mark.parametrize(
    ("change", "inside"),
    [
        ({"last_found": "2026-09-21T14:13:19Z"}, True),
        ({"last_found": "2026-09-21T14:13:19.999999Z"}, True),
        ({"last_found": "2026-09-21T14:13:20Z"}, False),
        ({"last_found": "2026-09-21T14:13:20.000001Z"}, False),
        ({"state": "FIXED", "last_fixed": "2026-09-21T14:13:19Z", "last_found": "2026-09-30T00:00:00Z"}, True),
        ({"state": "FIXED", "last_fixed": "2026-09-21T14:13:20Z", "last_found": "2026-09-01T00:00:00Z"}, False),
        ({"state": "FIXED", "last_fixed": None, "last_found": "2026-09-21T14:13:20Z"}, False),
        ({"state": "OPEN", "last_fixed": "2026-12-01T00:00:00Z"}, True),
        ({"last_found": None}, True),
        # A scanner's clock was ahead.
        ({"last_found": "2026-09-30T00:00:00Z", "indexed": "2026-09-21T14:13:19Z"}, True),
    ],
    ids=str,
)
def test_the_windows_upper_bound_is_exclusive_and_looks_at_the_records_own_time(tmp_path, change, inside):
    change = {"indexed": "2026-12-01T00:10:00Z", **change}
    manifest = World(tmp_path, until=NOW).chunks([record(**change)])
    assert manifest["skipped"] == ({} if inside else {"outside_window": 1})
    tmp = World(tmp_path / "unbounded")
    assert tmp.chunks([record(**change)])["findings"] == 1


# Assets that are not there.


def test_a_record_without_its_asset_is_looked_up_once_for_all_its_records(tmp_path):
    details = {
        "id": "new",
        "aws_owner_id": [A],
        "aws_region": ["eu-west-1"],
        "aws_ec2_instance_id": ["i-0123456789abcdef9"],
    }
    world = World(tmp_path, lookup=lambda asset: row_of_details({**details, "id": asset}))
    manifest = world.chunks([record("new"), record("new", plugin=5)], [record("new", plugin=6)])
    # Set aside, since another shard may look up another asset of the instance.
    assert (manifest["contested"], manifest["findings"], manifest["parked"]) == (3, 0, 0)
    assert [json.loads(each["finding"])["Resources"][0]["Id"] for each in world.lines(world.run.contested)] == [
        "arn:aws:ec2:eu-west-1:111111111111:instance/i-0123456789abcdef9"
    ] * 3
    assert world.asked == ["new"]


def test_a_record_whose_asset_nobody_knows_is_parked_with_its_moment(tmp_path):
    world = World(tmp_path)
    manifest = world.chunks([record("gone"), record("gone", plugin=5), record("ec2-a")])
    assert (manifest["findings"], manifest["parked"], manifest["skipped"]) == (1, 2, {})
    assert world.asked == ["gone"]
    lines = world.lines(world.run.parked)
    assert names(world.run.parked) == [manifest["parked_part"]]
    assert [line["parked_at"] for line in lines] == [NOW, NOW]
    assert lines[0]["record"]["asset"] == {"uuid": "gone"}
    assert lines[0]["record"]["plugin"]["id"] == 100


@pytest.mark.parametrize("lookups", [0, 1, 3])
def test_lookups_are_bounded(tmp_path, lookups):
    world = World(tmp_path, lookups=lookups)
    manifest = world.chunks([record(f"gone-{number}") for number in range(5)])
    assert len(world.asked) == lookups
    assert manifest["parked"] == 5


def test_an_id_that_nobody_can_be_asked_for_costs_no_lookup(tmp_path):
    world = World(tmp_path, lookups=2)
    world.transform.can_look_up = lambda asset: not asset.startswith("..")
    manifest = world.chunks([record(f"../{number}") for number in range(5)] + [record("gone"), record("gone-2")])
    assert world.asked == ["gone", "gone-2"]
    assert manifest["parked"] == 7


def parked(value, at):
    return Parked(at, msgspec.Raw(json.dumps(value).encode()))


def test_parked_records_are_tried_again_and_keep_their_age(tmp_path):
    world = World(tmp_path)
    world.transform.transform_parked(
        iter(
            [
                parked(record("ec2-a"), NOW - DAY),
                parked(record("gone"), NOW - 2 * DAY),
                parked({}, NOW - DAY),
                parked(record(severity_id=0), 5),
            ]
        )
    )
    manifest = world.close()
    assert (manifest["read"], manifest["findings"], manifest["parked"]) == (4, 1, 1)
    assert manifest["skipped"] == {"unreadable_record": 1, "severity_not_chosen": 1}
    assert [line["parked_at"] for line in world.lines(world.run.parked)] == [NOW - 2 * DAY]


@pytest.mark.parametrize(("age", "given_up"), [(7 * DAY - 1, False), (7 * DAY, False), (7 * DAY + 1, True)])
def test_a_parked_record_is_given_up_after_its_days_and_is_on_record(tmp_path, age, given_up):
    world = World(tmp_path)
    world.transform.transform_parked(iter([parked(record("gone"), NOW - age)]))
    manifest = world.close()
    assert manifest["skipped"] == ({"asset_missing_given_up": 1} if given_up else {})
    assert manifest["parked"] == (0 if given_up else 1)
    if given_up:
        (line,) = world.lines(world.run.rejected)
        assert line["code"] == "asset_missing_given_up"
        assert line["message"] == "asset gone has been in no export since 2026-09-14T14:13:19.000Z"
        assert line["record"]["asset"] == {"uuid": "gone"}


def test_a_record_that_is_parked_survives_the_way_through_the_pool(tmp_path):
    first = World(tmp_path / "first")
    first.chunks([record("late", output="é" * 10, software_vulns=[{"product": "p"}])])
    lines = [
        msgspec.json.decode(line, type=Parked)
        for name in names(first.run.parked)
        for line in read_lines(first.run.parked / name)
    ]
    direct = World(tmp_path / "direct", assets=[ec2("late")])
    direct.chunks([record("late", output="é" * 10, software_vulns=[{"product": "p"}])])
    second = World(tmp_path / "second", assets=[ec2("late")])
    second.transform.transform_parked(iter(lines))
    second.close()
    assert second.findings(A, "eu-west-1") == direct.findings(A, "eu-west-1")


# Plugin output.

SECRET = "Password : hunter2"
CREDENTIALS = {"id": 100, "name": "n", "family": "Default Unix Accounts"}


def test_output_of_a_parked_record_is_kept_where_a_finding_may_have_it(tmp_path):
    world = World(tmp_path)
    world.chunks([record("gone", output="out")])
    assert [line["record"]["output"] for line in world.lines(world.run.parked)] == ["out"]


@pytest.mark.parametrize(
    ("options", "change"),
    [
        ({"plugin_output": False}, {}),
        ({}, {"plugin": CREDENTIALS}),
        ({}, {"plugin": {"id": [1]}}),
        ({"plugin_output": False}, {"plugin": {"id": [1]}}),
    ],
    ids=["not wanted", "credentials", "a plugin that cannot be read", "both"],
)
def test_output_that_may_stand_in_no_finding_stays_in_no_file_that_outlives_the_run(tmp_path, options, change):
    usual = {**record("x", output=SECRET), **change}
    world = World(tmp_path, options=options)
    old = {**usual, "asset": {"uuid": "gone-for-days"}}
    world.transform.transform_parked(iter([parked(old, NOW - 30 * DAY)]))
    manifest = world.chunks(
        [
            {**usual, "asset": {"uuid": "ec2-a"}},
            {**usual, "asset": {"uuid": "gone"}},
            {**usual, "asset": {"uuid": "ec2-a"}, "first_found": None, "last_found": None, "indexed": None},
        ]
    )
    assert manifest["parked"] == 1
    assert manifest["skipped"]["asset_missing_given_up"] == 1
    assert manifest["skipped"]["unmappable_record"] >= 1
    kept = [*world.lines(world.run.parked), *world.lines(world.run.rejected), *world.findings(A, "eu-west-1")]
    assert len(kept) == 4
    assert SECRET not in json.dumps(kept)


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize(
    "broken",
    [
        b'{"asset":{"uuid":1},"output":"Password : hunter2"}',
        b'{"asset":null,"output":["Password : hunter2"],"plugin":{"id":1}}',
        b'{"output" : "Password : hunter2 \\" \\\\","asset":"\xff"}',
        b'{"asset":{"uuid":1},"x":"\\ud800","output":"a \\"b\\" Password : hunter2"}',
        b'{"output":"Password : hunter2","x":' + b"[" * 3000 + b"]" * 3000 + b"}",
    ],
)
def test_a_record_that_cannot_be_read_is_kept_without_its_output(tmp_path, wanted, broken):
    world = World(tmp_path, options={"plugin_output": wanted})
    world.transform.transform_parked(iter([Parked(NOW, msgspec.Raw(broken))]))
    world.chunks(b"[" + broken + b"]")
    lines = world.lines(world.run.rejected)
    assert [line["code"] for line in lines] == ["unreadable_record"] * 2
    assert "hunter2" not in json.dumps(lines)
    assert all("asset" in line["record"] or '"x"' in line["record"] for line in lines)


def test_records_staged_before_the_switch_give_findings_without_output(tmp_path):
    """As a run that was transformed with the option as it was, and parked what waits, is carried on after it was
    changed.
    """
    before = World(tmp_path / "before")
    before.chunks([record("late", output=SECRET), record("ec2-a", output=SECRET)])
    lines = [
        msgspec.json.decode(line, type=Parked)
        for name in names(before.run.parked)
        for line in read_lines(before.run.parked / name)
    ]
    assert SECRET in json.dumps(before.findings(A, "eu-west-1"))
    after = World(
        tmp_path / "after",
        assets=[ec2("late", instance="i-0123456789abcdef9"), ec2("ec2-a")],
        options={"plugin_output": False},
    )
    after.transform.transform_parked(iter(lines))
    after.chunks([record("ec2-a", output=SECRET)])
    assert len(after.findings(A, "eu-west-1")) == 2
    assert SECRET not in json.dumps(after.findings(A, "eu-west-1"))


# Other assets.


def test_assets_that_are_no_instance_can_live_with_the_first_destination(tmp_path):
    world = World(tmp_path, non_ec2_assets="other")
    manifest = world.chunks([record("on-prem"), record("no-owner"), record("ec2-a")])
    assert manifest["skipped"] == {}
    assert [(each["account"], each["region"]) for each in manifest["destinations"]] == [(A, "eu-west-1")]
    types = {
        finding["Resources"][0]["Id"]: finding["Resources"][0]["Type"] for finding in world.findings(A, "eu-west-1")
    }
    assert types["tenable-asset/on-prem"] == "Other"
    assert types["tenable-asset/no-owner"] == "Other"
    assert sorted(types.values()) == ["AwsEc2Instance", "Other", "Other"]


# Pieces and parts.


def mixed(dice, number):
    asset = dice.choice(["ec2-a", "ec2-b", "ec2-c", "on-prem", "no-owner", "gone"])
    return dice.choice(
        [
            record(asset, plugin=number, severity_id=dice.randrange(5)),
            record(asset, plugin=number % 3, state=dice.choice(["OPEN", "FIXED"])),
            record(asset, plugin=number, output="x" * dice.randrange(50)),
            {"asset": number},
        ]
    )


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32))
def test_however_records_are_cut_into_chunks_the_result_is_the_same(tmp_path_factory, seed):
    dice = random.Random(seed)
    records = [mixed(dice, number) for number in range(30)]
    results = []
    for cuts in ([], sorted(dice.sample(range(31), 4)), list(range(1, 30))):
        world = World(tmp_path_factory.mktemp("cut"))
        bounds = [0, *cuts, 30]
        manifest = world.chunks(*(records[first:last] for first, last in itertools.pairwise(bounds)))
        found = Counter(
            json.dumps(finding)
            for account, region in ((A, "eu-west-1"), (B, "us-east-2"))
            for finding in world.findings(account, region)
        )
        results.append((manifest["read"], manifest["skipped"], manifest["parked"], manifest["severities"], found))
    assert results[0] == results[1] == results[2]
    assert results[0][0] == 30


def test_forgetting_what_was_built_changes_nothing(tmp_path, monkeypatch):
    records = [
        parked(record(dice, plugin=number % 3), NOW)
        for number, dice in enumerate(["ec2-a", "ec2-b", "gone", "on-prem"] * 5)
    ]
    results = []
    for kept in (5_000, 0):
        monkeypatch.setattr(module, "_MEMO_ENTRIES", kept)
        monkeypatch.setattr(plugin_memo, "MAX_ENTRIES", kept)
        world = World(tmp_path / str(kept))
        world.transform.transform_parked(iter(records))
        manifest = world.close()
        results.append(
            (manifest["skipped"], manifest["parked"], manifest["destinations"], world.findings(A, "eu-west-1"))
        )
    assert results[0] == results[1]


def test_the_same_shard_writes_the_same_bytes_and_names_again(tmp_path):
    chunk = [record(), record("ec2-b"), record("gone"), {}]
    first = World(tmp_path)
    one = first.chunks(chunk)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert World(tmp_path).chunks(chunk) == one
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_other_findings_have_parts_of_other_names(tmp_path):
    one = World(tmp_path).chunks([record()])
    two = World(tmp_path).chunks([record(severity_id=4)])
    assert one["destinations"][0]["parts"][0]["name"] != two["destinations"][0]["parts"][0]["name"]


def test_a_part_is_closed_at_its_number_of_findings(tmp_path, monkeypatch):
    monkeypatch.setattr(output, "FINDINGS_PER_PART", 4)
    world = World(tmp_path)
    manifest = world.chunks([record(plugin=number) for number in range(1, 11)])
    parts = manifest["destinations"][0]["parts"]
    assert [part["lines"] for part in parts] == [4, 4, 2]
    assert [part["name"][:15] for part in parts] == ["part-0000-00000", "part-0000-00001", "part-0000-00002"]
    assert len(world.findings(A, "eu-west-1")) == 10


def test_the_largest_open_part_is_closed_when_all_together_are_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(output, "OPEN_BYTES", 6_000)
    world = World(tmp_path)
    manifest = world.chunks(
        [record(dice, plugin=number) for number, dice in enumerate(["ec2-a", "ec2-a", "ec2-b"] * 10, 1)]
    )
    assert manifest["findings"] == 30
    assert sum(part["lines"] for each in manifest["destinations"] for part in each["parts"]) == 30
    assert len(manifest["destinations"][0]["parts"]) > 1
    assert world.writer._open_bytes == 0


def test_an_empty_shard_has_a_manifest(tmp_path):
    manifest = World(tmp_path).chunks([], b"null", b"")
    assert (
        manifest["read"],
        manifest["findings"],
        manifest["destinations"],
        manifest["parked_part"],
        manifest["rejected_part"],
    ) == (0, 0, [], None, None)


@pytest.mark.parametrize(
    "hostile",
    [
        b'{"asset":{"uuid":"ec2-a"},"plugin":{"id":1,"name":"\\ud800"},"severity_id":3,"state":"OPEN",'
        b'"last_found":"2026-09-02T00:00:00Z","output":"\\udfff"}',
        b'{"asset":{"uuid":"ec2-a"},"plugin":{"id":1,"cvss3_base_score":NaN},"severity_id":3,"state":"OPEN",'
        b'"last_found":"9999-12-31T23:59:59Z"}',
        b'{"asset":{"uuid":"ec2-a"},"plugin":{"id":1},"severity_id":3,"state":null,'
        b'"last_found":"0001-01-01T00:00:00Z","port":{"port":-1,"protocol":null}}',
        b'{"asset":{"uuid":"ec2-a"},"plugin":{"id":1,"cve":["'
        + b'","'.join(b"CVE-2025-%05d" % number for number in range(10_000))
        + b'"]},"severity_id":3,"state":"OPEN","last_found":1790000000}',
        b'{"asset":{"uuid":"ec2-a"},"plugin":{"id":1,"description":"'
        + b"x" * 1_000_000
        + b'"},"severity_id":3,"state":"OPEN","last_found":1790000000,"output":"'
        + b"y" * 1_000_000
        + b'"}',
        b'{"asset":{"uuid":"ec2-a"},"plugin":'
        + b'{"id":1,"x":' * 2_000
        + b"1"
        + b"}" * 2_000
        + b',"severity_id":3,"last_found":1790000000}',
        b'{"asset":{"uuid":"ec2-a"},"plugin":{"id":' + b"9" * 5_000 + b'},"severity_id":3,"last_found":1790000000}',
        b'{"asset":{"uuid":"\\ud800"},"plugin":{"id":1},"severity_id":3,"last_found":1790000000}',
        b'{"asset":{"uuid":""},"plugin":{"id":1},"severity_id":3,"last_found":1790000000}',
    ],
    ids=range(9),
)
def test_a_hostile_record_ends_somewhere_and_costs_no_other(tmp_path, hostile):
    good = json.dumps(record()).encode()
    world = World(tmp_path)
    manifest = world.chunks(b"[" + good + b"," + hostile + b"," + good + b"]")
    assert manifest["read"] == 3
    assert manifest["findings"] >= 2
    assert len(world.findings(A, "eu-west-1")) == manifest["findings"]
    world.lines(world.run.rejected)
    world.lines(world.run.parked)


def test_plugins_are_kept_by_their_bytes_too(tmp_path, monkeypatch):
    monkeypatch.setattr(plugin_memo, "MAX_BYTES", 50_000)
    world = World(tmp_path)
    manifest = world.chunks(
        *[[{**record(), "plugin": {"id": number, "name": "n" * 20_000}}] for number in range(1, 30)]
    )
    assert manifest["findings"] == 29
    assert 0 < len(world.transform._plugins) <= 3
