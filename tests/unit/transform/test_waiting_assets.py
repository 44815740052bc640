"""The lists of the assets whose records wait, beside the parts of these records."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import msgspec
import pytest

from airflow_provider_tenable.exceptions import StorageUnavailableError
from airflow_provider_tenable.staging.files import names
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import read_lines
from airflow_provider_tenable.staging.zstd import pack, unpacked
from airflow_provider_tenable.transform import output, waiting_assets, waiting_records
from airflow_provider_tenable.transform.output import FindingsWriter
from airflow_provider_tenable.transform.shard import Parked
from airflow_provider_tenable.transform.waiting_assets import Waiting, WaitingAssets, read_list
from airflow_provider_tenable.transform.waiting_records import claim_pool, list_pool, settle_pool, transform_pool

LAPSED = 100


class Transform:
    """A transform that notes what it gets, and keeps what waits on in the part of its own run."""

    give_up_before = LAPSED

    def __init__(self, settled: set[str]) -> None:
        self.settled = settled
        self.transformed: list[tuple[str, int]] = []
        self.kept: list[tuple[str, int]] = []

    def is_settled(self, asset: str) -> bool:
        return asset in self.settled

    def transform_parked(self, entries: Any) -> None:
        self.transformed += [(entry.asset, entry.parked_at) for entry in entries]

    def keep(self, entry: Parked) -> None:
        self.kept.append((entry.asset, entry.parked_at))


def run_of(base, run_id):
    return RunFolder(base, "dag", run_id)


@pytest.fixture
def base(tmp_path):
    return f"file://{tmp_path}"


@pytest.fixture
def run(base):
    return run_of(base, "run")


@pytest.fixture
def later(base):
    return run_of(base, "later")


@pytest.fixture
def unread(monkeypatch):
    """No part of the pool is read."""
    monkeypatch.setattr(waiting_records, "read_lines", lambda path: pytest.fail(f"{path} is read"))


def keep(run, records, shard=0):
    """Keep records as a transform does it; the names of the parts in the run's folder."""
    writer = FindingsWriter(run, shard)
    for asset, parked_at in records:
        entry = Parked(parked_at, msgspec.Raw(b'{"n":%d}' % parked_at), asset=asset)
        writer.keep(msgspec.json.encode(entry), asset, parked_at)
    writer._close_waiting()
    return writer._waiting_parts


def park(run, records):
    """Keep records and settle the run; the name of the only part in the pool."""
    settle_pool(run, keep(run, records), done=[])
    [part] = list_pool(run)
    return part


def lists(run):
    return [name for name in names(run.parked_pool) if name.endswith(".assets")]


def release(run, settled=()):
    """The transform of the pool, and whether the part is no longer needed."""
    claim_pool(run)
    transform = Transform(set(settled))
    return transform, bool(transform_pool(run, transform))


def test_list_has_each_asset_with_its_moments_and_number():
    found = WaitingAssets()
    for asset, parked_at in [("a", 5), ("b", 7), ("a", 3), ("a", 9), ("a", 4)]:
        found.add(asset, parked_at)
    assert found.assets == {"a": Waiting(3, 9, 4), "b": Waiting(7, 7, 1)}


def test_each_part_has_a_list_of_its_own_records(run, monkeypatch):
    monkeypatch.setattr(output, "KEPT_PER_PART", 3)
    records = [("a", 1), ("b", 2), ("a", 3), ("b", 4), ("c", 5), ("c", 6), ("a", 7)]
    settle_pool(run, keep(run, records), done=[])
    parts = list_pool(run)
    found = [read_list(run.parked_pool, part) for part in parts]
    held = [[json.loads(line) for line in read_lines(run.parked_pool / part)] for part in parts]
    assert [len(lines) for lines in held] == [3, 3, 1]
    assert found == [
        {
            asset: Waiting(min(moments), max(moments), len(moments))
            for asset in {line["asset"] for line in lines}
            for moments in [[line["parked_at"] for line in lines if line["asset"] == asset]]
        }
        for lines in held
    ]
    assert [name.removesuffix(".assets") for name in lists(run)] == [part.removesuffix(".jsonl.zst") for part in parts]


