"""The export's state machine against a Tenable that is played by the test, under a clock that is turned by hand."""

from __future__ import annotations

import json
import random
import threading
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.exceptions import (
    ChunkNotReadyError,
    ConfigurationError,
    DuplicateExportError,
    ExportFailedError,
    ExportLimitError,
    ExportNotFoundError,
    StagingError,
    TemporaryError,
    TenableAuthError,
)
from airflow_provider_tenable.export import chunks, download
from airflow_provider_tenable.export.chunks import Encoded
from airflow_provider_tenable.export.reattach import lost_job, marked, running_job, same_request, without_mark
from airflow_provider_tenable.export.state import ExportState, Finished, Part, Wait
from airflow_provider_tenable.export.state_machine import ExportRun
from airflow_provider_tenable.export.store import StagedExport, staged_parts
from airflow_provider_tenable.staging.location import open_path
from airflow_provider_tenable.staging.parts import read_part
from airflow_provider_tenable.tenable_vm import decode
from airflow_provider_tenable.tenable_vm.jobs import Job, JobStatus
from airflow_provider_tenable.tenable_vm.kinds import kind_of

FILTERS = {"state": ["OPEN", "FIXED"], "severity": ["high", "critical"], "indexed_at": 1_790_000_000}
BODY = {"num_assets": 100, "include_unlicensed": True, "filters": FILTERS}
START = 1_800_000_000.0
HOUR = 3600.0


class Killed(BaseException):
    """The process dies here."""


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


def content(job: str, chunk: int) -> bytes:
    return json.dumps([{"job": job, "chunk": chunk}]).encode()


@dataclass
class ServerJob:
    """A job at Tenable. ``script`` holds the answers to the status calls, the last one for ever; likewise ``answers``
    of each chunk.
    """

    uuid: str
    filters: object
    chunk_size: int | None
    created: float | None
    script: list = field(default_factory=list)
    answers: dict = field(default_factory=dict)
    cancelled: bool = False
    looks: int = 0

    @property
    def status(self) -> JobStatus:
        if self.cancelled:
            return JobStatus("CANCELLED")
        answer = self.script[min(self.looks, len(self.script) - 1)]
        return answer if isinstance(answer, JobStatus) else JobStatus("PROCESSING")


class Tenable:
    """The other side: takes requests, keeps jobs, and does what its script says."""

    def __init__(self, clock: Clock, *scripts) -> None:
        self.clock = clock
        self.scripts = list(scripts)
        self.jobs_known: dict[str, ServerJob] = {}
        self.posts: list[dict] = []
        self.cancels: list[str] = []
        self.fetched: list[tuple[str, int]] = []
        self.post_errors: list[Exception | None] = []
        self.lose_answers = 0

    def add(self, script, *, filters=None, chunk_size=100, created=None, answers=None) -> ServerJob:
        job = ServerJob(
            str(uuid.uuid4()),
            FILTERS if filters is None else filters,
            chunk_size,
            created,
            list(script),
            dict(answers or {}),
        )
        self.jobs_known[job.uuid] = job
        return job

    def start(self, kind, body):
        self.posts.append(body)
        error = self.post_errors.pop(0) if self.post_errors else None
        if error:
            raise error
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        script, answers = script if isinstance(script, tuple) else (script, None)
        job = self.add(
            script, filters=body["filters"], chunk_size=body.get("num_assets"), created=self.clock.now, answers=answers
        )
        if self.lose_answers:
            self.lose_answers -= 1
            raise TemporaryError("504")
        return job.uuid

    def status(self, kind, job_uuid):
        job = self.jobs_known.get(job_uuid)
        if job is None:
            raise ExportNotFoundError("404")
        if job.cancelled:
            return JobStatus("CANCELLED")
        answer = job.script[min(job.looks, len(job.script) - 1)]
        job.looks += 1
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def receive_chunk(self, kind, job_uuid, chunk_id, receive):
        data = self.chunk(job_uuid, chunk_id)
        # Not all at once: it arrives in pieces.
        return receive(data[start : start + 1000] for start in range(0, len(data), 1000))

    def chunk(self, job_uuid, chunk_id):
        self.fetched.append((job_uuid, chunk_id))
        answers = self.jobs_known[job_uuid].answers.get(chunk_id)
        if not answers:
            return content(job_uuid, chunk_id)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return content(job_uuid, chunk_id) if answer is None else answer

    def cancel(self, kind, job_uuid):
        self.cancels.append(job_uuid)
        job = self.jobs_known.get(job_uuid)
        if job and job.status.status in ("QUEUED", "PROCESSING", "READY"):
            job.cancelled = True

    def jobs(self, kind):
        return [
            Job(job.uuid, job.status.status, job.filters, job.chunk_size, job.created)
            for job in self.jobs_known.values()
        ]


class Store:
    """Keeps what is saved as JSON, and files by name, as the staging area does."""

    def __init__(self) -> None:
        self.saved: str | None = None
        self.files: dict[str, tuple[str, int, bytes]] = {}
        self.puts: list[tuple[str, int]] = []

    def load(self):
        return None if self.saved is None else ExportState.from_json(json.loads(self.saved))

    def save(self, state):
        self.saved = json.dumps(state.to_json())

    def encode(self, pieces):
        data = b"".join(pieces)
        records = json.loads(data) if data.strip() else None
        return Encoded(data, len(records or []), len(data))

    def put(self, job_uuid, chunk_id, chunk):
        self.puts.append((job_uuid, chunk_id))
        name = f"{job_uuid[:8]}-{chunk_id}"
        self.files[name] = (job_uuid, chunk_id, chunk.content)
        return Part(name, chunk.records, chunk.size)

    def drop(self, job_uuid):
        self.files = {name: file for name, file in self.files.items() if file[0] != job_uuid}


def status(word, chunks=(), **fields):
    return JobStatus(word, frozenset(chunks), **fields)


def lost(*chunks):
    return frozenset(chunks)


WHOLE = [status("QUEUED"), status("PROCESSING", {2}), status("FINISHED", {1, 2})]


class World:
    #: How many chunks are fetched at the same time.
    downloads = 1

    def __init__(self, *scripts, store=None, **options) -> None:
        self.clock = Clock()
        self.tenable = Tenable(self.clock, *(scripts or (WHOLE,)))
        self.store = store or Store()
        self.options = {"kind": "vulnerabilities", "body": BODY, "downloads": self.downloads, **options}

    def task(self) -> ExportRun:
        """A fresh process: all that it knows is what was stored."""
        return ExportRun(client=self.tenable, store=self.store, now=self.clock, **self.options)

    def finish(self, run: ExportRun | None = None) -> ExportState:
        run = run or self.task()
        while True:
            outcome = run.step()
            if isinstance(outcome, Finished):
                return outcome.state
            self.clock.now += outcome.seconds

    def staged(self, state: ExportState) -> set[tuple[str, int]]:
        return {self.store.files[part.name][:2] for part in state.parts.values()}


