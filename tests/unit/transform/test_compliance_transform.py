"""From staged compliance records to staged findings: whose account an audit is about, and what waits until that is
known.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_provider_tenable.asff.compliance import AuditOptions
from airflow_provider_tenable.asff.mapper import AsffComplianceMapper
from airflow_provider_tenable.staging.files import names, write_whole
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import compress, read_lines
from airflow_provider_tenable.state.staged import staged_rows
from airflow_provider_tenable.transform import compliance as module
from airflow_provider_tenable.transform.compliance import AuditedAccount, ComplianceTransform
from airflow_provider_tenable.transform.output import FindingsWriter
from airflow_provider_tenable.transform.routing import Destination
from airflow_provider_tenable.transform.shard import Parked, TransformSettings
from tests.unit.assets.parts import to_parquet
from tests.unit.transform.test_shard import ASSETS, DAY, NOW, A, B, C

EXAMPLE = json.loads(
    (Path(__file__).resolve().parents[2] / "data" / "compliance_chunk_official_example.json").read_bytes()
)[0]
AWS_FILE = "CIS_Amazon_Web_Services_Foundations_v3.0.0_L1.audit"
#: The assets of audits of AWS accounts.
CLOUD, OTHER = "aaaaaaaa-0000-4000-8000-000000000001", "aaaaaaaa-0000-4000-8000-000000000002"
HUB = Destination("hub", (A, B), "Role", "eu-west-1", A, "eu-west-1")


def record(of: str = "ec2-a", **change: Any) -> dict[str, Any]:
    """A result of an asset."""
    usual = {**EXAMPLE, "asset_uuid": of, "asset": None, "status": "FAILED", "indexed_at": "2026-09-02T00:00:00Z"}
    usual |= change
    return {name: value for name, value in usual.items() if value is not None}


def audit(of: str = CLOUD, **change: Any) -> dict[str, Any]:
    """A result of an AWS account."""
    return record(of, **{"plugin_id": 72426, "audit_file": AWS_FILE, **change})


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says of unknown accounts."""
    return [each.getMessage() for each in caplog.records if each.name == module.__name__]


class World:
    def __init__(self, folder: Path, **change: Any) -> None:
        self.run = RunFolder(f"file://{folder}", "dag", "run")
        assets = self.put("assets", [to_parquet(json.dumps(change.pop("assets", ASSETS)).encode())[0]])
        self.writer = FindingsWriter(self.run, 0)
        settings = {
            "severities": (),
            "states": (),
            "until": change.pop("until", None),
            "region_routing": change.pop("region_routing", "fixed"),
            "non_ec2_assets": "skip",
        }
        usual: dict[str, Any] = {
            "statuses": ("failed", "warning", "passed", "not_available"),
            "accounts": {CLOUD: AuditedAccount(A, "aws", ("eu-west-1",))},
            "shared": {},
            "destinations": [HUB],
            "give_up_before": NOW - 7 * DAY,
            "keeps": True,
            "refused": frozenset(),
        }
        self.asked: list[str] = []
        self.transform = ComplianceTransform(
            settings=TransformSettings(**settings),
            mapper=AsffComplianceMapper(AuditOptions(), "tenable/vulnerability-management"),
            asset_parts=assets,
            writer=self.writer,
            lookup=self.asked.append,
            lookups=9,
            now=NOW,
            **{**usual, **change},
        )

    def put(self, kind: str, contents: list[bytes]) -> list[Any]:
        folder = self.run.export(kind)
        for number, content in enumerate(contents):
            write_whole(folder / f"part-{number:03d}", content)
        return [folder / name for name in names(folder)]

    def chunk(self, *records: dict[str, Any]) -> Any:
        self.transform.transform_parts(self.put("compliance", [compress(json.dumps(records).encode())]))
        return self.close()

    def close(self) -> Any:
        manifest = self.writer.close(self.transform.counts())
        self.transform.close()
        counted = sum(manifest["skipped"].values()) + manifest["parked"] + manifest["findings"]
        assert manifest["read"] == counted + manifest["contested"]
        return manifest

    def findings(self, account: str = A, region: str = "eu-west-1") -> list[dict[str, Any]]:
        return self.lines(self.run.destination(account, region))

    @staticmethod
    def lines(folder: Any) -> list[dict[str, Any]]:
        parts = [name for name in names(folder) if ".jsonl." in name]
        return [json.loads(line) for name in parts for line in read_lines(folder / name)]


