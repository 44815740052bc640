"""What is on record of findings that are archived: it survives a death, and counts for no other archival."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_provider_tenable.exceptions import StagingError, StorageUnavailableError
from airflow_provider_tenable.guards.foreign_text import LONGEST_CODE, LONGEST_MESSAGE, safe
from airflow_provider_tenable.security_hub.archive_outcome import UNREADABLE, ArchiveOutcome
from airflow_provider_tenable.security_hub.archive_receipts import Archival, ArchiveReceipts, Settled
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import read_lines, write_lines

ACCOUNT, REGION = "123456789012", "eu-west-1"
A, B, C, D = (Archival(each, "not_reported", 5) for each in "abcd")


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(f"file://{tmp_path}", "dag", "run")


def receipts_of(run: RunFolder, part: str = "part") -> ArchiveReceipts:
    return ArchiveReceipts(run, ACCOUNT, REGION, part)


def files(run: RunFolder) -> list[str]:
    return sorted(path.name for path in run.archive_receipts(ACCOUNT, REGION).iterdir())


def test_each_result_is_there_for_a_retry_and_nothing_before_it_is_written(run):
    receipts = receipts_of(run)
    assert [receipts.of(each) for each in (A, B, C, D)] == [None] * 4
    settled = [
        receipts.archived(A, 9),
        receipts.archived(B, 8, "out_of_scope"),
        receipts.gone(C),
        receipts.refused(D, "InvalidInput", "why"),
    ]
    assert settled == [
        Settled("a", "not_reported", 5, updated_at=9),
        Settled("b", "not_reported", 5, updated_at=8, because="out_of_scope"),
        Settled("c", "not_reported", 5, gone=True),
        Settled("d", "not_reported", 5, code="InvalidInput", message="why"),
    ]
    assert len(receipts_of(run)) == 0
    receipts.flush()
    again = receipts_of(run)
    assert [again.of(each) for each in (A, B, C, D)] == settled == [receipts.of(each) for each in (A, B, C, D)]
    assert (len(again), again.account, again.region) == (4, ACCOUNT, REGION)
    for other in (Archival("a", "fixed", 5), Archival("a", "not_reported", 6), Archival("a2", "not_reported", 5)):
        assert again.of(other) is None


def test_the_planned_reason_is_not_another_one(run):
    assert receipts_of(run).archived(A, 9, "not_reported").because == ""


def test_a_retry_writes_behind_what_is_there_and_the_last_one_counts(run):
    first = receipts_of(run)
    first.flush()
    first.gone(A)
    first.flush()
    first.flush()
    assert len(files(run)) == 1
    second = receipts_of(run)
    second.archived(A, 7)
    second.flush()
    second.archived(B, 7)
    second.flush()
    # Another part of the archivals, whose name begins alike.
    other = receipts_of(run, "par")
    assert len(other) == 0
    other.gone(C)
    other.flush()
    assert len(files(run)) == 4
    third = receipts_of(run)
    assert [third.of(each) for each in (A, B, C)] == [second.of(A), second.of(B), None]


def test_where_a_damaged_file_was_removed_none_of_the_others_is_written_over(run):
    receipts = receipts_of(run)
    for each in (A, B, C):
        receipts.gone(each)
        receipts.flush()
    (run.archive_receipts(ACCOUNT, REGION) / files(run)[1]).unlink()
    again = receipts_of(run)
    again.gone(D)
    again.flush()
    assert [receipts_of(run).of(each) is not None for each in (A, B, C, D)] == [True, False, True, True]


def test_a_refusal_is_one_bounded_line(run):
    settled = receipts_of(run).refused(A, "x\n" * 5_000, "\ud800\x1b[31m" + "y" * 5_000)
    assert 0 < len(settled.code or "") <= LONGEST_CODE
    assert 0 < len(settled.message) <= LONGEST_MESSAGE
    assert settled.message.isprintable()


def spoilt(run: RunFolder, lines: list[bytes]) -> None:
    write_lines(run.archive_receipts(ACCOUNT, REGION), "part-00000", lines)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [b"{}"],
        [b'{"format":"1"}'],
        [b'{"format":1}', b"{}"],
        [b'{"format":1}', b'{"id":"a","reason":"x","floor":"5"}'],
        [b'{"format":1}', b"\xff"],
        [b'{"format":1}', b'{"id":"a"'],
    ],
)
def test_receipts_that_cannot_be_read_count_as_none_and_the_error_says_what_to_do(run, lines):
    spoilt(run, lines)
    with pytest.raises(StagingError) as error:
        receipts_of(run)
    path = run.archive_receipts(ACCOUNT, REGION) / "part-00000.jsonl.gz"
    assert str(error.value).startswith(f"The receipts {path} are damaged ({safe(error.value.__cause__)}). Remove the ")
    assert str(error.value).endswith(": archiving findings again does not change anything.")


def test_a_file_of_a_newer_version_is_named(run):
    spoilt(run, [b'{"format":7}'])
    with pytest.raises(StagingError, match=r"/part-00000\.jsonl\.gz has format 7, written by a newer version"):
        receipts_of(run)


@pytest.mark.parametrize(
    "spoil", [lambda data: data[:-12], lambda data: data[:20], lambda data: b"", lambda data: b"x"]
)
def test_a_file_that_is_cut_is_damaged_too(run, spoil):
    receipts = receipts_of(run)
    receipts.gone(A)
    receipts.flush()
    (path,) = run.archive_receipts(ACCOUNT, REGION).iterdir()
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(StagingError, match=r"are damaged .*Remove the file and clear the task"):
        receipts_of(run)


def test_receipts_that_may_not_be_read_are_not_damaged(run, monkeypatch):
    spoilt(run, [b'{"format":1}'])

    def unreadable(path: Any) -> Any:
        raise StorageUnavailableError("no access")

    monkeypatch.setattr("airflow_provider_tenable.security_hub.archive_receipts.read_lines", unreadable)
    with pytest.raises(StorageUnavailableError, match="no access"):
        receipts_of(run)


def test_only_what_is_not_as_usual_takes_room(run):
    receipts = receipts_of(run)
    receipts.archived(A, 9)
    receipts.flush()
    (name,) = files(run)
    head, line = read_lines(run.archive_receipts(ACCOUNT, REGION) / name)
    assert (head, msgspec.json.decode(line)) == (
        b'{"format":1}',
        {"id": "a", "reason": "not_reported", "floor": 5, "updated_at": 9},
    )


def test_what_became_of_archivals_is_counted_with_few_examples():
    outcome = ArchiveOutcome()
    for number in range(7):
        outcome.add(Settled(f"r{number}", "fixed", 1, code="Throttled", message=f"m{number}"))
    # A receipt that says nothing.
    outcome.add(Settled("odd", "fixed", 1))
    outcome.add(Settled("g", "fixed", 1, gone=True))
    # The beginning of time is a time.
    outcome.add(Settled("a", "fixed", 1, updated_at=0))
    outcome.add(Settled("b", "fixed", 1, updated_at=2, because="out_of_scope"))
    assert outcome == ArchiveOutcome(
        archived=[("a", 0), ("b", 2)],
        because={"b": "out_of_scope"},
        gone=["g"],
        refused={"Throttled": 7, UNREADABLE: 1},  # type: ignore[arg-type]
        examples={"Throttled": [(f"r{number}", f"m{number}") for number in range(5)], UNREADABLE: [("odd", "")]},
    )