@pytest.fixture(autouse=True, scope="module", params=[1, 4], ids=["one at a time", "four at a time"])
def downloads(request):
    """Whatever happens to an export, it must not depend on how many of its chunks are fetched at the same time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(World, "downloads", request.param)
        yield


# The ordinary way.


def test_an_export_waits_through_queued_and_processing_and_ends_with_every_chunk_once():
    world = World([status("QUEUED"), status("PROCESSING"), status("PROCESSING", {7, 3}), status("FINISHED", {3, 7, 5})])
    state = world.finish()
    job = next(iter(world.tenable.jobs_known))
    assert world.staged(state) == {(job, 3), (job, 5), (job, 7)}
    assert world.tenable.fetched == [(job, 3), (job, 7), (job, 5)]
    assert (state.uuid, state.complete, state.restarts) == (job, True, 0)
    assert {part.records for part in state.parts.values()} == {1}
    assert world.tenable.posts == [BODY]
    assert world.clock.now == START + 3 * 30
    assert world.tenable.cancels == []


def test_so_many_chunks_are_fetched_at_the_same_time():
    world = World([status("FINISHED", range(1, 9))])
    together, fetch = threading.Barrier(World.downloads), world.tenable.chunk

    def waits_for_the_others(job, chunk):
        together.wait(20)
        return fetch(job, chunk)

    world.tenable.chunk = waits_for_the_others
    assert len(world.finish().parts) == 8
    assert world.finish().restarts == 0


def test_compliance_jobs_hand_out_chunks_while_they_are_ready():
    world = World([status("READY", {1}), status("FINISHED", {1, 2})], kind="compliance")
    assert sorted(world.finish().parts) == ["1", "2"]


def test_a_finished_job_without_chunks_is_a_whole_empty_export():
    state = World([status("FINISHED")]).finish()
    assert state.complete
    assert state.parts == {}


def test_a_complete_export_is_not_asked_for_again():
    world = World()
    first = world.finish()
    world.tenable.status = world.tenable.start = None
    outcome = world.task().step()
    assert isinstance(outcome, Finished)
    assert outcome.state == first


def test_a_wait_tells_the_job_and_how_many_chunks_are_staged():
    run = World([status("PROCESSING", {1, 2})], poll_interval=45.0).task()
    outcome = run.step()
    assert outcome == Wait(45.0, run.state.uuid, 2)


@pytest.mark.parametrize("body", [b"null", b"", b"  \n", b"[]"])
def test_a_null_or_empty_chunk_is_no_records_and_no_failure(body):
    world = World(([status("FINISHED", {1, 2})], {1: [body]}))
    state = world.finish()
    assert state.parts["1"].records == 0
    assert state.parts["2"].records == 1
    assert state.restarts == 0


def test_late_and_repeated_chunk_lists_stage_each_chunk_once():
    looks = [
        status("PROCESSING", {9}),
        status("PROCESSING"),
        status("PROCESSING", {9, 1}),
        status("FINISHED", {1, 4, 9}),
        status("FINISHED", {1, 4, 9}),
    ]
    world = World(looks)
    world.finish()
    assert sorted(chunk for _, chunk in world.store.puts) == [1, 4, 9]


def test_the_data_is_sure_up_to_the_moment_before_the_request():
    world = World([status("PROCESSING")] * 5 + [status("FINISHED")])
    assert world.finish().data_from == START


# What ends a job before it is whole.


@pytest.mark.parametrize(
    "broken",
    [
        status("ERROR"),
        status("ERROR", {1, 2}, lost_chunks=lost(*range(3, 21))),
        status("FINISHED", {1}, lost_chunks=lost(2)),
        status("FINISHED", {1}, reason="1 of 2 chunks failed to process."),
        status("FINISHED", (), reason="The export request timed out. Try again."),
        ExportNotFoundError("410"),
    ],
    ids=str,
)
def test_a_broken_job_is_started_again_and_none_of_its_chunks_count(broken):
    world = World([status("PROCESSING", {1, 2}), broken], [status("FINISHED", {1})])
    state = world.finish()
    first, second = world.tenable.jobs_known
    assert world.staged(state) == {(second, 1)}
    assert {file[0] for file in world.store.files.values()} == {second}
    assert state.restarts == 1
    assert first in world.tenable.cancels


@pytest.mark.parametrize("by", [status("CANCELLED"), status("CANCELLED", {1}, reason="by another job")], ids=str)
def test_a_job_that_somebody_cancels_is_asked_for_again_and_does_not_count_as_broken(by):
    cancelled = [status("PROCESSING", {1, 2}), by]
    world = World(*[cancelled] * 9, [status("FINISHED", {1})], max_restarts=0)
    state = world.finish()
    assert world.staged(state) == {(state.uuid, 1)}
    assert (state.restarts, state.cancellations) == (0, 9)
    assert {file[0] for file in world.store.files.values()} == {state.uuid}
    # Not in a hurry: two tools that cancel each other's jobs would keep Tenable busy.
    assert world.clock.now >= START + 9 * 30


def test_a_job_that_is_cancelled_each_time_fails_in_the_end():
    world = World([status("CANCELLED")], max_restarts=1)
    with pytest.raises(ExportFailedError, match="ended as CANCELLED"):
        world.finish()
    assert len(world.tenable.posts) == 2 * 11


@pytest.mark.parametrize("deferred", [False, True])
def test_a_finished_job_that_lists_fewer_chunks_than_it_counts_is_looked_at_again_and_then_started_again(deferred):
    short = status("FINISHED", {1}, counted_chunks=3)
    late = World([short] * 3 + [status("FINISHED", {1, 2, 3}, counted_chunks=3)])
    never = World([short], [status("FINISHED", {1, 2, 3}, counted_chunks=3)])
    for world, jobs in ((late, 1), (never, 2)):
        run = world.task()
        while not isinstance(outcome := run.step(), Finished):
            world.clock.now += outcome.seconds
            # A deferred task is another process each time.
            run = world.task() if deferred else run
        assert len(outcome.state.parts) == 3
        assert len(world.tenable.posts) == jobs
    with pytest.raises(ExportFailedError, match="it finished with 3 chunks by its own count, but lists 1"):
        World([short], max_restarts=2).finish()


@pytest.mark.parametrize("error", [TemporaryError("500"), ChunkNotReadyError("400")], ids=repr)
@pytest.mark.parametrize("deferred", [False, True])
def test_a_chunk_that_never_comes_has_the_job_started_again_and_holds_up_no_other(error, deferred):
    world = World(
        ([status("PROCESSING", {1, 2}), status("FINISHED", {1, 2, 3})], {1: [error]}), [status("FINISHED", {1, 2, 3})]
    )
    run = world.task()
    run.step()
    assert len(run.state.parts) == 1
    while not isinstance(outcome := run.step(), Finished):
        world.clock.now += outcome.seconds
        run = world.task() if deferred else run
    first = next(iter(world.tenable.jobs_known))
    assert {chunk for job, chunk in world.store.puts if job == first} == {2, 3}
    assert (len(outcome.state.parts), outcome.state.restarts) == (3, 1)
    assert world.clock.now < START + HOUR


def test_chunks_that_fail_now_and_then_cost_no_job():
    answers = {chunk: [TemporaryError("503")] * 5 + [None] for chunk in range(1, 12)}
    world = World(([status("FINISHED", range(1, 12))], answers))
    state = world.finish()
    assert (len(state.parts), state.restarts, len(world.tenable.posts)) == (11, 0, 1)


def test_a_service_that_serves_no_chunk_is_not_asked_for_all_of_them():
    world = World(([status("PROCESSING", range(1, 100))], {chunk: [TemporaryError("503")] for chunk in range(1, 100)}))
    world.task().step()
    assert 3 <= len(world.tenable.fetched) < 3 + World.downloads


def test_a_job_that_finished_while_nobody_looked_is_taken_although_it_is_late():
    world = World([status("PROCESSING", {1}), status("FINISHED", {1, 2})])
    world.task().step()
    world.clock.now += 13 * HOUR
    outcome = world.task().step()
    assert isinstance(outcome, Finished)
    assert len(outcome.state.parts) == 2
    assert world.tenable.cancels == []


def test_a_late_task_asks_for_nothing_more():
    world = World([status("PROCESSING")])
    world.tenable.post_errors = [TemporaryError("503")]
    world.task().step()
    world.clock.now += 13 * HOUR
    with pytest.raises(ExportFailedError, match="could not be requested after 12 hours"):
        world.task().step()
    assert len(world.tenable.posts) == 1


def test_a_task_waits_for_a_free_slot_until_its_deadline(caplog):
    caplog.set_level("INFO")
    world = World([status("FINISHED", {1})])
    world.tenable.post_errors = [ExportLimitError("It runs at most 10 exports of a container at a time.")] * 300
    run = world.task()
    outcome = run.step()
    assert (outcome.job_uuid, outcome.seconds) == (None, 30)
    assert (
        "Waiting for a free export slot to start the vulnerabilities export, for at most another 12.0 hours: It runs "
        "at most 10" in caplog.text
    )
    assert world.finish(run).complete
    assert len(world.tenable.posts) == 301

    # A deferred task is another process each time: it must not look for a job that was never started.
    world = World([status("FINISHED", {1})])
    world.tenable.post_errors = [ExportLimitError("429")]
    world.task().step()
    foreign = world.tenable.add([status("FINISHED", {1})], created=START)
    assert world.finish().uuid != foreign.uuid

    world = World()
    world.tenable.post_errors = [ExportLimitError("429")] * 10_000
    with pytest.raises(ExportFailedError, match="could not be requested after 12 hours"):
        world.finish()
    assert len(world.tenable.posts) == 12 * 120


@pytest.mark.parametrize(
    "body", [{"chunk_size": 1000, "filters": {}}, {"chunk_size": 1000, "filters": {"is_deleted": False}}]
)
def test_a_job_without_filters_is_never_taken_for_ours(body):
    """Another tool's export of all assets, in the older format or without resource tags, looks the same in the list of
    jobs.
    """
    world = World([status("FINISHED", {1})], kind="assets", body=body)
    job = world.tenable.add([status("PROCESSING")], filters="{}", chunk_size=1000, created=START)
    world.tenable.post_errors = [DuplicateExportError("409", job.uuid)]
    assert world.finish().uuid != job.uuid


def test_an_asset_export_is_marked_and_found_by_its_mark():
    ours = marked("assets", {"chunk_size": 1000, "filters": {}}, "file:///staging/dag/run-1/assets")
    other_run = marked("assets", {"chunk_size": 1000, "filters": {}}, "file:///staging/dag/run-2/assets")
    assert ours["filters"] != other_run["filters"]
    assert 978_307_200 < ours["filters"]["created_at"] < 1_230_768_000, (
        "from 2001 to 2008: all of Tenable's assets are younger"
    )
    for filters, adopted in ((ours["filters"], True), (other_run["filters"], False), ({}, False)):
        world = World([status("FINISHED", {1})], kind="assets", body=ours)
        job = world.tenable.add(
            [status("PROCESSING"), status("FINISHED", {1})], filters=json.dumps(filters), chunk_size=None
        )
        world.tenable.post_errors = [DuplicateExportError("409", job.uuid)]
        assert (world.finish().uuid == job.uuid) is adopted
    untouched = (
        ("vulnerabilities", {"filters": {}}),
        ("compliance", {"filters": {}}),
        ("assets", {"filters": {"created_at": 5}}),
    )
    assert all(marked(kind, body, "owner") == body for kind, body in untouched)


def test_only_the_mark_itself_is_left_out_of_a_comparison():
    """A person's own filter stays, also one by the same field or of a similar number."""
    mark = marked("assets", {"chunk_size": 1000}, "owner")["filters"]
    theirs = [{"created_at": 1_700_000_000}, {"created_at": 999_999_999}, {"created_at": 1_200_000_000}]
    theirs += [{"created_at": "1100000000"}, {"updated_at": 1_100_000_000}]
    assert without_mark({**mark, "is_deleted": False}) == {"is_deleted": False}
    assert without_mark({"created_at": 1_000_000_000}) == without_mark({"created_at": 1_199_999_999}) == {}
    for filters in theirs:
        assert without_mark(filters) == filters
        assert not same_request({"chunk_size": 1000, "filters": filters}, {"chunk_size": 1000, "filters": {}})
    assert same_request({"chunk_size": 1000, "filters": mark}, {"chunk_size": 1000})