# Which results.


def test_only_results_of_the_chosen_statuses_become_findings(tmp_path):
    world = World(tmp_path, statuses=("failed", "not_available"))
    manifest = world.chunk(
        record(), record(status="passed"), record(status="WARNING"), record(status="SKIPPED"), record(status=" failed ")
    )
    assert (manifest["findings"], manifest["skipped"]) == (3, {"status_not_chosen": 2})


def test_a_result_without_a_known_status_is_rejected_and_not_taken_for_one_that_was_not_chosen(tmp_path):
    world = World(tmp_path, statuses=("failed",))
    manifest = world.chunk(record(status="ODD"), record(status=None), record())
    assert (manifest["findings"], manifest["skipped"]) == (1, {"unmappable_record": 2})
    (first, _) = world.lines(world.run.rejected)
    assert first["message"] == "it has no status that Tenable documents"
    assert first["record"]["asset_uuid"] == "ec2-a"


@pytest.mark.parametrize(
    ("change", "inside"),
    [
        ({"indexed_at": "2026-09-21T14:13:19Z"}, True),
        ({"indexed_at": "2026-09-21T14:13:20Z"}, False),
        ({"indexed_at": None, "last_observed": "2026-09-21T14:13:20Z"}, False),
        ({"indexed_at": None, "last_observed": None, "last_seen": "2026-09-21T14:13:19Z"}, True),
        # Without any time it cannot become a finding, and is not taken for one of another window.
        ({"indexed_at": None, "last_observed": None, "last_seen": None, "first_seen": None, "last_fixed": None}, None),
    ],
    ids=str,
)
def test_the_windows_upper_bound_looks_at_when_a_result_was_indexed(tmp_path, change, inside):
    manifest = World(tmp_path, until=NOW).chunk(record(**change))
    expected = {True: {}, False: {"outside_window": 1}, None: {"unmappable_record": 1}}
    assert manifest["skipped"] == expected[inside]
    if inside is not None:
        assert World(tmp_path / "unbounded").chunk(record(**change))["findings"] == 1


def test_a_result_that_names_no_asset_is_rejected(tmp_path):
    world = World(tmp_path)
    manifest = world.chunk(
        record(asset_uuid=None), record(asset_uuid=" "), record(asset_uuid=None, asset={"id": "ec2-a"})
    )
    assert (manifest["findings"], manifest["skipped"]) == (1, {"unmappable_record": 2})
    assert {line["message"] for line in world.lines(world.run.rejected)} == {"it names no asset"}


# Hosts.


def test_results_of_hosts_go_where_their_instance_is(tmp_path):
    world = World(tmp_path)
    manifest = world.chunk(record(), record(check_id="2", compliance_full_id="2"))
    assert [(each["account"], each["region"]) for each in manifest["destinations"]] == [(A, "eu-west-1")]
    assert manifest["severities"] == {A: {"medium": 2}}
    ids = [finding["Id"] for finding in world.findings()]
    assert all(each.startswith(f"eu-west-1/{A}/i-0123456789abcdef0/audit/") for each in ids)
    assert (len(set(ids)), manifest["contested"]) == (2, 0)


def test_a_host_that_no_export_has_waits_and_one_that_is_not_settled_too(tmp_path):
    world = World(tmp_path)
    manifest = world.chunk(record("gone"), record("no-owner"), record("ec2-c"))
    assert (manifest["parked"], manifest["missing_assets"], world.asked) == (1, 1, ["gone"])
    assert manifest["skipped"] == {"account_not_configured": 1, "no_aws_account": 1}
    assert manifest["waiting"] == {"no_aws_account": 1}
    (parked,) = [line for line in world.lines(world.run.parked) if "asset" not in line]
    assert parked["record"]["asset_uuid"] == "gone"


# AWS accounts.


