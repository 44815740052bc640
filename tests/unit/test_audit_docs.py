"""docs/audits.md: its examples are DAGs, and the messages that it explains exist."""

from __future__ import annotations

import itertools
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from tests.docs_examples import blocks, executable

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "audits.md"
EXAMPLES = blocks(PAGE, "python")


def made(name: str) -> Any:
    code = next(code for code in EXAMPLES if f"def {name}(" in code)
    module = types.ModuleType("example")
    sys.modules["example"] = module
    exec(compile(executable(code), "docs/audits.md", "exec"), module.__dict__)
    return module.__dict__[name]()


def test_the_first_audit_is_a_dag() -> None:
    dag = made("audit_of_one_account")
    order = ["audit_user", "rotate_key", "audit_scan", "run_scan"]
    assert dag.task_ids == order
    for before, after in itertools.pairwise(order):
        assert before in dag.get_task(after).upstream_task_ids
    table = PAGE.read_text().split("| task | what it does |")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.M) == order


def test_debugging_is_switched_back_whatever_happens() -> None:
    dag = made("debug_an_audit")
    off = dag.get_task("debug_off")
    assert off.is_teardown
    assert dag.get_task("debug_on").is_setup
    assert off.upstream_task_ids == {"debug_on", "run_scan"}
    assert dag.get_task("export_db").upstream_task_ids == {"run_scan"}


def test_every_example_is_looked_at() -> None:
    assert len(EXAMPLES) == 3


def test_a_scheduled_audit_names_its_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_tenable.run.aws_audit import plan_audit

    monkeypatch.setenv("AIRFLOW__TENABLE__AUDIT_SCHEDULE_HOURS", "168")
    names: dict[str, Any] = {}
    exec(compile(EXAMPLES[1], "docs/audits.md", "exec"), names)
    dag = names["dag"]
    assert dag.timetable.can_be_scheduled
    context = {"params": {name: dag.params[name] for name in dag.params}, "dag_run": types.SimpleNamespace(conf={})}
    assert [each["account"] for each in plan_audit(context)] == ["111122223333"]


@pytest.mark.parametrize(
    "message",
    re.findall(
        r"`([A-Z][^`]*|was [^`]*|has two[^`]*)`", PAGE.read_text().split("| what you see |")[1].split("\n\n")[0]
    ),
)
def test_a_message_that_is_explained_exists(message: str) -> None:
    if message == "AccessDenied":
        pytest.skip("said by AWS")
    package = ROOT / "airflow_provider_tenable" / "scan"
    texts = " ".join(path.read_text() for path in package.glob("*.py"))
    words = re.sub(r'"\s*\n\s*f?"', "", texts)
    pattern = re.escape(message).replace("60", r"\{[^}]*\}")
    assert re.search(pattern, words), message
