"""The notifier of rejected findings: tells accounts, counts, codes and reasons, of settled runs only, and no more than
fits into a message.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from airflow_provider_tenable.notifications.rejected import RejectedFindingsNotifier, rejected_summary
from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import write_lines

SECRET = "s3cr3t-in-the-finding"


def settle(run: RunFolder, rejected: dict[str, dict[str, int]], *, skipped: dict[str, int] | None = None) -> None:
    """Write the ledger of a run: account/region -> code -> number."""
    sums: dict[str, int] = {}
    for codes in rejected.values():
        for code, number in codes.items():
            sums[code] = sums.get(code, 0) + number
    destinations = {
        name: {"findings": 1000, "accepted": 1000 - sum(codes.values()), "rejected": codes, "calls": 10}
        for name, codes in rejected.items()
    }
    ledger = {
        "findings": 1000 * len(rejected),
        "skipped": skipped or {},
        "rejected": sums,
        "destinations": destinations,
    }
    write_json(run.ledger, ledger)


def put_aside(run: RunFolder, *lines: tuple[str, str, str | None], name: str = "part-a") -> None:
    """Write rejected findings: (code, message, id)."""
    entries = [
        {
            "id": identity,
            "account": "1",
            "region": "r",
            "code": code,
            "message": text,
            "finding": {"Note": SECRET},
            "record": SECRET,
        }
        for code, text, identity in lines
    ]
    write_lines(run.rejected, name, [msgspec.json.encode(entry) for entry in entries])


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(f"file://{tmp_path}", "tenable_to_security_hub", "run-1")


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    monkeypatch.setenv("AIRFLOW__TENABLE__STAGING_PATH", f"file://{tmp_path}")
    return {"dag_run": SimpleNamespace(dag_id="tenable_to_security_hub", run_id="run-1"), "dag": None}


def test_accounts_counts_codes_and_the_top_reasons_are_told(run, context):
    settle(
        run,
        {
            "111122223333/eu-west-1": {"InvalidInput": 3},
            "222233334444/us-east-1": {"InvalidInput": 1, "LimitExceeded": 7},
            "333344445555/r": {},
        },
    )
    put_aside(
        run,
        *[("LimitExceeded", "too  many\nfindings", f"id-{number}") for number in range(7)],
        *[("InvalidInput", "no Title", "id-x")] * 4,
    )
    sent: list[tuple[str, str]] = []
    RejectedFindingsNotifier(send=lambda subject, text: sent.append((subject, text))).notify(context)
    [(subject, text)] = sent
    assert subject == "11 findings rejected by Security Hub CSPM in tenable_to_security_hub"
    assert text.splitlines() == [
        "Run run-1 of tenable_to_security_hub: 11 of 3,000 findings were rejected by Security Hub CSPM.",
        "  222233334444/us-east-1: 1 x InvalidInput, 7 x LimitExceeded",
        "  111122223333/eu-west-1: 3 x InvalidInput",
        "Most frequent reasons:",
        "  7 x LimitExceeded: too many findings (such as id-0)",
        "  4 x InvalidInput: no Title (such as id-x)",
        f"All of them are in {run.rejected}. Once the cause is fixed, tenable_replay_rejected can send them again.",
    ]


def test_broken_records_are_told_and_no_finding_is_shown(run):
    settle(run, {"111122223333/eu-west-1": {"InvalidInput": 1}}, skipped={"unreadable_record": 2, "no_aws_account": 5})
    put_aside(run, ("InvalidInput", "no Title", "id-x"), ("unreadable_record", "no JSON", None))
    subject, text = rejected_summary(run) or ("", "")
    assert subject.startswith("3 findings")
    assert "2 records did not become findings: unreadable_record" in text
    assert "no_aws_account" not in text
    assert SECRET not in subject + text


@pytest.mark.parametrize(("threshold", "told"), [(0, True), (4, True), (5, False)])
def test_the_threshold_is_the_most_that_is_not_told(run, context, threshold, told):
    settle(run, {"111122223333/eu-west-1": {"InvalidInput": 5}})
    sent: list[Any] = []
    RejectedFindingsNotifier(send=lambda *message: sent.append(message), threshold=threshold).notify(context)
    assert bool(sent) == told


def test_nothing_is_told_of_a_run_that_rejected_nothing_or_was_not_settled(run, context):
    sent: list[Any] = []
    notifier = RejectedFindingsNotifier(send=lambda *message: sent.append(message))
    notifier.notify(context)
    settle(run, {"111122223333/eu-west-1": {}})
    notifier.notify(context)
    assert sent == []


def test_without_a_sender_it_is_a_warning_in_the_log(run, context, monkeypatch):
    settle(run, {"111122223333/eu-west-1": {"InvalidInput": 5}})
    notifier = RejectedFindingsNotifier()
    warnings: list[Any] = []
    monkeypatch.setattr(notifier.log, "warning", lambda *arguments: warnings.append(arguments))
    notifier.notify(context)
    [(_, subject, text)] = warnings
    assert "5 findings rejected" in subject
    assert "5 x InvalidInput" in text


def test_the_text_stays_short_however_many_accounts_and_messages_there_are(run):
    settle(run, {f"{number:012d}/eu-west-1": {"InvalidInput": 2} for number in range(3000)})
    put_aside(run, *[("InvalidInput", f"{number} " + "x" * 5000, f"id-{number}") for number in range(3000)])
    subject, text = rejected_summary(run) or ("", "")
    assert len(subject) <= 100
    assert len(text) < 6000
    assert "and 2,990 more accounts and Regions" in text
    assert "2,000 x InvalidInput: further messages" in text


def test_airflow_calls_it_as_a_callback_and_renders_its_path(run, tmp_path):
    settle(run, {"111122223333/eu-west-1": {"InvalidInput": 5}})
    sent: list[Any] = []
    from airflow_provider_tenable._compat import DAG

    dag = DAG(dag_id="tenable_to_security_hub", schedule=None)
    notifier = RejectedFindingsNotifier(
        send=lambda *message: sent.append(message), staging_path="file://{{ params.where }}"
    )
    notifier(
        {
            "dag_run": SimpleNamespace(dag_id="tenable_to_security_hub", run_id="run-1"),
            "dag": dag,
            "params": {"where": str(tmp_path)},
        }
    )
    assert len(sent) == 1