def test_results_of_an_aws_account_are_findings_of_that_account_and_counted_by_audit_and_result(tmp_path):
    world = World(tmp_path, accounts={CLOUD: AuditedAccount(A, "aws"), OTHER: AuditedAccount(B, "aws")})
    manifest = world.chunk(
        audit(),
        audit(check_id="2", compliance_full_id="2", status="PASSED"),
        audit(check_id="3", compliance_full_id="3", audit_file=f" {'x' * 300} "),
        audit(OTHER.upper()),
    )
    assert (manifest["findings"], manifest["contested"], manifest["skipped"]) == (4, 0, {})
    assert {finding["Resources"][0]["Id"] for finding in world.findings()} == {f"AWS::::Account:{A}"}
    assert len(world.findings(B)) == 1
    # They are no instances.
    assert manifest["not_ec2"] == 4
    assert manifest["audits"] == {
        A: {AWS_FILE: {"failed": 1, "passed": 1}, "x" * 200: {"failed": 1}},
        B: {AWS_FILE: {"failed": 1}},
    }


def test_hosts_are_counted_by_audit_and_result_too_and_in_the_same_order_whatever_that_of_the_records(tmp_path):
    records = [record(audit_file=each, status=status) for each in ("b", "a") for status in ("PASSED", "FAILED")]
    both = [World(tmp_path / str(number)).chunk(*order) for number, order in enumerate((records, records[::-1]))]
    assert json.dumps(both[0]["audits"]) == json.dumps(both[1]["audits"])
    assert both[0]["audits"] == {A: {each: {"failed": 1, "passed": 1} for each in "ab"}}


def test_findings_of_two_assets_of_one_account_are_set_aside(tmp_path):
    """Several scans may audit it, and their findings have the same ids."""
    accounts = {CLOUD: AuditedAccount(A, "aws"), OTHER: AuditedAccount(A, "aws"), "third": AuditedAccount(B, "aws")}
    manifest = World(tmp_path, accounts=accounts).chunk(audit(), audit(OTHER), audit("third"))
    assert (manifest["contested"], manifest["findings"]) == (2, 1)


def test_an_account_without_a_destination_is_counted(tmp_path):
    manifest = World(tmp_path, accounts={CLOUD: AuditedAccount(C, "aws")}).chunk(audit(), audit())
    assert manifest["skipped"] == {"account_not_configured": 2}
    assert (manifest["unserved"], manifest["refused"]) == ({C: {"account_not_configured": 2}}, {})
    # No settling helps.
    assert manifest["waiting"] == {}


@pytest.mark.parametrize(
    ("routing", "region", "hub"), [("fixed", "eu-west-1", "eu-west-1"), ("resource", None, "us-east-2")]
)
def test_an_account_whose_hub_refuses_findings_counts_for_that_hub(tmp_path, routing, region, hub):
    via = Destination("hub", (), "Role", region, A, None)
    world = World(
        tmp_path,
        accounts={CLOUD: AuditedAccount(B, "aws", ("us-east-2",))},
        destinations=[via],
        region_routing=routing,
        refused=frozenset({f"{B}/{hub}"}),
    )
    manifest = world.chunk(audit(), audit())
    assert manifest["skipped"] == {"destination_refused": 2}
    assert (manifest["refused"], manifest["skipped_accounts"]) == ({f"{B}/{hub}": 2}, [])


def test_an_account_whose_audited_asset_is_gone_gets_archived_findings(tmp_path):
    assets = [{"id": CLOUD, "timestamps": {"deleted_at": "2026-09-01T00:00:00Z"}}]
    world = World(tmp_path, assets=assets)
    world.chunk(audit())
    (finding,) = world.findings()
    assert finding["RecordState"] == "ARCHIVED"
    alive = World(tmp_path / "alive", assets=[{"id": CLOUD}])
    alive.chunk(audit())
    assert [each["RecordState"] for each in alive.findings()] == ["ACTIVE"]


def test_an_account_whose_asset_is_not_in_the_export_has_active_findings_in_its_partition(tmp_path):
    gov = Destination("gov", (), "Role", "us-gov-west-1", A, None, partition="aws-us-gov")
    world = World(
        tmp_path,
        assets=[{"id": "another"}],
        accounts={CLOUD: AuditedAccount(A, "aws-us-gov", ("us-gov-west-1",)), OTHER: AuditedAccount(B, "aws")},
        destinations=[gov, HUB],
    )
    manifest = world.chunk(audit(), audit(OTHER))
    assert manifest["skipped"] == {}
    found = {
        finding["AwsAccountId"]: (finding["RecordState"], finding["Resources"][0]["Partition"])
        for finding in [*world.findings(A, "us-gov-west-1"), *world.findings(B)]
    }
    assert found == {A: ("ACTIVE", "aws-us-gov"), B: ("ACTIVE", "aws")}


