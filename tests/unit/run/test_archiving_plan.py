"""What the end of a run archives by its finding index, where it concludes nothing, and where it stops itself."""

from __future__ import annotations

import json
from types import MappingProxyType, SimpleNamespace
from typing import Any

import msgspec
import pytest

from airflow_provider_tenable.asff import row as finding_row
from airflow_provider_tenable.exceptions import ConfigurationError, LedgerError, StagingError, TooManyArchivedError
from airflow_provider_tenable.run import absence
from airflow_provider_tenable.run import archiving as module
from airflow_provider_tenable.run.archiving import archiving_of, check_archived, plan_archiving
from airflow_provider_tenable.run.hubs import hubs_of
from airflow_provider_tenable.run.watermark import BACKFILL, INCREMENTAL, WINDOW
from airflow_provider_tenable.security_hub.assignment import Target, read_group
from airflow_provider_tenable.security_hub.refusals import note_refusal
from airflow_provider_tenable.staging.files import read_json, write_json, write_whole
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.state import latest, parts
from airflow_provider_tenable.state.choice import FIRST, KNOWN, UNKNOWN
from airflow_provider_tenable.state.gone import Gone, read_gone, rows_to_archive, write_gone
from airflow_provider_tenable.state.index import FindingIndex
from airflow_provider_tenable.state.registry import Registry, lost_destinations, note_lost, note_written, write_registry
from airflow_provider_tenable.transform.destinations import Destination
from airflow_provider_tenable.transform.output import FindingsWriter
from tests.unit.assets.parts import to_parquet
from tests.unit.run.test_absence import ACCOUNT, REGION, TIME, UUIDS, asset, finding
from tests.unit.state.rows import NOW, staged, table

HERE = f"{ACCOUNT}/{REGION}"
OTHER = "444455556666"
THERE = f"{OTHER}/{REGION}"
SOURCE, AS_OF = "tenable-1", NOW - 1000
VIA = Destination("hub", (), "Role", REGION, ACCOUNT, REGION, external_id="ours")
#: Asset 1 is as it was; Tenable has terminated asset 2.
ASSETS = [asset(1), asset(2, timestamps={"terminated_at": TIME}), asset(3)]


