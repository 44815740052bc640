"""Archiving against a Security Hub that the test plays, under a clock that only sleeping moves."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from airflow_provider_tenable.exceptions import DestinationRefusedError, StagingError, TemporaryError
from airflow_provider_tenable.guards.redaction import remember
from airflow_provider_tenable.security_hub import archiving
from airflow_provider_tenable.security_hub.archive_outcome import (
    ANOTHER_PRODUCT,
    NOT_VISIBLE_YET,
    TOO_LARGE,
    UNREADABLE,
)
from airflow_provider_tenable.security_hub.archived_document import milliseconds_of, timestamp_of
from airflow_provider_tenable.security_hub.archiving import Archival, ArchiveOutcome, ArchiveReceipts, FindingsArchive
from airflow_provider_tenable.security_hub.rate_limit import TokenBucket
from airflow_provider_tenable.security_hub.reader import FILTER_VALUES
from airflow_provider_tenable.staging.layout import RunFolder

ACCOUNT, REGION = "111122223333", "eu-west-1"
PRODUCT = f"arn:aws:securityhub:{REGION}::product/tenable/vulnerability-management"
REASON = "tenable/vulnerability-management/archived_because"
PLANNED = datetime(2026, 6, 1, tzinfo=UTC)
PLANNED_MS = int(PLANNED.timestamp() * 1000)
SENT = PLANNED_MS - 10 * 86_400_000


class Time:
    def __init__(self) -> None:
        self.now = 0.0
        self._lock = threading.Lock()

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds


def refusal(code: str, operation: str, status: int = 400) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation
    )


class Hub:
    """Holds documents by id, and does what Security Hub does with newer and older ones."""

    def __init__(self, *ids: str, **changes: Any) -> None:
        self.held: dict[str, dict[str, Any]] = {each: self.finding(each, **changes) for each in ids}
        self.extra: list[dict[str, Any]] = []
        self.reads: list[list[str]] = []
        self.sent: list[list[bytes]] = []
        self.updates: Counter[str] = Counter()
        self.before_read: Callable[[list[str]], None] = lambda ids: None
        self.before_import: Callable[[list[str]], Any] = lambda ids: None
        self.after_import: Callable[[list[str]], None] = lambda ids: None
        self._lock = threading.Lock()

    @staticmethod
    def finding(finding_id: str, **changes: Any) -> dict[str, Any]:
        return {
            "SchemaVersion": "2018-10-08",
            "Id": finding_id,
            "ProductArn": PRODUCT,
            "AwsAccountId": ACCOUNT,
            "Region": REGION,
            "UpdatedAt": timestamp_of(SENT),
            "RecordState": "ACTIVE",
            "Workflow": {"Status": "SUPPRESSED"},
            "FindingProviderFields": {"Severity": {"Label": "HIGH"}},
            **changes,
        }

    def read_page(
        self, filters: Any, *, next_token: str | None = None, max_results: int = 100
    ) -> tuple[list[dict[str, Any]], str | None]:
        ids = [each["Value"] for each in filters["Id"]]
        assert len(ids) <= FILTER_VALUES
        assert filters["AwsAccountId"] == [{"Value": ACCOUNT, "Comparison": "EQUALS"}]
        assert filters["Region"] == [{"Value": REGION, "Comparison": "EQUALS"}]
        with self._lock:
            self.reads.append(ids)
            self.before_read(ids)
            found = [each for each in [*self.held.values(), *self.extra] if each["Id"] in ids]
            return json.loads(json.dumps(found)), None

    def import_batch(self, lines: Any) -> dict[str, Any]:
        ids = [json.loads(line)["Id"] for line in lines]
        with self._lock:
            self.sent.append(list(lines))
            failed = self.before_import(ids) or []
            for line in lines:
                new = json.loads(line)
                old = self.held.get(new["Id"])
                if new["Id"] in {entry["Id"] for entry in failed} or old is None:
                    continue
                if milliseconds_of(new["UpdatedAt"]) > milliseconds_of(old["UpdatedAt"]):  # type: ignore[operator]
                    self.held[new["Id"]] = {**new, "Region": REGION, "Workflow": old.get("Workflow")}
                    self.updates[new["Id"]] += 1
            self.after_import(ids)
            return {"FailedCount": len(failed), "SuccessCount": len(ids) - len(failed), "FailedFindings": failed}

    def states(self) -> Counter[str]:
        return Counter(each["RecordState"] for each in self.held.values())


class World:
    def __init__(self, folder: Path, hub: Hub) -> None:
        self.run_folder = RunFolder(f"file://{folder}", "dag", "run")
        self.hub = hub
        self.time = Time()

    def receipts(self, part: str = "part") -> ArchiveReceipts:
        return ArchiveReceipts(self.run_folder, ACCOUNT, REGION, part)

    def archive(self, **options: Any) -> FindingsArchive:
        fast = {"clock": self.time.clock, "sleep": self.time.sleep}
        return FindingsArchive(
            **{
                "sender": self.hub,
                "receipts": self.receipts(),
                "bucket": TokenBucket(1e9, 1e9, **fast),
                "reasons_field": REASON,
                "planned_at": PLANNED,
                **fast,
                **options,
            }
        )

    def run(self, wanted: list[Archival], until: float | None = None, **options: Any) -> ArchiveOutcome:
        return self.archive(**options).run(iter(wanted), until)


def wanted_of(*ids: str, reason: str = "not_reported", floor: int = SENT, **more: Any) -> list[Archival]:
    return [Archival(each, reason, floor, **more) for each in ids]


def ids_of(number: int) -> list[str]:
    return [f"id-{each:05d}" for each in range(number)]


@pytest.mark.parametrize("number", [0, 1, 20, 21, 99, 100, 101, 250])
def test_every_finding_is_read_once_archived_once_and_accounted_for(tmp_path: Path, number: int) -> None:
    ids = ids_of(number)
    world = World(tmp_path, Hub(*ids))
    outcome = world.run(wanted_of(*ids))
    assert outcome.archived == [(each, PLANNED_MS) for each in ids]
    assert (outcome.gone, dict(outcome.refused), outcome.not_allowed, outcome.finished) == ([], {}, None, True)
    assert sorted(each for read in world.hub.reads for each in read) == ids
    assert len(world.hub.reads) == -(-number // 20)
    assert [len(call) for call in world.hub.sent] == [100] * (number // 100) + ([number % 100] if number % 100 else [])
    assert world.hub.states() == Counter({"ARCHIVED": number} if number else {})
    assert all(each["ProductFields"] == {REASON: "not_reported"} for each in world.hub.held.values())


def test_the_document_may_give_another_reason_than_planned_and_its_receipt_has_it(tmp_path: Path) -> None:
    ids = ids_of(4)
    hub = Hub(*ids)
    hub.held[ids[1]]["GeneratorId"] = hub.held[ids[3]]["GeneratorId"] = "100"
    world = World(tmp_path, hub)

    def reason_of(planned: str, finding: dict[str, Any]) -> str:
        return "out_of_scope" if finding.get("GeneratorId") == "100" else planned

    first = world.run(wanted_of(*ids), reason_of=reason_of)
    reasons = [hub.held[each]["ProductFields"][REASON] for each in ids]
    assert reasons == ["not_reported", "out_of_scope", "not_reported", "out_of_scope"]
    assert first.because == {ids[1]: "out_of_scope", ids[3]: "out_of_scope"}
    # A retry knows it from the receipts, and one whose receipts are lost reads it again.
    again = world.run(wanted_of(*ids), reason_of=lambda *_: pytest.fail("is settled"))
    lost = world.run(wanted_of(*ids), reason_of=reason_of, receipts=world.receipts("other"))
    assert first == again == lost
    assert len(hub.sent) == 1


def test_reading_keeps_to_three_calls_a_second(tmp_path: Path) -> None:
    ids = ids_of(600)
    world = World(tmp_path, Hub(*ids))
    world.run(wanted_of(*ids))
    assert len(world.hub.reads) == 30
    assert world.time.now >= 30 / 3


@pytest.mark.parametrize(
    ("floor", "held", "expected"),
    [
        (SENT, SENT, PLANNED_MS),
        (PLANNED_MS, SENT, PLANNED_MS + 1),
        (PLANNED_MS + 5_000, SENT, PLANNED_MS + 5_001),
        (SENT, PLANNED_MS, PLANNED_MS + 1),
        (SENT, PLANNED_MS + 7_000, PLANNED_MS + 7_001),
        (SENT, PLANNED_MS - 1, PLANNED_MS),
    ],
)
def test_the_new_time_is_later_than_the_plan_the_floor_and_what_the_hub_has(
    tmp_path: Path, floor: int, held: int, expected: int
) -> None:
    world = World(tmp_path, Hub("a", UpdatedAt=timestamp_of(held)))
    assert world.run(wanted_of("a", floor=floor)).archived == [("a", expected)]
    assert world.hub.held["a"]["UpdatedAt"] == timestamp_of(expected)


def test_a_finding_that_the_hub_does_not_have_is_gone(tmp_path: Path) -> None:
    world = World(tmp_path, Hub("a"))
    outcome = world.run(wanted_of("a", "b"))
    assert (outcome.archived, outcome.gone, outcome.finished) == ([("a", PLANNED_MS)], ["b"], True)


def test_a_finding_that_was_sent_shortly_before_is_not_taken_for_gone(tmp_path: Path) -> None:
    world = World(tmp_path, Hub())
    minute = 60_000
    recent = wanted_of("a", sent_at=PLANNED_MS - 14 * minute)
    old = wanted_of("b", sent_at=PLANNED_MS - 16 * minute)
    outcome = world.run(recent + old)
    assert outcome.refused == {NOT_VISIBLE_YET: 1}
    assert outcome.gone == ["b"]


@pytest.mark.parametrize("later", [0, 1, 5])
def test_an_archived_finding_counts_with_the_hubs_time_and_is_not_sent(tmp_path: Path, later: int) -> None:
    world = World(tmp_path, Hub("a", RecordState="ARCHIVED", UpdatedAt=timestamp_of(SENT + later)))
    outcome = world.run(wanted_of("a"))
    assert (outcome.archived, world.hub.sent) == ([("a", SENT + later)], [])


def test_an_archived_version_that_is_older_than_what_was_sent_since_does_not_count(tmp_path: Path) -> None:
    # GetFindings lags: the finding became ACTIVE after this version.
    world = World(tmp_path, Hub("a", RecordState="ARCHIVED", UpdatedAt=timestamp_of(SENT - 1)))
    assert world.run(wanted_of("a")).archived == [("a", PLANNED_MS)]
    assert len(world.hub.sent) == 1


def test_a_document_that_is_too_large_is_counted_and_the_others_are_archived(tmp_path: Path) -> None:
    hub = Hub("a", "b", "c")
    hub.held["b"]["Description"] = "x" * 240_000
    outcome = World(tmp_path, hub).run(wanted_of("a", "b", "c"))
    assert [each for each, _ in outcome.archived] == ["a", "c"]
    assert outcome.refused == {TOO_LARGE: 1}
    ((finding_id, message),) = outcome.examples[TOO_LARGE]
    assert finding_id == "b"
    assert "the limit is 240000" in message
    assert outcome.finished


@pytest.mark.parametrize(("more", "archived"), [(0, True), (1, False)])
def test_a_document_of_just_the_limit_is_archived(tmp_path: Path, more: int, archived: bool) -> None:
    short = World(tmp_path / "short", Hub("a", Description=""))
    short.run(wanted_of("a"))
    missing = 240_000 - len(short.hub.sent[0][0])
    outcome = World(tmp_path / "long", Hub("a", Description="x" * (missing + more))).run(wanted_of("a"))
    assert outcome.archived == ([("a", PLANNED_MS)] if archived else [])
    assert outcome.refused == ({} if archived else {TOO_LARGE: 1})


@pytest.mark.parametrize("change", [{"UpdatedAt": "yesterday"}, {"UpdatedAt": None}, {"ProductFields": ["x"]}])
def test_a_document_that_cannot_be_read_is_counted(tmp_path: Path, change: dict[str, Any]) -> None:
    outcome = World(tmp_path, Hub("a", **change)).run(wanted_of("a"))
    assert (outcome.refused, outcome.finished) == ({UNREADABLE: 1}, True)


def test_what_security_hub_refuses_is_counted_by_its_code_with_few_examples(tmp_path: Path) -> None:
    ids = ids_of(30)
    hub = Hub(*ids)
    hub.before_import = lambda sent: [
        {"Id": each, "ErrorCode": "InvalidInput", "ErrorMessage": f"{each} is bad"} for each in sent if each != ids[7]
    ]
    outcome = World(tmp_path, hub).run(wanted_of(*ids))
    assert outcome.refused == {"InvalidInput": 29}
    assert [each for each, _ in outcome.archived] == [ids[7]]
    assert outcome.examples["InvalidInput"][0] == (ids[0], f"{ids[0]} is bad")
    assert len(outcome.examples["InvalidInput"]) == 5


def test_poison_is_isolated_by_halving(tmp_path: Path) -> None:
    ids = ids_of(100)
    hub = Hub(*ids)

    def poisoned(sent: list[str]) -> None:
        if ids[42] in sent:
            raise refusal("InvalidInputException", "BatchImportFindings")

    hub.before_import = poisoned
    outcome = World(tmp_path, hub).run(wanted_of(*ids))
    assert outcome.refused == {"InvalidInputException": 1}
    assert len(outcome.archived) == 99


def test_findings_of_other_products_are_left_alone(tmp_path: Path) -> None:
    other = f"arn:aws:securityhub:{REGION}:{ACCOUNT}:product/{ACCOUNT}/default"
    hub = Hub("a", "b")
    hub.held["b"]["ProductArn"] = other
    hub.extra = [Hub.finding("a", ProductArn=other)]
    outcome = World(tmp_path, hub).run(wanted_of("a", "b"), product_arns=[PRODUCT])
    assert [each for each, _ in outcome.archived] == ["a"]
    assert outcome.refused == {ANOTHER_PRODUCT: 1}
    assert outcome.examples[ANOTHER_PRODUCT] == [("b", f"The hub has it as a finding of {other}.")]
    assert [json.loads(line)["ProductArn"] for call in hub.sent for line in call] == [PRODUCT]


def test_a_product_that_is_not_a_string_is_another_one(tmp_path: Path) -> None:
    hub = Hub("a", "b")
    hub.held["b"]["ProductArn"] = [PRODUCT]
    outcome = World(tmp_path, hub).run(wanted_of("a", "b"), product_arns=[PRODUCT])
    assert [finding_id for finding_id, _ in outcome.archived] == ["a"]
    assert outcome.refused == {ANOTHER_PRODUCT: 1}


@pytest.mark.parametrize("times", [(SENT, PLANNED_MS + 4), (PLANNED_MS + 4, SENT)])
def test_products_that_share_an_id_are_archived_together(tmp_path: Path, times: tuple[int, int]) -> None:
    other = f"arn:aws:securityhub:{REGION}:{ACCOUNT}:product/{ACCOUNT}/default"
    hub = Hub("a", "b")
    hub.held["a"]["UpdatedAt"] = timestamp_of(times[0])
    hub.extra = [Hub.finding("a", ProductArn=other, UpdatedAt=timestamp_of(times[1]))]
    outcome = World(tmp_path, hub).run(wanted_of("a", "b"))
    # FailedFindings names only the id, so no call may hold it twice.
    assert [[json.loads(line)["Id"] for line in call] for call in hub.sent] == [["a", "b"], ["a"]]
    assert outcome.archived == [("b", PLANNED_MS), ("a", PLANNED_MS + 5)]


@pytest.mark.parametrize("operation", ["GetFindings", "BatchImportFindings"])
@pytest.mark.parametrize("code", ["AccessDeniedException", "AccessDenied"])
def test_a_missing_permission_is_reported_by_name_and_nothing_further_is_tried(
    tmp_path: Path, operation: str, code: str
) -> None:
    ids = ids_of(500)
    hub = Hub(*ids)

    def deny(sent: list[str]) -> None:
        raise refusal(code, operation, 403)

    setattr(hub, "before_read" if operation == "GetFindings" else "before_import", deny)
    outcome = World(tmp_path, hub).run(wanted_of(*ids))
    assert outcome.not_allowed == f"securityhub:{operation}"
    assert f"securityhub:{operation}" in str(outcome.explanation)
    assert (outcome.archived, outcome.gone, outcome.finished) == ([], [], False)
    assert len(hub.reads) <= 10
    assert len(hub.sent) <= 1


def test_what_was_archived_before_a_permission_was_lost_counts(tmp_path: Path) -> None:
    ids = ids_of(300)
    hub = Hub(*ids)
    calls: list[int] = []

    def deny(sent: list[str]) -> None:
        calls.append(1)
        if len(calls) > 2:
            raise refusal("AccessDeniedException", "BatchImportFindings", 403)

    hub.before_import = deny
    world = World(tmp_path, hub)
    outcome = world.run(wanted_of(*ids))
    assert (len(outcome.archived), outcome.not_allowed) == (200, "securityhub:BatchImportFindings")
    hub.before_import = lambda sent: None
    outcome = world.run(wanted_of(*ids))
    assert (len(outcome.archived), outcome.not_allowed, outcome.finished) == (300, None, True)
    assert set(hub.updates.values()) == {1}


@pytest.mark.parametrize("operation", ["GetFindings", "BatchImportFindings"])
def test_a_hub_that_is_off_ends_the_work_with_an_error(tmp_path: Path, operation: str) -> None:
    hub = Hub("a")

    def off(sent: list[str]) -> None:
        raise refusal("InvalidAccessException", operation, 401)

    setattr(hub, "before_read" if operation == "GetFindings" else "before_import", off)
    with pytest.raises(DestinationRefusedError, match="not enabled"):
        World(tmp_path, hub).run(wanted_of("a"))


@pytest.mark.parametrize("operation", ["GetFindings", "BatchImportFindings"])
@pytest.mark.parametrize(
    "failure",
    [
        ("TooManyRequestsException", 429),
        ("ThrottlingException", 400),
        ("InternalException", 500),
        ("", 503),
        "time-out",
        "unreadable",
    ],
    ids=str,
)
def test_a_passing_failure_is_waited_out(tmp_path: Path, operation: str, failure: Any) -> None:
    ids = ids_of(45)
    hub = Hub(*ids)
    failures = [0]

    def fail(sent: list[str]) -> None:
        failures[0] += 1
        if failures[0] % 4:
            if failure == "time-out":
                raise ReadTimeoutError(endpoint_url="https://x")
            if failure == "unreadable":
                raise TemporaryError("the response is not from AWS")
            raise refusal(failure[0], operation, failure[1])

    setattr(hub, "before_read" if operation == "GetFindings" else "before_import", fail)
    outcome = World(tmp_path, hub).run(wanted_of(*ids))
    assert (len(outcome.archived), outcome.finished) == (45, True)
    assert set(hub.updates.values()) == {1}


@pytest.mark.parametrize("operation", ["GetFindings", "BatchImportFindings"])
def test_an_outage_without_end_fails_and_the_retry_resumes(tmp_path: Path, operation: str) -> None:
    ids = ids_of(250)
    hub = Hub(*ids)
    calls = [0]
    last = 7 if operation == "GetFindings" else 1

    def fail(sent: list[str]) -> None:
        calls[0] += 1
        if calls[0] > last:
            raise refusal("", operation, 503)

    hook = "before_read" if operation == "GetFindings" else "before_import"
    setattr(hub, hook, fail)
    world = World(tmp_path, hub)
    with pytest.raises(TemporaryError, match="in 20 seconds"):
        world.run(wanted_of(*ids), retry_seconds=20)
    assert hub.states()["ARCHIVED"] == 100
    setattr(hub, hook, lambda sent: None)
    outcome = world.run(wanted_of(*ids))
    assert (len(outcome.archived), outcome.finished) == (250, True)
    assert set(hub.updates.values()) == {1}


def test_an_answer_that_was_lost_is_repeated_with_the_same_bytes(tmp_path: Path) -> None:
    ids = ids_of(10)
    hub = Hub(*ids)
    lost = [True]

    def lose(sent: list[str]) -> None:
        if lost.pop() if lost else False:
            raise ReadTimeoutError(endpoint_url="https://x")

    hub.after_import = lose
    outcome = World(tmp_path, hub).run(wanted_of(*ids))
    assert len(outcome.archived) == 10
    assert hub.sent[0] == hub.sent[1]
    assert set(hub.updates.values()) == {1}


def test_a_restart_that_still_sees_the_old_version_sends_the_same_bytes(tmp_path: Path) -> None:
    ids = ids_of(30)
    hub = Hub(*ids)
    before = json.loads(json.dumps(hub.held))

    class DiedError(BaseException):
        pass

    def die(sent: list[str]) -> None:
        raise DiedError

    hub.after_import = die
    world = World(tmp_path, hub)
    with pytest.raises(DiedError):
        world.run(wanted_of(*ids))
    archived, hub.after_import = hub.held, lambda sent: None
    # The process is gone with its receipts, and GetFindings does not show the import yet.
    for file in world.run_folder.archive_receipts(ACCOUNT, REGION).glob("*"):
        file.unlink()
    hub.held = before
    outcome = World(tmp_path, hub).run(wanted_of(*ids))
    assert hub.sent[0] == hub.sent[1]
    assert outcome.archived == [(each, PLANNED_MS) for each in ids]
    assert {each: value["UpdatedAt"] for each, value in archived.items()} == {
        each: value["UpdatedAt"] for each, value in hub.held.items()
    }


def test_the_work_goes_on_in_pieces_and_every_piece_makes_progress(tmp_path: Path) -> None:
    ids = ids_of(210)
    hub = Hub(*ids)
    world = World(tmp_path, hub)
    done = [0]
    for _ in range(20):
        outcome = world.run(wanted_of(*ids), until=world.time.now)
        assert len(outcome.archived) > done[-1]
        done.append(len(outcome.archived))
        if outcome.finished:
            break
    assert done[-1] == 210
    assert len(done) == 12
    assert set(hub.updates.values()) == {1}
    # Nothing is read or sent by a piece that finds everything done.
    reads, sent = len(hub.reads), len(hub.sent)
    assert world.run(wanted_of(*ids)).archived == outcome.archived
    assert (len(hub.reads), len(hub.sent)) == (reads, sent)


def test_receipts_hold_each_kind_of_result(tmp_path: Path) -> None:
    hub = Hub("a", "c")
    hub.held["c"]["Description"] = "x" * 240_000
    world = World(tmp_path, hub)
    first = world.run(wanted_of("a", "b", "c"))
    assert world.run(wanted_of("a", "b", "c")) == first
    assert len(hub.reads) == 1


def test_receipts_are_written_in_several_parts_and_read_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archiving, "_FLUSH_SECONDS", 0.0)
    ids = ids_of(250)
    world = World(tmp_path, Hub(*ids))
    outcome = world.run(wanted_of(*ids))
    assert len(list(world.run_folder.archive_receipts(ACCOUNT, REGION).glob("*.gz"))) == 3
    receipts = world.receipts()
    assert [receipts.of(each) is not None for each in wanted_of(*ids)] == [True] * 250
    assert world.run(wanted_of(*ids)) == outcome


def test_explanation_of_a_denial_repeats_no_secret(tmp_path: Path) -> None:
    secret = "AQoDYXdzEJr-a-session-token-that-is-long"
    remember(secret)
    hub = Hub("a")

    def deny(sent: list[str]) -> None:
        message = f"no; token={secret}\nsecond line"
        response = {"Error": {"Code": "AccessDenied", "Message": message}, "ResponseMetadata": {"HTTPStatusCode": 403}}
        raise ClientError(response, "GetFindings")

    hub.before_read = deny
    explanation = str(World(tmp_path, hub).run(wanted_of("a")).explanation)
    assert "token=***" in explanation
    assert "\n" not in explanation


@pytest.mark.parametrize("changed", [{"floor": SENT + 1}, {"reason": "fixed"}])
def test_a_receipt_does_not_count_for_another_floor_or_reason(tmp_path: Path, changed: dict[str, Any]) -> None:
    hub = Hub("a")
    world = World(tmp_path, hub)
    world.run(wanted_of("a"))
    hub.held["a"] = Hub.finding("a", UpdatedAt=timestamp_of(PLANNED_MS + 50))
    assert world.run(wanted_of("a", **changed)).archived == [("a", PLANNED_MS + 51)]


def test_parts_have_receipts_of_their_own(tmp_path: Path) -> None:
    world = World(tmp_path, Hub("a", "b"))
    world.run(wanted_of("a"), receipts=world.receipts("one"))
    world.run(wanted_of("b"), receipts=world.receipts("two"))
    assert (len(world.receipts("one")), len(world.receipts("two")), len(world.receipts("three"))) == (1, 1, 0)


def test_damaged_receipts_are_reported_with_what_to_do(tmp_path: Path) -> None:
    world = World(tmp_path, Hub("a"))
    world.run(wanted_of("a"))
    (file,) = world.run_folder.archive_receipts(ACCOUNT, REGION).glob("*.gz")
    file.write_bytes(file.read_bytes()[:-12])
    with pytest.raises(StagingError, match=file.name):
        world.receipts()


def test_receipts_of_a_newer_version_are_not_used(tmp_path: Path) -> None:
    from airflow_provider_tenable.staging.parts import write_lines

    world = World(tmp_path, Hub("a"))
    write_lines(world.run_folder.archive_receipts(ACCOUNT, REGION), "part-00000", [b'{"format":2}'])
    with pytest.raises(StagingError, match="newer version"):
        world.receipts()


@pytest.mark.parametrize(
    "change", [{"Id": "another"}, {"Id": None}, {"AwsAccountId": "999999999999"}, {"Region": "af-south-1"}]
)
def test_an_answer_with_other_findings_is_not_believed(tmp_path: Path, change: dict[str, Any]) -> None:
    hub = Hub("a")

    class Confused(Hub):
        def read_page(self, filters: Any, **more: Any) -> tuple[list[dict[str, Any]], str | None]:
            return [Hub.finding("a") | change], None

    hub = Confused("a")
    with pytest.raises(TemporaryError, match="GetFindings returned a finding with another"):
        World(tmp_path, hub).run(wanted_of("a"))
    assert hub.sent == []


def test_pages_are_followed_and_a_token_that_does_not_move_is_an_error(tmp_path: Path) -> None:
    class Paged(Hub):
        tokens: tuple[str | None, ...] = ("x", "y", None)

        def read_page(
            self, filters: Any, *, next_token: str | None = None, max_results: int = 100
        ) -> tuple[list[dict[str, Any]], str | None]:
            position = 0 if next_token is None else self.tokens.index(next_token) + 1
            found, _ = super().read_page(filters)
            return found[position : position + 1], self.tokens[position]

    hub = Paged("a", "b", "c")
    assert len(World(tmp_path / "1", hub).run(wanted_of("a", "b", "c")).archived) == 3
    hub.tokens = ("x", "x", None)
    with pytest.raises(TemporaryError, match="token"):
        World(tmp_path / "2", hub).run(wanted_of("a", "b", "c"))


def test_stopping_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    ids = ids_of(300)
    hub = Hub(*ids)
    world = World(tmp_path, hub)
    work = world.archive()

    def stop(sent: list[str]) -> None:
        work.stop()

    hub.after_import = stop
    with pytest.raises(TemporaryError, match="stopped"):
        work.run(wanted_of(*ids))
    assert len(world.receipts()) == 100
    hub.after_import = lambda sent: None
    assert len(world.run(wanted_of(*ids)).archived) == 300
    assert set(hub.updates.values()) == {1}
