"""What a user sees and does in Airflow 3's UI, in a real browser. Each test continues where the previous one ended, as
a user would.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from urllib.parse import quote

import pytest

pytest.importorskip("airflow.sdk", reason="Airflow 2 has another UI: test_airflow_2")
pytest.importorskip("playwright", reason="`make test-ui` installs it")

from playwright.sync_api import Locator, Page, expect

from sandbox.standalone.airflow import DAG_ID, Standalone
from tests.integration.oracle import expected
from tests.ui.browser import expect_link_to_findings, open_page, picture, wait_for
from tests.ui.conftest import Estate

pytestmark = pytest.mark.system

RUN_SECONDS = 600_000.0
SCAN_DAG_ID = "tenable_scan"


@pytest.fixture(scope="module")
def page(airflow: Standalone) -> Iterator[Page]:
    with open_page(airflow.url) as opened:
        yield opened


def _run_url(run_id: str, rest: str = "") -> str:
    return f"/dags/{DAG_ID}/runs/{quote(run_id)}{rest}"


def _manual_run(airflow: Standalone) -> str:
    return next(str(run["dag_run_id"]) for run in airflow.runs() if run["run_type"] == "manual")


def _trigger_dialog(page: Page) -> Locator:
    page.goto(f"/dags/{DAG_ID}")
    page.get_by_role("button", name="Trigger").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("[name=element_batch_size]")).to_be_visible()
    return dialog


class TestConnection:
    """The form of the connection type, and the test button next to the connection."""

    def test_buttons_of_the_sandboxs_connections_reach_the_sandbox(self, page: Page, estate: Estate) -> None:
        page.goto("/connections")
        for name, answer in (
            ("tenable_default", "Connected to Tenable as"),
            ("aws_default", "arn:aws:iam::"),
        ):
            with page.expect_response(lambda response: response.url.endswith("/connections/test")) as answered:
                page.get_by_role("row").filter(has_text=name).get_by_role("button", name="Test Connection").click()
            assert answered.value.status == 200, answered.value.text()
            assert answered.value.json()["status"] is True, answered.value.text()
            assert answer in answered.value.json()["message"]
        expect(page.get_by_text("Bad Request")).to_have_count(0)

    def test_form_has_our_fields_with_labels_and_help(self, page: Page, estate: Estate) -> None:
        page.goto("/connections")
        page.get_by_role("button", name="Add Connection").click()
        dialog = page.get_by_role("dialog")
        dialog.locator("[name=connection_id]").fill("tenable_ui")
        dialog.get_by_text("Select Connection Type").click(force=True)
        page.keyboard.type("tenable")
        page.keyboard.press("Enter")
        expect(dialog.get_by_text("Tenable Vulnerability Management").first).to_be_visible()
        for label, name, hint in (
            ("URL", "host", "https://cloud.tenable.com (FedRAMP: https://fedcloud.tenable.com)"),
            ("Port", "port", "443"),
            ("Access key", "login", "access key of the API user"),
            ("Secret key", "password", "secret key of the API user"),
        ):
            expect(dialog.get_by_text(label, exact=True)).to_be_visible()
            expect(dialog.locator(f"[name={name}]")).to_have_attribute("placeholder", hint)
        expect(dialog.locator("[name=schema]")).to_have_count(0)
        expect(dialog.locator("[name=password]")).to_have_attribute("type", "password")
        picture(dialog, "connection-form", height=900)

        url, port = estate.process.tenable.rsplit(":", 1)
        dialog.locator("[name=host]").fill(url)
        dialog.locator("[name=port]").fill(port)
        dialog.locator("[name=login]").fill(estate.facts["access_key"])
        dialog.locator("[name=password]").fill("no-such-secret-key")
        dialog.get_by_role("button", name="Extra Fields", exact=True).click()
        for label, help_text in (
            ("Verify TLS", "true, false, or the path of a CA bundle on the workers"),
            ("Proxies", "JSON object of proxy URLs by scheme"),
            ("Timeout", "seconds without a response after which a request fails (default 120)"),
            ("Allow plain HTTP", "an http:// URL may name another machine, and the keys are sent to it unencrypted"),
        ):
            expect(dialog.get_by_text(label, exact=True)).to_be_visible()
            expect(dialog.get_by_text(help_text)).to_be_visible()
        expect(dialog.locator("[name=element_verify]")).to_have_value("true")
        dialog.locator("[name=element_timeout]").fill("30")
        picture(dialog, "connection-form-extra", height=900)
        dialog.get_by_role("button", name="Save").click()
        expect(dialog).to_have_count(0)
        expect(page.get_by_role("row").filter(has_text="tenable_ui")).to_be_visible()

    def test_button_says_what_is_wrong_and_then_whose_keys_they_are(
        self, page: Page, estate: Estate, airflow: Standalone
    ) -> None:
        row = page.get_by_role("row").filter(has_text="tenable_ui")
        row.get_by_role("button", name="Test Connection").click()
        expect(
            page.get_by_text("Tenable returned 401 Unauthorized. The API keys of this connection are not valid")
        ).to_be_visible()
        picture(page, "connection-test-failed")

        row.get_by_role("button", name="Edit Connection").click()
        dialog = page.get_by_role("dialog")
        dialog.locator("[name=password]").fill(estate.facts["secret_key"])
        dialog.get_by_role("button", name="Save").click()
        expect(dialog).to_have_count(0)
        row.get_by_role("button", name="Test Connection").click()
        expect(page.get_by_text("Connected to Tenable as")).to_be_visible()
        picture(page, "connection-test")
        extra = json.loads(airflow.api("GET", "/connections/tenable_ui")["extra"])
        assert {name: value for name, value in extra.items() if value is not None} == {"verify": "true", "timeout": 30}


class TestTrigger:
    """The params form, and a run from it."""

    def test_form_lets_no_batch_size_over_the_limit_through(self, page: Page, airflow: Standalone) -> None:
        dialog = _trigger_dialog(page)
        field = dialog.locator("[name=element_batch_size]")
        field.fill("101")
        field.press("Tab")
        # The number field knows the bounds ...
        expect(field).to_have_value("100")
        # ... and what is typed as JSON is refused with the reason.
        dialog.get_by_role("button", name="Advanced Options").click()
        editor = dialog.locator(".monaco-editor:visible").last
        editor.click()
        page.keyboard.press("Control+A")
        page.keyboard.press("Delete")
        page.keyboard.insert_text(json.dumps({"batch_size": 101}))
        expect(editor).to_contain_text("101")
        dialog.get_by_role("button", name="Trigger", exact=True).click()
        expect(
            dialog.get_by_text("Invalid input for param batch_size: 101 is greater than the maximum of 100")
        ).to_be_visible()
        picture(dialog, "trigger-refused", height=1350)
        assert airflow.runs() == []

    def test_moments_are_one_line_and_take_a_date(self, page: Page) -> None:
        dialog = _trigger_dialog(page)
        since = dialog.locator("[name=element_since]")
        assert since.evaluate("field => field.tagName") == "INPUT"
        since.fill("2026-11-23T00:00:00Z")
        since.press("Tab")
        expect(since).to_have_value("2026-11-23T00:00:00Z")

    def test_run_with_a_severity_unticked_is_seen_deferred_and_done(
        self, page: Page, airflow: Standalone, estate: Estate
    ) -> None:
        dialog = _trigger_dialog(page)
        dialog.get_by_label("Remove high").click()
        expect(dialog.locator("input[type=hidden][name=element_severities]")).to_have_count(1)
        picture(dialog, "trigger-form", height=2900)
        dialog.get_by_role("button", name="Trigger", exact=True).click()
        expect(dialog).to_have_count(0)
        run = _manual_run(airflow)
        assert airflow.api("GET", f"/dags/{DAG_ID}/dagRuns/{quote(run)}")["conf"]["severities"] == ["critical"]

        page.goto(_run_url(run))
        deferred = page.get_by_role("row").filter(has_text="export_vulnerabilities").filter(has_text="Deferred")
        expect(deferred).to_be_visible(timeout=RUN_SECONDS)
        picture(page, "run-deferred", height=900)
        assert wait_for(airflow, page, run) == "success", airflow.report_of(run)
        page.goto(_run_url(run))
        expect(page.get_by_text("Success").first).to_be_visible()
        assert estate.held() == expected(estate.truth(), accounts=estate.accounts, severities=(4,))
        # A run that leaves a severity out must not move it.
        assert airflow.watermark() is None

    def test_mapped_imports_show_account_and_region(self, page: Page, airflow: Standalone, estate: Estate) -> None:
        page.goto(_run_url(_manual_run(airflow), "/tasks/import_findings/mapped"))
        names = [f"{account}/{region}" for account in estate.accounts for region in estate.facts["regions"]]
        for name in names:
            # The place by its text and not by a pattern: Playwright ends a pattern of a name at its first slash.
            mapped = page.get_by_role("link", name=f"{name}: ")
            expect(mapped).to_have_text(re.compile(r": [\d,]+ sent, 0 rejected"))
        picture(page, "mapped-imports")

    def test_link_opens_the_console_of_the_account_and_region(
        self, page: Page, airflow: Standalone, estate: Estate
    ) -> None:
        run = _manual_run(airflow)
        for each in (each for each in airflow.task_instances(run) if each["task_id"] == "import_findings"):
            page.goto(_run_url(run, f"/tasks/import_findings/mapped/{each['map_index']}/details"))
            expect_link_to_findings(page, each["rendered_map_index"])
        picture(page, "security-hub-link")

    def test_report_is_read_in_the_task_log(self, page: Page, airflow: Standalone, estate: Estate) -> None:
        page.goto(_run_url(_manual_run(airflow), "/tasks/report"))
        expect(page.get_by_text("Complete: every record is accounted for")).to_be_visible()
        expect(
            page.get_by_text(re.compile(r"Accepted by Security Hub\s*\|\s+" + f"{len(estate.held()):,}"))
        ).to_be_visible()
        picture(page, "report")


class TestBackfill:
    """Two days, from the UI."""

    def test_runs_cover_a_day_each_and_leave_the_watermark(
        self, page: Page, airflow: Standalone, estate: Estate
    ) -> None:
        estate.prepare_at_once()
        before = estate.held()
        watermark = str(int(estate.now()) - 86_400)
        airflow.api("POST", "/variables", json={"key": f"{DAG_ID}__since", "value": watermark})
        today = datetime.fromtimestamp(estate.now(), UTC).date()
        days = [today - timedelta(days=back) for back in (2, 1)]
        dialog = _trigger_dialog(page)
        dialog.get_by_text("Run this Dag for a range of dates").click()
        _choose_date(page, dialog, days[0])
        _choose_date(page, dialog, days[-1])
        dialog.locator("[name=max_active_runs]").fill("2")
        picture(page, "backfill-form")
        dialog.get_by_role("button", name="Run Backfill").click()
        expect(dialog).to_have_count(0)
        page.goto(f"/dags/{DAG_ID}/runs?run_type=backfill")
        expect(page.get_by_role("row").filter(has_text="Backfill")).to_have_count(2)
        runs = [run for run in airflow.runs() if run["run_type"] == "backfill"]
        for run in runs:
            assert wait_for(airflow, page, run["dag_run_id"]) == "success", airflow.report_of(run["dag_run_id"])
        intervals = sorted((run["data_interval_start"], run["data_interval_end"]) for run in runs)
        assert intervals == [(f"{day}T00:00:00Z", f"{day + timedelta(days=1)}T00:00:00Z") for day in days]
        page.goto(f"/dags/{DAG_ID}/runs?run_type=backfill")
        expect(page.get_by_role("row").filter(has_text="Backfill").filter(has_text="Success")).to_have_count(2)
        picture(page, "backfill-runs")

        # What the two days hold, both severities, is there now in addition to what the first run brought.
        truth = estate.truth()
        inside = {**truth, "vulnerabilities": [each for each in truth["vulnerabilities"] if _seen_on(each, days)]}
        brought = expected(inside, accounts=estate.accounts)
        assert set(brought) - set(before), "the two days hold nothing that the first run left out: this proves nothing"
        assert estate.held() == {**before, **brought}
        assert airflow.watermark() == watermark


def _choose_date(page: Page, dialog: Locator, day: date) -> None:
    """Fill the first of the form's two date fields that is still empty."""
    dialog.get_by_text("Select date and time").first.click()
    field = page.get_by_placeholder("YYYY/MM/DD")
    field.fill(day.strftime("%Y/%m/%d"))
    page.get_by_placeholder("HH:mm").fill("00:00")
    page.keyboard.press("Escape")
    # It fades out; until it is gone there would be two of them once the next one opens.
    expect(field).to_have_count(0)


