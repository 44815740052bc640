"""Reading what was staged, record by record; the command that shows rejected findings; the lines below the report."""

from __future__ import annotations

import json
import logging
import shlex
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable.command import rejected
from airflow_provider_tenable.results import iter_findings, iter_rejected
from airflow_provider_tenable.run.after_report import log_after_report
from airflow_provider_tenable.security_hub.receipts import Receipts
from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.transform.output import FindingsWriter
from airflow_provider_tenable.transform.routing import Destination

ACCOUNT, REGION = "111122223333", "eu-west-1"
COUNTS = {"read": 3, "skipped": {}, "skipped_accounts": [], "parked": 0, "findings": 3, "from_pool": False}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run that has mapped three findings, of which two were rejected, one with a text that paints the terminal."""
    run = RunFolder(f"file://{tmp_path}", "tenable_to_security_hub", "run-1")
    write_json(run.plan, {})
    write_json(run.shards, {"count": 1})
    writer = FindingsWriter(run, 0)
    via = Destination(aws_conn_id="aws_default", accounts=())
    for name in ("a", "b", "c"):
        writer.write(ACCOUNT, REGION, json.dumps({"Id": name}).encode(), "high", via, b"", 0)
    manifest = writer.close({**COUNTS, "pool_parts": []})
    [part] = [part["name"] for part in manifest["destinations"][0]["parts"]]
    receipts = Receipts(run, ACCOUNT, REGION, [part])
    receipts.accept(part, 0)
    receipts.reject(part, 1, finding_id="b", code="InvalidInput", message="too long", finding=b'{"Id": "b"}')
    receipts.reject(part, 2, finding_id="c", code="InternalError", message="\x1b[31mred", finding=b'{"Id": "c"}')
    receipts.flush()
    return run


def test_findings_and_rejected_ones_are_read_one_by_one(run: RunFolder) -> None:
    assert [each["Id"] for each in iter_findings(run)] == ["a", "b", "c"]
    assert [(each["id"], each["code"]) for each in iter_rejected(run)] == [
        ("b", "InvalidInput"),
        ("c", "InternalError"),
    ]


def test_command_shows_rejected_findings_and_nothing_paints_the_terminal(
    run: RunFolder, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    place = ["--staging-path", f"file://{tmp_path}"]
    assert rejected.main(["run-1", *place]) == 0
    output = capsys.readouterr().out
    assert [json.loads(line)["finding"] for line in output.splitlines()] == [{"Id": "b"}, {"Id": "c"}]
    assert "\x1b" not in output
    assert rejected.main(["run-1", "--without-finding", *place]) == 0
    assert "finding" not in json.loads(capsys.readouterr().out.splitlines()[0])


def test_command_says_where_it_looked_for_a_run_that_is_not_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert rejected.main(["run-2", "--staging-path", f"file://{tmp_path}"]) == 2
    assert "There is no run 'run-2' in" in capsys.readouterr().err


def test_lines_below_the_report_name_reasons_examples_the_command_and_the_hubs(
    run: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    ledger: Any = {
        "rejected": {"InternalError": 1, "InvalidInput": 7},
        "destinations": {f"{ACCOUNT}/{REGION}": {}, "222233334444/cn-north-1": {}},
    }
    with caplog.at_level(logging.INFO):
        log_after_report(run, ledger)
    said = [(each.levelname, each.getMessage()) for each in caplog.records]
    assert [level for level, _ in said] == ["WARNING", "WARNING", "WARNING", "INFO", "INFO"]
    assert said[0][1] == "Rejected: 7 x InvalidInput, such as b: too long"
    assert said[1][1].startswith("Rejected: 1 x InternalError, such as c: ")
    assert "\x1b" not in said[1][1]
    assert "command.rejected --dag-id tenable_to_security_hub run-1" in said[2][1]
    assert said[3][1].startswith(
        f"Findings of {ACCOUNT}/{REGION}: https://{REGION}.console.aws.amazon.com/securityhub/"
    )
    assert "console.amazonaws.cn" in said[4][1]


def test_every_hub_has_a_link_and_what_is_left_out_is_said(run: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    places = [f"{number:012d}/{REGION}" for number in range(1, 203)]
    counts: dict[str, Any] = {place: {} for place in places}
    with caplog.at_level(logging.INFO):
        log_after_report(run, {"rejected": {}, "destinations": counts})  # type: ignore[typeddict-item]
    said = [each.getMessage() for each in caplog.records]
    assert [line.split(": ")[0] for line in said[:-1]] == [f"Findings of {place}" for place in places[:200]]
    assert said[-1] == f"The ledger has 2 more accounts and Regions: {run.ledger}"


def test_the_command_can_be_copied_into_a_shell_whatever_the_run_is_called(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = "x'; touch y; echo '$(id)"
    log_after_report(RunFolder(f"file://{tmp_path}", "dag", name), {"rejected": {"A": 1}, "destinations": {}})  # type: ignore[typeddict-item]
    command = caplog.records[-1].getMessage().rpartition(": python ")[2]
    assert shlex.split(command) == ["-m", "airflow_provider_tenable.command.rejected", "--dag-id", "dag", name]


def test_a_run_without_rejections_says_nothing_of_them(run: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        log_after_report(run, {"rejected": {}, "destinations": {}})  # type: ignore[typeddict-item]
    assert caplog.records == []