class World:
    """A run whose transform is done, with what the index has of before it."""

    def __init__(self, folder: Any, monkeypatch: pytest.MonkeyPatch, assets: list[dict[str, Any]]) -> None:
        self.run = RunFolder(f"file://{folder}", "dag", "run")
        part = self.run.export("assets") / "part-0.parquet"
        write_whole(part, to_parquet(json.dumps(assets).encode())[0])
        monkeypatch.setattr(absence, "staged_assets", lambda _: [part])
        self.destinations = [HERE]
        self.writer = FindingsWriter(self.run, 0)
        self.manifest: Any = None
        self.plan: dict[str, Any] = {
            "window": {"kind": INCREMENTAL, "until": NOW // 1000},
            "settings": {
                "severities": ["high", "critical"],
                "states": ["open", "reopened", "fixed"],
                "region_routing": "fixed",
                "non_ec2_assets": "skip",
                "max_archived_ratio": 1.0,
                "dry_run": False,
            },
            "destinations": [msgspec.to_builtins(VIA)],
            "narrowed": False,
            "hubs": {"state": KNOWN, "source": SOURCE, "planned_at": NOW / 1000, "refresh_days": 30.0, "full": True},
        }

    def has(self, *rows: dict[str, Any], name: str = HERE, merged: bool = True) -> str:
        """Put rows into the index of an account and Region."""
        index = FindingIndex(self.run.finding_index.joinpath(*name.split("/")))
        delta = index.add(table(*rows))
        if merged:
            index.merge(now=NOW)
        return delta

    def stages(self, *numbers: int, as_of: int = 0) -> None:
        """Findings of this run with the ids of :func:`finding`."""
        for number in numbers:
            made = staged({"number": number, "key": finding(number)["key"]}).tobytes()
            self.writer.write(ACCOUNT, REGION, b"{}", "high", VIA, made[:-8], as_of)

    def finish(self) -> None:
        counts = {"read": 0, "skipped": {}, "skipped_accounts": [], "parked": 0, "findings": 0}
        self.manifest = self.writer.close({**counts, "from_pool": False, "pool_parts": []})  # type: ignore[typeddict-item]
        write_json(self.run.shards, {"count": 1, "as_of": AS_OF})
        write_json(self.run.plan, self.plan)
        write_registry(self.run.finding_index, Registry(parts.VERSION, SOURCE, 5, NOW / 1000 - 9, self.destinations))

    def listed(self) -> list[Target]:
        if self.manifest is None:
            self.finish()
        hubs = hubs_of(self.plan)  # type: ignore[arg-type]
        assert hubs is not None
        return module._listed(self.run, self.plan, hubs)  # type: ignore[arg-type]

    def gone(self, name: str = HERE) -> Gone:
        found = read_gone(self.run.gone(*name.split("/")))
        assert found is not None
        return found

    def archived(self, name: str = HERE) -> dict[int, str]:
        """Plugin -> reason of what is to be archived."""
        found: dict[int, str] = {}
        for file, count in self.gone(name).files:
            rows = rows_to_archive(self.run.gone(*name.split("/")), file, count)
            found.update(zip(rows["plugin"].to_pylist(), rows["reason"].to_pylist(), strict=True))
        return found

    @property
    def record(self) -> Any:
        return read_json(self.run.archiving)


@pytest.fixture
def world(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch, ASSETS)


def many(count: int, *, first: int = 100, asset_number: int = 3) -> list[dict[str, Any]]:
    """Rows of so many findings of an asset that Tenable still has."""
    usual = finding(asset_number)
    return [
        {**usual, "key": usual["key"][:4] + number.to_bytes(12, "big"), "plugin": number}
        for number in range(first, first + count)
    ]


# Whether a run concludes anything.


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, ""),
        ({"hubs": None}, "an older release has planned this run"),
        ({"window": {"kind": WINDOW}}, "this run covers a window"),
        ({"window": {"kind": BACKFILL}}, "this run covers a window"),
        ({"state": FIRST}, "what the hubs held before this run is not known"),
        ({"state": UNKNOWN}, "what the hubs held before this run is not known"),
        ({"narrowed": True}, "the run's params are narrower than the DAG's own"),
        ({"states": ["open"]}, "findings of state reopened and fixed are not imported"),
        ({"states": ["fixed", "open"]}, "findings of state reopened are not imported"),
        # A run that is not full concludes nothing from a finding's absence.
        ({"states": ["open"], "full": False}, ""),
    ],
    ids=str,
)
def test_a_run_concludes_nothing_from_absence_if_it_may_have_left_something_out(
    world: World, change: dict[str, Any], why: str
) -> None:
    plan = world.plan
    for name, value in change.items():
        if name in ("state", "full"):
            plan["hubs"][name] = value
        elif name == "states":
            plan["settings"][name] = value
        else:
            plan[name] = value
    assert module._why_not(plan) == why  # type: ignore[arg-type]


# What is listed.


def test_a_full_run_lists_what_it_saw_nothing_of_and_what_belongs_to_terminated_assets(world: World) -> None:
    world.has(finding(1), finding(2), finding(3), finding(3, key=b"\1" * 16, plugin=30, archived=True))
    world.stages(3)
    assert world.listed() == [Target(ACCOUNT, REGION, "hub", "Role", [], "ours")]
    assert world.archived() == {1: "not_reported", 2: "asset_terminated"}
    gone = world.gone()
    assert [(file.partition("-")[0], count) for file, count in gone.files] == [("known", 1), ("absent", 1)]
    assert gone.reasons == {"asset_terminated": 1, "not_reported": 1}
    assert (gone.active, gone.left, gone.stopped, gone.alone) == (3, {}, {}, False)
    assert world.record == {"why_not": "", "destinations": [HERE], "left": {}}


