"""docs/scans.md: its examples are DAGs, and every message about scans is documented."""

from __future__ import annotations

import itertools
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable.scan.status import KNOWN
from tests.docs_examples import blocks, executable

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "scans.md"
EXAMPLES = blocks(PAGE, "python")


def run(code: str) -> dict[str, Any]:
    module = types.ModuleType("example")
    sys.modules["example"] = module
    exec(compile(executable(code), "docs/scans.md", "exec"), module.__dict__)
    return module.__dict__


@pytest.mark.parametrize(
    ("name", "tasks"),
    [
        ("weekly_scan", ["create_scan", "run_scan", "export_scan"]),
        ("nightly_report", ["wait_for_scan", "report"]),
        ("rescan", ["rescan"]),
        ("after_scan", ["look"]),
    ],
)
def test_an_example_is_a_dag(name: str, tasks: list[str]) -> None:
    code = next(code for code in EXAMPLES if f"def {name}(" in code)
    dag = run(code)[name]()
    assert dag.task_ids == tasks
    for before, after in itertools.pairwise(tasks):
        assert before in dag.get_task(after).upstream_task_ids


def test_every_status_that_a_run_passes_is_in_the_table() -> None:
    table = PAGE.read_text().split("| status in Tenable |")[1].split("\n\n")[0]
    named = set(re.findall(r"^\| (.*?) \|", table, re.M))
    statuses = {status for cell in named for status in re.findall(r"`(\w+)`", cell)}
    assert statuses == KNOWN - {"empty", "imported", "processing"}


def test_the_formats_and_chapters_are_those_of_the_code() -> None:
    from airflow_provider_tenable.scan.export_request import DEFAULT_CHAPTERS, FORMATS

    table = PAGE.read_text().split("| format | notes |")[1].split("\n\n")[0]
    assert [name for row in re.findall(r"^\| (`.*?) \|", table, re.M) for name in re.findall(r"`(\w+)`", row)] == list(
        FORMATS
    )
    assert all(f"`{chapter}`" in table for chapter in DEFAULT_CHAPTERS.split(";"))
