"""Sphinx configuration of the documentation site; `make docs` builds it.

The pages are the Markdown files that a code host renders. Sphinx's source folder is the root of the repository, so a
relative link leads to the same place on the site and in the repository.
"""

from __future__ import annotations

import re
import shutil
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent

#: Section -> page -> title in the navigation, in the order in which people need them. `self` is the start page.
#: A page that is missing here fails the build and `tests/unit/test_site.py`.
NAVIGATION: dict[str, dict[str, str]] = {
    "Try it": {
        "self": "Without accounts",
        "docs/in-pictures": "In pictures",
        "docs/questions": "Before you decide",
    },
    "A first dry run with your accounts": {
        "docs/mwaa": "Amazon MWAA",
        "docs/standalone": "pip, on one machine",
        "docs/docker": "Docker",
        "docs/celery-kubernetes": "Celery and Kubernetes",
    },
    "Switch it on": {
        "docs/requirements": "Requirements",
        "docs/live-checklist": "Live checklist",
        "docs/coming-from-tvm2aws": "Coming from tvm2aws",
    },
    "Watch it, fix it": {
        "docs/operating": "Operating",
        "docs/page": "The page in Airflow",
        "docs/state": "What the hubs hold",
        "docs/troubleshooting": "Troubleshooting",
    },
    "Scan": {
        "docs/scans": "Scans",
        "docs/scanners": "Scanners on EC2",
        "docs/audits": "AWS audits",
        "docs/web-applications": "Web applications",
    },
    "Reference": {
        "docs/connections": "Connections",
        "docs/params": "Params and options",
        "docs/operators": "Operators and hooks",
        "docs/mapping": "Mapping to ASFF",
    },
    "Inside": {
        "docs/reliability": "Reliability",
        "docs/architecture": "Architecture",
        "docs/scaling": "Scaling",
        "docs/performance": "Performance",
        "CONTRIBUTING": "Contributing",
        "SECURITY": "Security",
        "CHANGELOG": "Changelog",
    },
}

project = "airflow-provider-tenable"
[release] = re.findall(r'^__version__ = "(.+)"', (ROOT / "airflow_provider_tenable" / "__init__.py").read_text(), re.M)
root_doc = "README"
include_patterns = ["*.md", "docs/*.md"]
# Sphinx walks through all other folders, and the virtual environments hold tens of thousands of files.
exclude_patterns = [".*", "build", "dist", "tests", "airflow_provider_tenable", "*.egg-info"]

extensions = ["myst_parser", "sphinxcontrib.mermaid"]
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]

# GitHub builds its pages in the browser: the anchors are not in what it sends.
linkcheck_anchors_ignore_for_url = [r"https://github\.com/.*"]

html_theme = "furo"
html_title = f"{project} {release}"
html_show_sourcelink = False
html_copy_source = False
html_show_copyright = False

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s#]+/)\)")


def _toctree(caption: str, pages: dict[str, str]) -> str:
    entries = "\n".join(f"{title} <{page}>" for page, title in pages.items())
    return f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{entries}\n```\n"


def _adapt(app: Sphinx, docname: str, source: list[str]) -> None:
    """Adds the navigation to the start page, and replaces links to folders, which a site cannot show, with their text.

    Sphinx itself turns links to files that are not pages into downloads.
    """
    folder = (ROOT / docname).parent

    def unlinked(match: re.Match[str]) -> str:
        target = urllib.parse.unquote(match[2])
        return match[1] if (folder / target).is_dir() else match[0]

    source[0] = _LINK.sub(unlinked, source[0])
    if docname == root_doc:
        source[0] += "".join(_toctree(caption, pages) for caption, pages in NAVIGATION.items())


def _start_page(app: Sphinx, exception: Exception | None) -> None:
    """Copies the start page to index.html, which web servers expect."""
    if exception is None and app.builder.format == "html":
        shutil.copyfile(app.outdir / f"{root_doc}.html", app.outdir / "index.html")


def setup(app: Sphinx) -> None:
    app.connect("source-read", _adapt)
    app.connect("build-finished", _start_page)
