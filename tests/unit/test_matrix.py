"""The matrix: its cells, the constraints they install by, what the README says of them, and the table that is made of
their reports.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize("name", matrix.SAME_ON_EVERY_AIRFLOW)
def test_integration_tests_that_run_with_one_airflow_only_do_not_ask_for_its_version(name: str) -> None:
    text = (ROOT / "tests" / "integration" / name).read_text()
    assert not re.search(r"\bdag_runs\b|\bairflow_process\b|\bAIRFLOW_V_|airflow\.(models|sdk|utils)", text)


def test_table_counts_what_a_report_says(tmp_path: Path) -> None:
    (tmp_path / "report.xml").write_text(REPORT)
    tests, failed, skipped = matrix.read_report(tmp_path / "report.xml")
    result = matrix.Result("3.0.6", "unit", False, 12.4, tests, failed, skipped)
    assert result.row() == ["3.0.6", "unit", "4", "2", "1", "FAILED", "12"]
    lines = matrix.table([result, matrix.Result("3.0.6", "smoke", True, 3)]).splitlines()
    assert [cell.strip() for cell in lines[3].split("|")[1:-1]] == ["3.0.6", "smoke", "", "", "", "ok", "3"]
    assert lines[-1] == "3.0.6 unit skipped 1: no docker"


#: Stands in for nox: writes the report of its session, and ends with an exit code.
NOX = """
import pathlib, sys
report, code = pathlib.Path({report!r}), {code}
if {text!r}:
    report.write_text({text!r})
print("output of", sys.argv[-1])
sys.exit(code)
"""
PASSED = "<testsuites><testsuite><testcase name='a'/></testsuite></testsuites>"
EMPTY = "<testsuites><testsuite/></testsuites>"


@pytest.mark.parametrize(
    ("session", "code", "report", "passed"),
    [
        ("unit", 0, PASSED, True),
        ("unit", 1, PASSED, False),
        ("unit", 0, EMPTY, False),
        # It ended before it ran pytest; a report of an earlier run does not count.
        ("unit", 0, "", False),
        ("smoke", 0, "", True),
        ("smoke", 1, "", False),
    ],
)
def test_session_passes_if_nox_does_and_a_test_has_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session: str, code: int, report: str, passed: bool
) -> None:
    monkeypatch.setattr(matrix, "REPORTS", tmp_path)
    if session != "smoke":
        matrix.report_of(session, "3.0.6").write_text(PASSED)
    nox = tmp_path / "nox.py"
    nox.write_text(NOX.format(report=str(matrix.report_of(session, "3.0.6")), code=code, text=report))
    run = subprocess.run

    def started(command: list[str], **settings: Any) -> subprocess.CompletedProcess[bytes]:
        assert command[1:3] == ["-m", "nox"]
        return run([sys.executable, str(nox), *command[3:]], **settings)

    monkeypatch.setattr(matrix.subprocess, "run", started)
    [result] = matrix.run_cell("3.0.6", [session])
    assert result.passed is passed
    assert (tmp_path / "3.0.6.log").read_text() == f"output of {session}(3.0.6)\n"


@pytest.mark.parametrize("passed", [True, False])
def test_exit_code_of_the_matrix_says_whether_all_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], passed: bool
) -> None:
    def run_cell(cell: str, sessions: list[str]) -> list[matrix.Result]:
        (tmp_path / f"{cell}.log").write_text("the last words")
        return [matrix.Result(cell, session, passed or cell != "3.2.1", 1) for session in sessions]

    monkeypatch.setattr(matrix, "REPORTS", tmp_path)
    monkeypatch.setattr(matrix, "run_cell", run_cell)
    monkeypatch.setattr(sys, "argv", ["matrix.py", "--cells", "all", "--sessions", "smoke"])
    assert matrix.main() == (0 if passed else 1)
    shown = capsys.readouterr()
    assert all(re.search(rf"^\| {re.escape(cell)} ", shown.out, re.M) for cell in matrix.CELLS)
    assert ("the last words" in shown.err) is not passed
