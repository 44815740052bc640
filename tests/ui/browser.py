"""Chromium without a window, and the pictures for docs/images/."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Locator, Page, expect, sync_playwright

from sandbox.standalone.airflow import Standalone
from tests.conftest import ROOT

IMAGES = ROOT / "docs" / "images"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: Root needs --no-sandbox; the rest keeps Chromium from talking to anybody but Airflow.
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def chromium() -> str:
    """Path of the program. :raises RuntimeError: it is not installed."""
    for name in (os.environ.get("CHROMIUM"), *_NAMES):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise RuntimeError("Chromium was not found: `make test-ui` installs it, or set CHROMIUM to the program's path.")


@contextmanager
def open_page(url: str, *, width: int = 1280, height: int = 900) -> Iterator[Page]:
    """A page of a browser of its own, with nothing remembered. Times are shown in UTC."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), headless=True, args=list(_FLAGS))
        context = browser.new_context(
            base_url=url,
            viewport={"width": width, "height": height},
            timezone_id="UTC",
            locale="en-GB",
            reduced_motion="reduce",
        )
        page = context.new_page()
        # A busy machine is slow; nothing here is faster by waiting less.
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        yield page
        browser.close()


def picture(what: Page | Locator, name: str, *, width: int = 1280, height: int = 720) -> None:
    """Take a screenshot for the docs, if ``SCREENSHOTS`` is set: a test run leaves the working tree as it is.

    :param width: of the window while it is taken.
    :param height: of the window while it is taken, for what is longer than usual.
    """
    if os.environ.get("SCREENSHOTS"):
        page = what if isinstance(what, Page) else what.page
        before = page.viewport_size
        page.set_viewport_size({"width": width, "height": height})
        page.mouse.move(0, 0)
        # Dialogues slide in, and grow with the window, whatever reduced motion says.
        page.wait_for_timeout(1_000)
        IMAGES.mkdir(parents=True, exist_ok=True)
        what.screenshot(path=IMAGES / f"{name}.png", animations="disabled", caret="hide")
        if before:
            page.set_viewport_size(before)


def wait_for(airflow: Standalone, page: Page, run_id: str) -> str:
    """Wait for the end of a run and return its state. The page is left for that long: while it shows a run, Chromium
    and Airflow work for it all the time.
    """
    page.goto("about:blank")
    return airflow.wait_for(run_id)


def expect_link_to_findings(page: Page, destination: str) -> None:
    """The page shows the link to the findings of ``account/region`` in Security Hub's console."""
    link = page.get_by_role("link", name="Findings in Security Hub")
    expect(link).to_be_visible()
    account, region = destination.split(": ", maxsplit=1)[0].split("/")
    href = str(link.get_attribute("href"))
    assert href.startswith(
        f"https://{region}.console.aws.amazon.com/securityhub/home?region={region}#/findings?search="
    ), href
    assert href.endswith(account), href
