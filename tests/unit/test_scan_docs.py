"""docs/scans.md: its examples are DAGs, and every message about scans is documented."""

from __future__ import annotations

import itertools
import json
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from airflow.exceptions import ParamValidationError

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


def test_a_custom_action_starts_a_rescan_of_the_finding_that_was_selected() -> None:
    [transformer] = [json.loads(code) for code in blocks(PAGE, "json") if "InputPathsMap" in code]
    # The finding of the mapping's page, as the code maps it.
    page = ROOT / "docs" / "mapping.md"
    [finding] = [json.loads(code) for code in blocks(page, "json") if '"GeneratorId": "50344"' in code]
    event = {"detail": {"findings": [finding]}}
    body = transformer["InputTemplate"]
    for name, path in transformer["InputPathsMap"].items():
        # EventBridge takes names and numbers only, so no key of ProductFields.
        assert re.fullmatch(r"\$(\.\w+(\[\d+\])?)+", path)
        value: Any = event
        for key, index in re.findall(r"\.(\w+)(?:\[(\d+)\])?", path):
            value = value[key][int(index)] if index else value[key]
        body = body.replace(f"<{name}>", json.dumps(value))
    order = json.loads(body)
    assert order == {"logical_date": None, "conf": {"plugin_id": "50344", "target": "198.51.100.171"}}
    dag = run(next(code for code in EXAMPLES if "def rescan(" in code))["rescan"]()
    for name, value in order["conf"].items():
        dag.params[name] = value
        assert dag.params[name] == value
    with pytest.raises(ParamValidationError, match="Invalid input for param plugin_id"):
        dag.params["plugin_id"] = "{{ 1 }}"


def test_a_lambda_function_starts_it_on_mwaa(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[dict[str, Any]] = []
    client = types.SimpleNamespace(invoke_rest_api=lambda **arguments: called.append(arguments))
    code = next(code for code in EXAMPLES if "invoke_rest_api" in code)
    module = run(code)
    monkeypatch.setattr(module["boto3"], "client", lambda service: client)
    module["handler"]({"conf": {"plugin_id": "50344"}}, None)
    [arguments] = called
    assert arguments["Path"] == "/dags/rescan/dagRuns"
    # As botocore knows the call.
    import botocore.session

    operation = botocore.session.get_session().get_service_model("mwaa").operation_model("InvokeRestApi")
    assert arguments.keys() <= operation.input_shape.members.keys()
    assert set(operation.input_shape.required_members) <= arguments.keys()
