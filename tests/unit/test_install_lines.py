"""The installation lines of README and standalone.md, as far as they can be judged without an index;
`scripts/install_lines.py` resolves them.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
try:
    import install_lines
    import mwaa_packages
finally:
    sys.path.remove(str(ROOT / "scripts"))

LINES = [line for page in install_lines.PAGES for line in install_lines.lines_of(page)]


def test_every_supported_python_has_a_line_on_each_page() -> None:
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    supported = {
        match[1] for each in classifiers if (match := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", each))
    }
    assert supported == set(install_lines.PYTHONS)
    for page in install_lines.PAGES:
        assert {python for line in LINES if line.page == page.name for python in line.pythons} == supported


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.page}: {line.command}")
def test_constraints_are_those_of_the_airflow_that_is_named(line: install_lines.Line) -> None:
    assert (ROOT / line.constraints).exists()
    assert line.airflow in Path(line.constraints).stem
    # MWAA's constraints are for the Python of its image.
    if "/mwaa-" in line.constraints:
        assert line.pythons == (mwaa_packages.PYTHON,)


def test_every_file_of_constraints_is_used() -> None:
    used = {each.constraints for line in LINES for each in install_lines.expanded(line)}
    assert used == {f"constraints/{path.name}" for path in (ROOT / "constraints").glob("*.txt")}


def test_versions_of_mwaa_are_named_on_the_pages() -> None:
    versions = {each.airflow for line in LINES for each in install_lines.expanded(line)}
    for page in install_lines.PAGES:
        text = page.read_text()
        assert [version for version in versions if version not in text] == []


def test_line_without_its_pythons_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("    pip install . apache-airflow==3.3.2 -c constraints/airflow-3.3.2.txt\n")
    with pytest.raises(ValueError, match="without the Pythons"):
        install_lines.lines_of(page)


def test_line_is_read(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "    uv pip install '.[s3]' apache-airflow==3.3.2 --constraint constraints/airflow-3.3.2.txt   # Python 3.12 "
        "to 3.13\n"
    )
    [line] = install_lines.lines_of(page)
    assert (line.extras, line.airflow, line.constraints, line.pythons) == (
        "[s3]",
        "3.3.2",
        "constraints/airflow-3.3.2.txt",
        ("3.12", "3.13"),
    )
    assert line.command.startswith("uv pip install")
