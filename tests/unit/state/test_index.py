"""The finding index: rows are merged in whatever order they come; what is damaged or lost never counts as
complete.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from airflow_provider_tenable.asff import row
from airflow_provider_tenable.exceptions import (
    DamagedFileError,
    MissingFileError,
    StagingError,
    StorageUnavailableError,
)
from airflow_provider_tenable.staging import files as files_module
from airflow_provider_tenable.staging import index_files as index_files_module
from airflow_provider_tenable.staging.files import read_json, write_json
from airflow_provider_tenable.staging.location import open_path
from airflow_provider_tenable.state import index as module
from airflow_provider_tenable.state import parts
from airflow_provider_tenable.state import snapshot as snapshot_module
from airflow_provider_tenable.state.index import FindingIndex
from airflow_provider_tenable.state.snapshot import LostIndexError
from tests.unit.state.rows import DAY, NOW, finding_id, held, table


@pytest.fixture
def index(tmp_path: Path) -> FindingIndex:
    return FindingIndex(open_path(f"file://{tmp_path}/index"))


def files(index: FindingIndex, begin: str) -> list[Path]:
    return sorted(Path(index.folder.path).glob(f"{begin}-*"))


def rows(index: FindingIndex) -> dict[bytes, tuple[Any, ...]]:
    """Of each key the row that counts, as a comparison sees it."""
    found: dict[bytes, tuple[Any, ...]] = {}
    snapshot = index.snapshot()
    for part in (*snapshot.merged_columns(), *snapshot.delta_columns()):
        for hi, lo, content, archived, updated_at, as_of, sent_at in part.as_rows().tolist():
            key, rank = hi.to_bytes(8, "big") + lo.to_bytes(8, "big"), (as_of, updated_at, sent_at, archived, content)
            found[key] = max(found.get(key, rank), rank)
    return found


def test_an_index_that_nobody_wrote_is_empty(index):
    assert rows(index) == {}
    assert index.snapshot().manifest is None


def test_a_merged_row_has_all_of_its_columns(index):
    index.add(table(held(1), held(2, archived=True, severity=4)))
    index.merge(now=NOW)
    (part,) = files(index, "findings")
    merged = parts.decode(part.read_bytes()).to_pylist()
    expected = sorted([held(1), held(2, archived=True, severity=4)], key=lambda each: each["key"])
    assert merged == expected
    assert [each["resource"] + each["place"] for each in merged] == [finding_id(each["plugin"]) for each in expected]


def test_deltas_are_merged_once_there_are_enough_of_them(index):
    index.add(table(*map(held, range(100))))
    index.merge(now=NOW)
    for number in range(module.DELTAS):
        index.add(table(held(number, content=7)))
        index.merge(now=NOW)
        assert len(files(index, "findings")) == 1
    index.add(table(held(50, content=7)))
    before = rows(index)
    index.merge(now=NOW)
    assert index.snapshot().waiting() == []
    assert rows(index) == before
    assert len(before) == 100


def test_a_large_delta_is_merged_at_once(index):
    index.add(table(*map(held, range(4))))
    index.merge(now=NOW)
    index.add(table(held(1), held(7)))
    index.merge(now=NOW)
    assert index.snapshot().waiting() == []


def test_a_reader_sees_all_rows_whatever_is_merged_in_the_middle_of_it(index):
    index.add(table(*map(held, range(4))))
    index.merge(now=NOW)
    index.add(table(held(1, content=7), held(9)))
    snapshot = index.snapshot()
    seen = {row["key"] for found in snapshot.merged_tables() for row in found.to_pylist()}
    index.merge(now=NOW, rebuild=True)
    assert index.snapshot().waiting() == []
    index.remove_unneeded()
    seen |= {row["key"] for found in snapshot.delta_tables() for row in found.to_pylist()}
    assert seen == {held(number)["key"] for number in (0, 1, 2, 3, 9)}


def test_rows_of_findings_that_were_archived_long_ago_are_dropped(index):
    long_ago = NOW - 91 * DAY
    index.add(table(held(1, archived=True, sent_at=long_ago), held(2, sent_at=long_ago), held(3, archived=True)))
    index.merge(now=NOW)
    assert len(rows(index)) == 2


def test_what_was_merged_is_removed_later_and_what_waits_is_not(index, monkeypatch):
    index.add(table(held(1)))
    index.merge(now=NOW)
    waiting = index.add(table(held(2, content=9)))
    index.remove_unneeded()
    assert len(files(index, "delta")) == 2
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 90_000)
    index.remove_unneeded()
    assert [file.name for file in files(index, "delta")] == [waiting]
    assert len(rows(index)) == 2


def test_a_delta_that_is_written_again_after_it_was_merged_changes_nothing(index):
    index.add(table(held(1)))
    index.merge(now=NOW)
    index.add(table(held(1, as_of=NOW, content=9)))
    index.merge(now=NOW)
    before = rows(index)
    index.add(table(held(1)))
    assert rows(index) == before


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


SPOILS = {
    "flipped": flip,
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": Path.unlink,
}


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
@pytest.mark.parametrize("begin", ["findings", "delta"])
def test_a_part_or_delta_that_is_damaged_makes_the_index_lost(index, begin, spoil):
    index.add(table(held(1)))
    index.merge(now=NOW)
    index.add(table(held(2)))
    spoilt = files(index, begin)[0 if begin == "findings" else -1]
    waiting = index.snapshot().waiting()
    spoilt = Path(index.folder.path) / waiting[0] if begin == "delta" else spoilt
    spoil(spoilt)
    if begin == "delta" and not spoilt.exists():
        # Nothing names a delta but itself: the next run sends its findings again.
        assert len(rows(index)) == 1
        return
    with pytest.raises(LostIndexError, match="index"):
        rows(index)
    for number in range(3, 30):
        index.add(table(held(number)))
    with pytest.raises(LostIndexError):
        index.merge(now=NOW)


def test_a_delta_that_a_run_has_noted_and_that_disappears_makes_the_index_lost(index):
    index.add(table(held(1)))
    index.merge(now=NOW)
    noted = index.add(table(held(2)))
    after = FindingIndex(index.folder, {noted})
    assert len(rows(after)) == 2
    (Path(index.folder.path) / noted).unlink()
    with pytest.raises(LostIndexError, match=r"1 deltas of the index .* do not exist any more"):
        rows(after)
    with pytest.raises(LostIndexError, match="do not exist any more"):
        after.merge(now=NOW)


def test_a_delta_that_is_merged_may_be_gone(index):
    noted = index.add(table(held(1)))
    index.merge(now=NOW)
    assert len(rows(FindingIndex(index.folder, {noted}))) == 1


def test_what_a_run_has_noted_is_not_removed_with_what_was_merged(index, monkeypatch):
    noted = index.add(table(held(1)))
    index.merge(now=NOW)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 90_000)
    FindingIndex(index.folder, {noted}).remove_unneeded()
    assert [file.name for file in files(index, "delta")] == [noted]
    index.remove_unneeded()
    assert files(index, "delta") == []


@pytest.mark.parametrize("rebuild", [False, True])
@pytest.mark.parametrize("begin", ["findings", "delta", "manifest"])
def test_a_store_that_does_not_answer_loses_nothing(index, monkeypatch, begin, rebuild):
    index.add(table(held(1)))
    index.merge(now=NOW)
    for number in range(2, 30):
        index.add(table(held(number)))
    before = {path.name for path in Path(index.folder.path).iterdir()}
    real = files_module.content_of

    def broken(path):
        if path.name.startswith(begin):
            raise OSError(5, "Input/output error")
        return real(path)

    for room in (files_module, index_files_module):
        monkeypatch.setattr(room, "content_of", broken)
    with pytest.raises(StorageUnavailableError):
        rows(index)
    with pytest.raises(StorageUnavailableError):
        index.merge(now=NOW, rebuild=rebuild)
    monkeypatch.undo()
    assert {path.name for path in Path(index.folder.path).iterdir()} == before
    assert len(rows(index)) == 29


def test_rebuilding_fails_where_a_delta_of_the_run_itself_is_gone_or_damaged(index):
    index.add(table(held(1)))
    own = index.add(table(held(2)))
    flip(Path(index.folder.path) / own)
    with pytest.raises(LostIndexError):
        index.merge(now=NOW, rebuild=True, own=[own])
    (Path(index.folder.path) / own).unlink()
    with pytest.raises(LostIndexError, match="do not exist any more"):
        index.merge(now=NOW, rebuild=True, own=[own])


@pytest.mark.parametrize("rebuild", [False, True])
def test_of_two_merges_at_a_time_the_later_one_starts_again(index, monkeypatch, rebuild):
    """Otherwise its manifest would name as waiting what the other one has merged, and what may soon be removed."""
    index.add(table(held(1)))
    index.merge(now=NOW)
    index.add(table(*(held(number, as_of=NOW) for number in range(2, 9))))
    slow, written, others = FindingIndex(index.folder), FindingIndex._written, []

    def while_the_other_merges(self, *args):
        found = written(self, *args)
        if self is slow and not others:
            others.append(index.add(table(held(20), held(21), held(22))))
            index.merge(now=NOW)
        return found

    monkeypatch.setattr(FindingIndex, "_written", while_the_other_merges)
    slow.merge(now=NOW, rebuild=rebuild)
    assert others
    assert set(others) <= set(slow.snapshot().manifest.merged)
    assert len(rows(index)) == 11


def test_a_merge_that_never_comes_to_its_turn_fails(index, monkeypatch):
    index.add(table(held(1)))
    slow, numbers = FindingIndex(index.folder), iter(range(100, 200))
    written = FindingIndex._written

    def another_is_faster(self, *args):
        found = written(self, *args)
        if self is slow:
            number = next(numbers)
            index.add(table(held(number)))
            index.merge(now=NOW, rebuild=True)
        return found

    monkeypatch.setattr(FindingIndex, "_written", another_is_faster)
    with pytest.raises(StagingError, match="merged by other tasks at the same time"):
        slow.merge(now=NOW, rebuild=True)


def rename(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"rows"', b'"rowz"'))


@pytest.mark.parametrize("spoil", [rename, SPOILS["cut"], SPOILS["empty"]])
def test_a_damaged_manifest_makes_the_index_lost(index, spoil):
    index.add(table(held(1)))
    index.merge(now=NOW)
    spoil(Path(index.folder.path) / "manifest.json")
    with pytest.raises(LostIndexError):
        rows(index)


def test_an_index_of_another_version_is_lost_and_not_misread(index, monkeypatch):
    index.add(table(held(1)))
    index.merge(now=NOW)
    monkeypatch.setattr(parts, "VERSION", 2)
    with pytest.raises(LostIndexError, match="another version"):
        rows(index)
    (part,) = files(index, "findings")
    with pytest.raises(StagingError, match="another version"):
        parts.decode(part.read_bytes())


def test_a_part_that_holds_something_else_under_its_name_is_refused(index):
    index.add(table(held(1)))
    index.merge(now=NOW)
    (part,) = files(index, "findings")
    part.write_bytes(parts.encode(parts.latest(table(held(1, content=9)))))
    with pytest.raises(LostIndexError, match="does not match its name"):
        rows(index)


def test_rebuilding_keeps_what_can_be_read(index):
    index.add(table(held(1), held(2)))
    index.merge(now=NOW)
    for number in (3, 4):
        index.add(table(held(number, as_of=NOW)))
    spoilt = Path(index.folder.path) / index.snapshot().waiting()[0]
    flip(spoilt)
    index.merge(now=NOW, rebuild=True)
    assert len(rows(index)) == 3
    assert index.snapshot().waiting() == []


def test_a_merger_that_dies_leaves_the_index_as_it_was(index, monkeypatch):
    index.add(table(*map(held, range(10))))
    index.merge(now=NOW)
    index.add(table(*(held(number, as_of=NOW, content=9) for number in range(10))))
    before = rows(index)

    def dies(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(index._parts, "publish", dies)
    with pytest.raises(KeyboardInterrupt):
        index.merge(now=NOW)
    monkeypatch.undo()
    assert rows(index) == before
    index.merge(now=NOW)
    assert rows(index) == before


def merged_numbers(index: FindingIndex) -> list[int]:
    manifest = index.snapshot().manifest
    assert manifest
    names = [part.name for part in manifest.parts]
    return [each["plugin"] for name in names for each in parts.decode(index._parts.content_of(name)).to_pylist()]


def test_a_row_that_is_written_twice_in_a_delta_counts_once_and_the_delta_has_the_name_of_its_content(index):
    name = index.add(table(held(1), held(2), held(1, as_of=NOW)))
    assert [file.name for file in files(index, "delta")] == [name]
    assert index.add(table(held(2), held(1, as_of=NOW), held(1))) == name
    assert parts.decode(index._deltas.content_of(name)).num_rows == 2


@pytest.mark.parametrize(("added", "merges"), [(1, False), (10, False), (11, True)])
def test_deltas_are_merged_by_their_share_of_the_merged_rows(index, added, merges):
    index.add(table(*map(held, range(40))))
    index.merge(now=NOW)
    # A quarter, in two deltas.
    index.add(table(held(100)))
    if added > 1:
        index.add(table(*map(held, range(101, 100 + added))))
    index.merge(now=NOW)
    assert (index.snapshot().waiting() == []) == merges


@pytest.mark.parametrize(("added", "merges"), [(3, False), (4, True)])
def test_deltas_are_merged_at_a_number_of_rows_however_small_their_share_is(index, monkeypatch, added, merges):
    monkeypatch.setattr(module, "DELTA_ROWS", 3)
    index.add(table(*map(held, range(40))))
    index.merge(now=NOW)
    index.add(table(*map(held, range(100, 100 + added))))
    index.merge(now=NOW)
    assert (index.snapshot().waiting() == []) == merges


@pytest.mark.parametrize("rebuild", [False, True])
def test_parts_are_in_the_order_of_their_keys_and_of_about_the_same_size(index, monkeypatch, tmp_path, rebuild):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(parts, "PART_ROWS", 20)
    for number in range(0, 60, 20):
        index.add(table(*map(held, range(number, number + 20))))
    index.merge(now=NOW, rebuild=rebuild)
    manifest = index.snapshot().manifest
    assert [part.records for part in manifest.parts] == [
        parts.decode(index._parts.content_of(part.name)).num_rows for part in manifest.parts
    ]
    # Where the number of rows is only estimated, parts are smaller; empty ones are left out.
    assert 3 <= len(manifest.parts) <= 60 if rebuild else len(manifest.parts) == 3
    assert min(part.records for part in manifest.parts) > 0
    assert merged_numbers(index) == sorted(range(60), key=lambda number: row.key_of(finding_id(number)))
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_manifest_names_what_was_merged_as_long_as_its_files_exist(index):
    first = index.add(table(held(1)))
    index.merge(now=NOW)
    second = index.add(table(held(2)))
    index.merge(now=NOW)
    assert index.snapshot().manifest.merged == sorted([first, second])
    (Path(index.folder.path) / first).unlink()
    third = index.add(table(held(3)))
    index.merge(now=NOW)
    assert index.snapshot().manifest.merged == sorted([second, third])
    assert set(index.snapshot().manifest.retired) >= {second, third}
    assert len(rows(index)) == 3


@pytest.mark.parametrize(("archived", "days", "kept"), [(True, 90, True), (True, 90.001, False), (False, 400, True)])
def test_only_archived_rows_of_more_than_ninety_days_are_dropped(index, archived, days, kept):
    index.add(table(held(1, archived=archived, sent_at=int(NOW - days * DAY))))
    index.merge(now=NOW)
    manifest = index.snapshot().manifest
    # Without rows there is no part, and the delta does not count any more.
    assert [part.records for part in manifest.parts] == ([1] if kept else [])
    assert index.snapshot().waiting() == []


def test_rebuilding_removes_damaged_deltas_and_says_what_is_left_out(index, caplog):
    index.add(table(held(1)))
    index.merge(now=NOW)
    (part,) = files(index, "findings")
    flip(part)
    good, damaged = index.add(table(held(2))), index.add(table(held(3)))
    flip(Path(index.folder.path) / damaged)
    index.merge(now=NOW, rebuild=True)
    assert not (Path(index.folder.path) / damaged).exists()
    assert f"The delta {damaged} of the index" in caplog.text
    assert f"{part.name} of the index is damaged" in caplog.text
    assert "It is left out." in caplog.text
    # What was merged before is in a delta that still exists.
    assert sorted(merged_numbers(index)) == [1, 2]
    assert index.snapshot().manifest.merged == sorted({good, *index.snapshot().deltas})


def test_rebuilding_replaces_a_damaged_manifest_and_an_ordinary_merge_does_not(index):
    index.add(table(held(1)))
    index.merge(now=NOW)
    index.add(table(held(2)))
    (Path(index.folder.path) / "manifest.json").write_bytes(b"{")
    with pytest.raises(LostIndexError):
        index.merge(now=NOW)
    index.merge(now=NOW, rebuild=True)
    assert sorted(merged_numbers(index)) == [1, 2]


def test_rebuilding_leaves_out_a_delta_that_disappears_unless_it_is_its_own(index, monkeypatch):
    gone, stays = index.add(table(held(1))), index.add(table(held(2)))
    real = index._deltas.content_of

    def content_of(name: str) -> bytes:
        if name == gone:
            raise MissingFileError("missing")
        return real(name)

    monkeypatch.setattr(index._deltas, "content_of", content_of)
    with pytest.raises(LostIndexError):
        index.merge(now=NOW, rebuild=True, own=[gone])
    with pytest.raises(LostIndexError):
        index.merge(now=NOW)
    index.merge(now=NOW, rebuild=True, own=[stays])
    assert merged_numbers(index) == [2]


def test_a_delta_that_is_damaged_in_one_read_only_is_kept(index, monkeypatch):
    """A store may return something else once."""
    name, other = index.add(table(held(1))), index.add(table(held(2)))
    real, reads = index._deltas.content_of, []

    def once(asked: str) -> bytes:
        reads.append(asked)
        if reads == [asked]:
            raise DamagedFileError("damaged")
        return real(asked)

    monkeypatch.setattr(index._deltas, "content_of", once)
    index._remove_damaged_deltas([other])
    assert reads == [name, name]
    assert len(files(index, "delta")) == 2

    def missing(asked: str) -> bytes:
        raise MissingFileError("missing")

    # One that the store does not return is not damaged.
    monkeypatch.setattr(index._deltas, "content_of", missing)
    index._remove_damaged_deltas([])
    assert len(files(index, "delta")) == 2


def test_a_run_that_rebuilds_does_not_lose_its_own_delta_and_one_that_is_merged_may_be_gone(index):
    own = index.add(table(held(1)))
    index.merge(now=NOW, rebuild=True, own=[own])
    (Path(index.folder.path) / own).unlink()
    # It is in a part.
    index.merge(now=NOW, rebuild=True, own=[own])
    assert merged_numbers(index) == [1]


def test_a_merge_starts_again_five_times(index, monkeypatch):
    attempts = []
    monkeypatch.setattr(
        FindingIndex, "_merge_once", lambda self, *args, **kwargs: bool(attempts.append((args, kwargs)))
    )
    with pytest.raises(StagingError, match=f"The index in {index.folder} is merged by other tasks"):
        index.merge(now=NOW, own=["x"])
    assert attempts == [((NOW,), {"rebuild": False, "own": ["x"]})] * 5


def test_parts_of_merges_that_died_are_removed_after_a_day_and_what_counts_stays(index, monkeypatch):
    index.add(table(held(1)))
    index.merge(now=NOW)
    counts = {file.name for file in files(index, "findings")}
    orphan = index._parts.put(parts.encode(parts.latest(table(held(9)))), 1).name
    index.remove_unneeded()
    assert {file.name for file in files(index, "findings")} == {*counts, orphan}
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 90_000)
    manifest = Path(index.folder.path) / "manifest.json"
    content = manifest.read_bytes()
    # Of a manifest that cannot be read it is not known what counts; nor where there is none.
    for nothing in (lambda: manifest.write_bytes(b"{"), manifest.unlink):
        nothing()
        index.remove_unneeded()
        assert {file.name for file in files(index, "findings")} == {*counts, orphan}
    manifest.write_bytes(content)
    index.remove_unneeded()
    assert {file.name for file in files(index, "findings")} == counts


def test_parts_that_are_not_in_the_order_of_their_keys_make_the_index_lost(index, monkeypatch):
    monkeypatch.setattr(parts, "PART_ROWS", 5)
    index.add(table(*map(held, range(20))))
    index.merge(now=NOW)
    value = read_json(index.folder / "manifest.json")
    before = [len(found) for found in index.snapshot().merged_columns()]
    assert sum(before) == 20
    write_json(index.folder / "manifest.json", {**value, "rows": value["rows"][::-1]})
    with pytest.raises(LostIndexError, match="not in the order of their keys"):
        list(index.snapshot().merged_columns())


def test_tables_have_the_rows_of_the_parts_and_of_what_waits_and_only_the_columns_asked_for(index):
    index.add(table(*map(held, range(8))))
    index.merge(now=NOW)
    index.add(table(held(20)))
    merged, waiting = index.snapshot().tables(["plugin"])
    assert (merged.column_names, waiting.column_names) == (["plugin"], ["plugin"])
    assert (sorted(merged["plugin"].to_pylist()), waiting["plugin"].to_pylist()) == (list(range(8)), [20])
    assert [found.column_names for found in index.snapshot().tables()] == [parts.schema().names] * 2


@pytest.mark.parametrize(("deltas", "rows"), [(0, 0), (3, 0), (4, 400)])
def test_rows_of_deltas_are_estimated_once_they_may_be_too_many_to_be_held(index, monkeypatch, deltas, rows):
    for name, value in (("DELTAS", 2), ("DELTA_ROWS", 199), ("ROWS_OF_DELTA", 100)):
        monkeypatch.setattr(snapshot_module, name, value)
    assert index.snapshot().merged_rows() == 0
    index.add(table(held(1), held(2)))
    index.merge(now=NOW)
    for number in range(deltas):
        index.add(table(held(10 + number)))
    assert (index.snapshot().merged_rows(), index.snapshot().most_delta_rows()) == (2, rows)
    # All of them count where it is not known which are merged.
    (Path(index.folder.path) / "manifest.json").write_bytes(b"{")
    assert index.snapshot().merged_rows() == 0
    assert index.snapshot().most_delta_rows() == (0 if deltas < 3 else (deltas + 1) * 100)


def test_missing_deltas_are_counted_and_one_is_named(index):
    missing = [f"delta-{digit * 64}.parquet" for digit in "ba"]
    noted = index.add(table(held(1)))
    with pytest.raises(LostIndexError, match=rf"^2 deltas of the index in \S+ that .* such as {missing[1]}\."):
        FindingIndex(index.folder, {noted, *missing}).snapshot().waiting()


def test_a_row_takes_at_most_sixty_bytes(index):
    import random

    luck = random.Random(1)
    made = []
    for number in range(30_000):
        asset = luck.randbytes(16) if number % 60 == 0 else asset  # noqa: F821
        name = f"{REGION}/{ACCOUNT}/i-{asset.hex()[:17]}/{luck.randrange(10_000, 300_000)}/tcp/{luck.choice([0, 443])}"
        resource, place = row.split_id(name)
        made.append(
            held(
                number,
                key=row.key_of(name),
                resource=resource,
                place=place,
                asset=asset,
                plugin=luck.randrange(10_000, 300_000),
                content=luck.randrange(2**64),
                updated_at=NOW - luck.randrange(7 * DAY),
                first_observed=NOW - luck.randrange(365 * DAY),
            )
        )
    index.add(table(*made))
    index.merge(now=NOW)
    assert sum(file.stat().st_size for file in files(index, "findings")) < 60 * len(made)


REGION, ACCOUNT = "eu-west-1", "111122223333"
CHANGE = st.fixed_dictionaries(
    {
        "archived": st.booleans(),
        "content": st.integers(0, 2),
        "updated_at": st.integers(NOW - 3, NOW),
        "as_of": st.integers(NOW - 3, NOW),
        "sent_at": st.integers(NOW - 3, NOW),
    }
)


class IndexModel(RuleBasedStateMachine):
    """Deltas come in any order, again and again; mergers work at the same time and die; files are damaged. As long as
    nothing is lost the index says what a dict says, and what is lost it says.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lost = False
        self.damaged = ""
        self.model: dict[bytes, tuple[Any, ...]] = {}
        self.written: list[list[dict[str, Any]]] = []

    @initialize(at_once=st.sampled_from([1, 2, 200]))
    def begin(self, at_once):

        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(parts, "PART_ROWS", at_once)
        self.patch.setattr(module, "DELTAS", 2)
        self.folder = tempfile.TemporaryDirectory()
        self.index = FindingIndex(open_path(f"file://{self.folder.name}/index"))

    @rule(some=st.lists(st.tuples(st.integers(0, 8), CHANGE), min_size=1, max_size=5))
    def add(self, some):
        self.put([held(number, **change) for number, change in some])

    @precondition(lambda self: self.written)
    @rule(data=st.data())
    def add_again(self, data):
        self.put(data.draw(st.sampled_from(self.written)))

    def put(self, made: list[dict[str, Any]]) -> None:
        self.written.append(made)
        # A delta that is written again is intact.
        if self.index.add(table(*made)) == self.damaged:
            self.lost = False
        for each in made:
            rank = (each["as_of"], each["updated_at"], each["sent_at"], each["archived"], each["content"])
            self.model[each["key"]] = max(self.model.get(each["key"], rank), rank)

    @rule(rebuild=st.booleans())
    def merge(self, rebuild):
        if self.lost:
            return
        self.index.merge(now=NOW, rebuild=rebuild)

    @rule()
    def merge_and_die(self):
        if self.lost:
            return
        self.patch.setattr(self.index._parts, "publish", lambda *_, **__: None)
        self.index.merge(now=NOW, rebuild=True)
        self.index = FindingIndex(self.index.folder)

    @rule(made=st.lists(st.integers(0, 8), min_size=1, max_size=2))
    def merge_beside_another(self, made):
        """Another one adds a delta and merges while this one is between reading and publishing."""
        if self.lost:
            return
        slow, publish = FindingIndex(self.index.folder), self.index._parts.publish
        waiting: list[Any] = []
        self.patch.setattr(slow._parts, "publish", lambda *args, **names: waiting.append((args, names)))
        slow.merge(now=NOW, rebuild=True)
        self.put([held(number, as_of=NOW + 1) for number in made])
        self.index.merge(now=NOW, rebuild=True)
        for args, names in waiting:
            publish(*args, **names)

    @rule()
    def clean(self):
        self.index.remove_unneeded()

    @precondition(lambda self: not self.lost)
    @rule(data=st.data(), kind=st.sampled_from(["flipped", "cut", "empty"]))
    def damage(self, data, kind):
        try:
            snapshot = self.index.snapshot()
            manifest = snapshot.manifest
        except LostIndexError:
            return
        needed = [part.name for part in manifest.parts] if manifest else []
        needed += snapshot.waiting()
        if not needed:
            return
        path = Path(self.index.folder.path) / data.draw(st.sampled_from(needed))
        SPOILS[kind](path)
        self.lost, self.damaged = True, path.name

    @precondition(lambda self: self.lost)
    @rule()
    def full_run(self):
        """Everything is sent again, and the index made of what can be read and of that."""
        self.lost, self.damaged = False, ""
        self.index.merge(now=NOW, rebuild=True)
        self.put([held(number, as_of=NOW + 2, updated_at=NOW) for number in range(9)])
        self.model = {key: rank for key, rank in self.model.items() if rank[0] == NOW + 2}

    @invariant()
    def says_what_was_written(self):
        if not hasattr(self, "index"):
            return
        if self.lost:
            with pytest.raises(LostIndexError):
                rows(self.index)
        else:
            found = rows(self.index)
            assert found == self.model

    def teardown(self):
        if hasattr(self, "folder"):
            self.patch.undo()
            self.folder.cleanup()


TestIndexModel = IndexModel.TestCase
TestIndexModel.settings = settings(
    max_examples=int(os.environ.get("INDEX_EXAMPLES", "25")),
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def test_the_manifest_is_read_by_its_version(index):
    index.add(table(held(1)))
    index.merge(now=NOW)
    value = read_json(index.folder / "manifest.json")
    write_json(index.folder / "manifest.json", {**value, "version": 2})
    with pytest.raises(LostIndexError, match="another version"):
        list(index.snapshot().merged_tables())