def _seen_on(vulnerability: dict[str, str | float], days: list[date]) -> bool:
    """Whether a record's own time (when it was fixed, else last found) lies in these days, as the window of a backfill
    has it.
    """
    moment = float(vulnerability["last_fixed"] if vulnerability["state"] == "FIXED" else vulnerability["last_found"])
    return datetime.fromtimestamp(moment, UTC).date() in days


class TestScan:
    """A scan from the form of ``tenable_scan``."""

    def test_a_scan_is_created_and_run_from_the_form(self, page: Page, airflow: Standalone, estate: Estate) -> None:
        estate.scan_quickly()
        airflow.unpause(SCAN_DAG_ID)
        page.goto(f"/dags/{SCAN_DAG_ID}")
        page.get_by_role("button", name="Trigger").first.click()
        dialog = page.get_by_role("dialog")
        dialog.locator("[name=element_name]").fill("Weekly: DMZ")
        # One per line; what a person leaves empty is not a target.
        targets = dialog.locator("[name=element_targets]")
        targets.fill("192.0.2.1\n198.51.100.0/24\n")
        targets.press("Tab")
        credentials = dialog.locator("[name=element_credentials]")
        credentials.fill("x")
        credentials.fill("")
        credentials.press("Tab")
        picture(dialog, "scan-form", height=2700)
        dialog.get_by_role("button", name="Trigger", exact=True).click()
        expect(dialog).to_have_count(0)
        [run] = [str(run["dag_run_id"]) for run in airflow.runs(SCAN_DAG_ID)]
        page.goto("about:blank")
        assert airflow.wait_for(run, SCAN_DAG_ID) == "success", airflow.tail()
        estate.check_the_scan("Weekly: DMZ", "192.0.2.1,198.51.100.0/24")

    def test_link_opens_the_run_in_tenable(self, page: Page, airflow: Standalone, estate: Estate) -> None:
        [run] = [quote(run["dag_run_id"]) for run in airflow.runs(SCAN_DAG_ID)]
        [scan] = estate.scans()
        page.goto(f"/dags/{SCAN_DAG_ID}/runs/{run}/tasks/run_scan/details")
        link = page.get_by_role("link", name="Scan in Tenable")
        expect(link).to_be_visible()
        assert f"/scan-details/{scan['id']}/{scan['runs'][0]['uuid']}/" in str(link.get_attribute("href"))
        picture(page, "scan-link")
        page.goto(f"/dags/{SCAN_DAG_ID}/runs/{run}/tasks/report")
        expect(page.get_by_text("is completed").first).to_be_visible()
        picture(page, "scan-report")
