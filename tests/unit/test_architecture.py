"""docs/architecture.md shows the imports that there are, and names files that exist."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

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
    assert packages - ROOMS["_FACES"] - {"guards"} | {"operators"} == set(ROOMS["ROOMS"])


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
