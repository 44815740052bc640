"""Receipts: what survives a death, and for which findings they speak."""

from __future__ import annotations

import gc
import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.security_hub import receipts as module
from airflow_provider_tenable.security_hub.receipts import Receipts, _ranges
from airflow_provider_tenable.staging.files import names
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import read_lines

ACCOUNT, REGION = "123456789012", "eu-west-1"


class Killed(BaseException):
    pass


@pytest.fixture
def run(tmp_path):
    return RunFolder(f"file://{tmp_path}", "dag", "run")


def receipts_of(run, *parts):
    return Receipts(run, ACCOUNT, REGION, parts)


def reject(receipts, part, line, code="InvalidInput", **fields):
    receipts.reject(
        part, line, **{"finding_id": f"id-{line}", "code": code, "message": "why", "finding": b'{"Id":"x"}', **fields}
    )


def rejected(run):
    return [json.loads(line) for name in names(run.rejected) for line in read_lines(run.rejected / name)]


def test_receipts_survive_the_round_trip(run):
    receipts = receipts_of(run, "a", "b")
    receipts.calls = 7
    for line in (0, 1, 2, 5):
        receipts.accept("a", line)
    reject(receipts, "b", 0, "InvalidInput")
    reject(receipts, "b", 3, "Other")
    receipts.flush()
    again = receipts_of(run, "a", "b")
    assert (
        again.counts() == receipts.counts() == {"accepted": 4, "rejected": {"InvalidInput": 1, "Other": 1}, "calls": 7}
    )
    assert [line for line in range(8) if again.is_done("a", line)] == [0, 1, 2, 5]
    assert [line for line in range(8) if again.is_done("b", line)] == [0, 3]


def test_the_file_is_a_line_per_part_with_ranges(run):
    receipts = receipts_of(run, "b", "a")
    for line in (4, 0, 2, 1):
        receipts.accept("a", line)
    receipts.flush()
    assert [json.loads(line) for line in run.receipts(ACCOUNT, REGION).read_bytes().splitlines()] == [
        {"calls": 0, "rejected_parts": 0, "format": 1},
        {"part": "a", "lines": [[0, 2], [4, 4]], "accepted": 4, "rejected": {}},
        {"part": "b", "lines": [], "accepted": 0, "rejected": {}},
    ]


def test_a_destination_without_receipts_has_none(run):
    receipts = receipts_of(run, "a")
    assert receipts.counts() == {"accepted": 0, "rejected": {}, "calls": 0}
    assert not receipts.is_done("a", 0)


def test_receipts_of_parts_that_the_run_no_longer_has_are_dropped(run):
    receipts = receipts_of(run, "old", "kept")
    receipts.accept("old", 0)
    receipts.accept("kept", 1)
    receipts.flush()
    again = receipts_of(run, "kept", "new")
    assert again.accepted == 1
    assert not again.is_done("new", 0)
    again.flush()
    assert receipts_of(run, "old").accepted == 0


def test_each_destination_has_its_own_receipts(run):
    receipts = receipts_of(run, "a")
    receipts.accept("a", 0)
    receipts.flush()
    assert Receipts(run, ACCOUNT, "us-east-1", ["a"]).accepted == 0
    assert Receipts(run, "210987654321", REGION, ["a"]).accepted == 0


def test_rejected_findings_of_several_flushes_lie_in_several_parts(run):
    receipts = receipts_of(run, "a")
    for line in range(3):
        reject(receipts, "a", line)
        receipts.flush()
        receipts.flush()
    assert names(run.rejected) == [f"part-{ACCOUNT}-{REGION}-{number:05d}.jsonl.gz" for number in range(3)]
    assert [line["id"] for line in rejected(run)] == ["id-0", "id-1", "id-2"]
    resumed = receipts_of(run, "a")
    reject(resumed, "a", 3)
    resumed.flush()
    assert [line["id"] for line in rejected(run)] == ["id-0", "id-1", "id-2", "id-3"]


def test_a_rejected_finding_is_on_disk_before_the_receipt_that_counts_it(run, monkeypatch):
    receipts = receipts_of(run, "a")
    receipts.accept("a", 0)
    reject(receipts, "a", 1)

    def dies(*args):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_whole", dies)
        with pytest.raises(Killed):
            receipts.flush()
    assert [line["id"] for line in rejected(run)] == ["id-1"]
    again = receipts_of(run, "a")
    assert again.counts() == {"accepted": 0, "rejected": {}, "calls": 0}
    # The retry is refused the same finding, and writes over the same part: it stands there once.
    reject(again, "a", 1)
    again.flush()
    assert [line["id"] for line in rejected(run)] == ["id-1"]
    assert receipts_of(run, "a").rejected == {"InvalidInput": 1}