EXAMPLES = Path(__file__).parents[2] / "data"
#: As the pipeline requests assets.
ASSETS_BODY = marked("assets", kind_of("assets").body({}, size=1000), "file:///staging/dag/run-1/assets")


def instance(**more):
    """A record of version 2."""
    return {"id": "a1", "network": {}, "cloud": {"aws": {"ec2_instance_id": "i-1"}}, "timestamps": {}, **more}


HOST = {"id": "a2", "network": {}, "timestamps": {}}
TAGGED = instance(resource_tags=[{"key": "team", "value": "web"}])


def official(name):
    return json.loads((EXAMPLES / f"{name}_chunk_official_example.json").read_text())


@pytest.mark.parametrize(
    ("records", "ours"),
    [
        (official("assets_v1"), False),
        (official("assets_v1")[1:], False),
        (official("assets_v2"), True),
        ([instance()], False),
        ([HOST, instance(), instance()], False),
        ([TAGGED], True),
        ([instance(), HOST, TAGGED], True),
        # Hosts outside AWS have no tags of AWS resources, and an empty chunk shows nothing.
        ([HOST], True),
        ([], True),
        ([5, None, "x"], True),
    ],
)
@pytest.mark.parametrize("way", ["duplicate", "lost"])
def test_adopted_job_whose_records_we_did_not_ask_for_is_left_to_its_owner(records, ours, way, caplog):
    """The same filters, mark included: another tool's export in the older format, or without the tags of resources."""
    world = World([status("FINISHED", {1})], kind="assets", body=ASSETS_BODY)
    script = [status("PROCESSING"), status("FINISHED", {1})] if way == "duplicate" else [status("FINISHED", {1})]
    answers = {1: [json.dumps(records).encode()]}
    if way == "duplicate":
        job = world.tenable.add(script, filters=ASSETS_BODY["filters"], chunk_size=None, created=START, answers=answers)
        world.tenable.post_errors = [DuplicateExportError("409", job.uuid)]
    else:
        world.store.save(ExportState(kind="assets", body=ASSETS_BODY, started_at=START, requested_at=START))
        job = world.tenable.add(script, filters=ASSETS_BODY["filters"], chunk_size=None, created=START, answers=answers)
    state = world.finish()
    assert state.complete
    assert (state.uuid == job.uuid) is ours
    assert world.tenable.cancels == []
    assert ("has our filters, but somebody else requested it" in caplog.text) is not ours
    if not ours:
        assert job.uuid in state.given_up
        assert not state.adopted
        assert state.restarts == 0


def test_only_the_beginning_of_a_chunk_is_kept_to_recognise_its_form(monkeypatch):
    seen = []
    monkeypatch.setattr(download, "foreign_shape", lambda state, head: seen.append(len(head)))
    world = World(kind="assets", body=ASSETS_BODY)
    answers = {number: [json.dumps([{"id": "x" * 3_000_000}]).encode()] for number in (1, 2)}
    world.tenable.add(
        [status("FINISHED", {1, 2})], filters=ASSETS_BODY["filters"], chunk_size=None, created=START, answers=answers
    )
    world.store.save(ExportState(kind="assets", body=ASSETS_BODY, started_at=START, requested_at=START))
    assert len(world.finish().parts) == 2
    [kept] = seen
    # Up to the end of a piece.
    assert decode.HEAD_BYTES <= kept < decode.HEAD_BYTES + 1000


def test_only_the_first_chunk_of_an_adopted_job_must_have_our_form():
    """Later ones may hold nothing but assets that would not show it."""
    world = World(kind="assets", body=ASSETS_BODY)
    answers = {1: [json.dumps([TAGGED]).encode()], 2: [json.dumps([instance()]).encode()]}
    job = world.tenable.add(
        [status("FINISHED", {1, 2})], filters=ASSETS_BODY["filters"], chunk_size=None, created=START, answers=answers
    )
    world.store.save(ExportState(kind="assets", body=ASSETS_BODY, started_at=START, requested_at=START))
    state = world.finish()
    assert (state.uuid, sorted(state.parts)) == (job.uuid, ["1", "2"])


@pytest.mark.parametrize("records", [official("assets_v1"), [instance()]])
def test_job_that_we_have_requested_is_ours_whatever_its_records_look_like(records):
    """Containers that Tenable has not given the tags of resources yet must not export without end."""
    world = World(([status("FINISHED", {1})], {1: [json.dumps(records).encode()]}), kind="assets", body=ASSETS_BODY)
    world.finish()
    assert len(world.tenable.posts) == 1


def test_foreign_job_that_still_runs_is_waited_for(caplog):
    """Tenable rejects ours until that one has ended."""
    world = World([status("FINISHED", {1})], kind="assets", body=ASSETS_BODY)
    foreign = [json.dumps(official("assets_v1")).encode()]
    job = world.tenable.add(
        [status("PROCESSING", {1})],
        filters=ASSETS_BODY["filters"],
        chunk_size=None,
        created=START,
        answers={1: foreign},
    )
    world.tenable.post_errors = [DuplicateExportError("409", job.uuid)] * 4
    assert world.finish().uuid != job.uuid
    assert len(world.tenable.posts) == 5
    assert "which is not ours" in caplog.text
    assert world.tenable.cancels == []


def test_form_of_a_large_chunk_is_recognised_by_its_beginning(tmp_path):
    """It is encoded while it arrives, so its beginning is kept."""
    store = StagedExport(open_path(f"file://{tmp_path}"), "assets")
    world = World([status("FINISHED", {1})], kind="assets", body=ASSETS_BODY, store=store)
    content = json.dumps([TAGGED, {"id": "x" * 2_000_000}, *official("assets_v1")]).encode()
    job = world.tenable.add(
        [status("FINISHED", {1})],
        filters=ASSETS_BODY["filters"],
        chunk_size=None,
        created=START,
        answers={1: [content]},
    )
    world.store.save(ExportState(kind="assets", body=ASSETS_BODY, started_at=START, requested_at=START))
    state = world.finish()
    assert state.uuid == job.uuid
    assert state.parts["1"].records == 2 + len(official("assets_v1"))


def test_vulnerabilities_have_one_form_only():
    world = World([status("FINISHED", {1})])
    job = world.tenable.add([status("PROCESSING"), status("FINISHED", {1})], created=START)
    world.tenable.post_errors = [DuplicateExportError("409", job.uuid)]
    assert world.finish().uuid == job.uuid


def test_an_asset_export_that_was_begun_before_there_were_marks_is_carried_on():
    body = {"chunk_size": 1000, "filters": {"is_licensed": True}}
    world = World([status("PROCESSING"), status("FINISHED", {1})], kind="assets", body=body)
    world.task().step()
    world.options["body"] = marked("assets", body, "file:///staging/dag/run-1/assets")
    world.finish()
    assert len(world.tenable.posts) == 1


def test_what_was_adopted_is_not_cancelled_by_us():
    world = World([status("PROCESSING")])
    job = world.tenable.add([status("PROCESSING")], created=START)
    world.tenable.post_errors = [DuplicateExportError("409", job.uuid)]
    with pytest.raises(ExportFailedError, match="12 hours"):
        world.finish()
    world.task().cancel()
    assert world.tenable.cancels == []


def test_what_is_new_in_the_state_is_left_out_as_long_as_it_says_nothing():
    """Version 0.1.0 reads it then."""
    known = {
        "kind",
        "body",
        "started_at",
        "uuid",
        "requested_at",
        "data_from",
        "restarts",
        "complete",
        "parts",
        "given_up",
    }
    state = ExportState(kind="assets", body={}, started_at=1.0)
    assert set(state.to_json()) == known
    state.adopted, state.cancellations, state.stalled_polls, state.source = True, 2, 3, "here"
    assert ExportState.from_json(json.loads(json.dumps(state.to_json()))) == state


