"""The import against a Security Hub that is played by the test, under a clock that only sleeping turns."""

from __future__ import annotations

import json
import logging
import random
import threading
from collections import Counter

import msgspec
import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.asff import limits
from airflow_provider_tenable.exceptions import ConfigurationError, StagingError, TemporaryError
from airflow_provider_tenable.security_hub import backoff
from airflow_provider_tenable.security_hub.batches import Item, batches, identify
from airflow_provider_tenable.security_hub.importer import FindingsImport, _runs
from airflow_provider_tenable.security_hub.rate_limit import TokenBucket
from airflow_provider_tenable.security_hub.receipts import Receipts
from airflow_provider_tenable.staging.files import names
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import read_lines

ACCOUNT, REGION = "123456789012", "eu-west-1"


def item(number: int, finding_id: str | None = None, size: int = 40) -> Item:
    finding_id = finding_id or f"id-{number}"
    data = msgspec.json.encode({"Id": finding_id, "n": number, "pad": ""})
    return Item("part", number, finding_id, data + b" " * max(0, size - len(data)))


# Batches.

SIZES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 120)), max_size=60)


@settings(max_examples=300, deadline=None)
@given(SIZES, st.integers(1, 7), st.integers(50, 300))
@example([(1, 0)] * 20, 3, 300)
def test_batches_hold_every_finding_once_and_keep_the_three_limits(made, size, max_bytes):
    items = [Item("part", number, f"id-{finding}", b"x" * length) for number, (finding, length) in enumerate(made)]
    cut = list(batches(iter(items), size=size, max_bytes=max_bytes))
    assert Counter(each.line for batch in cut for each in batch) == Counter(each.line for each in items)
    for batch in cut:
        assert 1 <= len(batch) <= size
        assert len({each.id for each in batch}) == len(batch)
        assert len(batch) == 1 or sum(len(each.data) + 1 for each in batch) <= max_bytes


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 40), st.integers(1, 9))
def test_distinct_small_findings_make_full_batches_in_their_order(count, size):
    items = [item(number) for number in range(count)]
    cut = list(batches(iter(items), size=size))
    assert [each for batch in cut for each in batch] == items
    assert all(len(batch) == size for batch in cut[:-1])


def test_a_batch_is_full_at_its_last_byte_and_not_one_later():
    items = [Item("part", number, str(number), b"x" * 49) for number in range(3)]
    assert [len(batch) for batch in batches(iter(items), size=100, max_bytes=150)] == [3]
    assert [len(batch) for batch in batches(iter(items), size=100, max_bytes=149)] == [2, 1]


def test_the_default_limit_of_a_call_stays_below_six_megabytes():
    items = [Item("part", number, str(number), b"x" * limits.FINDING_BYTES) for number in range(60)]
    cut = [len(batch) for batch in batches(iter(items), size=100)]
    assert cut == [22, 22, 16]


def test_a_repeated_id_goes_into_a_later_batch_and_the_first_is_still_filled():
    items = [item(0, "a"), item(1, "a"), item(2, "b"), item(3, "c")]
    assert [[each.line for each in batch] for batch in batches(iter(items), size=3)] == [[0, 2, 3], [1]]


def test_ten_thousand_findings_of_one_id_are_read_no_further_ahead_than_a_batch():
    read = []
    source = (read.append(number) or item(number, "same") for number in range(10_000))
    first = next(batches(source, size=100))
    assert len(first) == 1
    assert len(read) <= 101


def test_a_finding_that_is_larger_than_a_call_goes_alone():
    items = [item(0), item(1, size=900), item(2)]
    assert [[each.line for each in batch] for batch in batches(iter(items), size=10, max_bytes=200)] == [[0], [1], [2]]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30))
@example("arn:aws:securityhub:eu-west-1::product/tenable/tenable-io/1/2/3/tcp/443")
@example('a"b')
@example("a\\b")
@example("\u00e9")
@example("")
def test_the_id_of_a_finding_is_read_wherever_it_stands_and_whatever_is_in_it(finding_id):
    as_transformed = {"SchemaVersion": "2018-10-08", "Id": finding_id, "Title": "t", "Resources": [{"Id": "another"}]}
    assert identify(msgspec.json.encode(as_transformed)) == finding_id
    assert identify(msgspec.json.encode(dict(reversed(as_transformed.items())))) == finding_id


# The import.


