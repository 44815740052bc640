"""What a run knows of absent findings from elsewhere: severities of scores, audits, records that wait, other parts."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import msgspec
import numpy as np
import pytest

from airflow_provider_tenable.asff import row as finding_row
from airflow_provider_tenable.run import absence as module
from airflow_provider_tenable.run.absence import (
    SHARED,
    UNSETTLED_ASSET,
    WAITING,
    Absence,
    gone_assets,
    waiting_assets,
    waiting_plugins,
)
from airflow_provider_tenable.staging.files import names, write_whole
from airflow_provider_tenable.staging.parts import write_lines
from airflow_provider_tenable.transform.output import FindingsWriter
from airflow_provider_tenable.transform.scope import Scope
from airflow_provider_tenable.transform.shard import Parked
from airflow_provider_tenable.transform.waiting_records import list_pool, settle_pool
from tests.unit.assets.parts import to_parquet
from tests.unit.run.test_absence import REGION, TIME, UUIDS, World, asset, finding
from tests.unit.state.rows import table


@pytest.fixture
def world(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda *assets: World(tmp_path, monkeypatch, list(assets) or [asset(0)])


def judged(
    world: World, *rows: dict[str, Any], full: bool = True, absent: list[bool] | None = None, **plan: Any
) -> tuple[dict[int, str], dict[str, int]]:
    """Plugin -> reason, and why the rest is left alone, by a plan of one's own."""
    settings = {"severities": ["high", "critical"], **plan.pop("settings", {})}
    with closing(Absence(world.run, {"settings": settings, **plan}, None, is_full=full)) as absence:  # type: ignore[typeddict-item]
        active = table(*rows)
        scopes = tuple(msgspec.convert(each, Scope) for each in plan.get("scopes", ()))
        chosen, left = absence.judge(active, np.array(absent or [True] * len(rows), bool), scopes)
    return dict(zip(chosen["plugin"].to_pylist(), chosen["reason"].to_pylist(), strict=True)), dict(left)


def key(number: int) -> bytes:
    return finding_row.asset_key(UUIDS[number])


# Severities.


@pytest.mark.parametrize(
    ("source", "reason"), [(None, "out_of_scope"), ("tenable", "out_of_scope"), ("vpr", "not_reported")]
)
def test_a_severity_of_a_score_does_not_say_whether_a_finding_was_exported(
    world: Any, source: str | None, reason: str
) -> None:
    settings = {} if source is None else {"severity_source": source}
    assert judged(world(asset(1)), finding(1, severity=1), settings=settings) == ({1: reason}, {})


@pytest.mark.parametrize(("severity", "reason"), [(2, "out_of_scope"), (3, "not_reported"), (4, "not_reported")])
def test_a_severity_that_is_not_imported_any_more_is_out_of_scope(world: Any, severity: int, reason: str) -> None:
    assert judged(world(asset(1)), finding(1, severity=severity)) == ({1: reason}, {})


@pytest.mark.parametrize(
    ("scope", "reason"),
    [
        ({}, "not_reported"),
        ({"exclude_plugin_ids": [1]}, "out_of_scope"),
        ({"plugin_ids": [2, 3]}, "out_of_scope"),
        ({"plugin_ids": [1], "exclude_plugin_ids": [2]}, "not_reported"),
        # Whether another plugin has this rating is not known here.
        ({"min_vpr": 9.0}, "not_reported"),
    ],
    ids=str,
)
def test_a_plugin_that_is_not_imported_any_more_is_out_of_scope(world: Any, scope: Any, reason: str) -> None:
    assert judged(world(asset(1)), finding(1, plugin=1), scopes=[{}, scope]) == ({1: reason}, {})


def test_an_asset_whose_tags_leave_it_out_is_out_of_scope(world: Any) -> None:
    tags = [{"key": "E", "value": "x"}, {"key": "E", "value": "y"}, {"key": "O", "value": "z"}]
    here = world(asset(1, tags=tags), asset(2), asset(3, tags=tags[:1], instance=7))
    rows = [finding(1), finding(2), finding(3), finding(4)]
    for wanted, first in (({"E": ["y"]}, "not_reported"), ({"E": ["y"], "O": ["x"]}, "out_of_scope")):
        reasons, left = judged(here, *rows, scopes=[{"asset_tags": {"E": ["x"]}}, {"asset_tags": wanted}])
        # One that is elsewhere has moved, and of one that is unknown nothing is known.
        assert (reasons, left) == ({1: first, 2: "out_of_scope", 3: "moved", 4: "not_reported"}, {})
    # Only a full run tells from it that a finding is gone.
    assert judged(here, *rows[:2], full=False, scopes=[{"asset_tags": {"E": ["q"]}}]) == ({}, {})


