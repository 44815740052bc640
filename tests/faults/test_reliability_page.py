"""docs/reliability.md says what the code does: every test it names is there, every status and boundary it tells of is
the code's.
"""

from __future__ import annotations

import re
from pathlib import Path

from airflow_provider_tenable.security_hub.responses import FINDING, REJECT, RETRY, STOP, codes_with
from airflow_provider_tenable.staging.crash_points import CrashPoint
from airflow_provider_tenable.tenable_vm.retry import BY_STATUS

FOLDER = Path(__file__).parent
PAGE = (FOLDER.parent.parent / "docs" / "reliability.md").read_text()
_NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


def test_every_test_that_the_page_names_exists() -> None:
    named = _NAMED.findall(PAGE)
    assert len(named) > 40
    # A file of the suite, or one of that name among the other tests.
    files = {
        path.name: path.read_text()
        for folder in ("system", "unit", "integration", "faults")
        for path in (FOLDER.parent / folder).rglob("test_*.py")
    }
    for file, test in named:
        assert f"def {test}(" in files[file], f"{file}::{test}"


def test_every_row_of_the_fault_table_names_its_test() -> None:
    rows = PAGE.split("| fault | what happens")[1].split("\n\n")[0].splitlines()[2:]
    assert rows
    assert all(len(_NAMED.findall(row)) == 1 for row in rows)


def test_page_tells_of_every_boundary() -> None:
    assert {point.value for point in CrashPoint} <= set(re.findall(r"`(\w+)`", PAGE))


def test_page_tells_of_every_status_and_code() -> None:
    table = PAGE.split("### Tenable")[1].split("### Security Hub")[0]
    assert {str(status) for status in BY_STATUS} <= set(re.findall(r"\b\d{3}\b", table))
    codes = PAGE.split("### Security Hub")[1].split("\n## ")[0]
    known = {code for verdict in (RETRY, REJECT, STOP) for code in codes_with(verdict, FINDING)}
    assert {
        code
        for code in known
        if "Throttling" not in code and code not in ("TooManyRequestsException", "InternalException")
    } <= set(re.findall(r"`(\w+)`", codes))
