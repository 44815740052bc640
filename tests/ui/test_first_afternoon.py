"""What a team sees on the afternoon on which it comes from an older tool, and of its first audits: the DAGs run one
after the other under the scheduler, and the table of each is read in the browser.

They take some minutes and show what other tests prove, so they run only where pictures are taken (``SCREENSHOTS=1``).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

pytest.importorskip("airflow.sdk", reason="The pictures are of Airflow 3")
pytest.importorskip("playwright", reason="`make test-ui` installs it")

from playwright.sync_api import Page, expect

from sandbox.standalone.airflow import Standalone
from tests.ui.browser import open_page, picture
from tests.ui.conftest import Estate

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not os.environ.get("SCREENSHOTS"), reason="takes minutes; run it with SCREENSHOTS=1"),
]

SEVERITIES = ("INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL")
AUDIT_FILE = "CIS_Amazon_Web_Services_Foundations_v7.0.0_L1.audit"


@pytest.fixture(scope="module")
def page(airflow: Standalone) -> Iterator[Page]:
    with open_page(airflow.url) as opened:
        yield opened


@pytest.fixture(scope="module")
def imported(airflow: Standalone, estate: Estate) -> None:
    """Everything is in the hubs, and an older tool's findings beside it."""
    estate.prepare_at_once()
    # Its clock is days behind, which is one of the requirements.
    order = {"advance_seconds": time.time() - estate.now() - 60}
    httpx.post(f"{estate.process.tenable}/_sandbox/clock", json=order, timeout=60, trust_env=False).raise_for_status()
    airflow.unpause()
    assert airflow.wait_for(airflow.trigger({"full": True})) == "success", airflow.tail()
    account, region = estate.accounts[0], estate.facts["regions"][0]
    instances = sorted(
        {
            host["instance_id"]
            for host in estate.truth()["assets"]
            if (host["account"], host["region"]) == (account, region)
        }
    )
    decided = {"Workflow": {"Status": "SUPPRESSED"}, "Note": {"Text": "Accepted until June", "UpdatedBy": "jane"}}
    findings: list[dict[str, Any]] = [
        {
            "instance": each["instance_id"],
            "plugin": each["plugin_id"],
            "severity": SEVERITIES[each["severity_id"]],
            **({"set": decided} if number % 3 == 0 else {}),
        }
        for number, each in enumerate(estate.truth()["vulnerabilities"])
        if each["instance_id"] in instances
    ]
    unique = {(each["instance"], each["plugin"]): each for each in findings}
    body = {"account": account, "region": region, "tool": "tvm2aws", "findings": list(unique.values())}
    httpx.post(f"{estate.process.aws}/_sandbox/old-tools", json=body, timeout=60, trust_env=False).raise_for_status()


def show(page: Page, airflow: Standalone, dag_id: str, task_id: str, conf: dict[str, Any] | None = None) -> str:
    """Run a DAG to its end, and open the log of a task of it; the run's id."""
    airflow.unpause(dag_id)
    run = airflow.trigger(conf, dag_id)
    page.goto("about:blank")
    assert airflow.wait_for(run, dag_id) == "success", airflow.tail()
    page.goto(f"/dags/{dag_id}/runs/{quote(run)}/tasks/{task_id}")
    return run


def test_requirements_are_a_table_with_remedies(page: Page, airflow: Standalone, imported: None) -> None:
    show(page, airflow, "tenable_requirements", "check_requirements")
    expect(page.get_by_text("aws.role").first).to_be_visible()
    picture(page, "requirements", height=1000)


def test_the_dry_run_of_a_takeover_says_what_would_happen(page: Page, airflow: Standalone, imported: None) -> None:
    show(page, airflow, "tenable_take_over", "report")
    expect(page.get_by_text("Dry run: nothing was changed").first).to_be_visible()
    expect(page.get_by_text("taken_over").first).to_be_visible()
    picture(page, "take-over-dry-run", height=800)


def test_the_takeover_says_what_it_did(page: Page, airflow: Standalone, imported: None) -> None:
    show(page, airflow, "tenable_take_over", "report", {"dry_run": False})
    expect(page.get_by_text("taken_over").first).to_be_visible()
    expect(page.get_by_text("Dry run: nothing was changed")).to_have_count(0)
    picture(page, "take-over", height=800)


def test_the_audit_of_the_hubs_finds_nothing_wrong(page: Page, airflow: Standalone, imported: None) -> None:
    show(page, airflow, "tenable_audit_security_hub", "report")
    expect(page.get_by_text("0 missing, 0 ghost, 0 stale")).to_have_count(2)
    picture(page, "hub-audit", height=800)


def test_results_of_audits_are_counted_by_audit_and_account(page: Page, airflow: Standalone, estate: Estate) -> None:
    asset = "00000000-0000-0000-0000-000000000001"
    order = {"do": "audit", "asset_id": asset, "audit_file": AUDIT_FILE, "checks": 60, "aws": True}
    httpx.post(f"{estate.process.tenable}/_sandbox/change", json=order, timeout=60, trust_env=False).raise_for_status()
    show(
        page,
        airflow,
        "tenable_compliance_to_security_hub",
        "report",
        {"audit_accounts": {asset: estate.accounts[0]}},
    )
    expect(page.get_by_text("Complete: every record is accounted for")).to_be_visible()
    picture(page, "audit-report", height=900)


def test_accounts_to_audit_are_entered_in_a_form(page: Page, airflow: Standalone) -> None:
    airflow.unpause("tenable_aws_audit")
    page.goto("/dags/tenable_aws_audit")
    page.get_by_role("button", name="Trigger").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("Accounts").first).to_be_visible()
    picture(dialog, "aws-audit-form", height=1600)


def test_what_serves_web_applications_is_entered_in_a_form(page: Page, airflow: Standalone) -> None:
    airflow.unpause("tenable_was_to_security_hub")
    page.goto("/dags/tenable_was_to_security_hub")
    page.get_by_role("button", name="Trigger").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("Load balancers").first).to_be_visible()
    expect(dialog.get_by_text("host name -> ARN of the load balancer")).to_be_visible()
    # What is about hosts and their packages is not asked here.
    expect(dialog.get_by_text("Severities").first).to_be_visible()
    expect(dialog.get_by_text("Assets that are not EC2 instances")).to_have_count(0)
    picture(dialog, "web-applications-form", height=2900)
