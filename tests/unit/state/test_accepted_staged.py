"""Which of a run's findings are to be suppressed, or are so no longer: only of what the hub has, and as it is now."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from airflow_provider_tenable.asff import row
from airflow_provider_tenable.security_hub.assignment import Target
from airflow_provider_tenable.security_hub.workflow import Key
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.state import accepted
from airflow_provider_tenable.state.compare import DECISION
from airflow_provider_tenable.state.staged import FIELDS
from airflow_provider_tenable.state.verdicts import SENT, Verdict

ARN = "arn:aws:securityhub:eu-west-1::product/a/b"
RISK = row.BECAUSE[row.RISK_ACCEPTED]
#: Verdict, flags, whether it was acknowledged.
Finding = tuple[Verdict, int, bool]


def name(number: int) -> str:
    return f"eu-west-1/111122223333/i-{number:017x}/{number}/tcp/443"


def looked_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, findings: list[Finding], ours: set[int], *, dry_run: bool = False
) -> Any:
    """In two parts, of which the second has the last finding."""
    counts = [len(findings) - 1, 1]
    target = Target("111122223333", "eu-west-1", None, None, [("first", counts[0]), ("second", counts[1])])
    begins = {"first": 0, "second": counts[0]}
    rows, decisions = np.zeros(len(findings), FIELDS), np.zeros(len(findings), DECISION)
    rows["key"] = [row.key_of(name(number)) for number in range(len(findings))]
    rows["flags"] = [flags for _, flags, _ in findings]
    decisions["verdict"] = [verdict for verdict, _, _ in findings]
    acknowledged = np.array([each for _, _, each in findings])

    def lines(path: Any) -> list[bytes]:
        part = path.name
        numbers = range(begins[part], begins[part] + dict(target.parts)[part])
        return [json.dumps({"Id": name(number), "ProductArn": ARN}).encode() for number in numbers]

    def part_of(values: Any, part: str, count: int) -> Any:
        return values[begins[part] : begins[part] + count]

    monkeypatch.setattr(accepted, "read_head", lambda folder, parts: SimpleNamespace())
    monkeypatch.setattr(accepted, "read_decisions", lambda folder, head: decisions)
    monkeypatch.setattr(accepted, "staged_rows", lambda run, account, region, part, count: part_of(rows, part, count))
    monkeypatch.setattr(accepted, "accepted_lines", lambda receipts, part, count: part_of(acknowledged, part, count))
    monkeypatch.setattr(accepted, "read_lines", lines)
    run = RunFolder(f"file://{tmp_path}", "dag", "run")
    return accepted._staged(run, target, {key(number) for number in ours}, dry_run=dry_run)


def key(number: int) -> Key:
    return name(number), ARN


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


def test_without_decisions_nothing_is_suppressed(monkeypatch, tmp_path, caplog):
    target = Target("111122223333", "eu-west-1", None, None, [("first", 1)])
    found = accepted._staged(RunFolder(f"file://{tmp_path}", "dag", "run"), target, {key(0)}, dry_run=False)
    assert (found.accepted, found.kept, found.ended) == ([], set(), set())
    assert "none is suppressed" in caplog.text
