"""From receipts to rows of the index: which findings get one, what it says, and that repeating it adds nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from airflow_provider_tenable.asff import row
from airflow_provider_tenable.security_hub.assignment import Target
from airflow_provider_tenable.security_hub.receipts import Receipts
from airflow_provider_tenable.staging.files import read_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.location import open_path
from airflow_provider_tenable.state import record as module
from airflow_provider_tenable.state.compare import DECISION
from airflow_provider_tenable.state.decisions import Head
from airflow_provider_tenable.state.index import FindingIndex
from airflow_provider_tenable.state.record import deltas_of, is_recorded, record_rows
from airflow_provider_tenable.state.verdicts import Verdict
from airflow_provider_tenable.transform.output import FindingsWriter
from airflow_provider_tenable.transform.routing import Destination
from tests.unit.state.rows import ACCOUNT, DAY, NOW, REGION, finding_id

AS_OF, SENT_AT = NOW - 5000, NOW - 100
VIA = Destination("aws_default", (ACCOUNT,), None, None, ACCOUNT, REGION)
ASSET = "01020304-0506-4708-890a-0b0c0d0e0f00"


class World:
    """A run whose parts hold three findings each, all of which are sent."""

    def __init__(self, folder: Path, parts: int = 1, id_of: Callable[[bytes], bytes] | None = None) -> None:
        self.run = RunFolder(f"file://{folder}", "dag", "run")
        self.index = FindingIndex(open_path(f"file://{folder}/index"))
        found: list[tuple[str, int]] = []
        for shard in range(parts):
            writer = FindingsWriter(self.run, shard, id_of)
            for number in range(3 * shard, 3 * shard + 3):
                writer.write(ACCOUNT, REGION, *self.finding(number), as_of=0 if number % 3 else NOW - DAY)
            (entry,) = writer.close({})["destinations"]  # type: ignore[typeddict-item]
            found += [(part["name"], part["lines"]) for part in entry["parts"]]
        self.target = Target(ACCOUNT, REGION, "aws_default", None, found)
        self.receipts = Receipts(self.run, ACCOUNT, REGION, [name for name, _ in found])
        self.decisions = [(name, np.zeros(3, np.dtype(DECISION))) for name, _ in found]
        for _, decisions in self.decisions:
            decisions["verdict"] = Verdict.CREATED

    @staticmethod
    def finding(number: int) -> tuple[bytes, str, Any, bytes]:
        """Line, severity, destination and row."""
        values = (
            row.key_of(finding_id(number)),
            1000 + number,
            row.asset_key(ASSET),
            number,
            # Of each three the second one is archived.
            row.flags(number % 3 + 1, archived=number % 3 == 1, fixed=number % 3 == 1),
            NOW - DAY + number,
            NOW - 9 * DAY,
        )
        return json.dumps({"Id": finding_id(number)}).encode(), "high", VIA, row.LAYOUT.pack(*values)

    def name(self, part: int = 0) -> str:
        return self.target.parts[part][0]

    def accept(self, *lines: int, part: int = 0) -> None:
        for line in lines:
            self.receipts.accept(self.name(part), line)

    def reject(self, line: int) -> None:
        self.receipts.reject(self.name(), line, finding_id="x", code="No", message="no", finding=b"{}")

    def record(self) -> bool:
        return record_rows(
            self.run, self.target, self.index, self.receipts, self.decisions, as_of=AS_OF, sent_at=SENT_AT
        )

    def is_recorded(self, **counts: int) -> bool:
        return is_recorded(self.run, self.target, self.receipts, Head([], counts, ""))

    def rows(self) -> list[dict[str, Any]]:
        rows = [found for table in self.index.snapshot().tables() for found in table.to_pylist()]
        return sorted(rows, key=lambda found: found["plugin"])

    def plugins(self) -> list[int]:
        return [found["plugin"] for found in self.rows()]

    def files(self) -> set[str]:
        return {path.name for path in Path(self.index.folder.path).glob("delta-*")}

    def recorded(self) -> Any:
        return read_json(self.run.compared(ACCOUNT, REGION) / "recorded.json")


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def expected(number: int, **change: Any) -> dict[str, Any]:
    resource, place = row.split_id(finding_id(number))
    return {
        "key": row.key_of(finding_id(number)),
        "resource": resource,
        "place": place,
        # With the zero at its end.
        "asset": bytes.fromhex(ASSET.replace("-", "")),
        "plugin": number,
        "archived": number % 3 == 1,
        "severity": number % 3 + 1,
        "content": 1000 + number,
        "updated_at": NOW - DAY + number,
        "as_of": AS_OF,
        "sent_at": SENT_AT,
        "first_observed": NOW - 9 * DAY,
        **change,
    }


def test_a_row_says_what_was_sent_and_for_which_moment(world):
    _, decisions = world.decisions[0]
    # Security Hub would have ignored its own time.
    decisions["stamp"][2] = NOW + 7
    world.accept(0, 1, 2)
    assert world.record() is True
    # The first one waited for its asset: it speaks for the export that it came from.
    assert world.rows() == [expected(0, as_of=NOW - DAY), expected(1), expected(2, updated_at=NOW + 7)]


@pytest.mark.parametrize("accepted", [[], [0], [1], [2], [0, 2], [0, 1], [0, 1, 2]])
def test_a_finding_that_nobody_acknowledged_has_no_row(world, accepted):
    world.accept(*accepted)
    for line in {0, 1, 2} - set(accepted):
        world.reject(line)
    assert world.record() is bool(accepted)
    assert world.plugins() == accepted
    assert world.is_recorded()


@pytest.mark.parametrize("verdict", list(Verdict))
def test_of_what_is_not_sent_only_what_was_never_imported_has_a_row(world, verdict):
    _, decisions = world.decisions[0]
    decisions["verdict"][1] = verdict
    world.accept(0)
    world.record()
    assert world.plugins() == ([0, 1] if verdict == Verdict.NEVER_IMPORTED else [0])
    if verdict == Verdict.NEVER_IMPORTED:
        # Its content is unknown: whatever Tenable says of it next is something else.
        assert world.rows() == [expected(0, as_of=NOW - DAY), expected(1, content=row.UNKNOWN_CONTENT)]


def json_id(line: bytes) -> bytes:
    found: str = json.loads(line)["Id"]
    return found.encode()


def test_the_findings_are_not_read_again_where_their_ids_stand_beside_the_rows(tmp_path):
    worlds = [World(tmp_path / "lines"), World(tmp_path / "ids", id_of=json_id)]
    worlds[1].run.destination(ACCOUNT, REGION).joinpath(worlds[1].name()).unlink()
    for world in worlds:
        world.accept(0, 2)
        world.record()
    assert worlds[0].rows() == worlds[1].rows()
    assert worlds[0].plugins() == [0, 2]


def test_nothing_to_record_leaves_nothing_behind(world):
    assert world.record() is False
    assert world.files() == set()
    assert world.recorded() is None
    assert deltas_of(world.run, ACCOUNT, REGION) == []
    assert world.is_recorded(created=3)
    # Unless something was decided that no receipt shows.
    assert not world.is_recorded(never_imported=1)
    world.decisions[0][1]["verdict"][2] = Verdict.NEVER_IMPORTED
    assert world.record() is True
    assert world.is_recorded(never_imported=1)


def test_recording_is_repeated_without_a_change_and_goes_on_with_what_is_new(world):
    world.accept(0)
    assert not world.is_recorded()
    assert world.record() is True
    assert world.is_recorded()
    first = world.files()
    assert set(deltas_of(world.run, ACCOUNT, REGION)) == first
    assert world.record() is False
    assert world.files() == first
    world.accept(1, 2)
    assert not world.is_recorded()
    assert world.record() is True
    assert world.is_recorded()
    # The run has written both of them, and must find both again.
    assert deltas_of(world.run, ACCOUNT, REGION) == sorted(world.files())
    assert len(world.files()) == 2
    assert {found["plugin"]: found for found in world.rows()}.keys() == {0, 1, 2}


def test_a_record_that_is_damaged_is_made_again_with_the_same_deltas(world):
    world.accept(0, 2)
    world.record()
    before, files = world.recorded(), world.files()
    # First and last line of each run of them; the retry of a later release reads it, too.
    assert before["accepted"] == {world.name(): [[0, 0], [2, 2]]}
    path = Path((world.run.compared(ACCOUNT, REGION) / "recorded.json").path)
    path.write_bytes(b"{")
    assert not world.is_recorded()
    assert deltas_of(world.run, ACCOUNT, REGION) == []
    assert world.record() is True
    assert (world.recorded(), world.files()) == (before, files)


def test_rows_that_an_earlier_release_has_recorded_are_added_again_which_changes_nothing(world):
    world.accept(0, 2)
    world.record()
    recorded, files = world.recorded(), world.files()
    # A digest of the lines, however many and wherever they are.
    assert [len(digest) for digest in recorded["rows"].values()] == [32]
    path = Path((world.run.compared(ACCOUNT, REGION) / "recorded.json").path)
    # It listed the lines as it lists those that were accepted.
    path.write_text(json.dumps({**recorded, "rows": recorded["accepted"]}))
    assert world.is_recorded()
    assert world.record() is True
    assert (world.recorded(), world.files()) == (recorded, files)


@pytest.mark.parametrize(("at_once", "deltas"), [(1, 3), (3, 3), (4, 2), (6, 2), (7, 1), (100, 1)])
def test_rows_of_several_parts_are_added_together_up_to_a_bound(tmp_path, monkeypatch, at_once, deltas):
    monkeypatch.setattr(module, "ROWS_OF_DELTA", at_once)
    world = World(tmp_path, parts=3)
    for part in range(3):
        world.accept(0, 1, 2, part=part)
    assert world.record() is True
    assert len(world.files()) == len(world.recorded()["deltas"]) == deltas
    assert world.plugins() == list(range(9))
    assert world.is_recorded()


def test_only_parts_with_something_new_are_added_again(tmp_path):
    world = World(tmp_path, parts=3)
    world.accept(0, 1, 2, part=0)
    world.accept(1, part=1)
    world.record()
    first = world.files()
    world.accept(2, part=1)
    world.accept(0, part=2)
    assert not world.is_recorded()
    assert world.record() is True
    (delta,) = world.files() - first
    added = [found["plugin"] for table in world.index.snapshot().delta_tables() for found in table.to_pylist()]
    # The part of which nothing is new has its rows once.
    assert sorted(added) == [0, 1, 2, 4, 4, 5, 6]
    assert delta in world.recorded()["deltas"]
    assert world.is_recorded()


def test_deltas_of_what_was_archived_belong_to_the_run_as_well(world, monkeypatch):
    world.accept(0)
    world.record()
    asked: list[Any] = []
    monkeypatch.setattr(module, "deltas_in", lambda folder: [asked.append(folder), ["delta-of-archiving"]][1])
    assert deltas_of(world.run, ACCOUNT, REGION) == [*world.files(), "delta-of-archiving"]
    assert asked == [world.run.gone(ACCOUNT, REGION)]
