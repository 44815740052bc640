"""What Tenable is known not to have any more: every doubt keeps an old finding."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import msgspec
import pytest

from airflow_provider_tenable.asff import row
from airflow_provider_tenable.run import reported
from airflow_provider_tenable.run.reported import gone_of, note_reported
from airflow_provider_tenable.security_hub.old_tool_ids import Vulnerability
from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import write_lines
from airflow_provider_tenable.state import hub_rows, parts
from airflow_provider_tenable.state.index import FindingIndex
from airflow_provider_tenable.state.registry import IndexState

ACCOUNT, REGION = "111122223333", "eu-west-1"
PLACE = f"{ACCOUNT}/{REGION}"
INSTANCE = "i-0123456789abcdef0"
KEY = Vulnerability(REGION, INSTANCE, 10)
ASSET = str(UUID(int=7))
HIGH = frozenset({"HIGH"})


class World:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run = RunFolder(f"file://{folder}", "dag", "full")
        self.folder = RunFolder(f"file://{folder}", "takeover", "run").root / "take_over"
        self.plan: Any = {
            "window": {"kind": "incremental"},
            "narrowed": False,
            "settings": {"states": ["open", "reopened"], "severities": ["high", "critical"]},
            "destinations": [{"scope": None}],
        }
        self.status: Any = {"full": True}
        self.assets: list[dict[str, Any]] = []
        self.waiting: list[tuple[str, int]] = []
        self.blind = ""
        self.lost: frozenset[str] = frozenset()
        self.emptied: frozenset[str] = frozenset()
        index = self.run.finding_index
        self.index = FindingIndex(index / ACCOUNT / REGION)
        self.state = lambda: IndexState(index, None, "", self.lost, {}, self.emptied)
        monkeypatch.setattr(
            reported,
            "waiting_assets",
            lambda run: (frozenset(row.asset_key(each) for each, _ in self.waiting), self.blind),
        )
        monkeypatch.setattr(
            reported, "waiting_plugins", lambda run: ((row.asset_key(each), plugin) for each, plugin in self.waiting)
        )
        monkeypatch.setattr(reported, "staged_assets", lambda folder: [])
        monkeypatch.setattr(reported, "AssetTable", lambda found: self)

    def rows(self) -> list[Any]:
        usual = {"id": ASSET, "instance_id": INSTANCE, "owner_id": ACCOUNT, "region": REGION, "gone": ""}
        return [SimpleNamespace(**{"availability_zone": None, **usual, **each}) for each in self.assets]

    def close(self) -> None:
        pass

    def gone(self, key: Vulnerability = KEY, severities: frozenset[str] = HIGH) -> bool | str:
        """Whether it is known to be gone; why that is not known."""
        if why := note_reported(self.folder, self.run, self.plan, self.status):
            return why
        is_gone, why = gone_of(self.folder, self.run, self.plan, self.state(), PLACE, [key])
        return why or is_gone(key, severities)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def document(state: str = "ACTIVE", **change: Any) -> dict[str, Any]:
    return {
        "Id": f"{REGION}/{ACCOUNT}/{INSTANCE}/10/tcp/443",
        "RecordState": state,
        "UpdatedAt": "2026-03-01T00:00:00.000Z",
        "AwsAccountId": ACCOUNT,
        "GeneratorId": "10",
        "ProductFields": {hub_rows.OURS: ASSET},
        **change,
    }


def put(world: World, *documents: dict[str, Any]) -> None:
    for each in documents:
        table, _, _ = hub_rows.hub_rows([each], ACCOUNT)
        world.index.add(table.select(parts.schema().names))


def test_what_no_asset_and_no_row_stands_for_is_gone(world: World) -> None:
    assert world.gone() is True


def test_what_is_not_reported_on_an_instance_that_is_there_is_gone(world: World) -> None:
    world.assets = [{}]
    put(world, document(Id=f"{REGION}/{ACCOUNT}/{INSTANCE}/11/tcp/443", GeneratorId="11"))
    assert world.gone() is True


@pytest.mark.parametrize("severities", [{"MEDIUM"}, {"HIGH", "LOW"}, {""}])
def test_what_is_not_imported_is_not_known(world: World, severities: set[str]) -> None:
    assert world.gone(severities=frozenset(severities)) is False


def test_the_latest_row_counts(world: World) -> None:
    put(world, document())
    assert world.gone() is False
    put(world, document("ARCHIVED", UpdatedAt="2026-04-01T00:00:00.000Z"))
    assert world.gone() is True


@pytest.mark.parametrize(
    "asset", [{"owner_id": "999988887777"}, {"region": "us-east-1"}, {"owner_id": None}, {"region": None}]
)
def test_an_instance_that_is_elsewhere_or_nowhere_keeps_its_findings(world: World, asset: dict[str, Any]) -> None:
    world.assets = [{}, {"id": str(UUID(int=8)), **asset}]
    assert world.gone() is False
    world.assets[1]["gone"] = "terminated"
    assert world.gone() is True


def test_what_waits_keeps_its_instance_and_where_that_is_not_known_its_plugin(world: World) -> None:
    world.waiting = [(ASSET, 99)]
    world.assets = [{"gone": "terminated"}]
    assert world.gone() is False
    world.assets = []
    assert world.gone() is True
    world.waiting = [(ASSET, 10)]
    assert world.gone() is False
    world.waiting = [(ASSET, 0)]
    assert world.gone() == "records of 1 assets that Tenable has not exported cannot be read"


def test_what_the_hub_rejected_of_ours_stays(world: World) -> None:
    rejected = {"id": document()["Id"], "code": "InvalidInput", "finding": {}}
    write_lines(world.run.rejected, f"part-{ACCOUNT}-{REGION}-00000", [msgspec.json.encode(rejected)])
    assert world.gone() is False
    assert world.gone(Vulnerability(REGION, INSTANCE, 11)) is True
    write_lines(world.run.rejected, f"part-{ACCOUNT}-{REGION}-00001", [b'{"id":5}'])
    assert "cannot be read" in str(world.gone())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda world: world.status.update(full=False), "not a full one"),
        (lambda world: world.plan["window"].update(kind="backfill"), "not a full one"),
        (lambda world: world.plan.update(narrowed=True), "narrower"),
        (lambda world: world.plan["settings"].update(states=["open"]), "state reopened"),
        (lambda world: world.plan["settings"].update(scope={"min_vpr": 7.0}), "scope leaves findings out"),
        (lambda world: world.plan["destinations"].append({"scope": {"min_vpr": 7.0}}), "scope leaves findings out"),
        (lambda world: setattr(world, "blind", "2 records"), "2 records"),
        (lambda world: setattr(world, "lost", frozenset({PLACE})), "relied on"),
        (lambda world: setattr(world, "emptied", frozenset({PLACE})), "relied on"),
        (lambda world: write_json(world.index.folder / "manifest.json", {"version": 99}), "relied on"),
    ],
)
def test_where_the_last_run_cannot_know_nothing_is_gone(world: World, change: Any, why: str) -> None:
    change(world)
    assert why in str(world.gone())