def test_what_a_full_run_must_leave_alone_is_counted(world: World) -> None:
    world.has(finding(1), finding(3))
    world.writer.reject("unmappable_record", "why", json.dumps({"asset": {"uuid": UUIDS[3]}}).encode())
    world.listed()
    assert (world.archived(), world.gone().left) == ({1: "not_reported"}, {"asset_has_waiting_records": 1})


def test_a_run_that_is_not_full_lists_only_what_belongs_to_assets_that_are_gone(world: World) -> None:
    world.plan["hubs"]["full"] = False
    world.destinations = [HERE, THERE]
    world.has(finding(1), finding(2), finding(3))
    # Nothing of a terminated asset is there, or it is archived already.
    world.has(finding(1), finding(2, archived=True), name=THERE)
    first = f"{ACCOUNT}/ap-south-1"
    world.destinations.append(first)
    world.plan["destinations"] = [msgspec.to_builtins(msgspec.structs.replace(VIA, region=None))]
    world.plan["settings"]["region_routing"] = "resource"
    world.has(finding(3), name=first)
    assert [str(target) for target in world.listed()] == [HERE]
    assert world.archived() == {2: "asset_terminated"}
    assert world.record == {"why_not": "", "destinations": [HERE], "left": {}}


def test_a_run_that_is_not_full_looks_at_no_index_if_no_asset_is_gone(tmp_path: Any, monkeypatch: Any) -> None:
    world = World(tmp_path, monkeypatch, [asset(1)])
    world.plan["hubs"]["full"] = False
    world.has(finding(1))
    monkeypatch.setattr(module, "_gone", lambda *_: pytest.fail("looked at"))
    monkeypatch.setattr(module, "_has_rows_of", lambda *_: pytest.fail("looked at"))
    assert world.listed() == []
    assert world.record == {"why_not": "", "destinations": [], "left": {}}


def test_an_index_of_several_pieces_is_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latest, "AT_ONCE", 2)
    world.has(*(finding(number) for number in range(1, 8)))
    world.stages(3, 4)
    world.listed()
    assert (world.gone().active, set(world.archived())) == (7, {1, 2, 5, 6, 7})


def test_nothing_to_archive_needs_no_task_and_is_on_record(world: World) -> None:
    world.has(finding(1))
    world.stages(1)
    assert (world.listed(), world.record["destinations"]) == ([], [HERE])
    assert (world.gone().total, world.gone().active) == (0, 1)


def test_a_record_that_waited_since_an_earlier_export_does_not_show_that_tenable_still_has_it(world: World) -> None:
    world.has(finding(1), finding(3))
    world.stages(1, as_of=AS_OF - 1)
    world.stages(3, as_of=AS_OF)
    world.listed()
    assert world.archived() == {1: "not_reported"}


def test_an_account_that_runs_have_delivered_to_since_the_last_full_one_is_looked_at_too(world: World) -> None:
    delta = world.has(finding(1), name=THERE, merged=False)
    note_written(world.run.finding_index, "dag/earlier", {THERE: [delta]})
    world.has(finding(3))
    assert [str(target) for target in world.listed()] == [HERE, THERE]
    assert world.archived(THERE) == {1: "not_reported"}


@pytest.mark.parametrize(("non_ec2_assets", "archived"), [("other", {5: "not_reported"}), ("skip", {})])
def test_assets_outside_ec2_are_looked_for_where_the_run_puts_them(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, non_ec2_assets: str, archived: dict[int, str]
) -> None:
    identity = f"{REGION}/{ACCOUNT}/{UUIDS[5]}/5/tcp/443"
    resource, place = finding_row.split_id(identity)
    world = World(tmp_path, monkeypatch, [{"id": UUIDS[5]}])
    world.has(finding(5, key=finding_row.key_of(identity), resource=resource, place=place))
    world.plan["settings"]["non_ec2_assets"] = non_ec2_assets
    world.listed()
    assert world.archived() == archived


# Accounts and Regions that are left out.


