"""From staged web application records to staged findings: every record is accounted for, and goes where its application
belongs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.asff.finding import MappingOptions
from airflow_provider_tenable.asff.mapper import AsffWasMapper
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.staging.files import names, write_whole
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import compress, read_lines
from airflow_provider_tenable.state.staged import staged_rows
from airflow_provider_tenable.transform.load_balancers import LoadBalancers
from airflow_provider_tenable.transform.output import FindingsWriter
from airflow_provider_tenable.transform.routing import Destination
from airflow_provider_tenable.transform.shard import TransformSettings
from airflow_provider_tenable.transform.was import WasTransform
from tests.unit.asff.test_was_finding import ASSET, FIRST
from tests.unit.assets.parts import to_parquet
from tests.unit.transform.test_shard import DAY, NOW, A, B, C

HUB = Destination("hub", (A, B), "Role", "eu-west-1", A, "eu-west-1")
ALB = f"arn:aws:elasticloadbalancing:eu-west-1:{B}:loadbalancer/app/shop/0123456789abcdef"
GONE = str(UUID(int=1))


def record(number: int = 0, **change: Any) -> dict[str, Any]:
    """A finding of the example's application; None removes a field."""
    fields = {**FIRST, "finding_id": str(UUID(int=number + 1)), **change}
    return {name: value for name, value in fields.items() if value is not None}


def of(host: str | None, asset: str | None = ASSET) -> dict[str, Any]:
    return {"asset": {"uuid": asset, "fqdn": host}, "url": f"https://{host}/" if host else None}


class World:
    def __init__(self, folder: Path, *, arns: dict[str, str] | None = None, **change: Any) -> None:
        self.run = RunFolder(f"file://{folder}", "dag", "run")
        self.writer = FindingsWriter(self.run, 0)
        chosen = {
            "severities": change.pop("severities", ("low", "medium", "high", "critical")),
            "states": change.pop("states", ("open", "reopened", "fixed")),
            "until": change.pop("until", None),
            "region_routing": change.pop("region_routing", "fixed"),
            "non_ec2_assets": "other",
        }
        assets = change.pop("assets", [{"id": GONE, "timestamps": {"deleted_at": "2026-09-01T00:00:00Z"}}])
        self.transform = WasTransform(
            settings=TransformSettings(**chosen),
            load_balancers=LoadBalancers(arns or {}),
            mapper=AsffWasMapper(MappingOptions(), "tenable/vulnerability-management"),
            asset_parts=self.put("assets", [to_parquet(json.dumps(assets).encode())[0]]),
            writer=self.writer,
            lookup=self._no_look_up,
            lookups=9,
            now=NOW,
            **{"destinations": [HUB], "give_up_before": NOW - 7 * DAY, **change},
        )

    @staticmethod
    def _no_look_up(asset: str) -> Any:
        raise AssertionError(f"{asset} was looked up")

    def put(self, kind: str, contents: list[bytes]) -> list[Any]:
        folder = self.run.export(kind)
        for number, content in enumerate(contents):
            write_whole(folder / f"part-{number:03d}", content)
        return [folder / name for name in names(folder)]

    def chunk(self, *records: Any) -> Any:
        self.transform.transform_parts(self.put("was", [compress(json.dumps(records).encode())]))
        return self.close()

    def close(self) -> Any:
        manifest = self.writer.close(self.transform.counts())
        self.transform.close()
        assert manifest["read"] == sum(manifest["skipped"].values()) + manifest["findings"]
        assert (manifest["parked"], manifest["contested"], manifest["waiting"]) == (0, 0, {})
        return manifest

    def findings(self, account: str = A, region: str = "eu-west-1") -> list[dict[str, Any]]:
        return self.lines(self.run.destination(account, region))

    @staticmethod
    def lines(folder: Any) -> list[dict[str, Any]]:
        return [json.loads(line) for name in names(folder) for line in read_lines(folder / name)]


# Which records.


def test_severities_and_states_that_were_not_chosen_are_counted(tmp_path):
    world = World(tmp_path, severities=("high",), states=("open",))
    manifest = world.chunk(
        record(0, severity_id=3),
        record(1, severity_id=2),
        record(2, severity_id=3, state="FIXED"),
        record(3, severity_id=3, state="reopened"),
        # As older data and Data Stream say it.
        record(4, severity_id=3, state="ACTIVE"),
        record(5, severity_id=3, state="NEW"),
        record(6, severity_id=3, state=None),
        record(7, severity_id=None, severity="odd"),
        record(8, severity_id=4),
    )
    assert manifest["findings"] == 4
    assert manifest["skipped"] == {"severity_not_chosen": 2, "state_not_chosen": 2, "unmappable_record": 1}
    assert manifest["severities"] == {A: {"high": 4}}


