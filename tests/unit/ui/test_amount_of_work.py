"""The page is made in under a second from the files of 10,000 runs and 200 accounts. Seconds depend on the machine, so
what is checked is what they are made of: bytes read, bytes sent, and calls of functions, of which Python makes millions
in a second.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.ui.snapshot import MOST_REJECTED, MOST_RUNS, read_snapshot
from tests.page_samples import DAG_ID, place, write_rejected, write_samples
from tests.unit.ui.test_page import shown

#: Calls that Python makes in a second even on a slow machine; usual are two to three millions.
CALLS = 1_000_000


def calls_of(work: Callable[[], Any]) -> int:
    """How many functions are called, those of C too."""
    counted: Counter[str] = Counter()

    def count(frame: Any, event: str, argument: Any) -> None:
        counted[event] += 1

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return counted["call"] + counted["c_call"]


@pytest.fixture(scope="module")
def staging(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What 10,000 runs and 200 accounts leave: every place is owed findings, and every one has rejected some."""
    folder = tmp_path_factory.mktemp("staging")
    latest = write_samples(folder, runs=10_000, places=200)
    for run in range(MOST_RUNS + 2):
        for number in range(6):
            account, region = place(number).split("/")
            line = {"account": account, "region": region, "code": "InvalidInput", "message": "m" * 400}
            lines = [
                {**line, "id": f"finding-{each}", "finding": {"Title": "t" * 200}} for each in range(MOST_REJECTED)
            ]
            write_rejected(latest.beside(f"scheduled__{run:05d}"), lines, account=account, region=region, shard=number)
    for number in range(200):
        write_json(latest.owed_places / f"{place(number).replace('/', '-')}.json", {"since": 1, "first": 1, "why": "x"})
    return folder


def bytes_read_by(work: Callable[[], Any]) -> int:
    """What the process reads from files, whichever function reads it."""

    def so_far() -> int:
        return int(Path("/proc/self/io").read_text().splitlines()[0].removeprefix("rchar: "))

    before = so_far()
    work()
    return so_far() - before


def test_page_of_ten_thousand_runs_and_two_hundred_accounts_is_under_a_second_of_work(staging: Path) -> None:
    def page() -> str:
        return shown(read_snapshot(f"file://{staging}", DAG_ID))

    text = page()
    assert "and 970 earlier runs" in text
    assert text.count(" rel=") == 200
    # About 260,000 calls, which take 0.1 s here.
    assert calls_of(page) < CALLS / 2
    assert len(text) < 400_000
    # The history has the last 1,000 runs, in 750 KB.
    if sys.platform == "linux":
        assert bytes_read_by(page) < 1_500_000