def test_lost_chunks_of_a_running_job_are_judged_when_it_has_finished():
    world = World([status("PROCESSING", {1}, lost_chunks=lost(2)), status("FINISHED", {1, 2})])
    assert world.finish().restarts == 0


@pytest.mark.parametrize("allowed", [0, 1, 3])
def test_restarts_are_bounded_and_the_error_says_why_and_what_to_do(allowed):
    world = World(
        [status("FINISHED", {1}, lost_chunks=lost(2, 3), reason="2 of 3 chunks failed")], max_restarts=allowed
    )
    with pytest.raises(ExportFailedError, match=r"finished without chunks \[2, 3\]: 2 of 3 chunks failed") as failure:
        world.finish()
    assert len(world.tenable.posts) == allowed + 1
    assert f"restarted {allowed} times" in str(failure.value)
    assert "Nothing was imported" in str(failure.value)
    assert "clear this task" in str(failure.value)
    assert world.store.files == {}


def test_a_task_that_is_cleared_after_too_many_restarts_asks_for_a_new_job():
    world = World([status("ERROR", reason="An unexpected error occurred")], max_restarts=1)
    with pytest.raises(ExportFailedError, match="ended as ERROR: An unexpected error occurred"):
        world.finish()
    world.tenable.scripts = [[status("FINISHED", {1})]]
    state = world.finish()
    assert state.complete
    assert state.restarts == 0
    assert len(world.tenable.posts) == 3


def test_a_job_that_is_given_up_after_too_many_restarts_is_not_left_running():
    world = World(([status("PROCESSING", {1})], {1: [b"[{"]}), max_restarts=0)
    with pytest.raises(ExportFailedError, match="chunk 1 could not be decoded in 3 fetches"):
        world.finish()
    assert [job.cancelled for job in world.tenable.jobs_known.values()] == [True]


def test_a_chunk_that_expires_between_chunks_starts_the_job_again_and_drops_what_was_staged():
    world = World(([status("FINISHED", {1, 2, 3})], {2: [ExportNotFoundError("404")]}), [status("FINISHED", {1, 2})])
    state = world.finish()
    first, second = world.tenable.jobs_known
    assert world.staged(state) == {(second, 1), (second, 2)}
    assert (first, 3) not in world.store.puts
    assert World.downloads > 1 or (first, 3) not in world.tenable.fetched


def test_a_chunk_that_is_not_ready_is_left_for_the_next_look_and_the_others_are_fetched():
    world = World(([status("FINISHED", {1, 2, 3})], {2: [ChunkNotReadyError("400"), ChunkNotReadyError("400"), None]}))
    run = world.task()
    assert run.step() == Wait(30.0, run.state.uuid, 2)
    assert sorted(run.state.parts) == ["1", "3"]
    assert sorted(world.finish(run).parts) == ["1", "2", "3"]
    assert run.state.restarts == 0


def test_a_chunk_that_cannot_be_decoded_twice_is_fetched_a_third_time():
    world = World(([status("FINISHED", {1})], {1: [b"[{", b'[{"a":', None]}))
    state = world.finish()
    assert state.restarts == 0
    assert len(world.tenable.fetched) == 3


def test_a_chunk_that_cannot_be_decoded_three_times_starts_the_job_again():
    world = World(([status("FINISHED", {1})], {1: [b"[{", b"[{", b"[{", None]}), [status("FINISHED", {1})])
    state = world.finish()
    assert state.restarts == 1
    assert len(world.tenable.fetched) == 4


# What is asked for, when the option that decides it has changed in between.

QUIET = {**BODY, "include_plugin_output": False}


@pytest.mark.parametrize(("before", "after"), [(BODY, QUIET), (QUIET, BODY)])
def test_a_job_under_way_is_not_given_up_because_plugin_output_is_asked_for_otherwise(before, after):
    world = World([status("PROCESSING", {1}), status("FINISHED", {1, 2})], body=before)
    world.task().step()
    world.options["body"] = after
    state = world.finish()
    assert world.tenable.posts == [before]
    assert world.tenable.cancels == []
    assert (state.body, state.complete, sorted(state.parts)) == (before, True, ["1", "2"])
    assert world.tenable.fetched == [(state.uuid, 1), (state.uuid, 2)]


def test_a_complete_export_stays_whatever_is_asked_of_plugin_output_now():
    world = World()
    first = world.finish()
    world.options["body"] = QUIET
    world.tenable.status = world.tenable.start = None
    assert world.finish() == first


def test_the_next_request_says_what_is_wanted_now():
    world = World([status("PROCESSING", {1}), status("CANCELLED")], [status("FINISHED", {1})])
    world.task().step()
    world.options["body"] = QUIET
    state = world.finish()
    assert world.tenable.posts == [BODY, QUIET]
    assert (state.body, state.cancellations) == (QUIET, 1)


def test_a_request_whose_answer_was_lost_is_found_under_the_other_wish_and_asked_anew_under_the_new_one():
    world = World([status("FINISHED", {1})])
    world.tenable.lose_answers = 1
    world.task().step()
    world.options["body"] = QUIET
    state = world.finish()
    assert (world.tenable.posts, state.body) == ([BODY], BODY)

    world = World([status("FINISHED", {1})])
    world.tenable.post_errors = [TemporaryError("503")]
    world.task().step()
    world.options["body"] = QUIET
    state = world.finish()
    assert (world.tenable.posts, state.body) == ([BODY, QUIET], QUIET)


def test_any_other_difference_is_another_export():
    world = World([status("PROCESSING", {1})], [status("FINISHED", {1})])
    world.task().step()
    world.options["body"] = {**QUIET, "num_assets": 50}
    assert world.finish().body == world.options["body"]
    assert len(world.tenable.posts) == 2


# Time.


def test_a_job_that_is_processing_for_years_is_cancelled_at_its_deadline():
    world = World([status("PROCESSING", {1})], poll_interval=86_400.0, timeout=2 * 365 * 86_400.0)
    with pytest.raises(ExportFailedError, match=r"not complete after 17520 hours \(1 chunks were staged\)") as failure:
        world.finish()
    job = next(iter(world.tenable.jobs_known))
    assert world.tenable.cancels == [job]
    assert world.clock.now == START + 730 * 86_400
    assert "export_timeout_hours" in str(failure.value)
    assert world.store.files == {}


def test_the_deadline_is_reached_at_its_second_and_not_before():
    world = World([status("PROCESSING")], timeout=60.0, poll_interval=1.0)
    run = world.task()
    run.step()
    assert run.deadline == START + 60
    world.clock.now = START + 59.9
    run.step()
    world.clock.now = START + 60
    with pytest.raises(ExportFailedError):
        run.step()


def test_restarts_and_retries_of_the_task_do_not_prolong_the_deadline():
    world = World([status("PROCESSING"), status("CANCELLED")], timeout=HOUR, max_restarts=10**6)
    with pytest.raises(ExportFailedError, match="1 hours"):  # noqa: PT012
        while world.clock.now < START + 2 * HOUR:
            world.clock.now += world.task().step().seconds
    assert world.clock.now == pytest.approx(START + HOUR, abs=31)


def test_a_retry_after_the_deadline_has_a_deadline_of_its_own():
    world = World([status("PROCESSING")], timeout=HOUR)
    with pytest.raises(ExportFailedError):
        world.finish()
    world.clock.now += 5
    world.tenable.scripts = [[status("FINISHED", {1})]]
    run = world.task()
    assert run.deadline == world.clock.now - 5 + HOUR
    assert world.finish(run).complete


def test_the_deadline_without_any_job_names_none():
    world = World(timeout=HOUR)
    world.tenable.post_errors = [DuplicateExportError("409")] * 1000
    with pytest.raises(
        ExportFailedError, match="vulnerabilities export could not be requested after 1 hours"
    ) as failure:
        world.finish()
    assert "None" not in str(failure.value)
    assert world.tenable.cancels == []


# Errors of the way.


def test_twenty_failed_looks_in_a_row_are_borne_and_the_next_one_is_raised():
    world = World([TemporaryError("503")])
    run = world.task()
    for _ in range(20):
        assert run.step() == Wait(30.0, run.state.uuid, 0)
    with pytest.raises(TemporaryError, match="503"):
        run.step()
    assert world.tenable.cancels == []


def test_a_good_look_clears_the_count_of_failed_ones():
    world = World(
        [*[TemporaryError("503")] * 20, status("PROCESSING"), *[TemporaryError("503")] * 20, status("FINISHED")]
    )
    assert world.finish().complete


def test_failed_requests_are_bounded_and_leave_no_job():
    world = World()
    world.tenable.post_errors = [TemporaryError("503")] * 100
    with pytest.raises(TemporaryError):
        world.finish()
    assert len(world.tenable.posts) == 21


