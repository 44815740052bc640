"""What a user sees and does in Airflow 2.11's UI, in a real browser. Each test continues where the previous one ended,
as a user would.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.metadata import version
from urllib.parse import quote

import pytest

pytest.importorskip("playwright", reason="`make test-ui` installs it")

from playwright.sync_api import Page, expect

from sandbox.standalone.airflow import DAG_ID
from tests.integration.oracle import expected
from tests.polling import until
from tests.ui.browser import expect_link_to_findings, open_page, picture, wait_for
from tests.ui.conftest import Estate, WithLogin

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        not version("apache-airflow").startswith("2."), reason="Airflow 3 has another UI: test_airflow_3"
    ),
]

RUN_SECONDS = 600_000.0
SCAN_DAG_ID = "tenable_scan"


@pytest.fixture(scope="module")
def page(airflow: WithLogin) -> Iterator[Page]:
    with open_page(airflow.url) as opened:
        opened.goto("/login/")
        opened.fill("#username", airflow.user)
        opened.fill("#password", airflow.password)
        opened.get_by_role("button", name="Sign In").click()
        expect(opened.get_by_role("link", name="DAGs", exact=True)).to_be_visible()
        yield opened


def _grid(run_id: str, **query: str | int) -> str:
    return f"/dags/{DAG_ID}/grid?dag_run_id={quote(run_id)}" + "".join(
        f"&{name}={value}" for name, value in query.items()
    )


def _run(airflow: WithLogin) -> str:
    return str(airflow.runs()[-1]["dag_run_id"])


class TestConnection:
    """The form of the connection type, and its test button."""

    def test_form_has_our_fields_with_labels_and_help(self, page: Page) -> None:
        page.goto("/connection/add")
        page.select_option("#conn_type", "tenable")
        for label, field, hint in (
            ("URL", "#host", "https://cloud.tenable.com (FedRAMP: https://fedcloud.tenable.com)"),
            ("Port", "#port", "443"),
            ("Access key", "#login", "access key of the API user"),
            ("Secret key", "#password", "secret key of the API user"),
        ):
            expect(page.get_by_text(label, exact=True)).to_be_visible()
            expect(page.locator(field)).to_be_visible()
            expect(page.locator(field)).to_have_attribute("placeholder", hint)
        for label, help_text in (
            ("Verify TLS", "true, false, or the path of a CA bundle on the workers"),
            ("Proxies", "JSON object of proxy URLs by scheme"),
            ("Timeout", "seconds without a response after which a request fails (default 120)"),
            ("Allow plain HTTP", "an http:// URL may name another machine, and the keys are sent to it unencrypted"),
        ):
            expect(page.get_by_text(label, exact=True)).to_be_visible()
            expect(page.get_by_text(help_text)).to_be_visible()
        expect(page.locator("#extra__tenable__verify")).to_have_value("true")
        expect(page.locator("#schema")).to_be_hidden()
        expect(page.locator("#extra")).to_be_hidden()
        picture(page, "connection-form-2.11", height=1080)

    def test_button_says_what_is_wrong_and_then_whose_keys_they_are(
        self, page: Page, estate: Estate, airflow: WithLogin
    ) -> None:
        page.fill("#conn_id", "tenable_ui")
        page.fill("#host", estate.process.tenable)
        page.fill("#login", estate.facts["access_key"])
        page.fill("#password", "no-such-secret-key")
        page.fill("#extra__tenable__timeout", "30")
        page.click("#test-connection")
        expect(
            page.get_by_text("Tenable returned 401 Unauthorized. The API keys of this connection are not valid")
        ).to_be_visible()
        picture(page, "connection-test-failed-2.11", height=1250)
        page.fill("#password", estate.facts["secret_key"])
        page.click("#test-connection")
        expect(page.get_by_text("Connected to Tenable as")).to_be_visible()
        picture(page, "connection-test-2.11", height=1250)
        page.get_by_role("button", name="Save").click()
        # Back to where the person came from.
        expect(page).not_to_have_url(re.compile("/connection/add"))
        page.goto("/connection/list/")
        expect(page.get_by_role("cell", name="tenable_ui", exact=True)).to_be_visible()
        saved = json.loads(airflow.api("GET", "/connections/tenable_ui")["extra"])
        assert {name: value for name, value in saved.items() if value not in (None, "")} == {
            "verify": "true",
            "timeout": 30,
        }


class TestTrigger:
    """The params form, and a run from it."""

    def test_form_refuses_a_batch_size_over_the_limit(self, page: Page, airflow: WithLogin) -> None:
        field = page.locator("[name=element_batch_size]")

        def is_shown() -> bool:
            page.goto(f"/dags/{DAG_ID}/trigger")
            return field.count() > 0

        # The web server shows a DAG some time after the scheduler has read its file.
        until(is_shown, 180, "the web server does not know the DAG", 2)
        field.fill("101")
        field.press("Tab")
        page.get_by_role("button", name="Trigger", exact=True).click()
        # The browser refuses it itself, in a bubble of its own.
        assert field.evaluate("field => field.validationMessage") == "Value must be less than or equal to 100."
        assert airflow.runs() == []
        # Without the form's bounds, Airflow refuses it.
        field.evaluate("field => field.removeAttribute('max')")
        page.get_by_role("button", name="Trigger", exact=True).click()
        expect(page.get_by_text("101 is greater than the maximum of 100")).to_be_visible()
        picture(page, "trigger-refused-2.11")
        assert airflow.runs() == []

    def test_run_with_a_severity_unticked_is_seen_deferred_and_done(
        self, page: Page, airflow: WithLogin, estate: Estate
    ) -> None:
        page.goto(f"/dags/{DAG_ID}/trigger")
        chosen = page.locator("[name=element_severities] + .select2-container .select2-selection__choice")
        chosen.filter(has_text="high").locator(".select2-selection__choice__remove").click()
        expect(chosen).to_have_count(1)
        page.keyboard.press("Escape")
        # A number field, which a param of several types would be here, takes no date.
        page.locator("[name=element_since]").fill("1970-01-01T00:00:00Z")
        page.locator("[name=element_since]").press("Tab")
        page.get_by_role("button", name="Trigger", exact=True).click()
        expect(page.get_by_text("it should start any moment now")).to_be_visible()
        run = _run(airflow)
        conf = airflow.api("GET", f"/dags/{DAG_ID}/dagRuns/{quote(run)}")["conf"]
        assert (conf["severities"], conf["since"]) == (["critical"], "1970-01-01T00:00:00Z")

        page.goto(_grid(run, task_id="export_vulnerabilities"))
        expect(page.get_by_role("row").filter(has_text="Status").filter(has_text="deferred")).to_be_visible(
            timeout=RUN_SECONDS
        )
        picture(page, "run-deferred-2.11")
        assert wait_for(airflow, page, run) == "success", airflow.report_of(run)
        page.goto(_grid(run, task_id="export_vulnerabilities"))
        expect(page.get_by_role("row").filter(has_text="Status").filter(has_text="success")).to_be_visible()
        assert estate.held() == expected(estate.truth(), accounts=estate.accounts, severities=(4,))
        # A run that leaves a severity out must not move it.
        assert airflow.watermark() is None

    def test_mapped_imports_show_account_and_region(self, page: Page, airflow: WithLogin, estate: Estate) -> None:
        page.goto(_grid(_run(airflow), task_id="import_findings", tab="mapped_tasks"))
        for account in estate.accounts:
            for region in estate.facts["regions"]:
                mapped = page.get_by_role("cell", name=f"{account}/{region}: ")
                expect(mapped).to_have_text(re.compile(r": [\d,]+ sent, 0 rejected"))
        picture(page, "mapped-imports-2.11")

    def test_link_opens_the_console_of_the_account_and_region(self, page: Page, airflow: WithLogin) -> None:
        run = _run(airflow)
        for each in (each for each in airflow.task_instances(run) if each["task_id"] == "import_findings"):
            page.goto(_grid(run, task_id="import_findings", map_index=each["map_index"]))
            expect(page.get_by_text("Rendered Map Index")).to_be_visible()
            expect_link_to_findings(page, each["rendered_map_index"])
        picture(page, "security-hub-link-2.11")

    def test_report_is_read_in_the_task_log(self, page: Page, airflow: WithLogin, estate: Estate) -> None:
        page.goto(_grid(_run(airflow), task_id="report", tab="logs"))
        expect(page.get_by_text("Complete: every record is accounted for")).to_be_visible()
        expect(
            page.get_by_text(re.compile(r"Accepted by Security Hub\s*\|\s+" + f"{len(estate.held()):,} "))
        ).to_be_visible()
        picture(page, "report-2.11", height=900)


class TestScan:
    """A scan from the form of ``tenable_scan``."""

    def test_a_scan_is_created_and_run_from_the_form(self, page: Page, airflow: WithLogin, estate: Estate) -> None:
        estate.scan_quickly()
        airflow.unpause(SCAN_DAG_ID)
        page.goto(f"/dags/{SCAN_DAG_ID}/trigger")
        page.locator("[name=element_name]").fill("Weekly: DMZ")
        page.locator("[name=element_targets]").fill("192.0.2.1\n198.51.100.0/24\n")
        page.locator("[name=element_targets]").press("Tab")
        picture(page, "scan-form-2.11", height=1900)
        page.get_by_role("button", name="Trigger", exact=True).click()
        expect(page.get_by_text("it should start any moment now")).to_be_visible()
        [run] = [str(run["dag_run_id"]) for run in airflow.runs(SCAN_DAG_ID)]
        page.goto("about:blank")
        assert airflow.wait_for(run, SCAN_DAG_ID) == "success", airflow.tail()
        estate.check_the_scan("Weekly: DMZ", "192.0.2.1,198.51.100.0/24")

    def test_link_opens_the_run_in_tenable(self, page: Page, airflow: WithLogin, estate: Estate) -> None:
        [run] = [quote(run["dag_run_id"]) for run in airflow.runs(SCAN_DAG_ID)]
        [scan] = estate.scans()
        page.goto(f"/dags/{SCAN_DAG_ID}/grid?dag_run_id={run}&task_id=run_scan")
        link = page.get_by_role("link", name="Scan in Tenable")
        expect(link).to_be_visible()
        assert f"/scan-details/{scan['id']}/{scan['runs'][0]['uuid']}/" in str(link.get_attribute("href"))
        picture(page, "scan-link-2.11")