def test_what_is_open_is_not_among_the_fixed(tmp_path):
    states = ["FIXED", "OPEN", "NEW", "ACTIVE", "REOPENED", " fixed "]
    manifest = World(tmp_path, states=("fixed",)).chunk(*(record(n, state=state) for n, state in enumerate(states)))
    assert (manifest["findings"], manifest["skipped"]) == (2, {"state_not_chosen": 4})


@pytest.mark.parametrize(
    ("change", "inside"),
    [
        ({"last_found": "2026-09-21T14:13:19Z", "indexed_at": None}, True),
        ({"last_found": "2026-09-21T14:13:20Z", "indexed_at": None}, False),
        ({"state": "FIXED", "last_fixed": "2026-09-21T14:13:20Z", "indexed_at": None}, False),
    ],
    ids=str,
)
def test_the_windows_upper_bound_looks_at_the_records_own_time(tmp_path, change, inside):
    manifest = World(tmp_path, until=NOW).chunk(record(**change), record(1, **change))
    assert manifest["skipped"] == ({} if inside else {"outside_window": 2})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"asset": None}, "its asset has no UUID"),
        ({"asset": {"fqdn": "a.example.com"}}, "its asset has no UUID"),
        ({"asset": {"uuid": "../users"}}, "its asset has no UUID"),
        ({"finding_id": "x"}, "its finding_id is not a UUID"),
        ({"plugin": {"name": "without an id"}}, "its plugin cannot be read"),
        ({"plugin": []}, "its plugin cannot be read"),
    ],
    ids=str,
)
def test_what_cannot_be_mapped_is_kept_with_its_reason(tmp_path, change, why):
    world = World(tmp_path)
    manifest = world.chunk(record(**change), record(1))
    assert (manifest["findings"], manifest["skipped"]) == (1, {"unmappable_record": 1})
    (line,) = world.lines(world.run.rejected)
    assert line["message"].startswith(why)


def test_stored_records_have_their_output_only_where_a_finding_may_have_it(tmp_path):
    world = World(tmp_path)
    secret = {**FIRST["plugin"], "cwe": ["798"]}
    answers = {"proof": "s3cret", "payload": "s3cret"}
    world.chunk(
        record(finding_id="x", output="shown", **answers), record(finding_id="x", output="s3cret", plugin=secret),
        record(plugin="odd", output="s3cret"), {"asset": 1, "output": "s3cret", **answers},
    )  # fmt: skip
    stored = [line["record"] for line in world.lines(world.run.rejected)]
    assert sorted(str(each.get("output")) for each in stored) == ["None", "None", "None", "shown"]
    assert "s3cret" not in json.dumps(stored)


# Where they go.


def test_findings_go_to_the_first_destination_without_waiting_for_their_asset(tmp_path):
    world = World(tmp_path)
    manifest = world.chunk(record(), record(1, **of(None)), record(2, **of("b.example.com", ASSET.upper())))
    assert [(each["account"], each["region"]) for each in manifest["destinations"]] == [(A, "eu-west-1")]
    assert {each["Resources"][0]["Id"] for each in world.findings()} == {
        "https://www.unixtimestamp.com",
        f"tenable-asset/{ASSET}",
        "https://b.example.com",
    }
    assert all(each["Id"].startswith(f"eu-west-1/{A}/{ASSET}/was/") for each in world.findings())
    assert (manifest["not_ec2"], manifest["unserved"]) == (0, {})


def test_the_findings_of_an_application_that_was_deleted_are_archived(tmp_path):
    world = World(tmp_path)
    world.chunk(record(0, **of("old.example.com", GONE)), record(1))
    assert [each["RecordState"] for each in world.findings()] == ["ARCHIVED", "ACTIVE"]


def test_behind_a_load_balancer_they_go_to_its_account(tmp_path):
    world = World(tmp_path, arns={"*.unixtimestamp.com": ALB})
    manifest = world.chunk(record(), record(1, **of("other.example.com")))
    assert [(each["account"], each["region"]) for each in manifest["destinations"]] == [
        (A, "eu-west-1"),
        (B, "eu-west-1"),
    ]
    (finding,) = world.findings(B)
    assert (finding["AwsAccountId"], finding["Resources"][0]["Id"]) == (B, ALB)


