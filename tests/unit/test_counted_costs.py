"""What a record, an export and a run cost, in counts: with them, a stage cannot become a little more expensive in each
of many changes without anybody noticing. `make bench` measures seconds; these do not depend on the machine.

The bounds are about a tenth above what was counted when they were set. Whoever has to raise one says in its commit what
is bought with it; whoever gets far below one lowers it.
"""

from __future__ import annotations

import cProfile
import gc
import json
import pstats
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from airflow_provider_tenable.export import store as export_store
from airflow_provider_tenable.export.state import Finished
from airflow_provider_tenable.export.state_machine import ExportRun
from airflow_provider_tenable.staging import files, parts
from airflow_provider_tenable.staging.files import names
from airflow_provider_tenable.staging.location import open_path
from airflow_provider_tenable.staging.parts import FRAME_BYTES
from airflow_provider_tenable.tenable_vm.jobs import JobStatus
from airflow_provider_tenable.transform import output, shard
from benchmarks import our_side
from benchmarks.estate import Generated

_T = TypeVar("_T")

SMALL, LARGE = 1_250, 2_500
SHORT_FRAME_BYTES = 256_000


@dataclass(frozen=True)
class Cost:
    """What it costs to transform generated records, from staged chunks to staged findings.

    :ivar destinations: accounts and Regions that have some of the findings.
    :ivar calls: of functions, Python's and C's.
    :ivar peak: of memory, in bytes.
    :ivar kept: blocks of memory that are still allocated afterwards.
    """

    findings: int
    destinations: int
    calls: int
    peak: int
    kept: int
    files: int
    bytes: int


def transformed(records: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Cost:
    folder.mkdir()
    Generated(records).write(folder)
    written: list[tuple[str, int]] = []
    destinations: list[Any] = []
    close = output.FindingsWriter.close

    def closed(self: Any, *arguments: Any) -> Any:
        manifest = close(self, *arguments)
        found = [path for path in Path(str(self.run.root).removeprefix("file://")).rglob("*") if path.is_file()]
        destinations[:] = manifest["destinations"]
        written[:] = [(path.name, path.stat().st_size) for path in found]
        return manifest

    monkeypatch.setattr(output.FindingsWriter, "close", closed)
    with closing(our_side.staged(str(folder))) as measuring:  # type: ignore[type-var]
        # What is made once in a process is not a cost of its records.
        next(measuring)
        profile = cProfile.Profile()
        findings = profile.runcall(next, measuring)["findings"]
        calls = pstats.Stats(profile).total_calls  # type: ignore[attr-defined]
        tracemalloc.start()
        next(measuring)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        gc.collect()
        before = sys.getallocatedblocks()
        next(measuring)
        gc.collect()
        kept = sys.getallocatedblocks() - before
    return Cost(findings, len(destinations), calls, peak, kept, len(written), sum(size for _, size in written))


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cost, Cost]]:
    """Of some records, and of twice as many, so that what a run costs anyway can be told apart."""
    with pytest.MonkeyPatch.context() as patch:
        yield costs_of_both(tmp_path_factory.mktemp("drift"), patch)


