"""The notifier of accounts and Regions that refuse findings."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_provider_tenable.notifications.refused import RefusedDestinationsNotifier, refused_summary
from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.staging.layout import RunFolder


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__TENABLE__STAGING_PATH", f"file://{tmp_path}")
    return RunFolder(f"file://{tmp_path}", "dag", "run-1")


CONTEXT = {"dag_run": SimpleNamespace(dag_id="dag", run_id="run-1"), "dag": None}


def test_accounts_counts_and_reasons_are_reported(run):
    refused = {
        "111122223333/eu-west-1": {"records": 3, "why": "no\nrole", "reached": False},
        "222233334444/eu-west-1": {"records": 1_500, "why": "hub off", "reached": True},
    }
    write_json(run.ledger, {"refused": refused})
    sent = []
    RefusedDestinationsNotifier(send=lambda *told: sent.append(told)).notify(CONTEXT)
    ((subject, text),) = sent
    assert subject == "2 accounts and Regions refuse findings in dag"
    assert text.splitlines() == [
        "Run run-1 of dag: 2 accounts and Regions refuse their findings.",
        "  222233334444/eu-west-1: 1,500 findings (it accepted findings before): hub off",
        "  111122223333/eu-west-1: 3 findings: no role",
        "Once they accept findings again, the next run delivers the missing ones, or a later one within 16 days if "
        "only an import can show it. No other action is needed.",
    ]


def test_many_are_counted(run):
    refused = {f"{number:012}/eu-west-1": {"records": 1, "why": "x" * 900, "reached": False} for number in range(30)}
    write_json(run.ledger, {"refused": refused})
    _, text = refused_summary(run)
    assert "and 10 more" in text
    assert len(text) < 12_000


@pytest.mark.parametrize("ledger", [None, {}, {"refused": {}}])
def test_run_that_nobody_refused_reports_nothing(run, ledger):
    if ledger is not None:
        write_json(run.ledger, ledger)
    RefusedDestinationsNotifier(send=pytest.fail).notify(CONTEXT)


def test_without_a_sender_it_is_a_warning(run, caplog):
    write_json(run.ledger, {"refused": {"111122223333/eu-west-1": {"records": 3, "why": "off", "reached": False}}})
    RefusedDestinationsNotifier().notify(CONTEXT)
    assert refused_summary(run)
