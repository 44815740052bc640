"""The asset index: when a run may build on it, what it holds after each export, and that no doubt, race or garbage
costs an asset.
"""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable import config
from airflow_provider_tenable.assets import garbage, index
from airflow_provider_tenable.assets.index import keep_assets, plan_assets, staged_assets
from airflow_provider_tenable.assets.index_parts import files_of
from airflow_provider_tenable.assets.table import AssetTable
from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.export.reattach import marked
from airflow_provider_tenable.export.state import ExportState
from airflow_provider_tenable.export.store import StagedExport
from airflow_provider_tenable.staging import files, index_files
from airflow_provider_tenable.staging.files import names, read_json, write_json
from airflow_provider_tenable.staging.layout import RunFolder

HOUR = 3600
NOW = 1_790_000_000
SOURCE = "tenable"


class World:
    """Runs of one DAG over a staging area; assets are given as id -> name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = folder / "dag" / "asset_index"

    def run(self, name: str) -> RunFolder:
        return RunFolder(f"file://{self.folder}", "dag", name)

    def plan(self, name: str, now: float = NOW, source: str = SOURCE, **more: Any) -> dict[str, Any]:
        run = self.run(name)
        earlier = (read_json(run.plan) or {}).get("assets")
        plan = plan_assets(
            run,
            source=source,
            now=now,
            hours=config.get("asset_index_hours"),
            lag=config.get("lag_seconds"),
            earlier=earlier,
            **more,
        )
        write_json(run.plan, {"assets": plan})
        return plan

    def export(
        self,
        name: str,
        assets: dict[str, str],
        data_from: float | None,
        *,
        filters: dict[str, Any] | None = None,
        complete: bool = True,
    ) -> None:
        store = StagedExport(self.run(name).export("assets"), "assets")
        records = [{"id": key, "network": {"hostnames": [value]}} for key, value in assets.items()]
        # Two chunks, as of a larger tenant.
        parts = {
            str(chunk): store.put(f"{name:>8}", chunk, store.encode([json.dumps(half).encode()]))
            for chunk, half in ((1, records[::2]), (2, records[1::2]))
        }
        plan = read_json(self.run(name).plan)["assets"]
        # As the operator asks for it.
        body = marked("assets", {"filters": plan["filters"] if filters is None else filters}, name)
        store.save(ExportState("assets", body, 0.0, uuid=name, data_from=data_from, complete=complete, parts=parts))

    def keep(self, name: str) -> None:
        run = self.run(name)
        keep_assets(run, read_json(run.plan)["assets"], hours=config.get("asset_index_hours"))

    def whole(self, name: str, now: float, assets: dict[str, str], **more: Any) -> dict[str, Any]:
        """A run from its plan to the index."""
        plan = self.plan(name, now, **more)
        self.export(name, assets, now)
        self.keep(name)
        return plan

    def reads(self, name: str) -> dict[str, str | None]:
        """What the run's transform finds."""
        table = AssetTable(staged_assets(str(self.run(name).export("assets"))))
        rows = {row.id: row.name for row in table.rows()}
        table.close()
        return rows

    @property
    def manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = json.loads((self.index / "manifest.json").read_text())
        return manifest

    def parts(self) -> list[Path]:
        return sorted(self.index.glob("assets-*"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def settled(world: World) -> World:
    """A world with a full export of three assets, and an update."""
    assert world.whole("one", NOW, {"a": "a1", "b": "b1", "c": "c1"})["base"] is None
    assert world.whole("two", NOW + HOUR, {"b": "b2", "d": "d2"})["base"] is not None
    return world


def test_first_run_exports_all_and_the_next_one_what_changed_since(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    plan = world.whole("one", NOW, {"a": "a1", "b": "b1", "c": "c1"})
    assert (plan["filters"], plan["why"]) == ({}, "there is no index yet")
    assert "All assets are exported: there is no index yet." in caplog.text
    plan = world.whole("two", NOW + 2 * HOUR, {"b": "b2", "d": "d2"})
    assert plan["filters"] == {"since": NOW - HOUR}
    assert world.reads("two") == {"a": "a1", "b": "b2", "c": "c1", "d": "d2"}
    plan = world.plan("three", NOW + 3 * HOUR)
    assert plan["filters"] == {"since": NOW + HOUR}
    assert (plan["base"]["records"], plan["base"]["changed"], plan["base"]["full_from"]) == (3, 2, NOW)


def test_lag_is_the_options_and_at_least_an_hour(settled: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__LAG_SECONDS", "0")
    assert settled.plan("three", NOW + 2 * HOUR)["filters"] == {"since": NOW}
    monkeypatch.setenv("AIRFLOW__TENABLE__LAG_SECONDS", "7200")
    assert settled.plan("four", NOW + 2 * HOUR)["filters"] == {"since": NOW - HOUR}


def test_an_update_without_changes_moves_the_index_on(settled: World) -> None:
    assert settled.whole("three", NOW + 3 * HOUR, {})["filters"] == {"since": NOW}
    assert settled.plan("four", NOW + 4 * HOUR)["filters"] == {"since": NOW + 2 * HOUR}
    assert settled.reads("three") == {"a": "a1", "b": "b2", "c": "c1", "d": "d2"}


# When in doubt, all of them.


def spoil_manifest(world: World, **values: Any) -> None:
    manifest = read_json(world.run("x").asset_index / "manifest.json")
    write_json(world.run("x").asset_index / "manifest.json", {**manifest, **values})


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-9])


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


DOUBTS: dict[str, tuple[Any, str]] = {
    "manifest removed": (lambda world: (world.index / "manifest.json").unlink(), "there is no index yet"),
    "manifest cut": (lambda world: cut(world.index / "manifest.json"), "the index is damaged"),
    "manifest flipped": (lambda world: flip(world.index / "manifest.json"), "the index is damaged"),
    "manifest empty": (lambda world: (world.index / "manifest.json").write_bytes(b""), "the index is damaged"),
    "manifest of another form": (lambda world: spoil_manifest(world, full=[{"nom": "a"}]), "the index is damaged"),
    "manifest of a later release": (lambda world: spoil_manifest(world, more=1), "the index is damaged"),
    "manifest is a list": (lambda world: (world.index / "manifest.json").write_text("[]"), "the index is damaged"),
    "part removed": (lambda world: world.parts()[0].unlink(), "is missing or damaged"),
    "part cut": (lambda world: cut(world.parts()[-1]), "is missing or damaged"),
    "part flipped": (lambda world: flip(world.parts()[0]), "is missing or damaged"),
    "part of another name": (
        lambda world: spoil_manifest(world, full=[{"name": "../run.json", "records": 1}]),
        "is missing or damaged",
    ),
    "another version": (lambda world: spoil_manifest(world, release="0"), "written by another version of this package"),
    "another Tenable": (
        lambda world: spoil_manifest(world, source="fedcloud"),
        "belongs to another Tenable instance or API user",
    ),
    "from the future": (lambda world: spoil_manifest(world, data_from=NOW + 3 * HOUR), "from the future"),
    "old": (lambda world: spoil_manifest(world, full_from=NOW - 22 * HOUR), "the last full export is 24.0 hours old"),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_any_doubt_leads_to_a_full_export_and_a_new_index(
    settled: World, doubt: str, caplog: pytest.LogCaptureFixture
) -> None:
    spoil, why = DOUBTS[doubt]
    spoil(settled)
    caplog.set_level("INFO")
    plan = settled.whole("three", NOW + 2 * HOUR, {"a": "a3", "d": "d3"})
    assert (plan["filters"], plan["base"]) == ({}, None)
    assert why in plan["why"]
    assert f"All assets are exported: {plan['why']}." in caplog.text
    # What is not in the full export is in the new index no more.
    assert settled.reads("three") == {"a": "a3", "d": "d3"}
    settled.whole("four", NOW + 2 * HOUR + 1, {})
    assert settled.reads("four") == {"a": "a3", "d": "d3"}


def test_hours_of_the_option_bound_the_age(settled: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settled.plan("three", NOW + 24 * HOUR - 1)["base"] is not None
    assert settled.plan("four", NOW + 24 * HOUR)["base"] is None
    monkeypatch.setenv("AIRFLOW__TENABLE__ASSET_INDEX_HOURS", "0.5")
    assert settled.plan("five", NOW + HOUR)["base"] is None


def test_option_0_means_always_all_and_no_index(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__ASSET_INDEX_HOURS", "0")
    for number in range(2):
        plan = world.whole(f"run-{number}", NOW + number, {"a": "a"})
        assert (plan["filters"], plan["why"]) == ({}, "[tenable] asset_index_hours is 0")
    assert not world.index.exists()


def test_empty_full_export_makes_no_index(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A user that has lost its rights sees no asset; it would miss them for a day after it has them back."""
    world.whole("one", NOW, {})
    assert "no index is built from this export" in caplog.text
    assert not world.index.exists()


# What the index claims.


def test_export_that_nobody_knows_the_beginning_of_is_left_out(
    settled: World, caplog: pytest.LogCaptureFixture
) -> None:
    before = settled.manifest
    settled.plan("three", NOW + 3 * HOUR)
    settled.export("three", {"a": "a3"}, None)
    settled.keep("three")
    assert "so the index is not updated" in caplog.text
    assert settled.manifest == before
    assert settled.reads("three")["a"] == "a3"


@pytest.mark.parametrize(
    ("data_from", "claimed"), [(NOW + 2 * HOUR - 600, NOW + 2 * HOUR - 600), (NOW + 9 * HOUR, NOW + 2 * HOUR)]
)
def test_index_claims_no_more_than_the_export_and_the_earlier_clock_say(
    settled: World, data_from: int, claimed: int
) -> None:
    """An adopted job is older than its request; a clock that is ahead dates it later than it was."""
    settled.plan("three", NOW + 2 * HOUR)
    settled.export("three", {"a": "a3"}, data_from)
    settled.keep("three")
    assert settled.manifest["data_from"] == claimed


def test_export_with_other_filters_than_planned_is_left_out(settled: World) -> None:
    before = settled.manifest
    settled.plan("three", NOW + 2 * HOUR)
    settled.export("three", {"a": "a3"}, NOW + 2 * HOUR, filters={"sources": ["AWS"]})
    settled.keep("three")
    assert settled.manifest == before


def test_partial_export_is_refused(settled: World) -> None:
    settled.plan("three", NOW + 2 * HOUR)
    settled.export("three", {"a": "a3"}, NOW + 2 * HOUR, complete=False)
    with pytest.raises(StagingError, match="is not complete"):
        settled.keep("three")


def test_full_export_replaces_an_index_from_the_future(world: World) -> None:
    """Both clocks were ahead once: the index would stay for as long."""
    ahead = time.time() + 9 * HOUR
    world.whole("one", ahead, {"a": "a1"})
    assert "from the future" in world.whole("two", ahead - 9 * HOUR, {"a": "a2"})["why"]
    assert world.manifest["full_from"] == ahead - 9 * HOUR


def test_keeping_twice_changes_nothing(settled: World) -> None:
    before = settled.manifest
    settled.keep("two")
    settled.keep("one")
    assert settled.manifest == before


# Runs beside each other.


def test_of_two_updates_at_once_the_later_one_counts_and_no_row_grows_older(settled: World) -> None:
    settled.plan("early", NOW + 2 * HOUR)
    settled.plan("late", NOW + 2 * HOUR + 60)
    settled.export("late", {"a": "a-late", "e": "e-late"}, NOW + 2 * HOUR + 60)
    settled.keep("late")
    settled.export("early", {"a": "a-early"}, NOW + 2 * HOUR)
    before = settled.manifest
    settled.keep("early")
    assert settled.manifest == before
    assert settled.reads("early")["a"] == "a-early"
    settled.whole("next", NOW + 3 * HOUR, {})
    assert settled.reads("next") == {"a": "a-late", "b": "b2", "c": "c1", "d": "d2", "e": "e-late"}


def test_update_that_does_not_join_on_is_left_out(settled: World) -> None:
    """Between its `since` and what the index holds there would be a gap."""
    plan = settled.plan("three", NOW + 5 * HOUR)
    assert plan["filters"]["since"] == NOW
    spoil_manifest(settled, data_from=NOW - 1)
    before = settled.manifest
    settled.export("three", {"a": "a3"}, NOW + 5 * HOUR)
    settled.keep("three")
    assert settled.manifest == before


def test_full_export_replaces_an_index_whose_full_export_is_older_and_no_newer_one(world: World) -> None:
    for name, now in (("early", NOW), ("late", NOW + 60)):
        world.plan(name, now)
        world.export(name, {"a": name}, now)
    world.keep("late")
    world.keep("early")
    assert world.manifest["full_from"] == NOW + 60
    world.whole("next", NOW + 120, {})
    assert world.reads("next") == {"a": "late"}


def test_update_of_an_index_that_is_gone_is_left_out(settled: World) -> None:
    settled.plan("three", NOW + 2 * HOUR)
    settled.export("three", {"a": "a3"}, NOW + 2 * HOUR)
    (settled.index / "manifest.json").unlink()
    settled.keep("three")
    assert not (settled.index / "manifest.json").exists()
    assert settled.reads("three") == {"a": "a3", "b": "b2", "c": "c1", "d": "d2"}


def test_run_that_is_planned_again_reads_what_it_did(settled: World) -> None:
    first = settled.plan("three", NOW + 2 * HOUR)
    settled.whole("other", NOW + 3 * HOUR, {"a": "a-other"})
    assert settled.plan("three", NOW + 9 * HOUR) == first
    settled.export("three", {"c": "c3"}, NOW + 2 * HOUR)
    assert settled.reads("three") == {"a": "a1", "b": "b2", "c": "c3", "d": "d2"}


@pytest.mark.parametrize("change", ["damage", "another Tenable", "option"])
def test_run_that_is_planned_again_exports_all_where_its_parts_do_not_serve_any_more(
    settled: World, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    settled.plan("three", NOW + 2 * HOUR)
    if change == "damage":
        flip(settled.parts()[0])
    if change == "option":
        monkeypatch.setenv("AIRFLOW__TENABLE__ASSET_INDEX_HOURS", "0")
    plan = settled.plan("three", NOW + 2 * HOUR, source="other" if change == "another Tenable" else SOURCE)
    assert (plan["filters"], plan["base"]) == ({}, None)


def test_damaged_part_of_the_index_fails_the_transform_with_advice(settled: World) -> None:
    settled.whole("three", NOW + 2 * HOUR, {})
    for part in settled.parts():
        cut(part)
    with pytest.raises(StagingError, match="Clear the run's tasks from plan_run on"):
        settled.reads("three")


# Many updates, many assets.


def test_many_updates_are_merged_and_each_asset_is_in_them_once(
    settled: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_files, "PART_ROWS", 2)
    expected = {"a": "a1", "b": "b2", "c": "c1", "d": "d2"}
    for number in range(7, 64):
        update = {"b": f"b{number}", f"n{number % 7}": f"n{number}"}
        expected |= update
        settled.whole(f"run-{number}", NOW + number * 600, update)
        assert len(settled.manifest["updates"]) <= 16
    assert settled.reads("run-63") == expected
    merged = settled.manifest["merged"]
    assert sum(part["records"] for part in merged) == 9
    assert {part["records"] for part in merged} == {2, 1}


def test_export_of_many_small_chunks_becomes_few_parts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_files, "PART_ROWS", 100)
    world.plan("one", NOW)
    store = StagedExport(world.run("one").export("assets"), "assets")
    parts = {
        str(chunk): store.put(
            "job-uuid",
            chunk,
            store.encode([json.dumps([{"id": f"{chunk}-{number}"} for number in range(30)]).encode()]),
        )
        for chunk in range(1, 21)
    }
    store.save(ExportState("assets", {"filters": {}}, 0.0, uuid="j", data_from=NOW, complete=True, parts=parts))
    world.keep("one")
    assert [part["records"] for part in world.manifest["full"]] == [120] * 5
    world.whole("two", NOW + 1, {})
    assert len(world.reads("two")) == 600


def test_parts_are_named_by_their_content(settled: World) -> None:
    for part in settled.parts():
        assert files_of(settled.run("x")).is_intact(part.name)
    copy = settled.parts()[0].rename(settled.index / f"assets-{'0' * 64}.parquet")
    assert not files_of(settled.run("x")).is_intact(copy.name)
    assert not files_of(settled.run("x")).is_intact("manifest.json")


# Garbage.


def remaining(world: World) -> set[str]:
    files = files_of(world.run("x"))
    return {name for name in names(files.folder) if files.is_part(name)}


def test_retired_parts_stay_while_a_run_names_them(settled: World, monkeypatch: pytest.MonkeyPatch) -> None:
    settled.whole("three", NOW + 2 * HOUR, {"c": "c3"})
    old = remaining(settled)
    settled.whole("four", NOW + 30 * HOUR, {"a": "a4"})
    retired = old - {part["name"] for part in settled.manifest["full"]}
    assert set(settled.manifest["retired"]) == retired == old
    assert garbage.remove_unneeded_parts(settled.run("four")) == []
    monkeypatch.setattr(index_files, "_RETIRED_SECONDS", -1)
    # The third run names those of the full export and of the first update; that of its own nobody names.
    named = set(read_json(settled.run("three").plan)["assets"]["base"]["parts"])
    assert set(garbage.remove_unneeded_parts(settled.run("four"))) == retired - named
    assert settled.reads("three") == {"a": "a1", "b": "b2", "c": "c3", "d": "d2"}
    for name in ("two", "three"):
        settled.run(name).plan.unlink()
    assert set(garbage.remove_unneeded_parts(settled.run("four"))) == named
    assert settled.reads("four") == {"a": "a4"}
    assert remaining(settled) == {part["name"] for part in settled.manifest["full"]}
    # What is gone is not listed as retired for ever.
    settled.whole("five", NOW + 31 * HOUR, {"a": "a5"})
    assert settled.manifest["retired"] == {}


def test_parts_that_no_manifest_knows_are_removed_after_a_day(settled: World) -> None:
    orphan = settled.index / f"assets-{'1' * 64}.parquet"
    other = settled.index / "notes.txt"
    for file in (orphan, other):
        file.write_bytes(b"x")
    assert garbage.remove_unneeded_parts(settled.run("two")) == []
    for file in (orphan, other):
        os.utime(file, times=(time.time() - 2 * 86400,) * 2)
    assert garbage.remove_unneeded_parts(settled.run("two")) == [orphan.name]
    assert other.exists()


def orphaned(world: World) -> Path:
    """A part that nothing names, from long ago."""
    orphan = world.index / f"assets-{'1' * 64}.parquet"
    orphan.write_bytes(b"x")
    os.utime(orphan, times=(0, 0))
    return orphan


def damage_index(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    cut(world.folder / "dag/asset_index/manifest.json")


def newer_plan(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (world.folder / "dag/one/run.json").write_text('{"assets": {}, "format": 99}')


def unreadable_plan(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real = files.content_of

    def fails(path: Any) -> bytes:
        if path.path.endswith("one/run.json"):
            raise OSError(errno.EIO, "Input/output error")
        return real(path)

    monkeypatch.setattr(files, "content_of", fails)


@pytest.mark.parametrize("happen", [damage_index, newer_plan, unreadable_plan])
def test_nothing_is_removed_where_it_cannot_be_told_what_is_needed(
    settled: World, monkeypatch: pytest.MonkeyPatch, happen: Any, caplog: pytest.LogCaptureFixture
) -> None:
    orphan = orphaned(settled)
    happen(settled, monkeypatch)
    assert garbage.remove_unneeded_parts(settled.run("two")) == []
    assert "it is unknown which parts are needed" in caplog.text
    assert orphan.exists()


@pytest.mark.parametrize("content", [None, b"", b"[1]"], ids=["cut", "empty", "a list"])
def test_one_run_whose_plan_is_damaged_does_not_stop_the_clean_up(
    settled: World, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing of that run can go on: each of its tasks reads the plan."""
    orphan, plan = orphaned(settled), settled.folder / "dag/one/run.json"
    if content is None:
        cut(plan)
    else:
        plan.write_bytes(content)
    before = remaining(settled)
    assert garbage.remove_unneeded_parts(settled.run("two")) == [orphan.name]
    assert remaining(settled) == before - {orphan.name}
    assert ("run.json is damaged" in caplog.text) == (content != b"[1]")


def test_an_index_of_one_type_of_assets_is_kept_and_continued(world: World) -> None:
    only = {"types": ["webapp"]}
    assert world.whole("one", NOW, {"a": "a1"}, always=only)["filters"] == only
    assert world.whole("two", NOW + 2 * HOUR, {"b": "b2"}, always=only)["filters"] == {"since": NOW - HOUR, **only}
    assert world.reads("two") == {"a": "a1", "b": "b2"}
    assert world.plan("three", NOW + 3 * HOUR, always=only)["filters"] == {"since": NOW + HOUR, **only}


def test_parts_that_a_run_with_a_damaged_ledger_names_stay(settled: World, monkeypatch: pytest.MonkeyPatch) -> None:
    settled.whole("three", NOW + 2 * HOUR, {"c": "c3"})
    settled.whole("four", NOW + 30 * HOUR, {"a": "a4"})
    monkeypatch.setattr(index_files, "_RETIRED_SECONDS", -1)
    named = set(read_json(settled.run("three").plan)["assets"]["base"]["parts"])
    write_json(settled.run("three").ledger, {"complete": True})
    cut(settled.folder / "dag/three/ledger.json")
    garbage.remove_unneeded_parts(settled.run("four"))
    assert named <= remaining(settled)


def test_folders_of_the_index_and_of_parked_records_cannot_be_runs(tmp_path: Path) -> None:
    for name in RunFolder.RESERVED:
        with pytest.raises(Exception, match="cannot be the name of a staging folder"):
            RunFolder(f"file://{tmp_path}", "dag", name)


def test_export_folder_without_a_plan_is_read_alone(world: World) -> None:
    """Somebody's own DAG exports by the operator, and plans nothing."""
    world.plan("one", NOW)
    world.export("one", {"a": "a"}, NOW)
    world.run("one").plan.unlink()
    assert world.reads("one") == {"a": "a"}


def test_release_names_version_and_columns() -> None:
    assert "owner_id" in index.RELEASE
    assert index.__version__ in index.RELEASE