@pytest.mark.parametrize("error", [TenableAuthError("401"), ConfigurationError("400")])
def test_an_error_that_only_the_user_can_mend_is_raised_at_once(error):
    with pytest.raises(ConfigurationError):
        World([error]).task().step()


def test_a_state_that_nobody_knows_is_neither_whole_nor_broken():
    world = World([status("MELTED", {1}), status("FINISHED", {1})])
    assert world.finish().restarts == 0
    with pytest.raises(TemporaryError, match="'MELTED', which is an unknown state"):
        World([status("MELTED", {1})]).finish()


# Duplicates.


def other(**change):
    return {**FILTERS, **change}


@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
def test_a_duplicate_with_our_filters_is_adopted(named):
    world = World()
    job = world.tenable.add([status("FINISHED", {1})], created=START - 500, filters=other(state=["FIXED", "open"]))
    job.script = [status("PROCESSING"), status("FINISHED", {1})]
    world.tenable.post_errors = [DuplicateExportError("409", job.uuid if named else None)]
    state = world.finish()
    assert world.staged(state) == {(job.uuid, 1)}
    assert len(world.tenable.posts) == 1


def test_an_adopted_older_job_is_sure_only_up_to_its_own_beginning():
    world = World()
    job = world.tenable.add([status("PROCESSING")], created=START - 5000)
    world.tenable.post_errors = [DuplicateExportError("409", job.uuid)]
    run = world.task()
    run.step()
    assert run.state.data_from == START - 5000


def test_an_adopted_job_whose_clock_is_ahead_is_sure_only_up_to_our_request():
    world = World()
    job = world.tenable.add([status("PROCESSING")], created=START + 5000)
    world.tenable.post_errors = [DuplicateExportError("409", job.uuid)]
    run = world.task()
    run.step()
    assert run.state.data_from == START


@pytest.mark.parametrize(
    "foreign",
    [
        {"filters": other(severity=["critical"])},
        {"filters": other(indexed_at=1)},
        {"filters": {**FILTERS, "plugin_id": [1]}},
        {"filters": "no JSON"},
        {"chunk_size": 50},
        {"created": None},
    ],
    ids=str,
)
def test_a_foreign_job_is_waited_for_and_not_adopted(foreign):
    world = World([status("FINISHED", {1})])
    job = world.tenable.add([status("PROCESSING")], **{"created": START, **foreign})
    world.tenable.post_errors = [DuplicateExportError("409", job.uuid)] * 3
    state = world.finish()
    assert state.uuid != job.uuid
    assert len(world.tenable.posts) == 4
    assert world.clock.now == START + 3 * 30
    assert world.tenable.cancels == []


def test_an_asset_job_without_a_known_beginning_is_adopted_since_no_watermark_follows_it():
    body = marked("assets", {"chunk_size": 1000, "filters": {}}, "run-1")
    world = World(kind="assets", body=body)
    job = world.tenable.add(
        [status("PROCESSING"), status("FINISHED", {1})], filters=json.dumps(body["filters"]), chunk_size=None
    )
    world.tenable.post_errors = [DuplicateExportError("409", job.uuid)]
    assert world.finish().uuid == job.uuid


def test_a_job_that_is_named_is_not_swapped_for_another_one_that_would_fit():
    world = World([status("FINISHED")])
    fitting = world.tenable.add([status("PROCESSING")], created=START)
    world.tenable.post_errors = [DuplicateExportError("409", "00000000-0000-0000-0000-000000000000")]
    assert world.finish().uuid != fitting.uuid


@pytest.mark.parametrize("over", ["FINISHED", "CANCELLED", "ERROR"])
def test_only_a_running_duplicate_is_adopted(over):
    world = World([status("FINISHED", {1})])
    job = world.tenable.add([status(over, {1})], created=START)
    world.tenable.post_errors = [DuplicateExportError("409", job.uuid)]
    assert world.finish().uuid != job.uuid


def test_an_adopted_job_that_somebody_cancels_is_started_again():
    world = World([status("FINISHED", {1})])
    job = world.tenable.add([status("PROCESSING"), status("CANCELLED")], created=START)
    world.tenable.post_errors = [DuplicateExportError("409", job.uuid)]
    state = world.finish()
    assert state.uuid != job.uuid
    assert (state.restarts, state.cancellations) == (0, 1)


# Death and resurrection.


def test_the_answer_that_was_lost_with_the_task_is_found_in_the_list_of_jobs():
    world = World()
    start = world.tenable.start

    def dies(kind, body):
        start(kind, body)
        raise Killed

    world.tenable.start = dies
    with pytest.raises(Killed):
        world.task().step()
    world.tenable.start = start
    world.clock.now += 600
    state = world.finish()
    assert len(world.tenable.posts) == 1
    assert state.data_from == START


def test_the_answer_that_was_lost_on_the_way_costs_no_second_job():
    world = World()
    world.tenable.lose_answers = 1
    start = world.tenable.start

    def guarded(kind, body):
        running = [job for job in world.tenable.jobs_known.values() if job.status.status in ("QUEUED", "PROCESSING")]
        if running:
            world.tenable.posts.append(body)
            raise DuplicateExportError("409", running[0].uuid)
        return start(kind, body)

    world.tenable.start = guarded
    assert world.finish().complete
    assert len(world.tenable.jobs_known) == 1


@pytest.mark.parametrize(
    ("job", "found"),
    [
        ({}, True),
        ({"created": START - 120}, True),
        ({"created": START - 121}, False),
        ({"created": None}, False),
        ({"filters": other(severity=["low"])}, False),
        ({"chunk_size": 50}, False),
        ({"script": [status("FINISHED", {1})]}, True),
        ({"script": [status("CANCELLED")]}, False),
        ({"script": [status("ERROR")]}, False),
    ],
    ids=str,
)
def test_only_our_own_lost_job_is_taken_from_the_list(job, found):
    world = World([status("FINISHED")])
    world.store.save(ExportState("vulnerabilities", BODY, START, requested_at=START))
    listed = world.tenable.add(
        job.get("script", [status("PROCESSING"), status("FINISHED")]), created=job.get("created", START)
    )
    listed.created = job.get("created", START)
    listed.filters = job.get("filters", FILTERS)
    listed.chunk_size = job.get("chunk_size", 100)
    state = world.finish()
    assert (state.uuid == listed.uuid) is found
    assert len(world.tenable.posts) == (0 if found else 1)


def test_a_lost_job_is_looked_for_until_tenable_answers():
    world = World([status("FINISHED")])
    world.store.save(ExportState("vulnerabilities", BODY, START, requested_at=START))
    job = world.tenable.add([status("FINISHED")], created=START + 1)
    jobs, failures = world.tenable.jobs, [TemporaryError("503")] * 2

    def flaky(kind):
        if failures:
            raise failures.pop()
        return jobs(kind)

    world.tenable.jobs = flaky
    assert world.finish().uuid == job.uuid


def test_a_task_that_is_killed_in_the_middle_fetches_at_most_ten_chunks_again():
    world = World([status("FINISHED", range(1, 41))])
    fetch, dead = world.tenable.chunk, []

    def dies(job, chunk):
        if len(world.tenable.fetched) >= 25 and not dead:
            dead.append(True)
            raise Killed
        return fetch(job, chunk)

    world.tenable.chunk = dies
    save = world.store.save
    run = world.task()
    with pytest.raises(Killed):  # noqa: PT012
        # SIGKILL runs no `finally`: what is saved from here on is lost.
        world.store.save = lambda state: save(state) if not dead else None
        run.step()
    world.store.save = save
    state = world.finish()
    assert len(state.parts) == 40
    # And what was on its way.
    assert 45 <= len(world.tenable.fetched) < 45 + World.downloads
    assert len(world.tenable.posts) == 1


def test_an_exception_in_the_middle_keeps_every_chunk_that_was_staged():
    world = World(([status("FINISHED", {1, 2, 3})], {3: [StagingError("disk full"), None]}))
    with pytest.raises(StagingError):
        world.task().step()
    assert sorted(world.store.load().parts) == ["1", "2"]
    world.finish()
    assert len(world.tenable.fetched) == 4
    assert len(world.tenable.posts) == 1


def test_a_request_with_another_body_begins_anew_and_leaves_no_part_of_the_old_one():
    world = World([status("PROCESSING", {1})])
    world.task().step()
    changed = {**BODY, "filters": other(severity=["critical"])}
    world.options["body"] = changed
    world.tenable.scripts = [[status("FINISHED", {1})]]
    state = world.finish()
    assert state.body == changed
    assert len({file[0] for file in world.store.files.values()}) == 1
    assert world.tenable.posts == [BODY, changed]


# What is on record before something is done, and what the log says.