# Which rows.


def test_only_absent_rows_are_judged_and_every_row_says_its_reason(world: Any) -> None:
    rows = [finding(1), finding(2), finding(3)]
    here = world(asset(1), asset(2), asset(3))
    assert judged(here, *rows, absent=[True, False, True]) == ({1: "not_reported", 3: "not_reported"}, {})
    assert judged(here, *rows, absent=[False] * 3) == ({}, {})


def test_an_asset_is_looked_up_once_for_all_its_findings(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    get = module.AssetTable.get
    monkeypatch.setattr(module.AssetTable, "get", lambda self, each: (asked.append(each), get(self, each))[1])
    rows = [finding(1, plugin=number, key=finding(1)["key"][:4] + bytes([number]) * 12) for number in (1, 2, 3)]
    reasons, _ = judged(world(asset(1)), *rows, finding(2))
    assert (set(reasons), asked) == ({1, 2, 3}, [UUIDS[1], UUIDS[2]])


def test_an_asset_that_moved_keeps_the_findings_of_where_it_is(world: Any) -> None:
    """Rows of two instances, under one asset: it has left one of them."""
    rows = [finding(1), finding(5, asset=key(1))]
    assert judged(world(asset(1)), *rows) == ({1: "not_reported", 5: "moved"}, {})


def test_between_full_runs_what_may_be_another_assets_is_counted(world: Any) -> None:
    here = world(asset(1, timestamps={"terminated_at": TIME}), asset(2, instance=1), asset(3, aws={"region": None}))
    same = finding(1, plugin=5, key=finding(1)["key"][:4] + b"x" * 12)
    assert judged(here, finding(1), same, finding(3), full=False) == ({}, {SHARED: 2, UNSETTLED_ASSET: 1})


def test_nothing_to_archive_has_the_columns_of_what_is_archived(world: Any) -> None:
    with closing(Absence(world().run, {"settings": {"severities": ["high"]}}, None, is_full=True)) as absence:  # type: ignore[typeddict-item]
        chosen, left = absence.judge(table(finding(1)), np.array([False]))
    assert (chosen.num_rows, str(chosen.schema.field("reason").type), left) == (0, "string", {})


def test_the_assets_are_those_of_the_run(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    here = world(asset(1), asset(2, timestamps={"deleted_at": TIME}))
    parts, asked = module.staged_assets(""), []
    monkeypatch.setattr(module, "staged_assets", lambda uri: (asked.append(uri), parts)[1])
    assert judged(here, finding(1), finding(2)) == ({1: "not_reported", 2: "asset_deleted"}, {})
    assert gone_assets(here.run) == {key(2)}
    assert asked == [str(here.run.export("assets"))] * 2


def test_the_region_may_be_known_from_the_availability_zone_alone(world: Any) -> None:
    here = world(asset(1, aws={"region": None, "availability_zone": f"{REGION}b"}))
    assert judged(here, finding(1)) == ({1: "not_reported"}, {})


def test_ids_of_either_scheme_belong_to_the_asset(world: Any) -> None:
    """Those of ``tvm2aws`` have no account."""
    resource = f"{REGION}/i-{1:017x}/"
    row = finding(1, key=finding_row.key_of(f"{resource}1"), resource=resource, place="1")
    assert judged(world(asset(1)), row) == ({1: "not_reported"}, {})
    assert judged(world(asset(1, instance=2)), row) == ({1: "moved"}, {})


# Audits.


def test_an_audited_account_has_no_instance_and_its_results_are_archived_when_they_are_gone(world: Any) -> None:
    here = world({"id": UUIDS[1]})
    assert judged(here, finding(1), kind="compliance") == ({1: "not_reported"}, {})
    assert judged(here, finding(1)) == ({}, {UNSETTLED_ASSET: 1})
    # A host that is settled, and elsewhere.
    moved = world(asset(1, instance=7))
    assert judged(moved, finding(1), kind="compliance") == ({1: "moved"}, {})


def test_results_of_audits_that_wait_name_their_asset_in_another_field(world: Any) -> None:
    here = world(asset(1), asset(2))
    here.parks({"record": {"asset_uuid": UUIDS[1], "asset": {"id": UUIDS[2]}}})
    assert judged(here, finding(1), finding(2), kind="compliance") == ({2: "not_reported"}, {WAITING: 1})


@pytest.mark.parametrize(
    "record",
    [
        {"asset_uuid": UUIDS[1]},
        {"asset": {"uuid": UUIDS[1]}},
        {"asset": None, "asset_uuid": UUIDS[1]},
        # What cannot be decoded any more: cut off, or a wrong type beside it.
        f'{{"asset_uuid" : "{UUIDS[1]}", "asset": ',
        f'{{"x": 1, "asset" : {{"hostname": "h", "uuid" : "{UUIDS[1]}", "ipv4',
        {"asset_uuid": UUIDS[1], "asset": 5},
        {"asset": {"uuid": UUIDS[1]}, "asset_uuid": 5},
    ],
    ids=str,
)
@pytest.mark.parametrize("code", ["unreadable_record", "unmappable_record"])
def test_the_asset_of_a_record_that_became_no_finding_is_found(world: Any, record: Any, code: str) -> None:
    here = world(asset(1))
    here.rejects(code, record)
    assert waiting_assets(here.run) == (frozenset({key(1)}), "")


@pytest.mark.parametrize(
    "record",
    [
        {},
        None,
        "nonsense",
        {"asset": {}},
        {"asset": {"uuid": ""}},
        # Too far from the beginning of its object to be the asset's.
        '{"asset": {"x": "' + "x" * 21_000 + f'", "uuid": "{UUIDS[1]}"',
        # Not the asset's.
        f'{{"plugin": {{"uuid": "{UUIDS[1]}"',
    ],
    ids=lambda record: str(record)[:40],
)
def test_a_record_that_names_no_asset_makes_the_run_blind(world: Any, record: Any) -> None:
    here = world(asset(1))
    here.rejects("unreadable_record", record)
    assert waiting_assets(here.run) == (
        frozenset(),
        "1 records cannot be read, and do not say of which assets they are",
    )


def test_every_record_without_an_asset_counts_and_those_with_one_protect_it(world: Any) -> None:
    here = world(asset(1))
    lines = [
        json.dumps({"code": code, "record": record}).encode()
        for code, record in (
            ("unreadable_record", "x"),
            ("asset_missing_given_up", {"asset": {"uuid": UUIDS[3]}}),
            ("unmappable_record", {"asset": {"uuid": UUIDS[1]}}),
            ("unmappable_record", {}),
        )
    ]
    here.manifest["rejected_part"] = write_lines(here.run.rejected, "part-shard-0000", lines)
    found, why = waiting_assets(here.run)
    assert (found, why[:10]) == (frozenset({key(1)}), "2 records ")
    with closing(Absence(here.run, {"settings": {"severities": []}}, None, is_full=True)) as absence:  # type: ignore[typeddict-item]
        assert absence.blind == why
    # A run that is not full concludes nothing from absence anyway.
    with closing(Absence(here.run, {"settings": {"severities": []}}, None, is_full=False)) as absence:  # type: ignore[typeddict-item]
        assert absence.blind == ""


def test_records_of_all_shards_count(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    here = world(asset(1))
    cut = [f'{{"asset_uuid": "{UUIDS[number]}", "asset": ' for number in (1, 2)]
    lines = [json.dumps({"code": "unreadable_record", "record": record}).encode() for record in cut]
    empty = {"parked_part": None, "rejected_part": None}
    rejected = {**empty, "rejected_part": write_lines(here.run.rejected, "part-shard-0001", lines)}
    asked: list[Any] = []
    manifests = [empty, rejected, empty]
    monkeypatch.setattr(module, "shard_manifests", lambda run: (asked.append(run), manifests)[1])
    assert waiting_assets(here.run) == (frozenset(map(key, (1, 2))), "")
    assert list(waiting_plugins(here.run)) == []
    assert asked == [here.run, here.run]


# Records that wait.


def test_a_record_that_waits_and_names_no_asset_protects_none(world: Any) -> None:
    here = world(asset(1))
    here.parks({"record": {}})
    assert waiting_assets(here.run) == (frozenset(), "")


def test_records_wait_in_the_pool_and_in_the_runs_own_parts(world: Any) -> None:
    here = world(asset(1))
    own = [
        {"parked_at": 1, "record": {"asset": {"uuid": UUIDS[1]}, "plugin": {"id": 11}}},
        {"parked_at": 1, "record": {"asset": {"uuid": UUIDS[2]}}},
    ]
    unsettled = [{"parked_at": 1, "record": {"asset_uuid": UUIDS[8], "plugin": {"id": 33}}, "asset": UUIDS[3]}]
    pool = [{"parked_at": 1, "record": {"asset_uuid": UUIDS[4], "plugin": {"id": 44}}}]
    encoded = [[json.dumps(each).encode() for each in entries] for entries in (own, unsettled, pool)]
    here.manifest["parked_part"] = write_lines(here.run.parked, "part-shard-0000", encoded[0])
    here.manifest["waiting_parts"] = [write_lines(here.run.parked, "waiting-shard-0000-00000", encoded[1])]
    write_lines(here.run.parked_pool, "run--part", encoded[2])
    assert sorted(waiting_plugins(here.run)) == sorted([(key(1), 11), (key(2), 0), (key(3), 33), (key(4), 44)])
    assert waiting_assets(here.run) == (frozenset(map(key, (1, 2, 3, 4))), "")


def keeps(here: Any, asset_id: str) -> None:
    """A record waits in the run's own folder and in the pool, as its transform and its end leave it."""
    writer = FindingsWriter(here.run, 0)
    entry = Parked(1, msgspec.Raw(b"{}"), asset=asset_id)
    writer.keep(msgspec.json.encode(entry), asset_id, 1)
    writer._close_waiting()
    here.manifest["waiting_parts"] = writer._waiting_parts
    settle_pool(here.run, writer._waiting_parts, done=list_pool(here.run))


def list_in(folder: Any) -> Any:
    [name] = [name for name in names(folder) if name.endswith(".assets")]
    return folder / name


def test_assets_of_waiting_records_are_read_from_the_lists_beside_them(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = world(asset(1))
    keeps(here, UUIDS[1])
    monkeypatch.setattr(module, "read_lines", lambda path: pytest.fail(f"{path} is read"))
    assert waiting_assets(here.run) == (frozenset({key(1)}), "")


@pytest.mark.parametrize("where", ["parked", "parked_pool"])
def test_where_a_list_is_that_of_another_part_the_records_are_read(world: Any, where: str) -> None:
    here = world(asset(1))
    folder = getattr(here.run, where)
    keeps(here, UUIDS[2])
    of_another = list_in(folder).read_bytes()
    keeps(here, UUIDS[1])
    list_in(folder).write_bytes(of_another)
    assert waiting_assets(here.run) == (frozenset({key(1)}), "")


def test_a_shard_of_an_older_release_has_no_parts_that_wait_for_their_asset(world: Any) -> None:
    here = world(asset(1))
    del here.manifest["waiting_parts"]
    assert (waiting_assets(here.run), list(waiting_plugins(here.run))) == ((frozenset(), ""), [])


# Assets that are gone.


def test_of_two_rows_of_an_asset_the_later_one_says_whether_it_is_gone(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = world(asset(1))
    gone = {"deleted_at": TIME}
    earlier = [asset(1, timestamps=gone), asset(2), asset(3, timestamps=gone)]
    later = [asset(1), asset(2, timestamps=gone), asset(4, timestamps={"terminated_at": TIME})]
    parts = []
    for number, assets in enumerate((earlier, later)):
        part = here.run.export("assets") / f"part-{number}.parquet"
        write_whole(part, to_parquet(json.dumps(assets).encode())[0])
        parts.append(part)
    monkeypatch.setattr(module, "staged_assets", lambda _: parts)
    assert gone_assets(here.run) == frozenset(map(key, (2, 3, 4)))
