"""Owners by ``[tenable] owners``: in the hubs after the next run, which is a full one by itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_tenable.staging.files import read_json
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
