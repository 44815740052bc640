"""docs/architecture.md shows the imports that there are, and names files that exist."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from tests.unit.test_doors import DOORS

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "airflow_provider_tenable"
PAGE = (ROOT / "docs" / "architecture.md").read_text()
ROOMS = runpy.run_path(str(ROOT / "scripts" / "rooms.py"))


def test_the_picture_shows_the_imports_that_there_are() -> None:
    drawn = PAGE.split("```mermaid\n")[1].split("\n```")[0]
    assert drawn == ROOMS["picture"](), "run `python scripts/rooms.py`, and put what it prints into the page"
    assert drawn.count(" --> ") > 8


def test_the_picture_has_every_room() -> None:
    packages = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert packages - ROOMS["_FACES"] - {"guards", "example_dags"} | {"operators"} == set(ROOMS["ROOMS"])


def test_rooms_that_import_each_other_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match=r"in a circle: (asff -> tenable_vm -> asff|tenable_vm -> asff -> tenable_vm)"):
        ROOMS["reduced"]({("asff", "tenable_vm"), ("tenable_vm", "asff")})


def test_what_a_chain_says_is_left_out() -> None:
    assert ROOMS["reduced"]({("run", "export"), ("export", "staging"), ("run", "staging")}) == [
        ("run", "export"),
        ("export", "staging"),
    ]


def test_every_file_that_the_page_names_exists() -> None:
    named = re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.(?:py|toml))`", PAGE)
    assert len(named) > 20
    for name in named:
        assert (ROOT / name).is_file() or (PACKAGE / name).is_file(), name


def test_each_of_the_five_questions_is_answered_by_three_files_at_most() -> None:
    rows = PAGE.split("| question |")[1].split("\n\n")[0].splitlines()[2:]
    assert len(rows) == 5
    assert all(1 <= len(set(re.findall(r"`[a-z_]+/[a-z_]+\.py`", row))) <= 3 for row in rows)


def test_the_page_names_every_module_at_the_root_that_is_not_a_door() -> None:
    others = {path.stem for path in PACKAGE.glob("*.py")} - DOORS.keys() - {"__init__"}
    assert {name for name in others if f"`{name}`" not in PAGE} == set()


def test_no_run_archives_findings_as_long_as_the_pages_say_so() -> None:
    callers = [
        str(path.relative_to(ROOT))
        for folder in (PACKAGE, ROOT / "dags")
        for path in folder.rglob("*.py")
        if path.parent.name != "security_hub" and re.search(r"security_hub\.archiv", path.read_text())
    ]
    said = "is a library that no run calls yet" in PAGE
    assert said == (not callers), "docs/*.md, CHANGELOG.md and the policies in deploy/ say that nothing archives yet"