def test_findings_of_audits_have_rows_by_which_the_next_run_knows_them(tmp_path):
    world = World(tmp_path)
    (entry,) = world.chunk(audit(), record())["destinations"]
    (part,) = entry["parts"]
    rows = staged_rows(world.run, A, "eu-west-1", part["name"], part["lines"])
    assert part["lines"] == len(rows) == 2
    # Of a line alone the content would be unknown.
    assert all(rows["content"] != 0)


def test_counts_say_which_parts_of_the_pool_were_read(tmp_path):
    world = World(tmp_path)
    counts = world.transform.counts(from_pool=True, pool_parts=["part"])
    world.close()
    assert (counts["from_pool"], counts["pool_parts"], counts["audits"]) == (True, ["part"], {})


def test_results_of_an_unknown_account_are_kept_counted_and_explained_once(tmp_path, caplog):
    world = World(tmp_path)
    manifest = world.chunk(audit(OTHER), audit(OTHER.upper()), audit())
    assert (manifest["skipped"], manifest["waiting"]) == ({"unknown_account": 2}, {"unknown_account": 2})
    assert (manifest["findings"], manifest["unserved"]) == (1, {})
    kept = world.lines(world.run.parked)
    assert [(line["asset"], line["parked_at"]) for line in kept] == [(OTHER, NOW), (OTHER.upper(), NOW)]
    assert kept[0]["record"]["audit_file"] == AWS_FILE
    assert said(caplog) == [
        f"Results of an AWS audit hang on asset {OTHER}, which no audit of this deployment made: its AWS account is "
        f'not known. Give the param audit_accounts {{"{OTHER}": "<account>"}}. The records are kept until then.'
    ]


def test_an_account_that_cannot_be_told_says_why(tmp_path, caplog):
    World(tmp_path, shared={OTHER: "Two accounts share it."}).chunk(audit(OTHER.upper()))
    assert said(caplog) == ["Two accounts share it."]


def test_a_hostile_asset_id_is_short_and_visible_in_the_log_and_only_so_many_are_explained(
    tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(module, "_MOST_EXPLAINED", 3)
    world = World(tmp_path)
    manifest = world.chunk(*(audit(f"{number}\x1b[31m" + "x" * 500) for number in range(5)))
    assert (manifest["skipped"], len(said(caplog))) == ({"unknown_account": 5}, 3)
    assert all("\x1b" not in text and len(text) < 500 for text in said(caplog))


@pytest.mark.parametrize("change", [{"keeps": False}, {"give_up_before": NOW}], ids=["dry", "no days"])
def test_results_of_an_unknown_account_are_not_kept_where_nothing_is(tmp_path, change):
    manifest = World(tmp_path, **change).chunk(audit(OTHER))
    assert (manifest["skipped"], manifest["waiting"], manifest["waiting_parts"]) == ({"unknown_account": 1}, {}, [])


# Records that have waited.


def test_an_asset_is_settled_once_its_account_is_known(tmp_path):
    world = World(tmp_path)
    settled = [
        each for each in (CLOUD, CLOUD.upper(), OTHER, "ec2-a", "no-owner", "gone") if world.transform.is_settled(each)
    ]
    assert settled == [CLOUD, CLOUD.upper(), "ec2-a"]
    world.close()


def test_a_record_that_waits_for_its_account_keeps_its_age_and_its_moment(tmp_path):
    world = World(tmp_path)
    entry = Parked(NOW - 3 * DAY, msgspec.Raw(json.dumps(audit(OTHER)).encode()), asset=OTHER, as_of=77)
    known = Parked(NOW - 3 * DAY, msgspec.Raw(json.dumps(audit()).encode()), asset=CLOUD, as_of=77)
    old = Parked(NOW - 8 * DAY, msgspec.Raw(json.dumps(audit(OTHER)).encode()), asset=OTHER, as_of=77)
    world.transform.transform_parked(iter([entry, known, old]))
    manifest = world.close()
    assert (manifest["findings"], manifest["skipped"], manifest["waiting"]) == (
        1,
        {"unknown_account": 2},
        {"unknown_account": 1},
    )
    (kept,) = world.lines(world.run.parked)
    assert (kept["asset"], kept["parked_at"], kept["as_of"]) == (OTHER, NOW - 3 * DAY, 77)
