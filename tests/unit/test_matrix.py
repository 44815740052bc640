"""The matrix: its cells, the constraints they install by, what the README says of them, and the table that is made of
their reports.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
try:
    import environments
    import matrix
finally:
    sys.path.remove(str(ROOT / "scripts"))


def _pins(constraints: str) -> dict[str, str]:
    return {
        name.lower(): version
        for name, version in re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "constraints" / constraints).read_text(), re.M)
    }


def test_cells_are_every_airflow_of_mwaa_and_the_newest_on_another_python_too() -> None:
    mwaa = {
        airflow
        for airflow, python, constraints in matrix.CELLS.values()
        if constraints == f"mwaa-{airflow}.txt" and python == "3.12"
    }
    assert (
        mwaa
        == {path.stem.removeprefix("mwaa-") for path in (ROOT / "constraints").glob("mwaa-*.txt")}
        == {"2.11.2", "3.0.6", "3.2.1", "3.3.1"}
    )
    assert {python for _, python, constraints in matrix.CELLS.values() if constraints.startswith("airflow-")} == {
        "3.12",
        "3.13",
    }


@pytest.mark.parametrize("constraints", sorted({constraints for _, _, constraints in matrix.CELLS.values()}))
def test_readme_says_which_versions_are_pinned(constraints: str) -> None:
    airflow, pins = re.sub(r"^\w+-|\.txt$", "", constraints), _pins(constraints)
    [row] = [
        line
        for line in (ROOT / "README.md").read_text().splitlines()
        if line.startswith("| ") and re.search(rf"\b{re.escape(airflow)}\b", line)
    ]
    assert pins["pandas"] in row
    # MWAA's constraints do not pin pyTenable: what resolves is what the others allow.
    assert pins.get("pytenable", "1.9.1" if airflow < "3.2" else "26.10.1") in row


def test_versions_are_in_the_order_of_their_numbers() -> None:
    assert sorted(["3.10.0", "2.11.2", "3.3.2"], key=environments.in_order) == ["2.11.2", "3.3.2", "3.10.0"]


#: Files that must contain a version as text, since their readers cannot look it up -> what precedes it.
NEWEST_IS_NAMED = {
    "deploy/docker/Dockerfile": "ARG AIRFLOW_VERSION=",
    "deploy/docker/.env.example": "AIRFLOW_VERSION=",
    "docker-compose.yaml": "AIRFLOW_VERSION:-",
    "README.md": "constraints/airflow-",
}


@pytest.mark.parametrize("file", NEWEST_IS_NAMED)
def test_the_newest_airflow_is_the_one_that_is_offered(file: str) -> None:
    text = (ROOT / file).read_text()
    named = re.findall(re.escape(NEWEST_IS_NAMED[file]) + r"([0-9]+(?:\.[0-9]+)+)", text)
    assert named
    assert set(named) == {environments.NEWEST}


@pytest.mark.parametrize("name", matrix.WITHOUT_AIRFLOW)
def test_unit_tests_that_are_left_out_with_other_airflows_exist(name: str) -> None:
    assert (ROOT / "tests" / "unit" / name).exists()


REPORT = """<testsuites><testsuite><testcase name="a"/><testcase name="b"><skipped message="no docker"/></testcase>
<testcase name="c"><failure message="x"/></testcase><testcase name="d"/></testsuite></testsuites>"""


def test_table_counts_what_a_report_says(tmp_path: Path) -> None:
    (tmp_path / "report.xml").write_text(REPORT)
    tests, failed, skipped = matrix.read_report(tmp_path / "report.xml")
    result = matrix.Result("3.0.6", "unit", False, 12.4, tests, failed, skipped)
    assert result.row() == ["3.0.6", "unit", "4", "2", "1", "FAILED", "12"]
    lines = matrix.table([result, matrix.Result("3.0.6", "smoke", True, 3)]).splitlines()
    assert [cell.strip() for cell in lines[3].split("|")[1:-1]] == ["3.0.6", "smoke", "", "", "", "ok", "3"]
    assert lines[-1] == "3.0.6 unit skipped 1: no docker"
