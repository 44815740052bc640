"""The page "Tenable" in a real browser: found in the navigation, read in the frame of Airflow 3 and on its own in
Airflow 2.11, on a phone and in the dark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="`make test-ui` installs it")

from playwright.sync_api import FrameLocator, Page, Route, expect

from sandbox.standalone.airflow import DAG_ID, Standalone
from tests.page_samples import HOSTILE, write_rejected, write_samples
from tests.ui.browser import open_page, picture
from tests.ui.conftest import WithLogin

AIRFLOW_3 = not version("apache-airflow").startswith("2.")
SUFFIX = "" if AIRFLOW_3 else "-2.11"
PLACE = "111122223333/eu-west-1"
CONSOLE = "https://eu-west-1.console.aws.amazon.com/securityhub/home"

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def complaints() -> list[str]:
    """What the browser has complained about: errors of scripts, and violations of the content security policy."""
    return []


@pytest.fixture(scope="module")
def page(airflow: Standalone, complaints: list[str]) -> Iterator[Page]:
    with open_page(airflow.url) as opened:
        # Nothing here waits for a run.
        opened.set_default_timeout(20_000)
        expect.set_options(timeout=20_000)
        # The console is not asked: there is no Internet in a test.
        opened.context.route(re.compile("^https://"), _console)
        if isinstance(airflow, WithLogin):
            opened.goto("/login/")
            opened.fill("#username", airflow.user)
            opened.fill("#password", airflow.password)
            opened.get_by_role("button", name="Sign In").click()
            expect(opened.get_by_role("link", name="DAGs", exact=True)).to_be_visible()
        opened.on("console", lambda message: _note(complaints, message.type, message.text))
        opened.on("pageerror", lambda error: _note(complaints, "script", error.stack or ""))
        yield opened


def _console(route: Route) -> None:
    route.fulfill(content_type="text/html", body="<title>console</title>")


def _note(complaints: list[str], kind: str, text: str) -> None:
    # Airflow's own pages have errors of their own.
    if (kind == "error" and "Content Security Policy" in text) or (kind == "script" and "/tenable/" in text):
        complaints.append(text)


def _shown(page: Page) -> Page | FrameLocator:
    """Where the page is: Airflow 3 shows it in a frame."""
    return page.frame_locator("iframe[title=Tenable]") if AIRFLOW_3 else page


def _staging(airflow: Standalone) -> Path:
    return airflow.home / "staging"


@pytest.fixture(scope="module")
def samples(airflow: Standalone) -> None:
    """The files of many runs, in place of those that the runs of other tests have left."""
    stopped = {PLACE: 840}
    refused = {"111122223335/eu-west-1": "AccessDenied: the role TenableSecurityHubImport cannot be assumed."}
    run = write_samples(_staging(airflow), places=9, status={"stopped": stopped, "refused": refused})
    account, region = PLACE.split("/")
    titles = ("OpenSSL 3.0.0 < 3.0.8 Multiple Vulnerabilities", HOSTILE)
    lines = [
        {
            "id": f"eu-west-1/111122223333/i-0aa1bb2cc3dd4ee5{number}/19506/tcp/443",
            "account": account,
            "region": region,
            "code": "InvalidInput",
            "message": "Finding does not adhere to Amazon Finding Format. data.Resources[0].Id should be string",
            "finding": {"Title": title},
        }
        for number, title in enumerate(titles)
    ]
    write_rejected(run, lines, account=account, region=region)


def test_it_is_in_the_navigation_and_says_what_to_do_first(page: Page, airflow: Standalone) -> None:
    # Whether other tests have run the DAG or not: this one has no files.
    page.goto("/")
    if AIRFLOW_3:
        page.get_by_role("link", name="Tenable", exact=True).click()
    else:
        page.get_by_role("link", name="Browse", exact=True).hover()
        page.get_by_role("link", name="Tenable", exact=True).click()
    shown = _shown(page)
    expect(shown.get_by_role("heading", name="Tenable in Security Hub CSPM")).to_be_visible()
    expect(shown.get_by_role("heading", name=f"Now: {DAG_ID}")).to_be_visible()
    if not (_staging(airflow) / DAG_ID / "deployment" / "history.json").exists():
        expect(shown.get_by_text("No run has ended yet.")).to_be_visible()
        picture(page, f"page-empty{SUFFIX}", height=1150)


@pytest.mark.usefixtures("samples")
class TestWithRuns:
    """After many runs."""

    def test_it_shows_what_happened(self, page: Page) -> None:
        page.goto("/plugin/tenable" if AIRFLOW_3 else "/tenable/")
        shown = _shown(page)
        expect(shown.get_by_text(f"840 findings of {PLACE} were not archived")).to_be_visible()
        expect(shown.get_by_role("img", name=f"{PLACE}: 163")).to_be_visible()
        expect(shown.get_by_text("in 9 accounts and Regions")).to_be_visible()
        expect(shown.get_by_text("20 earlier runs")).to_be_visible()
        # What a title says is text.
        expect(shown.get_by_text("<script>alert(1)</script>").first).to_be_visible()
        picture(page, f"page{SUFFIX}", height=1560)

    def test_a_link_to_the_console_leaves_the_frame(self, page: Page) -> None:
        with page.context.expect_page() as opened:
            _shown(page).get_by_role("link", name=PLACE, exact=True).click()
        assert opened.value.url.startswith(CONSOLE)
        opened.value.close()

    def test_the_command_can_be_copied(self, page: Page) -> None:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        shown = _shown(page)
        button = shown.get_by_role("button", name="Copy").first
        button.click()
        expect(shown.get_by_role("button", name="Copied")).to_be_visible()
        copied = str(page.evaluate("navigator.clipboard.readText()"))
        assert copied.startswith("airflow dags trigger tenable_replay_rejected --conf '{")

    def test_the_export_is_downloaded(self, page: Page) -> None:
        with page.expect_download() as download:
            _shown(page).get_by_role("link", name="runs as CSV").click()
        assert download.value.suggested_filename == f"{DAG_ID}-runs.csv"
        assert Path(download.value.path()).read_text().count("\n") == 46

    def test_a_link_to_a_run_leaves_the_frame(self, page: Page) -> None:
        _shown(page).get_by_role("link", name="scheduled__00001", exact=True).click()
        expect(page).to_have_url(
            re.compile(rf"/dags/{DAG_ID}/(runs/scheduled__00001|grid\?dag_run_id=scheduled__00001)")
        )

    @pytest.mark.skipif(not AIRFLOW_3, reason="Airflow 2.11 has no tabs of plugins")
    def test_it_is_a_tab_of_the_dag(self, page: Page) -> None:
        page.goto(f"/dags/{DAG_ID}")
        # By its address: Airflow's navigation has a link of the same name, and is shown before the tabs are.
        page.locator(f"a[href$='/dags/{DAG_ID}/plugin/tenable-imports']").click()
        expect(_shown(page).get_by_role("heading", name=f"Now: {DAG_ID}")).to_be_visible()
        expect(page).to_have_url(re.compile(rf"/dags/{DAG_ID}/plugin/tenable-imports"))
        picture(page, "page-tab")

    @pytest.mark.skipif(not AIRFLOW_3, reason="Airflow 2.11 has no dark mode of its own")
    def test_it_follows_the_dark_mode_of_airflow(self, page: Page) -> None:
        page.goto("/plugin/tenable")
        heading = _shown(page).get_by_role("heading", name=f"Now: {DAG_ID}")
        expect(heading).to_be_visible()
        for theme, color in (("dark", "rgb(232, 235, 240)"), ("light", "rgb(27, 34, 48)")):
            page.evaluate("theme => { document.documentElement.className = theme }", theme)
            expect(heading).to_have_css("color", color)

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_it_fits_a_phone(self, page: Page, scheme: str) -> None:
        before = page.viewport_size
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        page.set_viewport_size({"width": 390, "height": 844})
        page.goto("/tenable/")
        expect(page.get_by_role("heading", name="Rejected")).to_be_attached()
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        back = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert back == ("rgb(20, 24, 31)" if scheme == "dark" else "rgb(255, 255, 255)")
        if scheme == "dark" and AIRFLOW_3:
            picture(page, "page-phone", width=390, height=844)
        page.emulate_media(color_scheme=None)
        if before:
            page.set_viewport_size(before)

    def test_it_needs_no_scripts(self, page: Page) -> None:
        found = page.goto("/tenable/")
        assert found is not None
        context = page.context.browser.new_context(java_script_enabled=False)  # type: ignore[union-attr]
        plain = context.new_page()
        # Not asked for again: Airflow 2's only worker may still wait for a connection that Chromium has opened before.
        plain.set_content(found.text())
        expect(plain.get_by_role("heading", name=f"Now: {DAG_ID}")).to_be_visible()
        expect(plain.get_by_text("airflow dags trigger tenable_replay_rejected")).to_be_visible()
        expect(plain.get_by_role("button", name="Copy")).to_have_count(0)
        context.close()

    def test_the_browser_has_nothing_to_complain_about(self, complaints: list[str]) -> None:
        assert complaints == []


@pytest.mark.skipif(AIRFLOW_3, reason="Airflow 3 cannot fill in its form from an address")
@pytest.mark.usefixtures("samples")
def test_a_button_opens_the_filled_in_form_of_the_replay(page: Page, airflow: Standalone) -> None:
    page.goto("/tenable/")
    page.get_by_role("link", name="Open the form of tenable_replay_rejected, filled in").first.click()
    expect(page.locator("[name=element_run_ids]")).to_have_value(re.compile(r"^scheduled__00000\n*$"))
    expect(page.locator("[name=element_run_id]")).to_have_value("")
    picture(page, "replay-form-2.11", height=1500)
    # Airflow makes JSON of the fields a moment after it has shown them.
    page.wait_for_function(
        "[...document.querySelectorAll('.CodeMirror')].some("
        "each => each.CodeMirror.getValue().includes('scheduled__00000'))"
    )
    # It stays paused: what counts is what the run is asked for.
    page.get_by_text("Unpause DAG when triggered").click()
    expect(page.locator("[name=unpause]")).not_to_be_checked()
    page.get_by_role("button", name="Trigger", exact=True).click()
    expect(page).not_to_have_url(re.compile("/trigger"))
    [run] = airflow.runs("tenable_replay_rejected")
    assert run["conf"]["run_ids"] == ["scheduled__00000"]
    assert run["dag_run_id"].startswith("manual__")
