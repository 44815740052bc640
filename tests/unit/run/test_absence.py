"""Why a finding of which a run saw nothing is archived, or stays active because the run could not know."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from airflow_provider_tenable.asff import row as finding_row
from airflow_provider_tenable.run import absence as module
from airflow_provider_tenable.run.absence import SHARED, UNSETTLED_ASSET, WAITING, Absence, gone_assets
from airflow_provider_tenable.staging.files import write_whole
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import write_lines
from tests.unit.assets.parts import to_parquet
from tests.unit.state.rows import held, table

ACCOUNT, REGION = "111122223333", "eu-west-1"
UUIDS = [f"00000000-0000-4000-8000-{number:012x}" for number in range(9)]
TIME = "2026-11-20T00:00:00Z"


def asset(number: int, *, instance: int | None = None, **change: Any) -> dict[str, Any]:
    """An asset whose instance is that of the findings of its number (:func:`finding`)."""
    name = f"i-{number if instance is None else instance:017x}"
    aws = {"owner_id": ACCOUNT, "region": REGION, "ec2_instance_id": name, **change.pop("aws", {})}
    return {"id": UUIDS[number], "cloud": {"aws": aws}, **change}


def finding(number: int, **change: Any) -> dict[str, Any]:
    """An active row of the asset with this number."""
    identity = f"{REGION}/{ACCOUNT}/i-{number:017x}/{number}/tcp/443"
    resource, place = finding_row.split_id(identity)
    usual = {
        "key": finding_row.key_of(identity),
        "resource": resource,
        "place": place,
        "asset": finding_row.asset_key(UUIDS[number]),
    }
    return held(number, **{**usual, **change})


class World:
    """A run with assets, and with records that became no findings."""

    def __init__(self, folder: Any, monkeypatch: pytest.MonkeyPatch, assets: list[dict[str, Any]]) -> None:
        self.run = RunFolder(f"file://{folder}", "dag", "run")
        part = self.run.export("assets") / "part-0.parquet"
        write_whole(part, to_parquet(json.dumps(assets).encode())[0])
        self.manifest: dict[str, Any] = {"parked_part": None, "rejected_part": None, "waiting_parts": []}
        monkeypatch.setattr(module, "staged_assets", lambda _: [part])
        monkeypatch.setattr(module, "shard_manifests", lambda _: [self.manifest])

    def parks(self, *entries: dict[str, Any]) -> None:
        lines = [json.dumps({"parked_at": 1, **entry}).encode() for entry in entries]
        self.manifest["parked_part"] = write_lines(self.run.parked, "part-shard-0000", lines)

    def rejects(self, code: str, record: Any) -> None:
        line = json.dumps({"code": code, "record": record}).encode()
        self.manifest["rejected_part"] = write_lines(self.run.rejected, "part-shard-0000", [line])

    def judge(
        self, *rows: dict[str, Any], full: bool = True, home: tuple[str, str] | None = None, **settings: Any
    ) -> tuple[dict[int, str], dict[str, int]]:
        """Plugin -> reason, and why the rest is left alone."""
        plan: Any = {"settings": {"severities": ["high", "critical"], **settings}}
        with closing(Absence(self.run, plan, home, is_full=full)) as absence:
            active = table(*rows)
            chosen, left = absence.judge(active, np.ones(active.num_rows, bool))
        return dict(zip(chosen["plugin"].to_pylist(), chosen["reason"].to_pylist(), strict=True)), dict(left)

    @property
    def blind(self) -> str:
        plan: Any = {"settings": {"severities": ["high"]}}
        with closing(Absence(self.run, plan, None, is_full=True)) as absence:
            return absence.blind


@pytest.fixture
def world(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda *assets: World(tmp_path, monkeypatch, list(assets) or [asset(0)])


def test_each_reason(world: Any) -> None:
    here = world(
        asset(1),
        asset(2, timestamps={"terminated_at": TIME}),
        asset(3, timestamps={"terminated_at": TIME, "deleted_at": TIME}),
        asset(4, aws={"owner_id": "444455556666"}),
        asset(5, instance=77),
    )
    rows = [finding(number) for number in range(1, 7)]
    reasons, left = here.judge(*rows, finding(7, severity=2))
    assert reasons == {
        1: "not_reported",
        2: "asset_terminated",
        3: "asset_deleted",
        4: "moved",
        5: "moved",
        6: "not_reported",
        7: "out_of_scope",
    }
    assert left == {}


def test_between_full_runs_only_what_tenable_says_of_an_asset_counts(world: Any) -> None:
    here = world(asset(1), asset(2, timestamps={"terminated_at": TIME}), asset(4, aws={"owner_id": "444455556666"}))
    reasons, left = here.judge(*(finding(number) for number in range(1, 6)), full=False)
    assert (reasons, left) == ({2: "asset_terminated"}, {})


def test_a_text_that_is_no_time_does_not_say_that_an_asset_is_gone(world: Any) -> None:
    here = world(asset(1, timestamps={"terminated_at": "no", "deleted_at": ""}))
    assert here.judge(finding(1))[0] == {1: "not_reported"}
    assert gone_assets(here.run) == frozenset()


def test_gone_assets_are_those_of_the_latest_rows(world: Any) -> None:
    here = world(asset(1, timestamps={"deleted_at": TIME}), asset(2))
    assert gone_assets(here.run) == {finding_row.asset_key(UUIDS[1])}


@pytest.mark.parametrize("aws", [{"owner_id": None}, {"region": None}, {"ec2_instance_id": None}])
def test_an_asset_whose_account_region_or_instance_is_not_known_at_present_keeps_its_findings(
    world: Any, aws: dict[str, Any]
) -> None:
    assert world(asset(1, aws=aws)).judge(finding(1)) == ({}, {UNSETTLED_ASSET: 1})


def test_an_asset_outside_ec2_is_where_the_run_puts_it(world: Any) -> None:
    here = world({"id": UUIDS[1]})
    identity = f"{REGION}/{ACCOUNT}/{UUIDS[1]}/1/tcp/443"
    resource, place = finding_row.split_id(identity)
    row = finding(1, key=finding_row.key_of(identity), resource=resource, place=place)
    assert here.judge(row, home=(ACCOUNT, REGION))[0] == {1: "not_reported"}
    assert here.judge(row, home=("444455556666", REGION))[0] == {1: "moved"}


@pytest.mark.parametrize("kind", ["parked", "pool", "unreadable", "cut off"])
def test_records_that_wait_or_cannot_be_read_protect_all_assets_of_their_instance(world: Any, kind: str) -> None:
    here = world(asset(1))
    record = {"asset": {"uuid": UUIDS[2]}, "plugin": {"id": 5}}
    if kind == "parked":
        here.parks({"record": record})
    elif kind == "pool":
        write_lines(here.run.parked_pool, "run--part", [json.dumps({"parked_at": 1, "record": record}).encode()])
    elif kind == "unreadable":
        here.rejects("unreadable_record", record)
    else:
        here.rejects("unreadable_record", json.dumps(record)[:-9])
    # Another asset of the same instance has a finding too.
    other = finding(2, asset=finding_row.asset_key(UUIDS[8]), plugin=9)
    reasons, left = here.judge(finding(1), finding(2), other)
    assert (reasons, left) == ({1: "not_reported"}, {WAITING: 2})
    assert here.blind == ""


def test_a_waiting_record_names_its_asset_on_record(world: Any) -> None:
    here = world(asset(1))
    here.parks({"record": {}, "asset": UUIDS[1]})
    assert here.judge(finding(1)) == ({}, {WAITING: 1})


def test_a_hostile_record_is_searched_in_linear_time(world: Any) -> None:
    """One pattern for the object and its uuid looks at 20,000 characters for each of these 200,000 objects."""
    here = world(asset(1))
    here.rejects("unreadable_record", '{"asset":{' * 200_000)
    assert "do not say of which assets" in here.blind


def test_an_unreadable_record_without_an_asset_makes_the_run_blind(world: Any) -> None:
    here = world(asset(1))
    here.rejects("unreadable_record", "nonsense")
    assert here.blind == "1 records cannot be read, and do not say of which assets they are"


def test_records_that_were_given_up_protect_nothing(world: Any) -> None:
    here = world(asset(1))
    here.rejects("asset_missing_given_up", {"asset": {"uuid": UUIDS[2]}})
    assert here.judge(finding(2))[0] == {2: "not_reported"}
    assert here.blind == ""


def test_another_asset_of_an_instance_may_still_have_what_a_deleted_one_had(world: Any) -> None:
    here = world(asset(1, timestamps={"deleted_at": TIME}), asset(2, instance=1))
    assert here.judge(finding(1), full=False) == ({}, {SHARED: 1})
    # A full run has seen what the other one has.
    assert here.judge(finding(1))[0] == {1: "asset_deleted"}


def test_every_finding_that_is_left_counts_and_the_next_one_is_judged(world: Any) -> None:
    here = world(asset(1), asset(2))
    here.rejects("unreadable_record", f'{{"asset": {{"uuid": "{UUIDS[1]}"')
    same = {"resource": finding(1)["resource"], "key": finding(1)["key"][:4] + b"x" * 12, "plugin": 5}
    assert here.judge(finding(1), finding(1, **same), finding(3)) == ({3: "not_reported"}, {WAITING: 2})
    unsettled = world(asset(1, aws={"region": None}))
    assert unsettled.judge(finding(1), finding(1, **same), finding(3)) == ({3: "not_reported"}, {UNSETTLED_ASSET: 2})


QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:orders"


def of_queue(number: int) -> dict[str, Any]:
    """An active row of an asset that is the queue."""
    identity = f"{REGION}/{ACCOUNT}/sqs%3Aorders/{number}/tcp/443"
    resource, place = finding_row.split_id(identity)
    return finding(number, key=finding_row.key_of(identity), resource=resource, place=place)


@pytest.mark.parametrize("choice", ["typed", "typed_or_other"])
def test_another_aws_resource_is_where_its_arn_says(world: Any, choice: str) -> None:
    home = (ACCOUNT, REGION) if choice == "typed_or_other" else None
    here = world(
        {"id": UUIDS[1], "name": QUEUE}, {"id": UUIDS[2], "name": QUEUE.replace("orders", "bills")}, {"id": UUIDS[3]}
    )
    rows = [of_queue(number) for number in (1, 2, 3)]
    reasons, left = here.judge(*rows, home=home, non_ec2_assets=choice)
    moved = {3: "moved"} if home else {}
    assert reasons == {1: "not_reported", 2: "moved", **moved}
    assert left == ({} if home else {UNSETTLED_ASSET: 1})
    # Without the option, a name means nothing.
    assert here.judge(rows[0]) == ({}, {UNSETTLED_ASSET: 1})


def test_between_full_runs_another_asset_of_a_resource_may_still_have_the_finding(world: Any) -> None:
    gone = {"timestamps": {"deleted_at": TIME}}
    here = world(
        {"id": UUIDS[1], "name": QUEUE, **gone},
        {"id": UUIDS[2], "tags": [{"key": "AWS", "value": QUEUE}]},
        {"id": UUIDS[3], "name": QUEUE.replace("orders", "bills"), **gone},
    )
    rows = [of_queue(1), of_queue(3)]
    assert here.judge(*rows, full=False, non_ec2_assets="typed") == ({3: "asset_deleted"}, {SHARED: 1})
    assert here.judge(*rows, non_ec2_assets="typed")[0] == {1: "asset_deleted", 3: "asset_deleted"}
    assert here.judge(*rows, full=False, non_ec2_assets="skip")[0] == {1: "asset_deleted", 3: "asset_deleted"}
