"""Owners by ``[tenable] owners``: in the hubs after the next run, which is a full one by itself; and their digests."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import pytest

from airflow_provider_tenable.notifications.owners import digest_messages
from airflow_provider_tenable.staging.files import read_json
from sandbox.standalone import third_day
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox

FIELDS = "tenable/vulnerability-management"
OWNER, TAGS = f"{FIELDS}/owner", f"{FIELDS}/tags"


def documents(sandbox: Sandbox) -> dict[str, dict[str, Any]]:
    return {name: each for name, each in sandbox.documents().items() if each["RecordState"] == "ACTIVE"}


def test_findings_get_their_owners_by_a_full_run_and_only_those_are_sent(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    Run(defaults=defaults).execute()
    before = documents(sandbox)
    assert not any(OWNER in each["ProductFields"] for each in before.values())

    account = next(iter(before.values()))["AwsAccountId"]
    rule = {"resource_tags": ["Payer"], "tag_categories": ["Owner"], "accounts": {account: "of the account"}}
    monkeypatch.setenv("AIRFLOW__TENABLE__OWNERS", json.dumps(rule))
    run = Run(defaults=defaults)
    run.execute()
    assert read_json(run.folder.plan)["hubs"]["full_why"] == "owners changed since the last full run"
    after = documents(sandbox)
    assert after.keys() == before.keys()
    owned = 0
    for name, each in after.items():
        tags = [tag for tag in each["ProductFields"].get(TAGS, "").split(", ") if tag.startswith("Owner: ")]
        by_account = "of the account" if each["AwsAccountId"] == account else None
        assert each["ProductFields"].get(OWNER) == (tags[0].removeprefix("Owner: ") if tags else by_account)
        without = {field: value for field, value in each["ProductFields"].items() if field != OWNER}
        assert without == before[name]["ProductFields"]
        owned += OWNER in each["ProductFields"]
    assert 0 < owned < len(after)
    assert run.ledger["sent"] == {"updated": owned}
    assert run.ledger["gone"]["archived"] == {}


def test_digests_of_owners_have_every_finding_that_is_new_overdue_or_archived(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__OWNERS", '{"tag_categories": ["Owner"]}')
    run = Run(defaults=defaults)
    run.execute()
    now, before = time.time(), documents(sandbox)
    found = told(run, now)
    assert found["new"] == owners(before.values())
    assert found["overdue"] == owners(each for each in before.values() if is_overdue(each, now))
    assert not found["archived"]

    # Another day: some risks are accepted, hosts are gone, and there is a new one.
    sandbox.advance(86400)
    third_day.begin(sandbox.process.tenable, sandbox.process.aws)
    sandbox.change({"do": "launch", "account": sandbox.accounts[0], "found_ago": 600})
    run = Run(defaults=defaults, params={"full": True})
    run.execute()
    now, after = time.time(), documents(sandbox)
    found = told(run, now)
    assert found["new"] == owners(each for name, each in after.items() if name not in before)
    assert found["archived"] == owners(each for name, each in before.items() if name not in after)
    assert found["overdue"] == owners(each for each in after.values() if is_overdue(each, now))
    assert min(counts.total() for counts in found.values()) > 0
    assert found["overdue"].total() == sum(run.ledger["active"]["overdue"].values())

    # A run that is not complete tells nothing.
    assert digest_messages(Run(defaults=defaults).folder, now=now) == []


def told(run: Run, now: float) -> dict[str, Counter[str]]:
    """Kind -> owner -> findings, by the texts of the digests."""
    found: dict[str, Counter[str]] = {"new": Counter(), "overdue": Counter(), "archived": Counter()}
    for owner, _, text in digest_messages(run.folder, now=now):
        for kind, word in (("new", "New"), ("overdue", "Overdue"), ("archived", "Fixed or gone")):
            (count,) = re.findall(rf"^{word}: ([\d,]+)", text, re.MULTILINE)
            found[kind][owner] += int(count.replace(",", ""))
    return {kind: +counts for kind, counts in found.items()}


def owners(findings: Iterable[dict[str, Any]]) -> Counter[str]:
    return Counter(each["ProductFields"].get(OWNER, "") for each in findings)


def is_overdue(finding: dict[str, Any], now: float) -> bool:
    began = datetime.fromisoformat(finding.get("FirstObservedAt", finding["CreatedAt"])).timestamp()
    days = {"CRITICAL": 15, "HIGH": 30}[finding["FindingProviderFields"]["Severity"]["Label"]]
    return now - began >= 86400 * days