def test_a_request_is_on_record_before_it_is_made():
    world = World()
    noted = []
    world.tenable.start = lambda kind, body: (noted.append(world.store.load()), (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        world.task().step()
    assert noted[0] is not None
    assert (noted[0].requested_at, noted[0].uuid) == (START, None)


def test_the_id_of_a_job_is_on_record_before_anything_else_is_asked():
    world = World()

    def dies(kind, job_uuid):
        raise Killed

    world.tenable.status = dies
    with pytest.raises(Killed):
        world.task().step()
    (job,) = world.tenable.jobs_known
    assert world.store.load().uuid == job


def test_an_old_job_is_forgotten_on_record_before_its_parts_are_removed():
    """Dying between the two must not leave a state that names parts which are gone."""
    world = World([status("PROCESSING", {1})])
    world.task().step()
    world.options["body"] = {**BODY, "filters": other(severity=["critical"])}
    noted = []
    drop = world.store.drop
    world.store.drop = lambda job: (noted.append(world.store.load().uuid), drop(job))
    world.task()
    assert noted == [None]


@pytest.mark.parametrize("found", ["in the list of jobs", "as a duplicate"])
def test_an_adopted_job_is_looked_at_in_the_same_step(found):
    world = World()
    job = world.tenable.add(
        [status("FINISHED", {1}) if found == "in the list of jobs" else status("PROCESSING", {1})], created=START
    )
    if found == "in the list of jobs":
        world.store.save(ExportState(kind="vulnerabilities", body=BODY, started_at=START, requested_at=START))
    else:
        world.tenable.post_errors = [DuplicateExportError("409", job.uuid)]
    outcome = world.task().step()
    assert job.looks == 1
    assert world.tenable.fetched == [(job.uuid, 1)]
    assert isinstance(outcome, Finished) == (found == "in the list of jobs")


def test_a_job_that_was_given_up_is_on_record_and_not_taken_from_the_list_again():
    """It broke, the task died while it asked for the next one, and Tenable lists the broken one as finished."""
    world = World([status("FINISHED", {1}, lost_chunks=lost(2))], WHOLE)
    run = world.task()
    outcome = run.step()
    (broken,) = world.tenable.jobs_known
    assert outcome == Wait(seconds=1.0, job_uuid=None, chunks_staged=0)
    assert world.store.load().given_up == [broken]
    world.tenable.post_errors = [Killed()]
    with pytest.raises(Killed):
        run.step()
    state = world.finish()
    assert state.uuid != broken
    assert state.given_up == [broken]


def test_a_short_poll_interval_is_kept_after_a_restart():
    world = World([status("ERROR")], WHOLE, poll_interval=0.25)
    assert world.task().step() == Wait(seconds=0.25, job_uuid=None, chunks_staged=0)


def test_the_defaults_are_three_restarts_and_half_a_day_of_patience():
    run = World().task()
    assert (run.max_restarts, run.timeout, run.poll_interval) == (3, 43_200.0, 30.0)
    assert run.deadline == START + 43_200


@pytest.mark.parametrize(
    ("final", "words"),
    [
        (status("PROCESSING", {1, 2}, total_chunks=9), "PROCESSING): 2 of 9 chunks, 2 records"),
        (status("PROCESSING", {1, 2}), "PROCESSING): 2 of at least 2 chunks, 2 records"),
        (status("FINISHED", {1, 2}), "FINISHED): 2 of 2 chunks, 2 records"),
    ],
)
def test_the_log_tells_chunks_records_and_megabytes(caplog, final, words):
    world = World(([final], {1: [json.dumps(["x" * 999_996]).encode()], 2: [json.dumps(["x" * 999_996]).encode()]}))
    fetch = world.tenable.chunk
    world.tenable.chunk = lambda *args: (setattr(world.clock, "now", world.clock.now + 2), fetch(*args))[1]
    with caplog.at_level("INFO", logger="airflow_provider_tenable.export.state_machine"):
        world.task().step()
    assert f"({words}, 2.0 MB staged; 0.5 MB/s." in caplog.text


def test_a_partial_job_is_given_up_with_at_most_ten_of_its_lost_chunks_named(caplog):
    with caplog.at_level("WARNING", logger="airflow_provider_tenable.export.state_machine"):
        World([status("FINISHED", {1}, lost_chunks=lost(*range(2, 30)))], WHOLE).finish()
    assert f"it finished without chunks {list(range(2, 12))}" in caplog.text


def test_a_foreign_job_is_named_in_the_log_and_an_unnamed_one_is_not(caplog):
    for job, words in (("11111111-job", "duplicate of 11111111-job,"), (None, "duplicate of an unnamed job,")):
        world = World()
        world.tenable.post_errors = [DuplicateExportError("409", job)]
        with caplog.at_level("WARNING", logger="airflow_provider_tenable.export.state_machine"):
            world.task().step()
        assert words in caplog.text
        caplog.clear()


def test_cancel_cancels_the_running_job_and_bears_its_errors():
    world = World([status("PROCESSING")])
    run = world.task()
    run.cancel()
    assert world.tenable.cancels == []
    run.step()
    run.cancel()
    assert world.tenable.cancels == [run.state.uuid]

    def broken(kind, job):
        raise TenableAuthError("401")

    world.tenable.cancel = broken
    run.cancel()


def test_a_whole_export_is_not_cancelled():
    world = World([status("FINISHED")])
    run = world.task()
    run.step()
    run.cancel()
    assert world.tenable.cancels == []


def operations(world):
    """Every call after which a process can die, in order: of Tenable and of the store."""
    return [(world.tenable, name) for name in ("start", "status", "chunk", "cancel", "jobs")] + [
        (world.store, name) for name in ("save", "put", "drop")
    ]


def die_at(world, when, after):
    """Let the process die before or after its n-th operation, and do nothing more until it is revived."""
    counter = {"n": 0, "dead": False}

    def wrap(owner, name):
        inner = getattr(owner, name)

        def call(*args):
            if counter["dead"]:
                raise Killed
            counter["n"] += 1
            if counter["n"] != when:
                return inner(*args)
            if after:
                inner(*args)
            counter["dead"] = True
            raise Killed

        setattr(owner, name, call)

    for owner, name in operations(world):
        wrap(owner, name)
    return counter


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_kill_at_any_operation_is_made_good_by_the_retry_with_at_most_one_more_job(after):
    for when in range(1, 40):
        # The first job can be decoded from its fourth fetch on: whoever forgets that it was given up would go on with
        # it.
        first_job = ([status("PROCESSING", {1}), status("FINISHED", {1, 2})], {2: [b"[{", b"[{", b"[{", None]})
        world = World(first_job, [status("PROCESSING", {1}), status("FINISHED", {1, 2, 3})])
        counter = die_at(world, when, after)
        try:
            state = world.finish()
        except Killed:
            counter["dead"] = False
            state = world.finish()
        jobs = {job for job, _ in world.staged(state)}
        assert jobs == {state.uuid}, when
        first = next(iter(world.tenable.jobs_known))
        assert set(state.parts) == ({"1", "2"} if state.uuid == first else {"1", "2", "3"}), when
        for chunk, part in state.parts.items():
            assert world.store.files[part.name][2] == content(state.uuid, int(chunk)), when
        assert len(world.tenable.jobs_known) <= 3, when
    assert counter["n"] < 39, "the loop must reach beyond the last operation"


# Any interleaving.


class Chaos(Tenable):
    """A Tenable whose jobs meet any fate, on a way that loses anything, with a task that dies anywhere."""

    def __init__(self, clock, dice) -> None:
        super().__init__(clock)
        self.dice = dice
        self.truth: dict[str, frozenset[int] | None] = {}
        self.faults = True
        self.alive = True
        if dice.random() < 0.4:
            self.begin(other(severity=["low"]), foreign=True)
        if dice.random() < 0.3:
            self.begin(FILTERS, age=dice.randrange(1, 10**6))

    def begin(self, filters, *, age=0.0, foreign=False) -> ServerJob:
        dice = self.dice
        chunks = frozenset(dice.sample(range(1, 9), dice.randrange(5)))
        fate = (
            "FINISHED"
            if not self.faults
            else dice.choice(["FINISHED"] * 3 + ["lost", "reason", "CANCELLED", "ERROR", "gone", "stuck"])
        )
        script = [status("QUEUED")] * dice.randrange(2)
        for _ in range(dice.randrange(3)):
            script.append(status("PROCESSING", dice.sample(sorted(chunks), dice.randrange(len(chunks) + 1))))
        some = frozenset(dice.sample(sorted(chunks), dice.randrange(len(chunks) + 1)))
        script.append(
            {
                "FINISHED": status("FINISHED", chunks),
                "lost": status("FINISHED", some, lost_chunks=lost(99) | (chunks - some)),
                "reason": status("FINISHED", some, reason="1 of 9 chunks failed to process."),
                "CANCELLED": status("CANCELLED", some),
                "ERROR": status("ERROR", some, lost_chunks=chunks - some),
                "gone": ExportNotFoundError("404"),
                "stuck": status("PROCESSING", some),
            }[fate]
        )
        answers = {}
        for chunk in chunks if self.faults else ():
            if dice.random() < 0.3:
                answers[chunk] = [
                    dice.choice(
                        [b"[{", b"\xff", ChunkNotReadyError("400"), ExportNotFoundError("404"), TemporaryError("500")]
                    )
                    for _ in range(dice.randrange(1, 6))
                ] + [None]
        job = self.add(script, filters=filters, created=self.clock.now - age, answers=answers)
        self.truth[job.uuid] = chunks if fate == "FINISHED" and not foreign else None
        return job

    def disturb(self, where):
        if not self.alive:
            raise Killed
        if not self.faults:
            return
        roll = self.dice.random()
        if roll < 0.06:
            self.alive = False
            raise Killed
        if roll < 0.15 and where == "call":
            raise TemporaryError("503")

    def start(self, kind, body):
        self.disturb("call")
        running = [job for job in self.jobs_known.values() if job.status.status in ("QUEUED", "PROCESSING")]
        if running and self.dice.random() < 0.7:
            raise DuplicateExportError("409", self.dice.choice([running[0].uuid, None]))
        job = self.begin(body["filters"])
        self.posts.append(body)
        self.disturb("call")
        return job.uuid

    def status(self, kind, job_uuid):
        self.disturb("call")
        return super().status(kind, job_uuid)

    def chunk(self, job_uuid, chunk_id):
        self.disturb("call")
        return super().chunk(job_uuid, chunk_id)

    def cancel(self, kind, job_uuid):
        self.disturb("call")
        super().cancel(kind, job_uuid)
        self.disturb("call")

    def jobs(self, kind):
        self.disturb("call")
        return super().jobs(kind)


class MortalStore(Store):
    def __init__(self, tenable) -> None:
        super().__init__()
        self.tenable = tenable

    def save(self, state):
        self.tenable.disturb("store")
        super().save(state)
        self.tenable.disturb("store")

    def put(self, job_uuid, chunk_id, chunk):
        self.tenable.disturb("store")
        part = super().put(job_uuid, chunk_id, chunk)
        self.tenable.disturb("store")
        return part

    def drop(self, job_uuid):
        self.tenable.disturb("store")
        super().drop(job_uuid)
        self.tenable.disturb("store")


@settings(max_examples=200, deadline=None)
@given(st.integers(min_value=0, max_value=2**64))
def test_whatever_happens_an_export_ends_whole_and_of_one_job_or_with_an_error(seed):
    dice = random.Random(seed)
    world = World(timeout=dice.choice([600.0, 6 * HOUR]), max_restarts=dice.randrange(4))
    world.tenable = Chaos(world.clock, dice)
    world.store = MortalStore(world.tenable)
    deaths = 0
    for _ in range(12):
        world.tenable.alive = True
        # The last tries are in calm weather: everything must come to an end.
        world.tenable.faults = deaths < 6
        try:
            state = world.finish()
        except Killed:
            deaths += 1
            continue
        except (TemporaryError, ExportFailedError):
            deaths += 1
            continue
        break
    else:
        return
    whole = world.tenable.truth[state.uuid]
    assert whole is not None, "a partial, foreign or broken job counted as complete"
    assert {int(chunk) for chunk in state.parts} == whole
    for chunk, part in state.parts.items():
        assert world.store.files[part.name] == (state.uuid, int(chunk), content(state.uuid, int(chunk)))
    assert state.data_from <= world.tenable.jobs_known[state.uuid].created
    assert world.store.load() == state


def test_the_chaos_above_ends_whole_more_often_than_not():
    ended = 0
    for seed in range(60):
        dice = random.Random(seed)
        world = World()
        world.tenable = Chaos(world.clock, dice)
        world.store = MortalStore(world.tenable)
        for attempt in range(8):
            world.tenable.alive = True
            world.tenable.faults = attempt < 3
            try:
                ended += world.finish().complete
            except (Killed, TemporaryError):
                continue
            break
    assert ended > 40


# The same over the real staging area.


def real(tmp_path, kind="vulnerabilities"):
    return StagedExport(open_path(f"file://{tmp_path}/{kind}"), kind)


def test_the_staged_export_is_read_back_in_the_order_of_its_chunks(tmp_path):
    world = World([status("PROCESSING", {10}), status("FINISHED", {2, 10, 1})], store=real(tmp_path))
    state = world.finish()
    parts = staged_parts(f"file://{tmp_path}/vulnerabilities", "vulnerabilities")
    assert [read_part(part) for part in parts] == [content(state.uuid, chunk) for chunk in (1, 2, 10)]
    assert [part.name for part in parts] == [f"part-{state.uuid[:8]}-{chunk:06d}.json.zst" for chunk in (1, 2, 10)]


def test_the_parts_of_a_job_that_is_given_up_are_removed_from_disk(tmp_path):
    world = World([status("PROCESSING", {1, 2}), status("ERROR")], [status("FINISHED", {5})], store=real(tmp_path))
    state = world.finish()
    assert sorted(path.name for path in (tmp_path / "vulnerabilities").iterdir()) == [
        "export.json",
        f"part-{state.uuid[:8]}-000005.json.zst",
    ]


def test_an_export_that_is_not_whole_cannot_be_read(tmp_path):
    world = World([status("PROCESSING", {1})], store=real(tmp_path))
    with pytest.raises(StagingError, match="is not complete"):
        staged_parts(f"file://{tmp_path}/vulnerabilities", "vulnerabilities")
    world.task().step()
    with pytest.raises(StagingError, match=r"is not complete\. Clear its task"):
        staged_parts(f"file://{tmp_path}/vulnerabilities", "vulnerabilities")


@pytest.mark.parametrize(
    "damage",
    [
        b"[]",
        b"{}",
        b'{"parts": []}',
        b'{"parts": {"1": {}}}',
        b'{"parts": {}, "unheard": 1}',
        b"{",
        b'{"kind": "\xff"}',
        b"7",
    ],
)
def test_a_damaged_state_is_a_staging_error_that_says_what_to_do(tmp_path, damage):
    store = real(tmp_path)
    (tmp_path / "vulnerabilities").mkdir()
    (tmp_path / "vulnerabilities" / "export.json").write_bytes(damage)
    with pytest.raises(StagingError, match=r"export\.json is damaged .* Remove the run's folder and clear the run"):
        store.load()


def test_a_state_survives_the_round_trip_through_disk(tmp_path):
    store = real(tmp_path)
    assert store.load() is None
    state = ExportState("vulnerabilities", BODY, START, "u", START + 1, START - 1, 2, False, {"3": Part("p", 4, 5)})
    store.save(state)
    assert store.state() == state


def test_the_real_store_counts_records_and_refuses_what_is_no_array(tmp_path):
    store = real(tmp_path)
    job = str(uuid.uuid4())
    assert store.put(job, 1, store.encode([b'[{"a": 1}, {}, null]'])) == Part(f"part-{job[:8]}-000001.json.zst", 3, 20)
    assert store.put(job, 2, store.encode([b"null"])).records == 0
    assert store.put(job, 3, store.encode([b""])).records == 0
    for broken in (b"[{", b"{}", b"7", b"[1,", b"\xff\xfe", b"<html>"):
        with pytest.raises(ValueError):  # noqa: PT011  each decoder has words of its own
            store.put(job, 4, store.encode([broken]))
    assert not (tmp_path / "vulnerabilities" / f"part-{job[:8]}-000004.json.zst").exists()


def test_asset_chunks_become_parquet_parts(tmp_path):
    import pandas as pd

    store = real(tmp_path, "assets")
    job = str(uuid.uuid4())
    part = store.put(job, 1, store.encode([b'[{"id": "a"}, {"id": "b"}, {"no": "id"}]']))
    assert part == Part(f"part-{job[:8]}-000001.parquet", 2, 40)
    assert list(pd.read_parquet(tmp_path / "assets" / part.name)["id"]) == ["a", "b"]


def test_no_airflow_is_imported_by_the_state_machine():
    import subprocess
    import sys

    code = (
        "import sys; import airflow_provider_tenable.export.state_machine; sys.exit(any(name.split('.')[0] in "
        "('airflow', 'tenable', 'boto3') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


LARGE_CHUNKS = [
    b"",
    b"null",
    b"[]",
    b'[{"a": 1}]',
    b"[" + b",".join(b'{"a": %d, "b": "},{"}' % number for number in range(3_000)) + b', 5, "x", []]',
]


def in_pieces(data, size):
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 7, 1_000, 65_536])
@pytest.mark.parametrize("data", LARGE_CHUNKS, ids=range(len(LARGE_CHUNKS)))
def test_a_chunk_is_staged_as_it_is_whatever_the_pieces_in_which_it_arrives(tmp_path, monkeypatch, data, size):
    monkeypatch.setattr(chunks, "_FRAME_BYTES", 10_000)
    monkeypatch.setattr(decode, "PIECE_BYTES", 20_000)
    store = StagedExport(open_path(f"file://{tmp_path}"), "vulnerabilities")
    part = store.put("job", 1, store.encode(in_pieces(data, size)))
    assert read_part(store.folder / part.name) == data
    assert (part.bytes, part.records) == (len(data), len(json.loads(data or b"null") or []))


def test_an_asset_chunk_is_encoded_the_same_way_whatever_its_pieces(tmp_path):
    data = b'[{"id": "a"}, {"id": "b", "types": ["host"]}]'
    store = StagedExport(open_path(f"file://{tmp_path}"), "assets")
    assert store.encode(in_pieces(data, 3)) == store.encode([data])
    assert store.encode([data])[1:] == (2, len(data))


@pytest.mark.parametrize("data", [b"[1,2", b"{}", b'[{"a":1}]]', b"[" + b'{"a":1},' * 5_000])
def test_a_chunk_in_pieces_that_is_not_an_array_is_not_encoded(tmp_path, data):
    store = StagedExport(open_path(f"file://{tmp_path}"), "vulnerabilities")
    with pytest.raises(ValueError, match=r"."):
        store.encode(in_pieces(data, 1_000))
    assert list(tmp_path.iterdir()) == []


def test_a_job_that_ends_without_a_reason_is_reported_without_one():
    with pytest.raises(
        ExportFailedError, match=r"could not be completed: it ended as ERROR\. It was restarted 0 times"
    ):
        World([status("ERROR")], max_restarts=0).finish()
    with pytest.raises(
        ExportFailedError, match=r"could not be completed: it ended as ERROR: too big\. It was restarted"
    ):
        World([status("ERROR", reason="too big")], max_restarts=0).finish()


def test_requests_without_filters_are_compared_and_never_recognised():
    assert same_request({"num_assets": 1}, {"num_assets": 1})
    assert not same_request({"num_assets": 1}, {"num_assets": 2})
    state = ExportState(kind="vulnerabilities", body={}, started_at=START, requested_at=START)
    job = Job("u", "PROCESSING", {}, None, START)
    assert running_job([job], state, None) is None
    assert lost_job([job], state) is None


@pytest.mark.parametrize(
    ("created", "found"), [(START - 121, False), (START - 120, True), (START, True), (None, False)]
)
@pytest.mark.parametrize(("word", "usable"), [("QUEUED", True), ("FINISHED", True), ("ERROR", False)])
def test_a_lost_job_was_created_at_most_two_minutes_before_the_request_and_has_not_failed(created, found, word, usable):
    state = ExportState(kind="vulnerabilities", body=BODY, started_at=START, requested_at=START)
    ours, others = Job("ours", word, FILTERS, 100, created), Job("other", word, {"state": ["OPEN"]}, 100, START)
    assert lost_job([others, ours], state) == (ours if found and usable else None)
    state.given_up = ["ours"]
    assert lost_job([others, ours], state) is None


def test_a_running_job_is_the_one_that_the_answer_names():
    state = ExportState(kind="vulnerabilities", body=BODY, started_at=START)
    first, second = (Job(name, "PROCESSING", FILTERS, 100, START) for name in ("first", "second"))
    finished, unknown = Job("done", "FINISHED", FILTERS, 100, START), Job("new", "PROCESSING", FILTERS, 100, None)
    assert running_job([finished, unknown, first, second], state, None) == first
    assert running_job([finished, unknown, first, second], state, "second") == second
    assert running_job([first, second], state, "third") is None
    assert running_job([Job("size", "PROCESSING", FILTERS, 50, START)], state, None) is None
    # Its data must be known up to a time, because the watermark depends on it.
    assert running_job([unknown], state, "new") is None


# Which Tenable an export comes from.


class Source:
    """The check of the source: counts its calls, and raises or returns its answers in order, the last one forever."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.calls = 0

    def __call__(self):
        self.calls += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer


def test_the_source_is_asked_for_once_per_start_or_resume_and_recorded_with_the_request():
    source = Source("here")
    world = World([*WHOLE[:2], *WHOLE[1:2] * 5, WHOLE[2]], source=source)
    run = world.task()
    for _ in range(3):
        run.step()
    assert source.calls == 1
    assert json.loads(world.store.saved)["source"] == "here"
    assert world.finish().source == "here"
    assert source.calls == 2


@pytest.mark.parametrize("looks", [0, 1, 9], ids=["nothing", "running", "complete"])
def test_an_export_that_is_planned_for_another_source_changes_nothing(looks):
    world = World(source=Source("here"))
    run = world.task()
    for _ in range(looks):
        if isinstance(run.step(), Finished):
            break
    before = world.store.saved, dict(world.store.files), list(world.tenable.posts), list(world.tenable.fetched)
    world.options["source"] = Source(ConfigurationError("another source"))
    again = world.task()
    # Not even when its time is up.
    world.clock.now += 20 * HOUR
    with pytest.raises(ConfigurationError, match="another source"):
        again.step()
    assert before == (world.store.saved, world.store.files, world.tenable.posts, world.tenable.fetched)
    assert world.tenable.cancels == []


def test_what_was_requested_from_another_source_is_abandoned_but_not_cancelled():
    world = World(WHOLE, WHOLE, source=Source("there"))
    first = world.finish()
    world.options["source"] = Source("here")
    second = world.finish()
    assert (first.source, second.source) == ("there", "here")
    assert second.uuid != first.uuid
    assert {job for job, _ in world.staged(second)} == {second.uuid}
    assert {job for job, _, _ in world.store.files.values()} == {second.uuid}
    assert world.tenable.cancels == []


def test_a_request_of_another_source_is_not_looked_for():
    state = ExportState(kind="vulnerabilities", body=BODY, started_at=START, requested_at=START, source="there")
    world = World(source=Source("here"))
    world.store.save(state)
    world.tenable.jobs = None
    assert world.finish().source == "here"


def test_a_state_of_an_older_release_without_a_source_is_continued():
    world = World()
    first = world.finish()
    assert "source" not in json.loads(world.store.saved)
    world.options["source"] = Source("here")
    assert world.finish().uuid == first.uuid
    assert world.tenable.posts == [BODY]


def test_a_source_that_cannot_be_asked_for_counts_as_a_failed_poll():
    source = Source(TemporaryError("down"), TemporaryError("down"), "here")
    world = World(source=source)
    assert world.finish().complete
    assert source.calls == 3
    # A complete export is not returned unchecked.
    world.options["source"] = Source(TemporaryError("down"))
    with pytest.raises(TemporaryError, match="down"):
        world.task().step()
    assert world.tenable.cancels == []


def test_a_restarted_job_records_the_source_again():
    world = World([status("ERROR")], WHOLE, source=Source("here"))
    state = world.finish()
    assert (state.restarts, state.source) == (1, "here")


# How soon a young job is polled again (see test_polling.py for the times themselves).


def test_a_young_job_is_polled_soon_and_an_old_one_as_usual():
    world = World([status("QUEUED")] * 3 + [status("PROCESSING", {1})] * 99, first_poll=1.0)
    run, ages, waits = world.task(), [], []
    for _ in range(14):
        outcome = run.step()
        ages.append(world.clock.now - START)
        waits.append(outcome.seconds)
        assert outcome.is_early is (outcome.seconds < 30.0)
        assert (outcome.job_uuid, outcome.chunks_staged) == (run.state.uuid, len(run.state.parts))
        world.clock.now += outcome.seconds
    assert waits[:5] == [1.0, 1.0, 1.0, 1.5, 2.25]
    assert waits[-2:] == [30.0, 30.0]
    assert all(wait == pytest.approx(min(30.0, max(1.0, age / 2))) for age, wait in zip(ages, waits, strict=True))


def test_a_task_that_is_tried_again_knows_how_old_its_job_is():
    world = World([status("PROCESSING")], first_poll=1.0)
    world.task().step()
    world.clock.now += 40.0
    assert world.task().step().seconds == 20.0
    world.clock.now += HOUR
    assert world.task().step() == Wait(30.0, world.task().state.uuid, 0)


def test_a_job_that_is_started_again_is_young_again():
    world = World([status("PROCESSING"), status("ERROR")], [status("PROCESSING")], first_poll=1.0)
    run = world.task()
    run.step()
    world.clock.now += 300.0
    assert run.step() == Wait(seconds=1.0, job_uuid=None, chunks_staged=0)
    world.clock.now += 1.0
    assert run.step() == Wait(1.0, run.state.uuid, 0, is_early=True)


@pytest.mark.parametrize(
    "trouble",
    [
        TemporaryError("503"),
        status("CANCELLED"),
        status("FINISHED", {1}, counted_chunks=2),
    ],
    ids=str,
)
def test_trouble_with_a_young_job_is_given_the_usual_time(trouble):
    """What is counted in polls, as 20 that fail in a row, would otherwise be over within a minute."""
    world = World([status("QUEUED"), trouble], first_poll=1.0)
    run = world.task()
    assert run.step().is_early
    outcome = run.step()
    assert (outcome.seconds, outcome.is_early) == (30.0, False)


def test_a_job_of_which_no_request_is_known_is_polled_as_usual():
    world = World([status("PROCESSING")], first_poll=1.0)
    run = world.task()
    run.step()
    run.state.requested_at = None
    assert run.step().seconds == 30.0