class Time:
    """A clock that sleeping moves on; safe for the import's threads."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self._lock = threading.Lock()

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.slept.append(seconds)
            self.now += seconds


class Hub:
    """Answers calls as told. ``answer(ids)`` returns the failed findings as (id, code, message), or raises."""

    def __init__(self, answer=lambda ids: []) -> None:
        self.answer = answer
        self.calls: list[list[str]] = []
        self.held: Counter[str] = Counter()
        self._lock = threading.Lock()

    def import_batch(self, lines):
        ids = [json.loads(line)["Id"] for line in lines]
        with self._lock:
            self.calls.append(ids)
            failed = self.answer(ids)
            if isinstance(failed, dict):
                return failed
            bad = {entry[0] for entry in failed}
            self.held.update(finding for finding in ids if finding not in bad)
            return {
                "FailedCount": len(failed),
                "SuccessCount": len(ids) - len(failed),
                "FailedFindings": [
                    {"Id": finding, "ErrorCode": code, "ErrorMessage": message} for finding, code, message in failed
                ],
            }


def refusal(code, status=400, message="no"):
    return ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}},
        "BatchImportFindings",
    )


class World:
    def __init__(self, tmp_path, hub, *, findings=100, part="part-1", **options) -> None:
        self.run_folder = RunFolder(f"file://{tmp_path}", "dag", "run")
        self.hub = hub
        self.time = Time()
        self.part = part
        self.lines = [item(number).data for number in range(findings)]
        self.options = options

    def receipts(self) -> Receipts:
        return Receipts(self.run_folder, ACCOUNT, REGION, [self.part])

    def work(self) -> FindingsImport:
        options = {
            "in_flight": 1,
            "bucket": TokenBucket(1e9, 1e9, clock=self.time.clock, sleep=self.time.sleep),
            **self.options,
        }
        return FindingsImport(
            sender=self.hub, receipts=self.receipts(), clock=self.time.clock, sleep=self.time.sleep, **options
        )

    def run(self, work: FindingsImport | None = None, *, until: float | None = None) -> bool:
        return (work or self.work()).run([(self.part, iter(self.lines))], len(self.lines), until=until)

    def send(self) -> Receipts:
        work = self.work()
        assert self.run(work) is True
        return work.receipts

    def rejected(self) -> list[dict]:
        return [
            json.loads(line)
            for name in names(self.run_folder.rejected)
            for line in read_lines(self.run_folder.rejected / name)
        ]


def test_every_finding_is_sent_once_in_full_batches_and_receipted(tmp_path):
    world = World(tmp_path, Hub(), findings=250)
    receipts = world.send()
    assert [len(call) for call in world.hub.calls] == [100, 100, 50]
    assert set(world.hub.held.values()) == {1}
    assert receipts.counts() == {"accepted": 250, "rejected": {}, "calls": 3}
    assert world.receipts().counts() == receipts.counts()
    assert world.rejected() == []


@pytest.mark.parametrize("in_flight", [1, 4, 16])
def test_several_calls_in_flight_lose_and_repeat_nothing(tmp_path, in_flight):
    world = World(tmp_path, Hub(), findings=1_003, in_flight=in_flight, batch_size=7)
    assert world.send().accepted == 1_003
    assert len(world.hub.held) == 1_003
    assert set(world.hub.held.values()) == {1}
    assert len(world.hub.calls) == 144


def test_no_more_calls_are_in_flight_than_allowed(tmp_path):
    now, most, lock = [0], [0], threading.Lock()

    class Counting(Hub):
        def import_batch(self, lines):
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            try:
                return super().import_batch(lines)
            finally:
                with lock:
                    now[0] -= 1

    World(tmp_path, Counting(), findings=300, in_flight=3, batch_size=2).send()
    assert 1 <= most[0] <= 3


def test_no_findings_are_no_calls(tmp_path):
    world = World(tmp_path, Hub(), findings=0)
    assert world.send().counts() == {"accepted": 0, "rejected": {}, "calls": 0}
    assert world.hub.calls == []


@pytest.mark.parametrize("poison", [0, 1, 49, 50, 98, 99])
def test_halving_isolates_the_poison_and_lands_the_ninety_nine_others(tmp_path, poison):
    def answer(ids):
        if f"id-{poison}" in ids:
            raise refusal("InvalidInputException", message="Malformed")
        return []

    world = World(tmp_path, Hub(answer))
    receipts = world.send()
    assert len(world.hub.held) == 99
    assert set(world.hub.held.values()) == {1}
    assert receipts.accepted == 99
    assert receipts.rejected == {"InvalidInputException": 1}
    # 100 -> 50 -> 25 ...: each level costs two calls at most.
    assert receipts.calls == len(world.hub.calls) <= 1 + 2 * 7
    (line,) = world.rejected()
    assert line == {
        "id": f"id-{poison}",
        "account": ACCOUNT,
        "region": REGION,
        "code": "InvalidInputException",
        "message": "Malformed",
        "finding": {"Id": f"id-{poison}", "n": poison, "pad": ""},
        "part": "part-1",
        "line": poison,
    }
    assert world.time.slept == []


def test_a_whole_batch_of_poison_is_rejected_one_by_one(tmp_path):
    def answer(ids):
        raise refusal("InvalidInputException")

    receipts = World(tmp_path, Hub(answer), findings=100).send()
    assert receipts.rejected == {"InvalidInputException": 100}
    assert receipts.calls == 199


def test_a_call_that_is_too_large_is_halved(tmp_path):
    def answer(ids):
        if len(ids) > 30:
            raise refusal("Unheard", 413)
        return []

    receipts = World(tmp_path, Hub(answer)).send()
    assert receipts.accepted == 100
    assert receipts.calls == 1 + 2 + 4


@pytest.mark.parametrize("code", ["InvalidInput", "FindingSizeExceeded", "DuplicatedFindingIdentifier"])
def test_a_finding_that_is_refused_for_good_is_not_sent_again(tmp_path, code):
    world = World(tmp_path, Hub(lambda ids: [(finding, code, "why") for finding in ids if finding == "id-3"]))
    receipts = world.send()
    assert receipts.counts() == {"accepted": 99, "rejected": {code: 1}, "calls": 1}
    assert [(line["id"], line["code"], line["message"]) for line in world.rejected()] == [("id-3", code, "why")]


@pytest.mark.parametrize("code", ["InternalFailure", "ConcurrentUpdateError", "Throttling"])
@pytest.mark.parametrize(("failures", "lands"), [(1, True), (5, True), (6, False)])
def test_a_finding_that_fails_for_a_passing_reason_is_sent_six_times_at_most(tmp_path, code, failures, lands):
    seen = Counter()

    def answer(ids):
        seen.update(ids)
        return [(finding, code, "later") for finding in ids if finding == "id-7" and seen[finding] <= failures]

    world = World(tmp_path, Hub(answer))
    receipts = world.send()
    assert receipts.accepted == (100 if lands else 99)
    assert receipts.rejected == ({} if lands else {code: 1})
    assert world.hub.calls[1:] == [["id-7"]] * min(failures, 5)
    assert len(world.time.slept) == min(failures, 5)


@pytest.mark.parametrize(("failures", "lands"), [(1, True), (2, False)])
def test_a_finding_with_an_unknown_code_is_sent_once_more(tmp_path, failures, lands):
    seen = Counter()

    def answer(ids):
        seen.update(ids)
        return [(finding, "Unheard", "?") for finding in ids if finding == "id-7" and seen[finding] <= failures]

    receipts = World(tmp_path, Hub(answer)).send()
    assert receipts.rejected == ({} if lands else {"Unheard": 1})
    assert receipts.calls == 2


def test_all_of_a_batch_may_fail_each_in_its_own_way(tmp_path):
    codes = ["InvalidInput", "InternalFailure", "Unheard"]
    answered = Counter()

    def answer(ids):
        answered.update(ids)
        return [
            (finding, codes[int(finding[3:]) % 3], "m")
            for finding in ids
            if finding != "id-99" and answered[finding] <= 1
        ]

    receipts = World(tmp_path, Hub(answer)).send()
    assert receipts.rejected == {"InvalidInput": 33}
    assert receipts.accepted == 67
    assert receipts.calls == 2


def test_access_that_is_lost_in_the_middle_stops_the_import_and_keeps_the_receipts(tmp_path):
    def answer(ids):
        return [(ids[0], "InvalidAccess", "gone")] if "id-100" in ids else []

    world = World(tmp_path, Hub(answer), findings=300)
    with pytest.raises(ConfigurationError, match=r"stopped at finding id-100\. InvalidAccess: gone\. .*disabled"):
        world.send()
    assert len(world.hub.calls) == 2
    assert world.receipts().accepted == 100


@pytest.mark.parametrize("code", ["AccessDeniedException", "InvalidAccessException", "InvalidSignatureException"])
def test_a_refused_caller_stops_the_import_at_its_first_call(tmp_path, code):
    def answer(ids):
        raise refusal(code, 403)

    world = World(tmp_path, Hub(answer), findings=300)
    with pytest.raises(ConfigurationError, match=f"The import was stopped. {code}: no"):
        world.send()
    assert len(world.hub.calls) == 1
    assert world.rejected() == []


@pytest.mark.parametrize(
    "nonsense",
    [
        {},
        {"FailedCount": 0},
        {"FailedCount": 0, "SuccessCount": 101},
        {"FailedCount": 0, "SuccessCount": -1},
        {"FailedCount": 0, "SuccessCount": "99"},
        {"FailedCount": 1, "SuccessCount": 99},
        {"FailedCount": 1, "SuccessCount": 100, "FailedFindings": [{"Id": "id-1", "ErrorCode": "InvalidInput"}]},
        {"FailedCount": 0, "SuccessCount": 99, "FailedFindings": [{"Id": "id-1", "ErrorCode": "InvalidInput"}]},
        {"FailedCount": 1, "SuccessCount": 99, "FailedFindings": [{"Id": "stranger", "ErrorCode": "InvalidInput"}]},
        {
            "FailedCount": 2,
            "SuccessCount": 98,
            "FailedFindings": [{"Id": "id-1", "ErrorCode": "x"}, {"Id": "id-1", "ErrorCode": "x"}],
        },
        {"FailedCount": 1, "SuccessCount": 99, "FailedFindings": [{"ErrorCode": "InvalidInput"}]},
        {"FailedCount": 1, "SuccessCount": 99, "FailedFindings": [{"Id": ["id-1"], "ErrorCode": "InvalidInput"}]},
        {"FailedCount": None, "SuccessCount": None, "FailedFindings": None},
        {"FailedCount": "many", "SuccessCount": 100},
    ],
    ids=str,
)
def test_an_answer_that_does_not_add_up_acknowledges_nothing(tmp_path, nonsense):
    world = World(tmp_path, Hub(lambda ids: nonsense))
    with pytest.raises(TemporaryError, match="does not add up"):
        world.send()
    assert world.receipts().counts() == {"accepted": 0, "rejected": {}, "calls": 0}


def test_an_answer_that_does_not_add_up_is_told_with_both_sides(tmp_path):
    world = World(
        tmp_path,
        Hub(
            lambda ids: {
                "FailedCount": 2,
                "SuccessCount": 97,
                "FailedFindings": [{"Id": "id-1", "ErrorCode": "InvalidInput"}],
            }
        ),
    )
    with pytest.raises(TemporaryError, match="FailedCount 2, SuccessCount 97, but 1 failed findings of a batch of 100"):
        world.send()


@pytest.mark.parametrize(("failed", "successes"), [(0, 99), (0, 0), (1, 60)])
def test_findings_that_the_hub_ignores_are_acknowledged_whether_or_not_it_counts_them(
    tmp_path, caplog, failed, successes
):
    def answer(ids):
        entries = [{"Id": finding, "ErrorCode": "InvalidInput", "ErrorMessage": "m"} for finding in ids[:failed]]
        return {"FailedCount": failed, "SuccessCount": successes, "FailedFindings": entries}

    world = World(tmp_path, Hub(answer))
    with caplog.at_level(logging.INFO, logger="airflow_provider_tenable.security_hub.sender"):
        receipts = world.send()
    assert (receipts.accepted, receipts.rejected.total(), receipts.calls) == (100 - failed, failed, 1)
    assert f"ignored {100 - failed - successes} of 100 findings" in caplog.text


def test_throttling_is_waited_out_with_growing_pauses_and_costs_nothing(tmp_path):
    storm = [refusal("TooManyRequestsException", 429)] * 9

    def answer(ids):
        if storm:
            raise storm.pop()
        return []

    world = World(tmp_path, Hub(answer), findings=10)
    assert world.send().counts() == {"accepted": 10, "rejected": {}, "calls": 1}
    pauses = [pause for pause in world.time.slept if pause >= 0.25]
    assert len(pauses) == 9
    for number, pause in enumerate(pauses):
        longest = min(30.0, 0.5 * 2**number)
        assert longest / 2 <= pause <= longest


@pytest.mark.parametrize("code", ["RequestExpired", "RequestAborted", "RequestTimeout", "Unheard"])
def test_a_request_error_is_repeated_and_neither_halves_nor_rejects(tmp_path, code):
    def answer(ids):
        if "id-3" in ids:
            raise refusal(code)
        return []

    world = World(tmp_path, Hub(answer), findings=10, batch_size=5, retry_seconds=60.0)
    with pytest.raises(TemporaryError, match=f"did not accept a batch in 60 seconds and .* {code}: no"):
        world.send()
    assert {len(call) for call in world.hub.calls} == {5}
    assert world.rejected() == []


@pytest.mark.parametrize("denial", ["call", "finding"])
@pytest.mark.parametrize(("seconds", "lands"), [(59.0, True), (100.0, False)])
def test_a_denial_is_repeated_for_a_minute_where_the_product_was_subscribed_just_now(tmp_path, seconds, lands, denial):
    def answer(ids):
        if world.time.now >= 1_000.0 + seconds:
            return []
        if denial == "call":
            raise refusal("AccessDeniedException", 403)
        return [(finding, "InvalidAccess", "not yet") for finding in ids]

    world = World(tmp_path, Hub(answer), findings=3, denied_seconds=60.0)
    world.time.now = 1_000.0
    if lands:
        assert world.send().counts()["accepted"] == 3
    else:
        with pytest.raises(ConfigurationError, match="The import was stopped"):
            world.send()
        assert 1_060.0 <= world.time.now < 1_091.0
    assert world.rejected() == []


def test_credentials_that_cannot_be_renewed_now_are_waited_out_like_an_outage(tmp_path):
    trouble = [TemporaryError("Cannot assume the role")] * 9

    def answer(ids):
        if trouble:
            raise trouble.pop()
        return []

    world = World(tmp_path, Hub(answer), findings=3)
    assert world.send().accepted == 3
    assert len(world.hub.calls) == 10


def test_throttling_empties_the_bucket(tmp_path):
    storm = [refusal("ThrottlingException", 400)]

    def answer(ids):
        if storm:
            raise storm.pop()
        return []

    world = World(tmp_path, Hub(answer), findings=1, bucket=None)
    world.options["bucket"] = bucket = TokenBucket(rate=0.001, burst=30, clock=world.time.clock, sleep=world.time.sleep)
    world.send()
    assert bucket._tokens < 0
    assert max(world.time.slept) > 900


@pytest.mark.parametrize(
    "trouble",
    [
        refusal("TooManyRequestsException", 429),
        refusal("InternalException", 500),
        refusal("Unheard", 503),
        ReadTimeoutError(endpoint_url="https://hub"),
        ConnectTimeoutError(endpoint_url="https://hub"),
        EndpointConnectionError(endpoint_url="https://hub"),
    ],
    ids=lambda trouble: type(trouble).__name__ + str(getattr(trouble, "response", "")),
)
def test_trouble_without_end_is_borne_for_the_retry_time_and_the_receipts_are_kept(tmp_path, trouble):
    def answer(ids):
        if "id-100" in ids:
            raise trouble
        return []

    world = World(tmp_path, Hub(answer), findings=300, retry_seconds=120.0)
    with pytest.raises(TemporaryError, match=r"did not accept a batch in 120 seconds and \d+ attempts"):
        world.send()
    assert 120 < world.time.now < 120 + 30 + 1
    assert world.receipts().counts() == {"accepted": 100, "rejected": {}, "calls": 1}
    world.hub.answer = lambda ids: []
    calls = len(world.hub.calls)
    assert world.send().accepted == 300
    assert world.hub.calls[calls:] == [[f"id-{n}" for n in range(100, 200)], [f"id-{n}" for n in range(200, 300)]]


def test_a_batch_is_tried_for_ten_minutes_from_its_own_beginning(tmp_path, monkeypatch):
    monkeypatch.setattr(backoff, "pause", lambda attempt: 100.0)

    def answer(ids):
        raise refusal("InternalException", 500)

    world = World(tmp_path, Hub(answer), findings=1)
    world.time.now = 5_000.0
    # At 0, 100 ... 600, which is not yet too long, and 700.
    with pytest.raises(TemporaryError, match="did not accept a batch in 600 seconds and 8 attempts"):
        world.send()
    assert len(world.hub.calls) == 8
    assert world.time.now == 5_700.0


def test_a_call_that_times_out_after_it_was_carried_out_is_sent_again(tmp_path):
    hub = Hub()
    carry_out, lost = hub.import_batch, [True]

    def answer_lost(lines):
        answer = carry_out(lines)
        if lost:
            lost.pop()
            raise ReadTimeoutError(endpoint_url="https://hub")
        return answer

    hub.import_batch = answer_lost
    receipts = World(tmp_path, hub, findings=10).send()
    assert receipts.accepted == 10
    assert set(hub.held.values()) == {2}


def test_a_resumed_import_skips_what_has_a_receipt_and_adds_to_its_counts(tmp_path):
    world = World(
        tmp_path, Hub(lambda ids: [("id-5", "InvalidInput", "m")] if "id-5" in ids else []), findings=20, batch_size=10
    )
    world.send()
    assert world.send().counts() == {"accepted": 19, "rejected": {"InvalidInput": 1}, "calls": 2}
    assert len(world.hub.calls) == 2


def test_findings_of_other_content_are_not_skipped_by_old_receipts(tmp_path):
    world = World(tmp_path, Hub(), findings=10)
    world.send()
    world.part = "part-2"
    assert world.send().accepted == 10
    assert len(world.hub.calls) == 2


def test_an_import_that_refuses_everything_is_stopped_after_a_thousand(tmp_path):
    def answer(ids):
        return [(finding, "InvalidInput", "ProductArn is invalid.") for finding in ids]

    world = World(tmp_path, Hub(answer), findings=5_000)
    with pytest.raises(
        ConfigurationError,
        match="rejected all of the first 1000 findings, the last with InvalidInput: ProductArn is invalid",
    ) as failure:
        world.send()
    assert len(world.hub.calls) == 10
    assert str(world.run_folder.rejected) in str(failure.value)
    assert len(world.rejected()) == 1000


def test_code_of_a_stopped_import_is_quoted_within_its_limit(tmp_path):
    world = World(tmp_path, Hub(lambda ids: [(finding, "C" * 150, "m") for finding in ids]), findings=1_000)
    with pytest.raises(ConfigurationError, match=f", the last with {'C' * 99}…: m The import"):
        world.send()


def test_without_a_bucket_calls_keep_the_documented_rate_by_the_imports_own_clock(tmp_path):
    """30 calls at once, then 10 per second."""
    world = World(tmp_path, Hub(), findings=41, batch_size=1, bucket=None)
    world.send()
    assert world.time.slept == [pytest.approx(0.1)] * 11


def test_an_import_below_a_thousand_refusals_goes_to_its_end(tmp_path):
    receipts = World(
        tmp_path, Hub(lambda ids: [(finding, "InvalidInput", "m") for finding in ids]), findings=999
    ).send()
    assert receipts.rejected.total() == 999


def test_one_accepted_finding_is_hope(tmp_path):
    receipts = World(
        tmp_path,
        Hub(lambda ids: [(finding, "InvalidInput", "m") for finding in ids if finding != "id-0"]),
        findings=1_500,
    ).send()
    assert (receipts.accepted, receipts.rejected.total()) == (1, 1_499)


def test_one_call_that_fails_does_not_lose_the_receipts_of_those_beside_it(tmp_path):
    everyone_is_there = threading.Barrier(4, timeout=20)

    class Together(Hub):
        def import_batch(self, lines):
            answer = super().import_batch(lines)
            everyone_is_there.wait()
            if b"id-0" in lines[0]:
                raise refusal("AccessDeniedException", 403)
            return answer

    world = World(tmp_path, Together(), findings=8, batch_size=2, in_flight=4)
    with pytest.raises(ConfigurationError):
        world.send()
    assert world.receipts().accepted == 6


def test_words_of_security_hub_that_no_utf8_can_carry_do_not_stop_the_import(tmp_path):
    world = World(
        tmp_path,
        Hub(lambda ids: [("id-1", "InvalidInput", "bad \ud800" + "x" * 10_000)] if "id-1" in ids else []),
        findings=5,
    )
    assert world.send().accepted == 4
    assert world.rejected()[0]["message"] == "bad ?" + "x" * 1_995


def test_a_staged_line_that_is_no_finding_is_an_error(tmp_path):
    world = World(tmp_path, Hub(), findings=3)
    world.lines[1] = b'{"no": "id"}'
    with pytest.raises((StagingError, msgspec.ValidationError)):
        world.send()
    assert world.hub.calls == []


# What is on record while the import works, and when it ends early.


def test_receipts_are_on_disk_every_two_seconds(tmp_path):
    on_disk = []

    def answer(ids):
        on_disk.append(world.receipts().accepted)
        world.time.sleep(1.0)
        return []

    world = World(tmp_path, Hub(answer), findings=7, batch_size=1)
    world.time.now = 100.0
    world.send()
    assert on_disk == [0, 0, 2, 2, 4, 4, 6]
    assert world.receipts().accepted == 7


def test_progress_is_told_every_fifteen_seconds_and_at_the_end(tmp_path, caplog):
    def answer(ids):
        world.time.sleep(5.0)
        return [(finding, "InvalidInput", "m") for finding in ids if finding == "id-1"]

    world = World(tmp_path, Hub(answer), findings=8, batch_size=1)
    world.time.now = 1_000.0
    with caplog.at_level(logging.INFO, logger="airflow_provider_tenable.security_hub.importer"):
        world.send()
    assert [record.getMessage() for record in caplog.records] == [
        f"{ACCOUNT}/{REGION}: 2 of 8 findings accepted, 1 rejected, 3 calls, 15 s.",
        f"{ACCOUNT}/{REGION}: 5 of 8 findings accepted, 1 rejected, 6 calls, 30 s.",
        f"{ACCOUNT}/{REGION}: 7 of 8 findings accepted, 1 rejected, 8 calls, 40 s.",
    ]


@pytest.mark.parametrize(("seconds", "calls"), [(-50.0, 1), (0.0, 1), (0.5, 1), (1.0, 1), (1.5, 2), (3.0, 3), (3.5, 4)])
def test_no_batch_is_begun_when_the_time_is_over_but_one_is_sent_in_any_case(tmp_path, seconds, calls):
    def answer(ids):
        world.time.sleep(1.0)
        return []

    world = World(tmp_path, Hub(answer), findings=10, batch_size=2)
    world.time.now = 100.0
    assert world.run(until=100.0 + seconds) is False
    assert world.hub.calls == [[f"id-{2 * number}", f"id-{2 * number + 1}"] for number in range(calls)]
    assert world.receipts().counts() == {"accepted": 2 * calls, "rejected": {}, "calls": calls}
    assert world.run(until=float("inf")) is True
    assert world.hub.held == {f"id-{number}": 1 for number in range(10)}


def test_every_call_gets_on_although_its_time_is_over(tmp_path):
    world = World(tmp_path, Hub(), findings=5, batch_size=2)
    work = world.work()
    assert [world.run(work, until=-1.0) for _ in range(4)] == [False, False, False, True]
    assert [len(call) for call in world.hub.calls] == [2, 2, 1]


def test_only_the_lines_of_each_part_that_have_no_receipt_are_sent(tmp_path):
    world = World(tmp_path, Hub(), batch_size=3)
    parts = {"a": [item(number).data for number in range(4)], "b": [item(number).data for number in range(10, 14)]}

    def work():
        receipts = Receipts(world.run_folder, ACCOUNT, REGION, parts)
        bucket = TokenBucket(1e9, 1e9, clock=world.time.clock, sleep=world.time.sleep)
        return FindingsImport(
            sender=world.hub,
            receipts=receipts,
            batch_size=3,
            in_flight=1,
            bucket=bucket,
            clock=world.time.clock,
            sleep=world.time.sleep,
        )

    first = work()
    first.receipts.accept("a", 1)
    first.receipts.accept("b", 0)
    first.receipts.reject("b", 2, finding_id="id-12", code="InvalidInput", message="m", finding=b"{}")
    # Line 3 of one part, then line 1 of the next; lines 0 and 2, which are not adjacent: none of this may be receipted
    # as a run.
    assert first.run([(name, iter(lines)) for name, lines in parts.items()], 8) is True
    assert world.hub.calls == [["id-0", "id-2", "id-3"], ["id-11", "id-13"]]
    again = work()
    assert again.receipts.counts() == {"accepted": 7, "rejected": {"InvalidInput": 1}, "calls": 2}
    assert all(again.receipts.is_done(part, line) for part in parts for line in range(4))
    assert again.run([(name, iter(lines)) for name, lines in parts.items()], 8) is True
    assert len(world.hub.calls) == 2


@pytest.mark.parametrize(
    ("lines", "runs"),
    [
        ("", []),
        ("a5", [("a", 5, 5)]),
        ("a0 a1 a2", [("a", 0, 2)]),
        ("a0 a1 a3 a4", [("a", 0, 1), ("a", 3, 4)]),
        ("a2 a1 a0", [("a", 2, 2), ("a", 1, 1), ("a", 0, 0)]),
        # The next part goes on with the next number, since its first lines are done.
        ("a0 a1 b2 b3", [("a", 0, 1), ("b", 2, 3)]),
        ("a0 b1 a2", [("a", 0, 0), ("b", 1, 1), ("a", 2, 2)]),
    ],
)
def test_adjacent_lines_of_a_part_are_receipted_as_one_run(lines, runs):
    assert list(_runs([Item(each[0], int(each[1:]), each, b"") for each in lines.split()])) == runs


def test_no_more_is_read_than_the_calls_in_flight_can_take(tmp_path):
    answered, ahead, both = [0], [0], threading.Barrier(2, timeout=20)

    class Counting(Hub):
        def import_batch(self, lines):
            both.wait()
            answer = super().import_batch(lines)
            with self._lock:
                answered[0] += 1
            return answer

    def lines():
        for number in range(20):
            ahead[0] = max(ahead[0], number + 1 - answered[0])
            yield item(number).data

    world = World(tmp_path, Counting(), batch_size=1, in_flight=2)
    assert world.work().run([(world.part, lines())], 20) is True
    # Two in flight, and the one that does not fit into the batch before it.
    assert ahead[0] <= 3


def test_four_calls_are_in_flight_unless_told_otherwise(tmp_path):
    everyone_is_there = threading.Barrier(4, timeout=20)

    class Together(Hub):
        def import_batch(self, lines):
            everyone_is_there.wait()
            return super().import_batch(lines)

    world = World(tmp_path, Together(), findings=800)
    work = FindingsImport(sender=world.hub, receipts=world.receipts(), clock=world.time.clock, sleep=world.time.sleep)
    assert work.in_flight == 4
    assert world.run(work) is True
    assert sorted(len(call) for call in world.hub.calls) == [100] * 8


def test_an_import_that_is_given_no_bucket_keeps_to_ten_calls_a_second_after_a_burst_of_thirty(tmp_path):
    world = World(tmp_path, Hub(), findings=50, batch_size=1, bucket=None)
    world.send()
    assert sum(world.time.slept) == pytest.approx(2.0)


class Beside(Hub):
    """The call with ``id-0`` is refused for good; the three beside it are answered only when the import has noticed
    that and has stopped its sender.
    """

    def __init__(self, answer, noticed):
        super().__init__(answer)
        self.noticed = noticed
        self.everyone_is_there = threading.Barrier(4, timeout=20)

    def import_batch(self, lines):
        if not self.noticed.is_set():
            self.everyone_is_there.wait()
        if b'"id-0"' in lines[0]:
            raise refusal("AccessDeniedException", 403)
        assert self.noticed.wait(20)
        return super().import_batch(lines)


def beside(tmp_path, answer):
    """A world of four calls, all in flight when the first of them fails, and its import."""
    noticed = threading.Event()
    world = World(tmp_path, Beside(answer, noticed), findings=8, batch_size=2, in_flight=4)
    work = world.work()
    stop = work._sender.stop

    def notice():
        stop()
        noticed.set()

    work._sender.stop = notice
    return world, work


def test_what_is_answered_after_a_call_has_failed_is_receipted(tmp_path):
    world, work = beside(tmp_path, lambda ids: [("id-5", "InvalidInput", "bad")] if "id-5" in ids else [])
    with pytest.raises(ConfigurationError, match="AccessDeniedException"):
        world.run(work)
    assert world.receipts().counts() == {"accepted": 5, "rejected": {"InvalidInput": 1}, "calls": 3}
    assert [line["id"] for line in world.rejected()] == ["id-5"]
    world.hub = Hub()
    assert world.send().counts() == {"accepted": 7, "rejected": {"InvalidInput": 1}, "calls": 4}
    assert world.hub.calls == [["id-0", "id-1"]]


def test_a_call_that_fails_ends_the_attempts_of_those_beside_it_and_is_the_one_that_is_told(tmp_path):
    def answer(ids):
        if "id-4" not in ids:
            raise refusal("ThrottlingException", 400)
        return []

    world, work = beside(tmp_path, answer)
    with pytest.raises(ConfigurationError, match="AccessDeniedException"):
        world.run(work)
    # Each was called once, and not again for ten minutes.
    assert sorted(world.hub.calls) == [["id-2", "id-3"], ["id-4", "id-5"], ["id-6", "id-7"]]
    assert world.receipts().counts() == {"accepted": 2, "rejected": {}, "calls": 1}


def test_an_import_that_is_stopped_from_outside_keeps_what_was_accepted_and_a_retry_goes_on(tmp_path):
    world = World(tmp_path, Hub(lambda ids: work.stop() or [] if "id-2" in ids else []), findings=10, batch_size=2)
    work = world.work()
    with pytest.raises(TemporaryError, match="was stopped"):
        world.run(work)
    assert world.receipts().accepted == 4
    assert world.send().accepted == 10
    assert set(world.hub.held.values()) == {1}


def test_an_import_that_refuses_everything_is_sent_whole_once_the_cause_is_mended(tmp_path):
    world = World(
        tmp_path, Hub(lambda ids: [(finding, "InvalidInput", f"no {finding}") for finding in ids]), findings=1_500
    )
    with pytest.raises(ConfigurationError, match="no id-999 The import was stopped"):
        world.send()
    assert world.receipts().counts() == {"accepted": 0, "rejected": {}, "calls": 10}
    assert world.receipts().rejected_names == []
    assert len(world.rejected()) == 1_000
    world.hub.answer = lambda ids: []
    assert world.send().accepted == 1_500


def test_what_was_in_flight_when_an_import_was_stopped_for_refusing_everything_is_sent_again_too(tmp_path):
    everyone_is_there = threading.Barrier(4, timeout=20)

    class Together(Hub):
        def import_batch(self, lines):
            # All refusals of the last four come after the import has had those of the first eight: the tenth stops it,
            # with two beside it.
            if json.loads(lines[0])["n"] >= 800:
                everyone_is_there.wait()
            return super().import_batch(lines)

    world = World(
        tmp_path, Together(lambda ids: [(finding, "InvalidInput", "m") for finding in ids]), findings=1_200, in_flight=4
    )
    with pytest.raises(ConfigurationError, match="rejected all of the first 1000 findings"):
        world.run()
    assert len(world.hub.calls) == 12
    assert world.receipts().counts() == {"accepted": 0, "rejected": {}, "calls": 12}
    assert {line["id"] for line in world.rejected()} == {f"id-{number}" for number in range(1_200)}
    world.hub = Hub()
    assert world.send().accepted == 1_200
    assert len(world.hub.held) == 1_200


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_through_any_weather_and_retries_every_finding_ends_accepted_or_rejected_once(tmp_path_factory, seed):
    dice = random.Random(seed)
    poison = {f"id-{number}" for number in range(60) if dice.random() < 0.1}
    bad = {f"id-{number}" for number in range(60) if dice.random() < 0.1} - poison
    calm = [False]

    def answer(ids):
        roll = 1.0 if calm[0] else dice.random()
        if roll < 0.1:
            raise refusal("ThrottlingException", 400)
        if roll < 0.15:
            raise ReadTimeoutError(endpoint_url="https://hub")
        if roll < 0.2:
            raise refusal("AccessDeniedException", 403)
        if poison & set(ids):
            raise refusal("InvalidInputException")
        transient = {finding for finding in ids if not calm[0] and dice.random() < 0.05} - bad
        return [(finding, "InvalidInput", "m") for finding in ids if finding in bad] + [
            (finding, "InternalFailure", "m") for finding in ids if finding in transient
        ]

    world = World(
        tmp_path_factory.mktemp("weather"),
        Hub(answer),
        findings=60,
        batch_size=dice.choice([1, 7, 20]),
        retry_seconds=10.0,
        in_flight=dice.choice([1, 3]),
    )
    for attempt in range(20):
        calm[0] = attempt >= 15
        try:
            receipts = world.send()
        except (ConfigurationError, TemporaryError):
            continue
        break
    given_up = {line["id"] for line in world.rejected()}
    assert receipts.accepted + receipts.rejected.total() == 60
    assert poison | bad <= given_up
    assert set(world.hub.held) | given_up == {f"id-{number}" for number in range(60)}
    assert not set(world.hub.held) & (poison | bad)


def test_every_failed_attempt_of_a_batch_is_logged_with_its_error(tmp_path, caplog):
    storm = [
        refusal("ThrottlingException", 400),
        ReadTimeoutError(endpoint_url="https://hub"),
        TemporaryError("x" * 2_000),
    ]

    def answer(ids):
        if storm:
            raise storm.pop(0)
        return []

    World(tmp_path, Hub(answer), findings=3).send()
    texts = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert texts == [
        "A call of 3 findings failed (attempt 1), trying again: ThrottlingException: no.",
        "A call of 3 findings failed (attempt 2), trying again: ReadTimeoutError: Read timeout on endpoint URL: "
        '"https://hub"',
        f"A call of 3 findings failed (attempt 3), trying again: {'x' * 999}\u2026",
    ]