@pytest.mark.usefixtures("unread")
def test_part_of_which_nothing_has_settled_or_lapsed_is_not_read(run):
    park(run, [("a", LAPSED), ("b", LAPSED + 1)])
    transform, done = release(run, settled={"c"})
    assert (done, transform.transformed, transform.kept) == (False, [], [])


@pytest.mark.usefixtures("unread")
def test_part_of_which_everything_has_lapsed_is_dropped_without_being_read(run, caplog):
    caplog.set_level("INFO")
    park(run, [("a", LAPSED - 1), ("a", LAPSED - 2), ("b", 1)])
    transform, done = release(run)
    assert (done, transform.transformed, transform.kept) == (True, [], [])
    assert "3 waiting records are dropped" in caplog.text


@pytest.mark.parametrize("fresh", [[("a", LAPSED)], [("b", LAPSED)], [("a", LAPSED), ("b", LAPSED + 1)]])
def test_part_of_which_some_records_have_lapsed_is_read(run, caplog, fresh):
    caplog.set_level("INFO")
    park(run, [("a", LAPSED - 1), *fresh])
    transform, done = release(run)
    assert (done, transform.transformed, transform.kept) == (True, [], fresh)
    assert "1 waiting records are dropped" in caplog.text


@pytest.fixture(
    params=["missing", "empty", "no zstd", "cut", "changed", "no list", "other values", "no assets", "another part's"]
)
def spoil(request):
    def change(run, part):
        path = run.parked_pool / lists(run)[0]
        content = path.read_bytes()
        digest = json.loads(b"".join(unpacked(content, 1000)))["part"]
        changed = {
            "empty": b"",
            "no zstd": b"{}",
            "cut": content[:-1],
            "changed": content[:-1] + b"\xff",
            "no list": pack(b"[]"),
            "other values": pack(json.dumps({"part": digest, "assets": {"a": ["x", 1, 1]}}).encode()),
            "no assets": pack(json.dumps({"part": digest, "assets": {}}).encode()),
            "another part's": pack(json.dumps({"part": digest[::-1], "assets": {"z": [LAPSED, LAPSED, 3]}}).encode()),
        }
        path.unlink()
        if request.param in changed:
            path.write_bytes(changed[request.param])
        assert read_list(run.parked_pool, part) is None

    return change


@pytest.mark.parametrize("settled", [[], ["a"], ["a", "b"]])
@pytest.mark.parametrize("moments", [(LAPSED, 200, 300), (1, 2, 3), (1, 200, 300)], ids=["fresh", "lapsed", "mixed"])
def test_without_a_list_of_its_own_a_part_is_read(run, spoil, settled, moments, caplog):
    caplog.set_level("INFO", logger="airflow_provider_tenable.transform.waiting_records")
    part = park(run, zip(["a", "b", "a"], moments, strict=True))
    listed, done = release(run, settled)
    said = caplog.messages[:]
    caplog.clear()
    spoil(run, part)
    read, done_too = release(run, settled)
    assert (read.transformed, read.kept, done_too) == (listed.transformed, listed.kept, done)
    assert [text for text in caplog.messages if "dropped" in text] == said


def test_damaged_list_is_reported(run, caplog):
    part = park(run, [("a", LAPSED)])
    (run.parked_pool / lists(run)[0]).write_bytes(pack(b"[]"))
    release(run)
    [message] = caplog.messages
    assert "is damaged" in message
    assert part.partition(".")[0] in message


def test_storage_that_does_not_answer_is_no_missing_list(run, monkeypatch):
    park(run, [("a", LAPSED)])

    def refuse(path):
        raise StorageUnavailableError(f"Cannot read {path}")

    monkeypatch.setattr(waiting_assets, "read_whole", refuse)
    with pytest.raises(StorageUnavailableError):
        release(run)


