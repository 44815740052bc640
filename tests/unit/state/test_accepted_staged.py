"""Which of a run's findings are to be suppressed, or are so no longer: only of what the hub has, and as it is now."""

from __future__ import annotations

import json
from collections.abc import Collection
from itertools import count, islice
from typing import Any

import numpy as np
import pytest

from airflow_provider_tenable.asff import row
from airflow_provider_tenable.security_hub.assignment import Target
from airflow_provider_tenable.security_hub.workflow import Key
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.state import accepted_staged
from airflow_provider_tenable.state.accepted_staged import staged_accepted
from airflow_provider_tenable.state.compare import DECISION
from airflow_provider_tenable.state.staged import FIELDS
from airflow_provider_tenable.state.verdicts import SENT, Verdict

ARN = "arn:aws:securityhub:eu-west-1::product/a/b"
OTHER_ARN = "arn:aws:securityhub:eu-west-1::product/c/d"
RISK = row.BECAUSE[row.RISK_ACCEPTED]
#: Verdict, flags, whether it was acknowledged.
Finding = tuple[Verdict, int, bool]


def name_of(number: int) -> str:
    return f"eu-west-1/111122223333/i-{number:017x}/{number}/tcp/443"


#: The keys of the last two end in a zero byte, which numpy's arrays of bytes drop.
NUMBERS = [0, 1, *islice((each for each in count() if row.key_of(name_of(each)).endswith(b"\0")), 2)]


def name(number: int) -> str:
    return name_of(NUMBERS[number])


def looked_at(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
    findings: list[Finding],
    ours: set[int],
    *,
    of_others: Collection[int] = (),
    dry_run: bool = False,
) -> Any:
    """In three parts, of which the last two have one finding each."""
    account, region = "111122223333", "eu-west-1"
    counts = {"first": len(findings) - 2, "second": 1, "third": 1}
    target = Target(account, region, None, None, list(counts.items()))
    begins = {"first": 0, "second": counts["first"], "third": counts["first"] + 1}
    rows, decisions = np.zeros(len(findings), FIELDS), np.zeros(len(findings), DECISION)
    rows["key"] = [row.key_of(name(number)) for number in range(len(findings))]
    rows["flags"] = [flags for _, flags, _ in findings]
    decisions["verdict"] = [verdict for verdict, _, _ in findings]
    acknowledged = np.array([each for _, _, each in findings])
    run = RunFolder(f"file://{tmp_path}", "dag", "run")
    receipts, head = object(), object()

    def checked(found: Any, *wanted: Any) -> Any:
        """Answers only who asks for what belongs to the account and Region."""

        def read(*given: Any) -> Any:
            assert given == wanted
            return found

        return read

    def part_of(values: Any, *wanted: Any) -> Any:
        def read(*given: Any) -> Any:
            *where, part, number = given
            assert (tuple(where), number) == (wanted, counts[part])
            return values[begins[part] : begins[part] + number]

        return read

    def lines(path: Any) -> list[bytes]:
        assert path.parent == run.destination(account, region)
        numbers = range(begins[path.name], begins[path.name] + counts[path.name])
        return [json.dumps({"Id": name(number), "ProductArn": ARN}).encode() for number in numbers]

    fakes: dict[str, Any] = {
        "read_head": checked(head, run.compared(account, region), target.parts),
        "read_decisions": checked(decisions, run.compared(account, region), head),
        "Receipts": checked(receipts, run, account, region, list(counts)),
        "staged_rows": part_of(rows, run, account, region),
        "accepted_lines": part_of(acknowledged, receipts),
        "read_lines": lines,
    }
    for each, fake in fakes.items():
        monkeypatch.setattr(accepted_staged, each, fake)
    suppressed = {key(number) for number in ours} | {key(number, OTHER_ARN) for number in of_others}
    return staged_accepted(run, target, suppressed, dry_run=dry_run)


def key(number: int, arn: str = ARN) -> Key:
    return name(number), arn


@pytest.mark.parametrize("verdict", list(Verdict))
def test_only_what_the_hub_has_and_this_run_knows_best_is_looked_at(monkeypatch, tmp_path, verdict):
    findings = [(verdict, 3 | RISK, True), (verdict, 3 | RISK, False), (verdict, 3, True), (verdict, 3 | RISK, True)]
    found = looked_at(monkeypatch, tmp_path, findings, ours={2, 3})
    held = {0, 3} if verdict in SENT else {0, 1, 3} if verdict is Verdict.UNCHANGED else set()
    assert sorted(found.accepted) == sorted(key(number) for number in held - {3})
    assert found.kept == {key(number) for number in held & {3}}
    assert found.ended == ({key(2)} if held else set())
    assert found.sent == (set(found.accepted) if verdict in SENT else set())
    assert found.fresh == (set(found.accepted) if verdict is Verdict.CREATED else set())


def test_what_was_suppressed_for_another_product_is_another_finding(monkeypatch, tmp_path):
    """After a change of the product the hub has both, with the same id."""
    risks = [(Verdict.UPDATED, 3 | risk, True) for risk in (RISK, RISK, 0, 0)]
    found = looked_at(monkeypatch, tmp_path, risks, ours={0, 2}, of_others={0, 1, 2, 3})
    assert (found.accepted, found.kept) == ([key(1)], {key(0)})
    assert found.ended == {key(2), key(2, OTHER_ARN), key(3, OTHER_ARN)}


def test_archived_findings_are_left_as_they_are(monkeypatch, tmp_path):
    archived = [
        (Verdict.ARCHIVED, row.flags(3, archived=True, fixed=fixed, because=reason), True)
        for fixed, reason in ((True, ""), (False, row.RISK_ACCEPTED), (False, row.ASSET_DELETED))
    ]
    found = looked_at(monkeypatch, tmp_path, [*archived, (Verdict.CREATED, 3, True)], ours={0, 1, 2})
    assert (found.accepted, found.kept, found.ended) == ([], set(), set())


def test_a_dry_run_looks_at_what_it_would_send(monkeypatch, tmp_path):
    findings = [(Verdict.CREATED, 3 | RISK, False), (Verdict.UPDATED, 3 | RISK, False), (Verdict.UPDATED, 3, False)]
    found = looked_at(monkeypatch, tmp_path, findings, ours={2}, dry_run=True)
    assert (found.accepted, found.fresh, found.ended) == ([key(0), key(1)], {key(0)}, {key(2)})


def test_each_finding_has_its_own_verdict(monkeypatch, tmp_path):
    verdicts = [Verdict.SUPERSEDED, Verdict.CREATED, Verdict.UNCHANGED, Verdict.NEVER_IMPORTED]
    found = looked_at(monkeypatch, tmp_path, [(each, 3 | RISK, True) for each in verdicts], ours=set())
    assert (found.accepted, found.fresh, found.sent) == ([key(1), key(2)], {key(1)}, {key(1)})


def test_without_decisions_nothing_is_suppressed(monkeypatch, tmp_path, caplog):
    target = Target("111122223333", "eu-west-1", None, None, [("first", 1)])
    found = staged_accepted(RunFolder(f"file://{tmp_path}", "dag", "run"), target, {key(0)}, dry_run=False)
    assert (found.accepted, found.kept, found.ended) == ([], set(), set())
    assert "none is suppressed" in caplog.text