def test_a_rejected_line_holds_the_finding_as_it_was_sent_and_at_most_2000_characters_of_message(run):
    receipts = receipts_of(run, "a")
    reject(receipts, "a", 0, message="m" * 2001, finding=b'{"Id":"\xc3\xa9", "n": 1}')
    receipts.flush()
    assert rejected(run) == [
        {
            "id": "id-0",
            "account": ACCOUNT,
            "region": REGION,
            "code": "InvalidInput",
            "message": "m" * 2000,
            "finding": {"Id": "é", "n": 1},
            "part": "a",
            "line": 0,
        }
    ]


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"calls": 1}',
        b'{"calls":1,"rejected_parts":0}\n{',
        b'{"calls":1,"rejected_parts":0}\n{"part":"a"}',
        b"\xff\xfe",
        b'{"calls":1,"rejected_parts":0}\n{"part":"a","lines":[[0]],"accepted":1,"rejected":{}}',
        b'{"calls":1,"rejected_parts":0}\n{"part":"a","lines":[["x","y"]],"accepted":1,"rejected":{}}',
        b'"\xff"',
    ],
)
def test_damaged_receipts_are_a_staging_error_that_says_what_to_do(run, tmp_path, damage):
    path = tmp_path / "dag" / "run" / "receipts" / ACCOUNT / f"{REGION}.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(damage)
    with pytest.raises(StagingError, match=r"are damaged .* Remove the file and clear the import"):
        receipts_of(run, "a")


@settings(max_examples=200, deadline=None)
@given(st.sets(st.integers(0, 60)))
def test_ranges_hold_exactly_their_numbers_and_are_as_few_as_can_be(numbers):
    ranges = _ranges(numbers)
    assert [number for first, last in ranges for number in range(first, last + 1)] == sorted(numbers)
    assert all(second[0] > first[1] + 1 for first, second in itertools.pairwise(ranges))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.randoms())
def test_runs_of_lines_are_receipted_in_any_order_as_line_by_line(tmp_path_factory, lengths, random):
    run = RunFolder(f"file://{tmp_path_factory.mktemp('runs')}", "dag", "run")
    ends = [sum(lengths[: number + 1]) for number in range(len(lengths))]
    spans = [(end - length, end - 1) for end, length in zip(ends, lengths, strict=True)]
    random.shuffle(spans)
    half = len(spans) // 2
    receipts, singly = (Receipts(run, "123456789012", region, ["part"]) for region in ("eu-west-1", "eu-west-2"))
    for span in spans[:half]:
        receipts.accept_all("part", *span)
        for number in range(span[0], span[1] + 1):
            singly.accept("part", number)
    receipts.flush()
    singly.flush()
    assert receipts.path.read_bytes() == singly.path.read_bytes()
    resumed = Receipts(run, "123456789012", "eu-west-1", ["part"])
    for span in spans[half:]:
        resumed.accept_all("part", *span)
    assert resumed.accepted == ends[-1]
    resumed.flush()
    assert b'"lines":[[0,%d]]' % (ends[-1] - 1) in resumed.path.read_bytes()


def test_which_lines_were_acknowledged_is_on_record_too(run):
    receipts = receipts_of(run, "a", "b")
    for line in (0, 1, 4):
        receipts.accept("a", line)
    reject(receipts, "a", 2)
    receipts.flush()
    again = receipts_of(run, "a", "b")
    assert again.accepted_ranges("a") == [[0, 1], [4, 4]]
    assert again.done_ranges("a") == [[0, 2], [4, 4]]
    assert again.accepted_ranges("b") == []


def test_where_an_older_release_counted_what_was_refused_nobody_knows_which_were_acknowledged(run):
    receipts = receipts_of(run, "a")
    receipts.accept("a", 0)
    reject(receipts, "a", 1)
    receipts.flush()
    path = run.receipts(ACCOUNT, REGION)
    head, line = map(json.loads, path.read_bytes().splitlines())
    del line["refused"]
    path.write_bytes(b"\n".join(json.dumps(each).encode() for each in (head, line)))
    assert receipts_of(run, "a").accepted_ranges("a") == []


def test_reading_receipts_with_many_gaps_does_not_burden_the_garbage_collector(run, monkeypatch):
    """A finding that does not have to be sent leaves a gap. The garbage collector counts new lists and tuples; after
    enough of them it traverses everything that Airflow has loaded.
    """
    receipts = receipts_of(run, "a")
    for line in range(0, 10_000, 2):
        receipts.accept("a", line)
    receipts.flush()
    most, real = [], module._numbers
    monkeypatch.setattr(module, "_numbers", lambda ranges: most.append(len(gc.get_objects())) or real(ranges))
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        assert receipts_of(run, "a").counts()["accepted"] == 5_000
    finally:
        gc.enable()
    assert max(most) - before < 200


def test_receipts_of_a_newer_version_are_recognised_before_their_parts_are_read(run):
    path = run.receipts(ACCOUNT, REGION)
    path.parent.mkdir(parents=True)
    path.write_bytes(b'{"calls":1,"rejected_parts":0,"format":2}\n{"part":"a","lines":"of another kind"}')
    with pytest.raises(StagingError, match="format 2, written by a newer version"):
        receipts_of(run, "a")