def test_parts_with_and_without_lists_are_treated_alike(base):
    """Records, assets that have settled, and lists that are missing, by chance."""
    outcomes: Counter[bool] = Counter()
    for seed in range(300):
        chance = random.Random(seed)
        here = run_of(base, f"run-{seed}")
        moments = chance.choice([(1, 99), (1, 200), (100, 200)])
        records = [(chance.choice("abcd"), chance.randint(*moments)) for _ in range(chance.randint(1, 8))]
        part = park(here, records)
        settled = set(chance.sample("abcd", chance.choice([0, 0, 1, 2])))
        if chance.random() < 0.3:
            (here.parked_pool / lists(here)[0]).unlink()
        transform, done = release(here, settled)
        touched = [each for each in records if each[0] in settled or each[1] < LAPSED]
        assert done is bool(touched)
        assert transform.transformed == [each for each in records if each[0] in settled]
        waits_on = [each for each in records if each not in touched]
        assert transform.kept == (waits_on if touched else [])
        settle_pool(here, [], done=[part])
        assert names(here.parked_pool) == []
        outcomes[done] += 1
    assert min(outcomes.values()) > 50


def test_list_leaves_the_pool_with_its_part(run, later):
    part = park(run, [("a", 1)])
    for _ in range(2):
        settle_pool(later, keep(later, [("b", 2)]), done=[part])
        assert [name.partition("--")[0] for name in names(later.parked_pool)] == ["later", "later"]


def test_list_stays_with_a_part_that_a_cleared_run_keeps_again(run):
    part = park(run, [("a", 1)])
    settle_pool(run, keep(run, [("a", 1)]), done=[part])
    assert read_list(run.parked_pool, part) == {"a": Waiting(1, 1)}


def test_there_is_no_list_without_a_part_wherever_the_process_dies(run, later, monkeypatch):
    """What a run that nobody clears leaves behind would stay for good."""
    steps: list[int] = []
    write, remove = waiting_records.write_whole, waiting_records.remove_file

    def dying(step):
        def die(*arguments):
            orphans = {name.removesuffix(".assets") for name in lists(run)} - {
                name.removesuffix(".jsonl.zst") for name in list_pool(run)
            }
            assert not orphans
            steps.append(1)
            return step(*arguments)

        return die

    for module in (waiting_records, waiting_assets):
        monkeypatch.setattr(module, "write_whole", dying(write))
        monkeypatch.setattr(module, "remove_file", dying(remove))
    part = park(run, [("a", 1)])
    settle_pool(later, [], done=[part])
    # The list in the run's folder, part and list in the pool, and the removal of both.
    assert len(steps) == 5
    assert names(run.parked_pool) == []


def test_list_of_a_run_whose_transform_was_repeated_is_not_taken_for_that_of_its_part(run):
    """The process died between the two files, and nothing wrote them again."""
    parts = keep(run, [("a", 1)])
    of_another = (run.parked / "waiting-shard-0000-00000.assets").read_bytes()
    keep(run, [("b", 2)])
    (run.parked / "waiting-shard-0000-00000.assets").write_bytes(of_another)
    settle_pool(run, parts, done=[])
    assert read_list(run.parked_pool, list_pool(run)[0]) is None


@pytest.mark.parametrize("length", [150, 197, 250])
def test_name_of_a_list_is_no_longer_than_that_of_its_part(base, length):
    run = run_of(base, "r" * length)
    part = park(run, [("a", LAPSED)])
    assert len(lists(run)[0]) < len(part) <= 255
    assert read_list(run.parked_pool, part) == {"a": Waiting(LAPSED, LAPSED)}


@pytest.mark.usefixtures("unread")
def test_what_earlier_releases_keep_in_the_pool_has_no_list(run):
    assert read_list(run.parked_pool, "run--waiting-shard-0000-00000-0123456789abcdef.jsonl.gz") is None
    assert read_list(run.parked_pool, "run--waiting-shard-0000-00000-0123456789abcdef.jsonl.zst") is None
