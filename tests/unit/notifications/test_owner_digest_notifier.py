"""The notifier of owners: whom it tells what, in texts that stay texts and stay short."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.notifications import owners as notifier_module
from airflow_provider_tenable.notifications.owners import OwnerDigestNotifier, digest_messages
from airflow_provider_tenable.run import owner_digest
from airflow_provider_tenable.run.owner_digest import Digests, Example, OwnerDigest
from airflow_provider_tenable.staging.layout import RunFolder

CONTEXT = {"dag_run": SimpleNamespace(dag_id="dag", run_id="run-1"), "dag": None}
ACCOUNT = "111122223333"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__TENABLE__STAGING_PATH", f"file://{tmp_path}")
    monkeypatch.setenv("AIRFLOW__TENABLE__OWNERS", '{"resource_tags": ["owner"]}')
    return RunFolder(f"file://{tmp_path}", "dag", "run-1")


def told(monkeypatch, digests: list[OwnerDigest], further=(), unknown=None) -> None:
    found = Digests(digests, list(further), unknown or {})
    monkeypatch.setattr(owner_digest, "owner_digests", lambda *given, **more: found)


def example(severity: int, days: int, resource: str = "web-1 i-1") -> Example:
    return Example((-severity, -days), 19506, ACCOUNT, b"", resource)


def digest(owner: str, resource: str = "web-1 i-1") -> OwnerDigest:
    return OwnerDigest(
        owner,
        {"new": Counter(high=2, critical=1), "overdue": Counter(low=1), "archived": Counter()},
        {"new": [example(4, 0, resource), example(3, 1)], "overdue": [example(1, 1200)], "archived": []},
    )


def test_each_owner_is_told_what_is_new_overdue_and_fixed(run, monkeypatch):
    told(monkeypatch, [digest("payments"), digest("")], ["a", "b"], {"1/r": "it was lost"})
    sent: list[tuple[str, str, str]] = []
    OwnerDigestNotifier(send=lambda *message: sent.append(message)).notify(CONTEXT)
    assert [(owner, subject) for owner, subject, _ in sent] == [
        ("payments", "payments: 3 new, 1 overdue, 0 fixed or gone in dag"),
        ("", "No owner: 3 new, 1 overdue, 0 fixed or gone in dag"),
    ]
    assert sent[0][2].splitlines() == [
        "Findings of payments, run run-1 of dag",
        "New: 3 (1 critical, 2 high)",
        f"  critical: plugin 19506 on web-1 i-1 in {ACCOUNT}, first observed 0 days ago",
        f"  high: plugin 19506 on web-1 i-1 in {ACCOUNT}, first observed 1 day ago",
        "  and 1 more",
        "Overdue: 1 (1 low)",
        f"  low: plugin 19506 on web-1 i-1 in {ACCOUNT}, first observed 1,200 days ago",
        "Fixed or gone: 0",
        "Not complete: 1/r: it was lost.",
    ]
    assert "Findings without an owner, run run-1 of dag" in sent[1][2]
    assert "With those of 2 owners beyond most_owners: a, b." in sent[1][2]


@pytest.mark.parametrize("owner", ["a\r\nBcc: all@example.com", "\x1b[31m" * 80, "{{ var.value.key }}", "\u202e<b>x"])
def test_a_hostile_owner_stays_a_text_on_one_line(run, monkeypatch, owner):
    told(monkeypatch, [digest(owner, resource=f"{owner}\n" * 50)], ["\n".join([owner] * 9)] * 500)
    ((_, subject, text),) = digest_messages(run, now=1.0)
    assert subject.isprintable()
    assert len(subject) <= 100
    assert all(line.isprintable() for line in text.split("\n"))
    assert len(text.split("\n")) == 8
    assert len(text) < 3_000


def test_one_call_that_fails_does_not_cost_the_others(run, monkeypatch):
    told(monkeypatch, [digest("a"), digest("b"), digest("c")])
    sent: list[str] = []

    def send(owner: str, subject: str, text: str) -> None:
        sent.append(owner)
        if owner == "a":
            raise ValueError("no\nsuch topic")

    notifier, warnings = OwnerDigestNotifier(send=send), list[Any]()
    monkeypatch.setattr(notifier.log, "warning", lambda text, *values: warnings.append(text % values))
    with pytest.raises(ValueError, match="no\nsuch"):
        notifier.notify(CONTEXT)
    assert sent == ["a", "b", "c"]
    assert warnings == ["The digest for a was not sent: no such topic"]


def test_without_a_sender_it_is_a_line_in_the_log(run, monkeypatch):
    told(monkeypatch, [digest("a")])
    notifier = OwnerDigestNotifier()
    lines: list[Any] = []
    monkeypatch.setattr(notifier.log, "info", lambda *arguments: lines.append(arguments))
    notifier.notify(CONTEXT)
    assert [line[1] for line in lines] == ["a: 3 new, 1 overdue, 0 fixed or gone in dag"]


def test_without_a_rule_it_says_what_to_do(run, monkeypatch):
    monkeypatch.setenv("AIRFLOW__TENABLE__OWNERS", "")
    with pytest.raises(ConfigurationError, match="AIRFLOW__TENABLE__OWNERS"):
        OwnerDigestNotifier(send=pytest.fail).notify(CONTEXT)


def test_a_run_without_digests_tells_nobody(run):
    OwnerDigestNotifier(send=pytest.fail).notify(CONTEXT)
    assert notifier_module.MOST_OWNERS == 50
