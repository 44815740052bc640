"""One task that imports into several accounts and Regions, against hubs that are played by the test."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections import Counter
from contextlib import nullcontext
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ClientError

from airflow_provider_tenable.exceptions import ConfigurationError, DestinationRefusedError, TemporaryError
from airflow_provider_tenable.security_hub import group as group_import
from airflow_provider_tenable.security_hub.assignment import Target, grouped
from airflow_provider_tenable.security_hub.group import GroupImport, SendAll
from airflow_provider_tenable.security_hub.rate_limit import TokenBucket
from airflow_provider_tenable.security_hub.receipts import Receipts
from airflow_provider_tenable.security_hub.refusals import refusal_of_place
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import write_lines

REGION = "eu-west-1"


class Hubs:
    """All hubs, by account. ``trouble``: account -> what its preflight raises; ``refuse``: account -> what its calls
    raise.
    """

    def __init__(self) -> None:
        self.trouble: dict[str, Exception] = {}
        self.refuse: dict[str, Exception] = {}
        self.held: dict[str, Counter[str]] = {}
        self.opened: Counter[str] = Counter()
        self.closed: Counter[str] = Counter()
        self.preflights: Counter[str] = Counter()
        self.open_now = self.most_open = 0
        self.on_call: Any = None
        self.lock = threading.Lock()

    def open(self, target: Target) -> Hook:
        self.opened[target.account] += 1
        return Hook(self, target.account)


class Hook:
    def __init__(self, hubs: Hubs, account: str) -> None:
        self.hubs, self.account = hubs, account

    def enabled_at(self) -> int:
        return 0

    def preflight(self, product: str, *, enable_product: bool) -> None:
        with self.hubs.lock:
            self.hubs.preflights[self.account] += 1
            self.hubs.open_now += 1
            self.hubs.most_open = max(self.hubs.most_open, self.hubs.open_now)
        if self.account in self.hubs.trouble:
            raise self.hubs.trouble[self.account]

    def import_batch(self, lines: list[bytes]) -> dict[str, Any]:
        if self.hubs.on_call:
            self.hubs.on_call(self.account)
        if self.account in self.hubs.refuse:
            raise self.hubs.refuse[self.account]
        with self.hubs.lock:
            self.hubs.held.setdefault(self.account, Counter()).update(json.loads(line)["Id"] for line in lines)
        return {"FailedCount": 0, "SuccessCount": len(lines), "FailedFindings": []}

    def close(self) -> None:
        with self.hubs.lock:
            self.hubs.open_now -= self.hubs.preflights[self.account] > self.hubs.closed[self.account]
            self.hubs.closed[self.account] += 1


@pytest.fixture
def run(tmp_path):
    return RunFolder(f"file://{tmp_path}", "dag", "run")


def staged(run: RunFolder, number: int, findings: int) -> Target:
    account = f"{number:012d}"
    lines = [msgspec.json.encode({"Id": f"{account}-{each}"}) for each in range(findings)]
    return Target(
        account,
        REGION,
        "aws_default",
        None,
        [(write_lines(run.destination(account, REGION), "part-1", lines), findings)],
    )


def work(run: RunFolder, targets: list[Target], hubs: Hubs, **options: Any) -> GroupImport:
    return GroupImport(run, targets, open_hook=hubs.open, product="default", **options)


def sent_once(hubs: Hubs, targets: list[Target]) -> None:
    assert {account: dict(held) for account, held in hubs.held.items()} == {
        each.account: {f"{each.account}-{number}": 1 for number in range(each.findings)} for each in targets
    }


def test_thousands_of_destinations_in_a_hundred_groups_each_with_a_rate_of_its_own(run, monkeypatch):
    made: list[TokenBucket] = []
    # Safe from the loss of the machine it need not be.
    monkeypatch.setattr(os, "fsync", lambda file: None)
    monkeypatch.setattr(group_import, "TokenBucket", lambda **options: made.append(TokenBucket(**options)) or made[-1])
    hubs = Hubs()
    targets = [staged(run, number, 1 + number % 3) for number in range(2_000)]
    groups = grouped(targets, 100)
    assert len(groups) == 100
    for group in groups:
        assert len(group) == 20
        each = work(run, group, hubs, in_flight=1)
        assert each.run() is True
        assert each.counts() == {"accepted": each.findings, "rejected": {}, "calls": len(group)}
    sent_once(hubs, targets)
    assert len(made) == len(targets)
    assert {(bucket.rate, bucket.burst) for bucket in made} == {(10.0, 30.0)}
    assert hubs.most_open <= 4
    assert hubs.opened == hubs.closed == Counter({each.account: 1 for each in targets})
    for each in targets:
        assert Receipts(run, each.account, REGION, [each.parts[0][0]]).accepted == each.findings


def test_the_product_of_the_staged_findings_is_looked_at_and_not_that_of_the_options(run):
    asked = []

    class Asking(Hook):
        def preflight(self, product: str, *, enable_product: bool) -> bool:
            asked.append(product)
            return False

    def part(name: str, *arns: str | None) -> tuple[str, int]:
        lines = [
            msgspec.json.encode({"Id": f"{name}-{number}", **({"ProductArn": arn} if arn else {})})
            for number, arn in enumerate(arns)
        ]
        return write_lines(run.destination("000000000001", REGION), name, lines), len(lines)

    hubs = Hubs()
    hubs.open = lambda target: Asking(hubs, target.account)
    target = Target(
        "000000000001",
        REGION,
        None,
        None,
        [part("part-1", "arn:a", "arn:a"), part("part-2", "arn:b"), part("part-3", "arn:a")],
    )
    assert work(run, [target], hubs).run() is True
    assert asked == ["arn:a", "arn:b"]
    asked.clear()
    assert work(run, [Target("000000000001", REGION, None, None, [part("part-4", None)])], hubs).run() is True
    assert asked == ["default"]


@pytest.mark.parametrize("subscribed", [True, False])
def test_an_import_right_after_subscribing_bears_denials(run, subscribed):
    denied = [ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "BatchImportFindings")]

    class New(Hook):
        def preflight(self, product: str, *, enable_product: bool) -> bool:
            return subscribed

        def import_batch(self, lines: list[bytes]) -> dict[str, Any]:
            if denied:
                raise denied.pop()
            return super().import_batch(lines)

    hubs = Hubs()
    hubs.open = lambda target: New(hubs, target.account)
    if subscribed:
        assert work(run, [staged(run, 1, 3)], hubs).run() is True
    else:
        with pytest.raises(ConfigurationError, match="AccessDeniedException"):
            work(run, [staged(run, 1, 3)], hubs).run()


@pytest.mark.parametrize(
    "wrong", [ConfigurationError("the role is missing"), TemporaryError("no way there"), RuntimeError("a bug")]
)
def test_one_that_fails_keeps_no_other_from_being_delivered_and_is_named(run, wrong):
    hubs = Hubs()
    targets = [staged(run, number, 5) for number in range(12)]
    hubs.trouble = {targets[3].account: wrong, targets[0].account: ConfigurationError("the hub is off")}
    with pytest.raises((ConfigurationError, TemporaryError)) as failed:
        work(run, targets, hubs).run()
    # Only what the user alone can mend fails the task without a retry.
    assert type(failed.value) is (ConfigurationError if isinstance(wrong, ConfigurationError) else TemporaryError)
    assert (
        "2 of 12 destinations failed, 10 were delivered. Failed: 000000000000/eu-west-1, 000000000003/eu-west-1."
        in str(failed.value)
    )
    assert "000000000000/eu-west-1: the hub is off" in str(failed.value)
    assert str(wrong) in str(failed.value)
    sent_once(hubs, [each for each in targets if each.account not in hubs.trouble])
    hubs.trouble = {}
    again = work(run, targets, hubs)
    assert again.run() is True
    assert again.counts()["accepted"] == 60
    # Those that were finished are not even looked at again.
    assert hubs.preflights == Counter(
        {each.account: 2 if number in (0, 3) else 1 for number, each in enumerate(targets)}
    )
    sent_once(hubs, targets)


def test_a_hook_that_cannot_be_opened_is_a_failure_of_its_own_target(run):
    hubs = Hubs()
    targets = [staged(run, number, 2) for number in range(3)]

    def open_hook(target: Target) -> Hook:
        if target == targets[0]:
            raise ConfigurationError("no such connection")
        return hubs.open(target)

    with pytest.raises(
        ConfigurationError, match=r"1 of 3 destinations failed, 2 were delivered\. .* no such connection"
    ):
        GroupImport(run, targets, open_hook=open_hook, product="default").run()
    sent_once(hubs, targets[1:])


def test_an_error_that_names_many_tells_five_and_names_all(run):
    hubs = Hubs()
    targets = [staged(run, number, 1) for number in range(9)]
    hubs.trouble = {each.account: ConfigurationError(f"wrong {each.account}") for each in targets}
    with pytest.raises(ConfigurationError) as failed:
        work(run, targets, hubs).run()
    assert str(failed.value).count("wrong") == 5
    assert all(str(each) in str(failed.value) for each in targets)
    assert "the errors of the other 4" in str(failed.value)


def test_the_error_of_a_single_target_is_its_own(run):
    hubs = Hubs()
    only = staged(run, 1, 1)
    hubs.trouble = {only.account: ConfigurationError("exactly this")}
    with pytest.raises(ConfigurationError, match=r"^exactly this$"):
        work(run, [only], hubs).run()
    assert hubs.closed == {only.account: 1}


@pytest.mark.parametrize("count", [1, 6])
def test_an_import_in_pieces_sends_everything_once_and_every_piece_gets_on(run, count):
    hubs = Hubs()
    targets = [staged(run, number, 25) for number in range(count)]
    accepted, pieces = 0, 0
    while True:
        piece = work(run, targets, hubs, batch_size=10, in_flight=1, together=2, seconds=1e-9)
        done = piece.run()
        pieces += 1
        assert piece.counts()["accepted"] > accepted
        accepted = piece.counts()["accepted"]
        if done:
            break
    assert pieces >= 3
    assert accepted == 25 * count
    sent_once(hubs, targets)


def test_a_piece_ends_by_the_clock_and_says_what_it_has(run):
    hubs, now = Hubs(), [0.0]
    hubs.on_call = lambda account: now.__setitem__(0, now[0] + 10)
    only = staged(run, 1, 100)
    piece = work(run, [only], hubs, batch_size=10, in_flight=1, seconds=45, clock=lambda: now[0])
    assert piece.run() is False
    assert piece.counts() == {"accepted": 50, "rejected": {}, "calls": 5}
    rest = work(run, [only], hubs, batch_size=10, in_flight=1, clock=lambda: now[0])
    assert rest.run() is True
    sent_once(hubs, [only])


def test_failures_are_told_only_when_all_others_are_delivered(run):
    hubs = Hubs()
    targets = [staged(run, number, 30) for number in range(3)]
    hubs.trouble = {targets[0].account: ConfigurationError("the hub is off")}

    def piece() -> bool:
        return work(run, targets, hubs, batch_size=10, in_flight=1, together=1, seconds=1e-9).run()

    # Two targets of three batches each, a batch in each piece.
    assert [piece() for _ in range(5)] == [False] * 5
    with pytest.raises(ConfigurationError, match="1 of 3 destinations failed, 2 were delivered"):
        piece()
    sent_once(hubs, targets[1:])


def test_whoever_has_called_before_begins_without_a_burst(run, monkeypatch):
    filled: list[float | None] = []
    monkeypatch.setattr(
        group_import, "TokenBucket", lambda **options: filled.append(options["filled"]) or TokenBucket(1e6, 1e6)
    )
    hubs = Hubs()
    only = staged(run, 1, 20)
    while not work(run, [only], hubs, batch_size=10, in_flight=1, seconds=1e-9).run():
        pass
    assert filled == [None, 0]


def test_a_dry_run_looks_at_every_hub_and_sends_nothing(run):
    hubs = Hubs()
    targets = [staged(run, number, 2) for number in range(5)]
    dry = work(run, targets, hubs, dry_run=True)
    assert dry.run() is True
    assert dry.counts() == {"accepted": 0, "rejected": {}, "calls": 0}
    assert hubs.held == {}
    assert sorted(hubs.preflights) == [each.account for each in targets]


def test_a_task_that_is_killed_keeps_the_receipts_of_all_that_were_under_way(run, monkeypatch):
    hubs = Hubs()
    targets = [staged(run, number, 400) for number in range(4)]
    four = threading.Barrier(4, timeout=30)
    first: Counter[str] = Counter()

    def on_call(account: str) -> None:
        with hubs.lock:
            first[account] += 1
            alone = first[account] == 1
        if alone:
            four.wait()

    hubs.on_call = on_call
    # As Airflow does it on SIGTERM: an exception in the main thread, which waits.

    def killed(futures: list[Any]) -> None:
        while len(hubs.held) < 4:
            time.sleep(0.001)
        raise KeyboardInterrupt

    monkeypatch.setattr(group_import, "wait", killed)
    with pytest.raises(KeyboardInterrupt):
        work(run, targets, hubs, batch_size=1, in_flight=1).run()
    for each in targets:
        assert Receipts(run, each.account, REGION, [each.parts[0][0]]).accepted == hubs.held[each.account].total() < 400
    monkeypatch.undo()
    assert work(run, targets, hubs).run() is True
    sent_once(hubs, targets)


def test_task_that_is_killed_sends_nothing_for_a_target_that_is_still_being_checked(run, monkeypatch):
    checking, ended = threading.Event(), threading.Event()

    class Slow(Hook):
        def preflight(self, product: str, *, enable_product: bool) -> None:
            super().preflight(product, enable_product=enable_product)
            checking.set()
            ended.wait(20)

    def killed(futures: list[Any]) -> None:
        checking.wait(20)
        # When everything was stopped: the pool waits for the check.
        threading.Timer(0.2, ended.set).start()
        raise KeyboardInterrupt

    hubs = Hubs()
    hubs.open = lambda target: Slow(hubs, target.account)
    targets = [staged(run, number, 5) for number in range(3)]
    monkeypatch.setattr(group_import, "wait", killed)
    stopped = work(run, targets, hubs, together=1)
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    assert hubs.held == {}
    assert sum(hubs.preflights.values()) == 1
    assert [str(progress.error) for progress in stopped.progress.values() if progress.error] == [
        "The import was stopped."
    ]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("findings", [1, 3])
def test_target_that_is_finished_is_not_even_checked_again(run, count, findings):
    hubs, targets = Hubs(), [staged(run, number, findings) for number in range(count)]
    assert work(run, targets, hubs).run() is True
    again = work(run, targets, hubs)
    assert again.run() is True
    assert all(progress.finished for progress in again.progress.values())
    assert hubs.preflights == Counter({each.account: 1 for each in targets})


@pytest.mark.parametrize("count", [1, 2])
def test_target_without_findings_is_checked_and_finished(run, count):
    hubs = Hubs()
    targets = [staged(run, number, 0) for number in range(count)]
    each = work(run, targets, hubs)
    assert each.run() is True
    assert hubs.preflights == Counter({target.account: 1 for target in targets})
    assert (each.findings, each.counts()) == (0, {"accepted": 0, "rejected": {}, "calls": 0})


def test_errors_of_several_targets_are_one_sentence_each(run):
    hubs = Hubs()
    targets = [staged(run, number, 1) for number in range(3)]
    # Our own words are complete, those of others are bounded and on one line.
    hubs.trouble = {
        targets[0].account: ConfigurationError("our " * 200 + "words."),
        targets[2].account: RuntimeError("a bug\n" + "x" * 400),
    }
    with pytest.raises(TemporaryError) as failed:
        work(run, targets, hubs).run()
    assert str(failed.value) == (
        "2 of 3 destinations failed, 1 were delivered. Failed: 000000000000/eu-west-1, 000000000002/eu-west-1. "
        f"000000000000/eu-west-1: {'our ' * 200}words. 000000000002/eu-west-1: a bug {'x' * 293}…"
    )


def test_error_that_quotes_all_failures_does_not_refer_to_the_log(run):
    hubs = Hubs()
    targets = [staged(run, number, 1) for number in range(5)]
    hubs.trouble = {each.account: ConfigurationError(f"wrong {each.account}") for each in targets}
    with pytest.raises(ConfigurationError, match=r"000000000004/eu-west-1: wrong 000000000004$"):
        work(run, targets, hubs).run()


@pytest.mark.parametrize("count", [1, 2])
def test_rejected_findings_are_accounted_for_and_not_sent_again(run, count):
    class Rejects(Hook):
        def import_batch(self, lines: list[bytes]) -> dict[str, Any]:
            answer = super().import_batch(lines)
            failed = {"Id": json.loads(lines[0])["Id"], "ErrorCode": "InvalidInput", "ErrorMessage": "no"}
            return {**answer, "FailedCount": 1, "SuccessCount": len(lines) - 1, "FailedFindings": [failed]}

    hubs = Hubs()
    hubs.open = lambda target: Rejects(hubs, target.account)
    targets = [staged(run, number, 3) for number in range(count)]
    for _ in range(2):
        each = work(run, targets, hubs)
        assert each.run() is True
        assert each.counts() == {"accepted": 2 * count, "rejected": {"InvalidInput": count}, "calls": count}
        assert hubs.preflights.total() == count


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    ("options", "enabled"),
    [
        ({}, False),
        ({"enable_product": True}, True),
        ({"dry_run": True}, False),
        # A dry run changes nothing.
        ({"enable_product": True, "dry_run": True}, False),
    ],
)
def test_product_is_enabled_where_the_user_wants_it_and_the_run_sends(run, count, options, enabled):
    asked: list[bool] = []

    class Asking(Hook):
        def preflight(self, product: str, *, enable_product: bool) -> None:
            asked.append(enable_product)

    hubs = Hubs()
    hubs.open = lambda target: Asking(hubs, target.account)
    assert work(run, [staged(run, number, 3) for number in range(count)], hubs, **options).run() is True
    assert asked == [enabled] * count


DENIED = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "BatchImportFindings")
WRONG_KEY = ClientError({"Error": {"Code": "InvalidSignatureException", "Message": "no"}}, "BatchImportFindings")


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("stage", ["trouble", "refuse"])
def test_target_that_refuses_is_put_on_record_where_the_run_judges_it(run, count, stage):
    hubs, targets = Hubs(), [staged(run, number, 5) for number in range(count)]
    gone = targets[0].account
    getattr(hubs, stage)[gone] = DestinationRefusedError("closed") if stage == "trouble" else DENIED
    work = GroupImport(run, targets, open_hook=hubs.open, product="default", note_refusals=True)
    assert work.run()
    assert (work.progress[str(targets[0])].refused, len(hubs.held)) == (True, count - 1)
    assert ("closed" if stage == "trouble" else "AccessDenied") in str(refusal_of_place(run, gone, REGION))

    # Cleared once it accepts findings.
    getattr(hubs, stage).clear()
    assert GroupImport(run, targets, open_hook=hubs.open, product="default", note_refusals=True).run()
    assert refusal_of_place(run, gone, REGION) is None
    assert sum(hubs.held[gone].values()) == 5


@pytest.mark.parametrize("error", [TemporaryError("503"), ConfigurationError("keys"), WRONG_KEY], ids=str)
def test_what_is_not_of_the_place_still_fails_the_task(run, error):
    hubs, target = Hubs(), staged(run, 1, 5)
    (hubs.refuse if isinstance(error, ClientError) else hubs.trouble)[target.account] = error
    with pytest.raises((TemporaryError, ConfigurationError)):
        GroupImport(run, [target], open_hook=hubs.open, product="default", note_refusals=True).run()
    assert refusal_of_place(run, target.account, REGION) is None


def test_outside_of_the_dag_a_refusal_fails_the_task(run):
    hubs, target = Hubs(), staged(run, 1, 5)
    hubs.refuse[target.account] = DENIED
    with pytest.raises(DestinationRefusedError):
        GroupImport(run, [target], open_hook=hubs.open, product="default").run()
    assert refusal_of_place(run, target.account, REGION) is None


class EverySecond(SendAll):
    """Sends the first finding of a target, the third one and so on; remembers how many were accepted."""

    def __init__(self, run: RunFolder, target: Target) -> None:
        super().__init__(run, target)
        self.to_send = -(-target.findings // 2)
        self.counts = {"unchanged": target.findings // 2, "new": self.to_send}
        self.recorded: list[int] = []
        self.wrong: Exception | None = None

    def lines(self):
        for name, lines in super().lines():
            yield name, (b"" if number % 2 else line for number, line in enumerate(lines))

    def record(self, receipts: Receipts) -> None:
        if self.wrong:
            raise self.wrong
        self.recorded.append(receipts.accepted)


def choosing(run: RunFolder, targets: list[Target], hubs: Hubs, **options: Any) -> tuple[GroupImport, dict[str, Any]]:
    choices = {each.account: EverySecond(run, each) for each in targets}
    return work(run, targets, hubs, choose=lambda target, enabled_at: choices[target.account], **options), choices


@pytest.mark.parametrize("count", [1, 3])
def test_findings_that_are_chosen_are_sent_recorded_and_counted(run, count):
    hubs, targets = Hubs(), [staged(run, number, 5) for number in range(count)]
    group, choices = choosing(run, targets, hubs)
    assert {name: progress.to_send for name, progress in group.progress.items()} == {str(each): 5 for each in targets}
    assert group.run() is True
    assert {account: sorted(held) for account, held in hubs.held.items()} == {
        each.account: [f"{each.account}-{number}" for number in (0, 2, 4)] for each in targets
    }
    counts = {"accepted": 3 * count, "rejected": {}, "calls": count}
    assert group.counts() == {**counts, "compared": {"new": 3 * count, "unchanged": 2 * count}}
    assert list(group.counts()["compared"]) == ["new", "unchanged"]
    assert all((progress.to_send, progress.finished) == (3, True) for progress in group.progress.values())
    assert [choice.recorded for choice in choices.values()] == [[3]] * count
    # A task that was killed before it recorded them does so now, and sends nothing.
    again, choices = choosing(run, targets, hubs)
    assert again.run() is True
    assert [choice.recorded for choice in choices.values()] == [[3]] * count
    assert hubs.preflights.total() == count


@pytest.mark.parametrize("count", [1, 3])
def test_target_of_which_nothing_is_chosen_is_checked_recorded_and_finished(run, count):
    hubs, targets = Hubs(), [staged(run, number, 5) for number in range(count)]
    group, choices = choosing(run, targets, hubs)
    for choice in choices.values():
        choice.to_send = 0
    assert group.run() is True
    assert (hubs.held, hubs.preflights.total()) == ({}, count)
    assert [choice.recorded for choice in choices.values()] == [[0]] * count
    assert all(progress.finished for progress in group.progress.values())


@pytest.mark.parametrize("wrong", [None, OSError("the disk is full")])
def test_what_was_acknowledged_before_a_failure_is_recorded_and_the_failure_counts(run, caplog, wrong):
    hubs, target = Hubs(), staged(run, 1, 6)

    def fail_later(account: str) -> None:
        if hubs.held:
            hubs.refuse[account] = DENIED

    hubs.on_call = fail_later
    group, choices = choosing(run, [target], hubs, batch_size=1, in_flight=1)
    choices[target.account].wrong = wrong
    with caplog.at_level(logging.WARNING), pytest.raises(DestinationRefusedError):
        group.run()
    assert choices[target.account].recorded == ([] if wrong else [1])
    assert group.counts()["accepted"] == 1
    assert ("is not in the finding index yet: the disk is full" in caplog.text) is bool(wrong)


@pytest.mark.parametrize("fails", [False, True])
def test_end_of_each_target_is_reported_with_its_counts_and_seconds(run, fails):
    hubs, now, ended = Hubs(), [1_000.0], []
    hubs.on_call = lambda account: now.__setitem__(0, now[0] + 7)
    target = staged(run, 1, 5)
    if fails:
        hubs.refuse[target.account] = DENIED
    group = work(run, [target], hubs, clock=lambda: now[0], on_finished=lambda *reported: ended.append(reported))
    with pytest.raises(DestinationRefusedError) if fails else nullcontext():
        group.run()
    before = {"accepted": 0, "rejected": {}, "calls": 0}
    after = before if fails else {"accepted": 5, "rejected": {}, "calls": 1}
    assert ended == [(target, before, after, 7.0)]


def test_dry_run_says_what_would_become_of_the_findings(run, caplog):
    hubs, target = Hubs(), staged(run, 1, 5)
    group, choices = choosing(run, [target], hubs, dry_run=True)
    with caplog.at_level(logging.INFO, logger="airflow_provider_tenable.security_hub.group"):
        assert group.run() is True
    assert caplog.messages == [
        f"dry_run: 5 findings for {target} are staged and were not sent.",
        f"{target}: against what the hub holds, these findings are: 2 unchanged, 3 new.",
    ]
    assert (hubs.held, choices[target.account].recorded) == ({}, [])


def test_a_target_is_settled_once_its_findings_are_there_and_again_until_that_is_done(run):
    """Also by a retry that has nothing left to send, and with several targets."""
    hubs, targets = Hubs(), [staged(run, number, 2) for number in (1, 2)]
    held: list[tuple[str, int]] = []

    def settle(target: Target, hook: Any) -> bool:
        held.append((target.account, hubs.held[target.account].total()))
        return len(held) > 2

    assert work(run, targets, hubs, settle=settle).run() is False
    assert work(run, targets[:1], hubs, settle=settle).run() is True
    assert work(run, targets, hubs, settle=settle).run() is True
    sent_once(hubs, targets)
    assert Counter(held) == {(targets[0].account, 2): 3, (targets[1].account, 2): 2}
    assert hubs.open_now == 0


def test_a_target_that_refuses_its_findings_or_is_not_finished_is_not_settled(run):
    hubs, target = Hubs(), staged(run, 1, 2)
    hubs.trouble[target.account] = DestinationRefusedError("off")
    assert work(run, [target], hubs, note_refusals=True, settle=pytest.fail).run() is True
    with pytest.raises(DestinationRefusedError):
        work(run, [target], hubs, settle=pytest.fail).run()
