"""The writer of findings: however many destinations there are, and however they take turns, it holds no more than it
may.
"""

from __future__ import annotations

import json
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_tenable.staging import parts
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import read_lines
from airflow_provider_tenable.transform import output
from airflow_provider_tenable.transform.output import FindingsWriter

VIA: Any = SimpleNamespace(aws_conn_id=None, role_name=None, external_id=None)


@pytest.fixture
def run(tmp_path):
    return RunFolder(f"file://{tmp_path}", "dag", "run")


@pytest.fixture
def compressors(monkeypatch):
    """The compressors that were ever made."""
    made = []
    original = parts.Packer
    monkeypatch.setattr(parts, "Packer", lambda: made.append(original()) or made[-1])
    return made


def accounts(count: int) -> list[str]:
    return [f"{number:012d}" for number in range(count)]


def write(writer: FindingsWriter, account: str, line: bytes) -> None:
    writer.write(account, "eu-west-1", line, "high", VIA)


def close(writer: FindingsWriter) -> dict[str, Any]:
    return writer.close({"read": 0, "findings": writer.findings})


def held(writer: FindingsWriter) -> int:
    return sum(part.held_bytes for part in writer._open.values())


def test_thousands_of_destinations_with_few_findings_hold_no_compressor(run, compressors):
    writer = FindingsWriter(run, 0)
    for turn in range(3):
        for account in accounts(2000):
            write(writer, account, b'{"Id":"%d"}' % turn)
    assert not compressors
    assert held(writer) == writer._open_bytes == 6000 * len(b'{"Id":"0"}\n')
    manifest = close(writer)
    assert [sum(part["lines"] for part in each["parts"]) for each in manifest["destinations"]] == [3] * 2000


def test_what_is_held_is_counted_and_bounded_and_no_finding_is_lost(run, monkeypatch):
    monkeypatch.setattr(output, "OPEN_BYTES", 400_000)
    monkeypatch.setattr(parts, "_TOGETHER_BYTES", 20_000)
    monkeypatch.setattr(parts, "COMPRESSOR_BYTES", 50_000)
    writer, sent, most = FindingsWriter(run, 0), Counter(), 0
    for number in range(3000):
        # Some have many findings, most have few.
        account = accounts(40)[number % 40 if number % 3 else number % 2]
        write(writer, account, b'{"Id":"%d","Text":"%b"}' % (number, b"x" * (number % 900)))
        sent[account] += 1
        most = max(most, held(writer))
        assert writer._open_bytes == held(writer)
    # A part is closed at once when the bound is reached; what it is passed by is one line and one compressor.
    assert 300_000 < most < 400_000 + 50_000 + 1_000
    manifest = close(writer)
    assert writer._open_bytes == 0
    kept: dict[str, list[int]] = {}
    for each in manifest["destinations"]:
        folder = run.destination(each["account"], "eu-west-1")
        kept[each["account"]] = [
            int(json.loads(line)["Id"]) for part in each["parts"] for line in read_lines(folder / part["name"])
        ]
    assert {account: len(ids) for account, ids in kept.items()} == sent
    assert sorted(number for ids in kept.values() for number in ids) == list(range(3000))
    assert max(len(each["parts"]) for each in manifest["destinations"]) > 1