@pytest.fixture(scope="module")
def costs_with_short_frames(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cost, Cost]]:
    """As :func:`costs`, where hardly any lines wait to be compressed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "FRAME_BYTES", SHORT_FRAME_BYTES)
        yield costs_of_both(tmp_path_factory.mktemp("short"), patch)


def costs_of_both(folder: Path, patch: pytest.MonkeyPatch) -> tuple[Cost, Cost]:
    patch.setattr(shard, "read_blocks", shard.read_blocks)
    small, large = (transformed(records, folder / str(records), patch) for records in (SMALL, LARGE))
    return small, large


def test_a_finding_takes_so_many_calls_of_functions(costs: tuple[Cost, Cost]) -> None:
    """Which is also what most of its allocations come from."""
    small, large = costs
    each = (large.calls - small.calls) / (large.findings - small.findings)
    assert 20 < each <= 72


def test_memory_of_the_transform_does_not_grow_with_its_records(costs_with_short_frames: tuple[Cost, Cost]) -> None:
    small, large = costs_with_short_frames
    assert large.peak < 1.2 * small.peak
    assert large.peak < 5_600_000


def test_lines_that_are_not_compressed_yet_take_a_frame_for_each_destination(
    costs: tuple[Cost, Cost], costs_with_short_frames: tuple[Cost, Cost]
) -> None:
    """And another one, while the lines of one destination are joined."""
    (_, large), (_, short) = costs, costs_with_short_frames
    assert large.findings == short.findings
    assert large.destinations == short.destinations == 6
    assert large.peak - short.peak < 1.1 * (6 + 1) * (FRAME_BYTES - SHORT_FRAME_BYTES)


def test_a_transform_leaves_nothing_behind_in_its_process(costs: tuple[Cost, Cost]) -> None:
    small, large = costs
    assert small.kept < 1_000
    assert large.kept < small.kept + 500


def test_a_finding_takes_so_many_bytes_of_staging_and_a_shard_so_many_files(costs: tuple[Cost, Cost]) -> None:
    small, large = costs
    assert large.files == small.files <= 15
    assert (large.bytes - small.bytes) / (large.findings - small.findings) <= 216


class Job:
    """A job of Tenable with so many chunks, which are there when it is asked for the third time."""

    def __init__(self, chunks: int) -> None:
        self.chunks = frozenset(range(1, chunks + 1))
        self.requests = {"start": 0, "status": 0, "chunk": 0, "jobs": 0, "cancel": 0}

    def start(self, kind: str, body: Any) -> str:
        self.requests["start"] += 1
        return "0b8f5bd2-0000-4000-8000-00000000000a"

    def status(self, kind: str, job: str) -> JobStatus:
        self.requests["status"] += 1
        return JobStatus("FINISHED", self.chunks) if self.requests["status"] > 2 else JobStatus("PROCESSING")

    def receive_chunk(self, kind: str, job: str, chunk: int, receive: Callable[[Iterator[bytes]], _T]) -> _T:
        self.requests["chunk"] += 1
        return receive(iter([json.dumps([{"asset": {"uuid": "a"}, "plugin": {"id": chunk}}]).encode()]))

    def jobs(self, kind: str) -> list[Any]:
        self.requests["jobs"] += 1
        return []

    def cancel(self, kind: str, job: str) -> None:
        self.requests["cancel"] += 1


@pytest.mark.parametrize("chunks", [1, 40])
def test_an_export_takes_a_request_and_a_file_for_each_chunk_and_few_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunks: int
) -> None:
    written: list[str] = []
    write = files.write_whole

    def counted(path: Any, *arguments: Any, **more: Any) -> Any:
        written.append(path.name)
        return write(path, *arguments, **more)

    for module in (files, export_store):
        monkeypatch.setattr(module, "write_whole", counted)
    folder = open_path(f"file://{tmp_path}") / "vulnerabilities"
    job = Job(chunks)
    run = ExportRun(
        kind="vulnerabilities",
        body={},
        client=job,
        store=export_store.StagedExport(folder, "vulnerabilities"),
        now=lambda: 1_800_000_000.0,
        first_poll=1.0,
    )
    steps = 0
    while not isinstance(run.step(), Finished):
        steps += 1
    assert steps == 2
    assert job.requests == {"start": 1, "status": 3, "chunk": chunks, "jobs": 0, "cancel": 0}
    assert len(names(folder)) == chunks + 1
    parts = [name for name in written if name.startswith("part-")]
    assert len(parts) == len(set(parts)) == chunks
    # The state: when it is requested, its id, each ten chunks, and its end.
    assert len(written) - chunks <= 4 + chunks // 10


def test_the_main_dag_has_no_more_tasks_than_before() -> None:
    """Each one costs a process, seconds, and rows of Airflow's database in every run."""
    from airflow_provider_tenable.dags.security_hub import tenable_to_security_hub

    assert len(tenable_to_security_hub().tasks) <= 14