def test_behind_a_load_balancer_they_go_to_the_hub_of_its_region(tmp_path):
    hubs = [Destination("hub", (A, B), "Role", None, A, "eu-west-1")]
    arns = {"www.unixtimestamp.com": ALB.replace("eu-west-1", "eu-central-1")}
    manifest = World(tmp_path, arns=arns, region_routing="resource", destinations=hubs).chunk(record())
    assert [(each["account"], each["region"]) for each in manifest["destinations"]] == [(B, "eu-central-1")]
    refused = frozenset({f"{B}/eu-central-1"})
    world = World(tmp_path / "x", arns=arns, region_routing="resource", destinations=hubs, refused=refused)
    manifest = world.chunk(record(), record(1))
    assert (manifest["skipped"], manifest["refused"]) == ({"destination_refused": 2}, {f"{B}/eu-central-1": 2})


def test_an_application_is_prepared_once(tmp_path, monkeypatch):
    prepared = []
    of_the_mapper = AsffWasMapper.application
    monkeypatch.setattr(
        AsffWasMapper,
        "application",
        lambda self, row, host, **where: prepared.append(host) or of_the_mapper(self, row, host, **where),
    )
    World(tmp_path).chunk(record(), record(1), record(2, **of("b.example.com")))
    assert prepared == ["www.unixtimestamp.com", "b.example.com"]


def test_counts_say_whether_the_records_had_waited(tmp_path):
    transform = World(tmp_path).transform
    assert (transform.counts()["from_pool"], transform.counts()["pool_parts"]) == (False, [])
    counts = transform.counts(from_pool=True, pool_parts=["a"])
    assert (counts["from_pool"], counts["pool_parts"]) == (True, ["a"])
    transform.close()


def test_a_load_balancer_whose_account_has_no_destination_is_counted(tmp_path):
    world = World(tmp_path, arns={"www.unixtimestamp.com": ALB.replace(B, C)})
    manifest = world.chunk(record(), record(1, **of("other.example.com")))
    assert (manifest["findings"], manifest["skipped"]) == (1, {"account_not_configured": 1})
    assert manifest["unserved"] == {C: {"account_not_configured": 1}}


def test_a_hub_that_refuses_is_counted(tmp_path):
    manifest = World(tmp_path, refused=frozenset({f"{A}/eu-west-1"})).chunk(record(), record(1))
    assert manifest["skipped"] == {"destination_refused": 2}
    assert manifest["refused"] == {f"{A}/eu-west-1": 2}


def test_a_destination_without_a_region_says_what_to_do(tmp_path):
    world = World(tmp_path, destinations=[Destination("hub", (A,), "Role", None, A, None)])
    with pytest.raises(ConfigurationError, match="needs a hub Region: put region into the first destination"):
        world.chunk(record())
    world.transform.close()


def test_findings_have_rows_by_which_the_next_run_knows_them(tmp_path):
    world = World(tmp_path)
    (entry,) = world.chunk(record(), record(1))["destinations"]
    (part,) = entry["parts"]
    rows = staged_rows(world.run, A, "eu-west-1", part["name"], part["lines"])
    assert part["lines"] == len(rows) == 2
    assert all(rows["content"] != 0)
    assert {UUID(bytes=asset.ljust(16, b"\0")) for asset in rows["asset"].tolist()} == {UUID(ASSET)}


def test_applications_are_forgotten_rather_than_kept_without_bounds(tmp_path, monkeypatch):
    monkeypatch.setattr("airflow_provider_tenable.transform.was._MEMO_ENTRIES", 3)
    world = World(tmp_path)
    world.transform.transform_parts(
        world.put(
            "was",
            [
                compress(json.dumps([record(9 * n + k, **of(f"h{n}-{k}.example.com")) for k in range(4)]).encode())
                for n in range(3)
            ],
        )
    )
    assert len(world.transform._applications) <= 4
    assert world.close()["findings"] == 12


# All of it.

ODD = st.sampled_from(
    [None, "", "odd", 7, [], {}, {"uuid": 1}, {"uuid": ASSET}, {"uuid": GONE, "fqdn": "a.b.example.com"}]
)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.one_of(
            ODD,
            st.dictionaries(
                st.sampled_from(["finding_id", "asset", "plugin", "severity_id", "state", "last_found", "url"]),
                ODD,
                max_size=4,
            ),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_every_record_is_accounted_for(tmp_path_factory, changes):
    world = World(tmp_path_factory.mktemp("w"), arns={"*.example.com": ALB}, until=NOW)
    records = [
        {**record(number), **change} if isinstance(change, dict) else change for number, change in enumerate(changes)
    ]
    manifest = world.chunk(*records)
    assert manifest["read"] == len(records)
    assert len(world.findings() + world.findings(B)) == manifest["findings"]
    rejected = manifest["skipped"].get("unmappable_record", 0) + manifest["skipped"].get("unreadable_record", 0)
    assert len(world.lines(world.run.rejected) if rejected else []) == rejected