def test_an_account_without_a_destination_is_left_and_named(world: World) -> None:
    world.plan["destinations"] = [msgspec.to_builtins(Destination("hub", (ACCOUNT,), None, REGION, ACCOUNT, REGION))]
    world.destinations = [HERE, THERE]
    world.has(finding(1))
    world.has(finding(1), name=THERE)
    assert world.listed() == [Target(ACCOUNT, REGION, "hub", None, [], None)]
    assert world.record == {"why_not": "", "destinations": [HERE], "left": {THERE: "unreachable"}}


def test_the_accounts_after_one_without_a_destination_are_looked_at(world: World) -> None:
    world.plan["destinations"] = [msgspec.to_builtins(Destination("hub", (OTHER,), "Role", REGION, ACCOUNT, REGION))]
    world.destinations = [HERE, THERE]
    world.has(finding(1))
    world.has(finding(1), name=THERE)
    assert [str(target) for target in world.listed()] == [THERE]
    assert world.record == {"why_not": "", "destinations": [THERE], "left": {HERE: "unreachable"}}


def test_a_hub_to_which_the_run_does_not_deliver_any_more_is_left(world: World) -> None:
    elsewhere = f"{ACCOUNT}/us-east-1"
    world.destinations = [elsewhere]
    world.has(finding(1), name=elsewhere)
    assert world.listed() == []
    assert world.record["left"] == {elsewhere: "unreachable"}


@pytest.mark.parametrize("known", [True, False])
def test_a_hub_that_refuses_findings_is_left(world: World, known: bool) -> None:
    """It was known before the export, or the import has found out."""
    if known:
        world.plan["refused"] = {HERE: "no permission"}
    else:
        note_refusal(world.run, ACCOUNT, REGION, "no permission")
    world.has(finding(1))
    assert (world.listed(), world.record["left"]) == ([], {HERE: "unreachable"})


