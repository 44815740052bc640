"""What the page reads of the staging area: how much, and what happens where files are missing, damaged or hostile."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable.staging import files
from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.ui.snapshot import MOST_FILES, MOST_PLACES, MOST_REJECTED, MOST_RUNS, read_snapshot
from tests.page_samples import DAG_ID, HOSTILE, history_entry, place, write_rejected, write_samples

ACCOUNT, REGION = "111122223333", "eu-west-1"


def line(number: int = 0, **change: Any) -> dict[str, Any]:
    return {
        "id": f"{REGION}/{ACCOUNT}/i-{number:017x}/19506/tcp/443",
        "account": ACCOUNT,
        "region": REGION,
        "code": "InvalidInput",
        "message": "Finding does not adhere to Amazon Finding Format.",
        "finding": {"Title": f"Title {number}"},
        **change,
    }


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Files that are read and folders that are listed, by name."""
    found: Counter[str] = Counter()

    def counted(name: str) -> Any:
        real = getattr(files, name)

        def call(path: Any, *rest: Any, **named: Any) -> Any:
            found[str(path)] += 1
            return real(path, *rest, **named)

        return call

    for name in ("content_of", "names", "open_whole"):
        replacement = counted(name)
        for module in (
            "airflow_provider_tenable.staging.files",
            "airflow_provider_tenable.staging.parts",
            "airflow_provider_tenable.security_hub.receipts",
            "airflow_provider_tenable.ui.snapshot",
        ):
            monkeypatch.setattr(f"{module}.{name}", replacement, raising=False)
    return found


def test_ten_thousand_runs_and_two_hundred_accounts_are_a_few_files(tmp_path: Path, reads: Counter[str]) -> None:
    folder = write_samples(tmp_path, runs=10_000, places=200)
    accounts = [place(number).split("/") for number in range(200)]
    for number in range(MOST_RUNS + 3):
        run = folder.beside(f"scheduled__{number:05d}")
        lines = [line(each) for each in range(2)]
        write_rejected(run, lines, account=accounts[number][0], region=accounts[number][1])
    for account, region in accounts:
        write_json(folder.owed_places / f"{account}-{region}.json", {"since": 1, "first": 1, "why": "x"})
    reads.clear()
    snapshot = read_snapshot(f"file://{tmp_path}", DAG_ID)
    assert snapshot.problems == []
    assert len(snapshot.history) == 1_000
    assert snapshot.status is not None
    assert len(snapshot.status["hubs"]["places"]) == len(snapshot.owed) == 200
    assert len(snapshot.rejected) == 2 * MOST_RUNS
    # status, history, owed; ledger, shards, one manifest, receipts, one part of each run.
    assert reads.total() == 3 + 5 * MOST_RUNS, reads
    assert max(reads.values()) == 1


def test_rejected_findings_are_read_up_to_a_bound(tmp_path: Path, reads: Counter[str]) -> None:
    folder = write_samples(tmp_path)
    write_rejected(folder, [line(number) for number in range(MOST_REJECTED + 30)], account=ACCOUNT, region=REGION)
    snapshot = read_snapshot(f"file://{tmp_path}", DAG_ID)
    assert [each.title for each in snapshot.rejected] == [f"Title {number}" for number in range(MOST_REJECTED)]
    assert sum(count for path, count in reads.items() if "/rejected/" in path) <= MOST_FILES


def test_rejected_findings_of_many_places_are_those_of_a_few(tmp_path: Path, reads: Counter[str]) -> None:
    folder = write_samples(tmp_path)
    for number in range(MOST_PLACES + 4):
        account, region = place(number).split("/")
        write_rejected(folder, [line(number)], account=account, region=region, shard=number)
    reads.clear()
    snapshot = read_snapshot(f"file://{tmp_path}", DAG_ID)
    assert [each.title for each in snapshot.rejected] == [f"Title {number}" for number in range(MOST_PLACES)]
    assert sum(count for path, count in reads.items() if "/receipts/" in path) == MOST_PLACES


