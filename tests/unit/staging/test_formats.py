"""What one version has staged the next one reads; what a newer one has staged is refused, and never half understood."""

from __future__ import annotations

import json

import pytest

from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.export.store import StagedExport
from airflow_provider_tenable.run import watermark
from airflow_provider_tenable.security_hub.receipts import Receipts
from airflow_provider_tenable.staging import files
from airflow_provider_tenable.staging.files import FORMAT, read_json, write_json, write_whole
from airflow_provider_tenable.staging.layout import RunFolder

ACCOUNT, REGION = "123456789012", "eu-west-1"


@pytest.fixture
def run(tmp_path):
    return RunFolder(f"file://{tmp_path}", "dag", "run")


def test_every_json_file_says_in_which_format_it_is(run):
    write_json(run.ledger, {"a": 1})
    assert json.loads(run.ledger.read_bytes())["format"] == FORMAT
    assert read_json(run.ledger) == {"a": 1}


def test_file_of_a_newer_format_is_refused_with_what_to_do(run, monkeypatch):
    monkeypatch.setattr(files, "FORMAT", FORMAT + 1)
    write_json(run.plan, {"window": {}})
    StagedExport(run.export("vulnerabilities"), "vulnerabilities").folder.mkdir(parents=True, exist_ok=True)
    write_json(run.export("vulnerabilities") / "export.json", {"kind": "vulnerabilities"})
    monkeypatch.undo()
    for read in (lambda: read_json(run.plan), StagedExport(run.export("vulnerabilities"), "vulnerabilities").load):
        with pytest.raises(
            StagingError,
            match=rf"format {FORMAT + 1}, written by a newer version .* this one reads format {FORMAT}.*Install the "
            r"newer version again.*keep everything in deployment/",
        ):
            read()


def test_receipts_of_a_newer_format_are_refused(run):
    write_whole(run.receipts(ACCOUNT, REGION), b'{"calls":1,"rejected_parts":0,"format":2}\n')
    with pytest.raises(StagingError, match="written by a newer version"):
        Receipts(run, ACCOUNT, REGION, ["a"])


def test_file_without_a_format_is_of_the_first(run):
    write_whole(run.plan, b'{"a": 1}')
    assert read_json(run.plan) == {"a": 1}


def test_watermark_is_the_text_that_it_was_in_version_0_1_0():
    """The Variable is what people set by hand, and what an older version finds after a downgrade."""
    assert watermark.variable_name("tenable_to_security_hub") == "tenable_to_security_hub__since"
    assert watermark.parse_watermark("1790000000", name="x", now=1_800_000_000.0) == 1_790_000_000
