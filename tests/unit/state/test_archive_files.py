"""How the files of a list are archived one after the other: with which receipts and rates, and what the index says."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from airflow_provider_tenable.security_hub.archiving import ArchiveReceipts
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.state import archive as module
from airflow_provider_tenable.state import gone as gone_module
from airflow_provider_tenable.state.archive import (
    NOT_DONE,
    REFUSED,
    archive_listed,
    deltas_in,
    note_why_not,
    outcome_of,
    read_archived,
)
from airflow_provider_tenable.state.gone import Gone, GoneRows, write_gone
from airflow_provider_tenable.state.registry import index_of
from tests.unit.state.rows import ACCOUNT, NOW, REGION, finding_id, held, table
from tests.unit.state.test_archive import Hub

PLANNED, AS_OF = NOW / 1000 + 0.5, NOW - 7


class Hubs:
    """A new archive for each file: what it is asked with, and what it answers."""

    def __init__(self, *outcomes: dict[str, Any]) -> None:
        self.outcomes = list(outcomes)
        self.made: list[dict[str, Any]] = []
        self.until: list[float | None] = []
        self.asked: list[list[str]] = []

    def __call__(self, **options: Any) -> Hubs:
        self.made.append(options)
        return self

    def run(self, wanted: list[Any], until: float | None) -> Any:
        self.until.append(until)
        self.asked.append([each.finding_id for each in wanted])
        empty: dict[str, Any] = {"archived": [], "gone": [], "refused": Counter(), "examples": {}}
        return Hub(**{**empty, **self.outcomes.pop(0)}).run(wanted, until)


@pytest.fixture
def run(tmp_path: Any) -> RunFolder:
    return RunFolder(f"file://{tmp_path}", "dag", "run")


@pytest.fixture
def gone(run: RunFolder) -> Gone:
    """Two files: findings 1 and 2, and finding 3."""
    folder = run.gone(ACCOUNT, REGION)
    files: list[tuple[str, int]] = []
    for stem, numbers in (("known", (1, 2)), ("absent", (3,))):
        listed = GoneRows(folder, stem)
        rows = table(*map(held, numbers))
        listed.add(rows.append_column("reason", pa.array(["moved"] * len(numbers))))
        listed.close()
        files += listed.files
    found = Gone([], files, {"moved": 3}, 9)
    write_gone(folder, found)
    return found


def test_a_file_is_written_as_soon_as_it_is_full(run: RunFolder, monkeypatch: Any) -> None:
    monkeypatch.setattr(gone_module, "_ROWS", 2)
    listed = GoneRows(run.gone(ACCOUNT, REGION), "known")
    for numbers in ((1, 2), (3, 4), (5,)):
        rows = table(*map(held, numbers))
        listed.add(rows.append_column("reason", pa.array(["moved"] * len(numbers))))
    assert [count for _, count in listed.files] == [2, 2]
    listed.close()
    assert [count for _, count in listed.files] == [2, 2, 1]


def archive(run: RunFolder, gone: Gone, hub: Any, until: float | None = None) -> bool:
    return archive_listed(
        run,
        ACCOUNT,
        REGION,
        gone,
        sender="the sender",  # type: ignore[arg-type]
        index=index_of(run.finding_index, ACCOUNT, REGION),
        product_arns={"arn"},
        planned_at=PLANNED,
        as_of=AS_OF,
        until=until,
        new_archive=hub,
    )


def ids(*numbers: int) -> list[str]:
    return [finding_id(number) for number in numbers]


def test_each_file_has_receipts_of_its_own_and_shares_the_rates(run: RunFolder, gone: Gone, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "TokenBucket", lambda **options: ("bucket", options))
    hub = Hubs({}, {})
    assert archive(run, gone, hub, until=7.0)
    assert (hub.asked, hub.until) == ([ids(1, 2), ids(3)], [7.0, 7.0])
    first, second = hub.made
    for made, (name, _) in zip(hub.made, gone.files, strict=True):
        assert made["sender"] == "the sender"
        assert made["product_arns"] == {"arn"}
        assert made["planned_at"] == datetime.fromtimestamp(PLANNED, UTC)
        receipts = made["receipts"]
        assert isinstance(receipts, ArchiveReceipts)
        assert (receipts.account, receipts.region) == (ACCOUNT, REGION)
        receipts.gone(module.Archival(finding_id(1), "moved", 1))
        receipts.flush()
        (written,) = [each.name for each in run.archive_receipts(ACCOUNT, REGION).iterdir() if name[:5] in each.name]
        assert written.startswith(f"{name.removesuffix('.parquet')}-00000")
    # A killed try may have called a moment ago: nobody knows, so nothing of the burst is there.
    assert first["bucket"] == second["bucket"] == ("bucket", {"filled": 0})
    assert first["read_bucket"] is second["read_bucket"] is not None


def test_a_file_that_is_done_is_not_asked_for_again_and_the_next_one_is(run: RunFolder, gone: Gone) -> None:
    assert not archive(run, gone, Hubs({"archived": [(finding_id(1), NOW)], "gone": ids(2)}, {"finished": False}))
    assert outcome_of(gone, read_archived(run.gone(ACCOUNT, REGION))) == ({"moved": 1}, 1, {NOT_DONE: 1})
    hub = Hubs({"gone": ids(3)})
    assert archive(run, gone, hub)
    assert hub.asked == [ids(3)]
    assert outcome_of(gone, read_archived(run.gone(ACCOUNT, REGION))) == ({"moved": 1}, 2, {})


def test_what_is_not_done_counts_with_all_its_files(run: RunFolder, gone: Gone) -> None:
    folder = run.gone(ACCOUNT, REGION)
    assert outcome_of(gone, read_archived(folder)) == ({}, 0, {NOT_DONE: 3})
    note_why_not(folder, REFUSED, "closed")
    assert outcome_of(gone, read_archived(folder)) == ({}, 0, {REFUSED: 3})


def test_codes_and_reasons_of_all_files_are_added(run: RunFolder, gone: Gone) -> None:
    refused = [{"refused": Counter({"Odd": count}), "examples": {"Odd": [("x", "no")]}} for count in (2, 1)]
    assert archive(run, gone, Hubs(*refused))
    assert outcome_of(gone, read_archived(run.gone(ACCOUNT, REGION))) == ({}, 0, {"Odd": 3})
    archived = Hubs({"archived": [(each, NOW) for each in ids(1, 2)]}, {"archived": [(finding_id(3), NOW)]})
    again = RunFolder(f"file://{run.root.parent.parent.path}", "dag", "again")
    folder = again.gone(ACCOUNT, REGION)
    for name, _ in gone.files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((run.gone(ACCOUNT, REGION) / name).read_bytes())
    assert archive(again, gone, archived)
    assert outcome_of(gone, read_archived(folder)) == ({"moved": 3}, 0, {})


def test_rows_say_when_and_for_which_moment_the_run_archived_them(run: RunFolder, gone: Gone) -> None:
    archive(run, gone, Hubs({"archived": [(finding_id(1), NOW + 5)], "gone": ids(2)}, {}))
    (rows,) = [part.to_pylist() for part in index_of(run.finding_index, ACCOUNT, REGION).snapshot().tables()]
    assert sorted((each["plugin"], each["archived"], each["sent_at"], each["as_of"]) for each in rows) == [
        (1, True, int(1000 * PLANNED), AS_OF),
        (2, True, int(1000 * PLANNED), AS_OF),
    ]
    # All else is as it was.
    for each in rows:
        before = held(each["plugin"])
        same = ("key", "resource", "place", "asset", "severity", "first_observed")
        assert [each[name] for name in same] == [before[name] for name in same]


def test_a_file_of_which_nothing_is_settled_adds_nothing_to_the_index(run: RunFolder, gone: Gone) -> None:
    refused = {"refused": Counter({"Odd": 1})}
    archive(run, gone, Hubs(refused, refused))
    folder = run.gone(ACCOUNT, REGION)
    assert (deltas_in(folder), [each.delta for each in read_archived(folder).files.values()]) == ([], ["", ""])