@pytest.mark.parametrize("how", ["noted", "damaged", "delta"])
def test_an_index_that_cannot_be_relied_on_archives_nothing_and_the_others_go_on(
    world: World, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    world.destinations = [HERE, THERE]
    world.has(finding(1))
    world.has(finding(1), name=THERE)
    if how == "noted":
        note_lost(world.run.finding_index, HERE, "gone")
    elif how == "damaged":
        (world.run.finding_index / ACCOUNT / REGION / "manifest.json").write_bytes(b"{")
    else:
        note_written(world.run.finding_index, "dag/earlier", {HERE: ["delta-" + "0" * 16 + ".parquet"]})
    assert [str(target) for target in world.listed()] == [THERE]
    assert world.record == {"why_not": "", "destinations": [THERE], "left": {HERE: "index_lost"}}
    assert lost_destinations(world.run.finding_index) == [HERE]
    why = read_json(world.run.finding_index / "lost" / f"{HERE.replace('/', '_')}.json")["why"]
    assert f"{HERE}: nothing is archived, because its index cannot be relied on: {why}" in caplog.text
    words = {"noted": "an earlier run found it missing or damaged.", "damaged": "damaged", "delta": "do not exist"}
    assert words[how] in why


def test_a_record_that_does_not_say_of_which_asset_it_is_stops_all_of_it(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.has(finding(1))
    world.writer.reject("unreadable_record", "why", b"nonsense")
    assert world.listed() == []
    why = "1 records cannot be read, and do not say of which assets they are"
    assert world.record == {"why_not": why, "destinations": [], "left": {}}
    assert f"Nothing is archived because Tenable does not report it: {why}." in caplog.text


# The brake.


def test_the_brake_of_an_account_stops_what_rests_on_absence_and_nothing_else(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.plan["settings"]["max_archived_ratio"] = 0.25
    world.has(*many(51), finding(2), finding(1))
    world.stages(1)
    assert [str(target) for target in world.listed()] == [HERE]
    gone = world.gone()
    assert (gone.reasons, gone.stopped, gone.alone) == ({"asset_terminated": 1}, {"not_reported": 51}, True)
    assert world.archived() == {2: "asset_terminated"}
    assert (
        f"{HERE}: none of the 51 of 53 active findings of which this run saw nothing is archived: more than "
        "max_archived_ratio 0.25 allows."
    ) in caplog.text


def test_accounts_of_which_none_is_too_much_alone_can_be_too_much_together(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.plan["settings"]["max_archived_ratio"] = 0.25
    world.destinations = [HERE, THERE]
    world.has(*many(30), finding(2))
    world.has(*many(30), name=THERE)
    # What is to be archived without a guess stays.
    assert [str(target) for target in world.listed()] == [HERE]
    assert world.archived() == {2: "asset_terminated"}
    assert [(world.gone(name).stopped, world.gone(name).alone) for name in (HERE, THERE)] == [
        ({"not_reported": 30}, False),
        ({"not_reported": 30}, False),
    ]
    assert (
        "Nothing is archived because this run saw nothing of it: that would be 60 of 61 active findings, more than "
        "max_archived_ratio 0.25 allows."
    ) in caplog.text


def test_an_account_that_is_stopped_alone_does_not_stop_the_others(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.plan["settings"]["max_archived_ratio"] = 0.5
    world.destinations = [HERE, THERE]
    world.has(*many(60))
    world.has(finding(1), name=THERE)
    assert [str(target) for target in world.listed()] == [THERE]
    assert world.record["destinations"] == [HERE, THERE]
    assert "Nothing is archived because" not in caplog.text


# Retries.


def test_a_retry_archives_the_same_whatever_has_become_of_the_index(world: World) -> None:
    world.has(finding(1), finding(3))
    first = world.listed()
    before = world.gone()
    note_lost(world.run.finding_index, HERE, "gone")
    assert (world.listed(), world.gone()) == (first, before)


def test_what_was_decided_with_other_staged_findings_is_decided_again(world: World) -> None:
    world.has(finding(1), finding(3))
    world.listed()
    assert set(world.archived()) == {1, 3}
    # The transform was cleared, and has now found one of them.
    world.writer, world.manifest = FindingsWriter(world.run, 0), None
    world.stages(1)
    world.listed()
    assert set(world.archived()) == {3}


# Audits.


def test_results_of_an_audit_that_a_newer_version_has_replaced_need_no_brake(world: World) -> None:
    world.plan["kind"] = "compliance"
    world.plan["settings"]["max_archived_ratio"] = 0.0
    old, new = 7 << 32 | 1, 7 << 32 | 2
    world.has(finding(1, plugin=old), finding(3, plugin=8 << 32))
    made = staged({"number": 5, "asset": finding(1)["asset"], "plugin": new}).tobytes()
    world.writer.write(ACCOUNT, REGION, b"{}", "high", VIA, made[:-8], 0)
    world.listed()
    assert world.archived() == {old: "superseded_audit"}
    assert world.gone().stopped == {"not_reported": 1}


# Web applications.


def test_an_application_that_has_findings_elsewhere_and_none_here_has_moved(world: World) -> None:
    """Its records say which resource it is now; its asset has never been an instance."""
    world.plan["kind"] = "was"
    world.plan["settings"]["non_ec2_assets"] = "other"
    world.has(finding(1), finding(3), finding(2))
    world.has(other := finding(8), name=THERE)
    world.destinations = [HERE, THERE]

    def stage(account: str, number: int, asset_number: int) -> None:
        made = staged({"number": number, "asset": finding(asset_number)["asset"]}).tobytes()
        world.writer.write(account, REGION, b"{}", "high", VIA, made[:-8], 0)

    # The first application has moved as a whole, the third has findings in both places.
    stage(OTHER, 51, 1)
    stage(OTHER, 53, 3)
    stage(ACCOUNT, 54, 3)
    world.plan["destinations"][0]["accounts"] = [ACCOUNT, OTHER]
    world.listed()
    # Asset 2 is gone, which needs no absence.
    assert world.archived() == {1: "moved", 2: "asset_terminated", 3: "not_reported"}
    assert world.archived(THERE) == {other["plugin"]: "not_reported"}


def test_a_fixed_finding_elsewhere_does_not_show_that_an_application_has_moved(world: World) -> None:
    world.plan["kind"] = "was"
    world.plan["settings"]["non_ec2_assets"] = "other"
    world.has(finding(1))
    world.destinations = [HERE, THERE]
    made = staged({"number": 51, "asset": finding(1)["asset"], "flags": finding_row.ARCHIVED}).tobytes()
    world.writer.write(OTHER, REGION, b"{}", "high", VIA, made[:-8], 0)
    world.plan["destinations"][0]["accounts"] = [ACCOUNT, OTHER]
    world.listed()
    assert world.archived() == {1: "not_reported"}


def test_where_an_application_is_its_asset_does_not_say(world: World) -> None:
    """The asset is an instance here, and the finding that of another resource."""
    world.plan["kind"] = "was"
    world.has(finding(1, asset=finding(3)["asset"]))
    world.listed()
    assert world.archived() == {1: "not_reported"}


def test_applications_are_compared_in_full_runs_only(world: World) -> None:
    world.plan["kind"] = "was"
    world.plan["hubs"]["full"] = False
    world.has(finding(1), finding(2))
    world.listed()
    assert world.archived() == {2: "asset_terminated"}


# The task.


@pytest.fixture
def task(world: World, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Plan the archiving of the world's run, without what the ledger counts."""
    done: list[Any] = []
    monkeypatch.setattr(module.RunFolder, "of", {"the context": world.run}.get)
    monkeypatch.setattr(module.owner, "check_owner", lambda run: done.append(("owner", run)))
    monkeypatch.setattr(
        module,
        "build_ledger",
        lambda run, plan, *, exported: (
            done.append(("ledger", run, plan == read_json(run.plan), exported)) or "the ledger"
        ),
    )
    monkeypatch.setattr(module, "check_sums", lambda ledger: done.append(("sums", ledger)))
    monkeypatch.setattr(
        module, "record_all", lambda run, plan: done.append(("recorded", run, plan == read_json(run.plan)))
    )

    def plan(exported: Any = MappingProxyType({"records": 7, "uuid": "u"})) -> list[Any]:
        world.finish()
        return plan_archiving("the context", exported)

    return SimpleNamespace(plan=plan, done=done)


def test_the_task_gives_one_entry_for_each_account_and_region(world: World, task: Any) -> None:
    world.destinations = [HERE, THERE]
    world.has(finding(1))
    world.has(finding(1), name=THERE)
    assert task.plan() == [{"group": 0, "title": HERE}, {"group": 1, "title": THERE}]
    assert [list(map(str, read_group(world.run, number, archives=True))) for number in (0, 1)] == [[HERE], [THERE]]
    run = world.run
    assert task.done == [("owner", run), ("ledger", run, True, 7), ("sums", "the ledger"), ("recorded", run, True)]


@pytest.mark.parametrize("limit", ["AIRFLOW__TENABLE__IMPORT_TASKS", "AIRFLOW__CORE__MAX_MAP_LENGTH"])
def test_there_are_no_more_tasks_than_allowed(
    world: World, task: Any, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setenv(limit, "1")
    world.destinations = [HERE, THERE]
    world.has(finding(1))
    world.has(finding(1), name=THERE)
    assert task.plan() == [{"group": 0, "title": f"{HERE} and 1 more"}]
    assert list(map(str, read_group(world.run, 0, archives=True))) == [HERE, THERE]


def test_a_dry_run_lists_what_it_would_archive_and_starts_no_task(world: World, task: Any) -> None:
    world.plan["settings"]["dry_run"] = True
    world.has(finding(1))
    assert task.plan() == []
    assert (world.archived(), world.record["destinations"]) == ({1: "not_reported"}, [HERE])


@pytest.mark.parametrize(
    ("change", "why"),
    [({"narrowed": True}, "the run's params are narrower than the DAG's own"), ({"hubs": None}, "an older release")],
)
def test_a_run_that_concludes_nothing_says_why(
    world: World, task: Any, caplog: pytest.LogCaptureFixture, change: dict[str, Any], why: str
) -> None:
    caplog.set_level("INFO")
    world.plan.update(change)
    world.has(finding(1))
    assert task.plan() == []
    assert world.record["why_not"].startswith(why)
    assert (world.record["destinations"], world.record["left"]) == ([], {})
    assert f"Nothing is archived because Tenable does not report it: {world.record['why_not']}." in caplog.text


def test_nothing_is_listed_while_something_that_was_exported_is_not_accounted_for(
    world: World, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Any) -> None:
        raise LedgerError("one record is missing")

    monkeypatch.setattr(module, "check_sums", fail)
    world.has(finding(1))
    with pytest.raises(LedgerError, match="one record is missing"):
        task.plan()
    assert (world.record, [name for name, *_ in task.done]) == (None, ["owner", "ledger"])


@pytest.mark.parametrize("kind", ["vulnerabilities", "compliance"])
def test_an_export_without_a_result_says_which_task_to_clear(world: World, task: Any, kind: str) -> None:
    world.plan["kind"] = kind
    with pytest.raises(ConfigurationError, match=f"^Task export_{kind} has no result"):
        task.plan(None)
    assert task.done == [("owner", world.run)]


# What is on record.


def test_what_was_decided_is_read_as_a_whole_and_for_each_account(world: World) -> None:
    assert archiving_of(world.run) == (None, {})
    write_json(world.run.archiving, {"why_not": "", "destinations": [HERE], "left": {}})
    with pytest.raises(StagingError) as error:
        archiving_of(world.run)
    assert str(error.value) == (
        f"The list of what is archived in {HERE} is missing or damaged. Clear the run's tasks from plan_archiving on."
    )
    gone = Gone([("part", 3)], [], {"moved": 2}, 9)
    write_gone(world.run.gone(ACCOUNT, REGION), gone)
    record, found = archiving_of(world.run)
    assert (record, found) == ({"why_not": "", "destinations": [HERE], "left": {}}, {HERE: gone})


def stop(world: World, *stopped: int) -> None:
    """So many findings that were stopped in one account after the other."""
    listed = [f"{number:012d}/{REGION}" for number in range(1, len(stopped) + 1)]
    for name, count in zip(listed, stopped, strict=True):
        reasons = {"moved": 1, "not_reported": count - 1} if count else {}
        write_gone(world.run.gone(*name.split("/")), Gone([], [], {"asset_deleted": 1}, 10_000, reasons))
    world.plan["settings"]["max_archived_ratio"] = 0.125
    write_json(world.run.plan, world.plan)
    write_json(world.run.archiving, {"why_not": "", "destinations": listed, "left": {}})


@pytest.fixture
def last_task(world: World, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(module.RunFolder, "of", {"the context": world.run}.get)
    return lambda: check_archived("the context")


def test_the_last_task_passes_if_nothing_was_stopped(world: World, last_task: Any) -> None:
    last_task()
    stop(world, 0, 0)
    last_task()


def test_the_last_task_names_what_was_stopped_the_usual_causes_and_what_to_do(world: World, last_task: Any) -> None:
    stop(world, 1500, 0)
    with pytest.raises(TooManyArchivedError) as error:
        last_task()
    assert str(error.value) == (
        f"Tenable does not report 1,500 findings any more that are active in 000000000001/{REGION} (1,500 of 10,000): "
        "more than max_archived_ratio 0.125 allows, so none of them was archived. Everything else was delivered, and "
        "the watermark has moved. Usual causes: an export that was short, an API user that sees fewer assets, narrower "
        "severities, a connector or scanner that was removed. Restore it and trigger the DAG with full on. If they are "
        "gone on purpose, trigger it once with full on and max_archived_ratio 1."
    )


@pytest.mark.parametrize(("accounts", "more"), [(5, ""), (6, " and 1 more"), (7, " and 2 more")])
def test_the_last_task_names_five_accounts_and_counts_the_others(
    world: World, last_task: Any, accounts: int, more: str
) -> None:
    stop(world, *[1000] * accounts)
    listed = ", ".join(f"{number:012d}/{REGION} (1,000 of 10,000)" for number in range(1, 6))
    with pytest.raises(TooManyArchivedError) as error:
        last_task()
    assert f" {accounts * 1000:,} findings any more that are active in {listed}{more}: more than" in str(error.value)
