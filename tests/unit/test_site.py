"""The documentation site: its navigation, what docs/conf.py changes in a page, and scripts/check_site.py."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
try:
    import check_site
finally:
    sys.path.remove(str(ROOT / "scripts"))

CONF = runpy.run_path(str(ROOT / "docs" / "conf.py"))
LISTED = [page.replace("self", CONF["root_doc"]) for pages in CONF["NAVIGATION"].values() for page in pages]


def test_every_page_is_in_the_navigation_once() -> None:
    found = [path for pattern in CONF["include_patterns"] for path in ROOT.glob(pattern)]
    assert sorted(LISTED) == sorted(str(path.relative_to(ROOT).with_suffix("")) for path in found)


def test_navigation_starts_with_what_newcomers_need() -> None:
    first = [next(iter(pages)) for pages in CONF["NAVIGATION"].values()]
    assert first == [
        "self",
        "docs/mwaa",
        "docs/requirements",
        "docs/operating",
        "docs/scans",
        "docs/connections",
        "docs/reliability",
    ]


def test_site_shows_the_version_of_the_package() -> None:
    import airflow_provider_tenable

    assert CONF["release"] == airflow_provider_tenable.__version__


def _adapted(page: str, text: str) -> str:
    source = [text]
    CONF["setup"](_App(source, page))
    return source[0]


class _App:
    """Stands in for Sphinx: passes one page to the handler of `source-read`."""

    def __init__(self, source: list[str], page: str) -> None:
        self.source, self.page = source, page

    def connect(self, event: str, handler: Callable[..., None]) -> None:
        if event == "source-read":
            handler(self, self.page, self.source)


def test_only_links_to_folders_become_text() -> None:
    others = "[one](../deploy/iam/member-role.json), [page](mwaa.md#a), ![x](images/report.png), [gone](../nowhere/)"
    assert _adapted("docs/connections", f"[policies](../deploy/iam/), {others}") == f"policies, {others}"


def test_only_the_start_page_gets_the_navigation() -> None:
    assert _adapted("README", "# x\n").count("{toctree}") == len(CONF["NAVIGATION"])
    assert _adapted("docs/mwaa", "# x\n") == "# x\n"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A start page that links to a page in a folder, with a script and a picture."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "a picture.png").touch()
    (tmp_path / "script.js").touch()
    (tmp_path / "index.html").write_text(
        '<a href="docs/page.html#part">x</a><a href="#top">y</a><h1 id="top">t</h1>'  # links and an anchor
        '<script src="script.js?v=1"></script>'
    )
    (tmp_path / "docs" / "page.html").write_text(
        '<h2 id="part">p</h2><img src="../a%20picture.png">'  # an encoded name
        '<a href="https://example.com/x">z</a><a href="..">home</a>'  # another site, a folder
    )
    return tmp_path


def test_intact_site_has_no_broken_links(site: Path) -> None:
    assert check_site.broken(site) == []


@pytest.mark.parametrize(
    ("html", "said"),
    [
        ('<a href="nothing.html">x</a>', "docs/page.html: nothing.html (no such file)"),
        ('<a href="../index.html#gone">x</a>', "docs/page.html: ../index.html#gone (no such anchor)"),
        ('<a href="#gone">x</a>', "docs/page.html: #gone (no such anchor)"),
        ('<img src="../gone.png">', "docs/page.html: ../gone.png (no such file)"),
        ('<a href="../../outside.html">x</a>', "docs/page.html: ../../outside.html (no such file)"),
    ],
)
def test_broken_link_is_reported_with_its_page(site: Path, html: str, said: str) -> None:
    (site.parent / "outside.html").touch()
    with (site / "docs" / "page.html").open("a") as file:
        file.write(html)
    assert check_site.broken(site) == [said]


def test_unreachable_page_is_reported(site: Path) -> None:
    (site / "docs" / "lost.html").write_text('<a href="lost.html">myself</a>')
    (site / "search.html").touch()
    assert check_site.broken(site) == ["docs/lost.html: no link leads to this page from index.html"]


def test_site_without_a_start_page_is_reported(tmp_path: Path) -> None:
    assert check_site.broken(tmp_path) == [f"{tmp_path}: has no index.html"]