def test_what_an_earlier_attempt_left_does_not_count(tmp_path: Path) -> None:
    folder = write_samples(tmp_path)
    write_rejected(folder, [line(1), line(2, part="part-0009-00000.jsonl.zst")], account=ACCOUNT, region=REGION)
    assert [each.title for each in read_snapshot(f"file://{tmp_path}", DAG_ID).rejected] == ["Title 1"]


def test_nothing_is_there_before_the_first_run(tmp_path: Path) -> None:
    snapshot = read_snapshot(f"file://{tmp_path}", DAG_ID)
    assert (snapshot.status, snapshot.history, snapshot.rejected, snapshot.owed) == (None, [], [], [])
    assert snapshot.problems == []


def test_runs_whose_files_were_removed_have_no_rejected_findings(tmp_path: Path) -> None:
    write_samples(tmp_path)
    snapshot = read_snapshot(f"file://{tmp_path}", DAG_ID)
    assert (snapshot.rejected, snapshot.problems) == ([], [])


@pytest.mark.parametrize("name", ["rejected", "receipts", "ledger", "shard"])
def test_a_damaged_file_is_named_and_the_rest_is_shown(tmp_path: Path, name: str) -> None:
    folder = write_samples(tmp_path)
    write_rejected(folder, [line()], account=ACCOUNT, region=REGION)
    damaged = {
        "rejected": folder.rejected / f"part-{ACCOUNT}-{REGION}-00000.jsonl.gz",
        "receipts": folder.receipts(ACCOUNT, REGION),
        "ledger": folder.ledger,
        "shard": folder.shard_manifest(0),
    }[name]
    Path(damaged.path).write_bytes(b"\x1f\x8b damaged {")
    snapshot = read_snapshot(f"file://{tmp_path}", DAG_ID)
    assert len(snapshot.history) == 45
    assert snapshot.status is not None
    [problem] = snapshot.problems
    assert damaged.name in problem


@pytest.mark.parametrize(
    "changed",
    [
        {"finding": None},
        {"finding": ["a"]},
        {"finding": {"Title": 7}},
        {"account": None, "region": {"a": 1}},
        {"message": 10**400, "code": None},
        {"id": None},
    ],
    ids=str,
)
def test_a_line_of_any_shape_is_text(tmp_path: Path, changed: dict[str, Any]) -> None:
    folder = write_samples(tmp_path)
    write_rejected(folder, [line(**changed)], account=ACCOUNT, region=REGION)
    [found] = read_snapshot(f"file://{tmp_path}", DAG_ID).rejected
    for text in (found.account, found.region, found.code, found.message, found.title, found.id):
        assert isinstance(text, str)
        assert len(text) <= 512


def test_texts_are_bounded_and_printable(tmp_path: Path) -> None:
    folder = write_samples(tmp_path)
    long = line(message=HOSTILE * 1_000, code=HOSTILE * 1_000, finding={"Title": HOSTILE * 1_000})
    write_rejected(folder, [long], account=ACCOUNT, region=REGION)
    [found] = read_snapshot(f"file://{tmp_path}", DAG_ID).rejected
    for text, longest in ((found.message, 500), (found.code, 100), (found.title, 256)):
        assert text.isprintable()
        assert len(text) <= longest


def test_a_staging_area_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    snapshot = read_snapshot("relative/path", DAG_ID)
    assert "is relative" in snapshot.problems[0]
    assert (snapshot.status, snapshot.history) == (None, [])


@pytest.mark.parametrize("name", ["audits", "..", "a/b"])
def test_a_dag_id_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    write_samples(tmp_path)
    [problem] = read_snapshot(f"file://{tmp_path}", name).problems
    assert "cannot be the name of a staging folder" in problem


def test_a_run_id_leads_nowhere_else(tmp_path: Path) -> None:
    folder = write_samples(tmp_path)
    other = RunFolder(f"file://{tmp_path}", "other_dag", "run")
    write_rejected(other, [line()], account=ACCOUNT, region=REGION)
    write_json(folder.history, {"version": 1, "runs": [history_entry(0, run_id="../other_dag/run")]})
    snapshot = read_snapshot(f"file://{tmp_path}", DAG_ID)
    assert snapshot.rejected == []
    assert "cannot be the name of a staging folder" in snapshot.problems[0]
