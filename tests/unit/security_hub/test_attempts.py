"""One call to Security Hub, repeated: which failures are, for how long, and what the final error says."""

from __future__ import annotations

import logging

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from airflow_provider_tenable.exceptions import TemporaryError
from airflow_provider_tenable.security_hub import backoff
from airflow_provider_tenable.security_hub.attempts import Attempts
from airflow_provider_tenable.security_hub.rate_limit import TokenBucket


def refusal(code: str, message: str = "no", status: int = 400) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}},
        "BatchImportFindings",
    )


DENIED = refusal("AccessDeniedException", status=403)
TOO_FAST = refusal("TooManyRequestsException", status=429)
MALFORMED = refusal("InvalidInputException")


class World:
    """A call whose results are played in turn; the last one is repeated."""

    def __init__(self, *results: object, retry_seconds: float = 60.0, seconds_per_call: float = 0.0) -> None:
        self.results = list(results)
        self.now = 1_000.0
        self.calls = 0
        self.seconds_per_call = seconds_per_call
        self.bucket = TokenBucket(1.0, 100.0, clock=lambda: self.now, sleep=self.sleep)
        self.attempts = Attempts(
            bucket=self.bucket, retry_seconds=retry_seconds, clock=lambda: self.now, sleep=self.sleep
        )

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def call(self) -> object:
        self.calls += 1
        self.now += self.seconds_per_call
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        if isinstance(result, Exception):
            raise result
        return result

    def make(self, **options) -> object:
        return self.attempts.make(
            self.call, what="A call of 5 findings", failure="Security Hub did not answer in", **options
        )


def test_answer_is_returned_and_the_call_takes_its_share_of_the_rate():
    world = World("answer")
    assert world.make() == "answer"
    assert (world.calls, world.bucket._tokens) == (1, 99.0)


@pytest.mark.parametrize("refused", [DENIED, MALFORMED])
def test_refusal_passes_through_at_once(refused):
    world = World(refused)
    with pytest.raises(ClientError) as caught:
        world.make()
    assert caught.value is refused
    assert (world.calls, world.now) == (1, 1_000.0)


def test_caller_may_bear_a_denial_for_a_while_but_never_a_malformed_request():
    world = World(DENIED, DENIED, "answer")
    assert world.make(bears=lambda error: error is DENIED) == "answer"
    assert world.calls == 3
    world = World(MALFORMED)
    with pytest.raises(ClientError):
        world.make(bears=lambda error: True)
    assert world.calls == 1


@pytest.mark.parametrize(
    ("trouble", "emptied"),
    [
        (TOO_FAST, True),
        # Whether the service is overloaded is not known here, only that it did not answer.
        (ReadTimeoutError(endpoint_url="https://hub"), False),
        (TemporaryError("an answer that is not JSON"), False),
    ],
)
def test_temporary_failure_is_repeated_and_only_an_answer_of_aws_empties_the_bucket(trouble, emptied):
    world = World(trouble, "answer")
    assert world.make() == "answer"
    assert world.calls == 2
    assert (world.bucket._tokens <= 0) is emptied


def test_call_is_repeated_up_to_its_time_which_begins_with_it(monkeypatch):
    monkeypatch.setattr(backoff, "pause", lambda attempt: 20.0)
    world = World(TOO_FAST, retry_seconds=60.0)
    world.bucket.rate = 1e9
    with pytest.raises(TemporaryError) as caught:
        world.make()
    # At 0, 20, 40, 60, which is not yet too long, and 80.
    assert world.calls == 5
    assert (
        str(caught.value) == "Security Hub did not answer in 60 seconds and 5 attempts. TooManyRequestsException: no."
    )


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (refusal("InternalException", "x" * 900, 500), "InternalException: " + "x" * 900 + "."),
        (TemporaryError("y" * 900), "y" * 900),
        (TemporaryError("a\nb\x1b[0m"), "a b\\x1b[0m"),
    ],
)
def test_message_of_the_last_failure_is_quoted_completely_and_on_one_line(trouble, words, caplog):
    world = World(trouble, retry_seconds=0.1)
    with caplog.at_level(logging.WARNING), pytest.raises(TemporaryError) as caught:
        world.make()
    assert str(caught.value) == f"Security Hub did not answer in 0 seconds and 2 attempts. {words}"
    assert caplog.messages == [f"A call of 5 findings failed (attempt 1), trying again: {words}"]


def test_outage_is_named_by_its_kind():
    world = World(ReadTimeoutError(endpoint_url="https://hub"), retry_seconds=-1.0)
    with pytest.raises(TemporaryError, match=r"1 attempts\. ReadTimeoutError: Read timeout on endpoint URL"):
        world.make()


def test_no_call_is_made_once_the_import_was_stopped():
    world = World("answer")
    world.attempts.stop()
    with pytest.raises(TemporaryError, match=r"^The import was stopped\.$"):
        world.make()
    assert (world.calls, world.bucket._tokens) == (0, 100.0)


def test_call_that_is_waiting_is_not_repeated_once_the_import_was_stopped():
    world = World(TOO_FAST)
    sleep = world.sleep

    def stopped_meanwhile(seconds: float) -> None:
        sleep(seconds)
        world.attempts.stop()

    world.attempts._sleep = stopped_meanwhile
    with pytest.raises(TemporaryError, match=r"^The import was stopped\.$"):
        world.make()
    assert world.calls == 1
