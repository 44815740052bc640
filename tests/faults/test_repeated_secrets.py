"""Answers that repeat the caller's secrets, in every form that we know: nothing that a run leaves behind holds one.

The logs of pyTenable, requests, urllib3 and this package are written at DEBUG here.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from airflow_provider_tenable.staging.zstd import unpacked
from sandbox.repeating import FORMS, PLACES
from tests.faults.canary import ACCESS_KEY, AWS_SECRET_KEY, SECRET_KEY, repeats
from tests.faults.pipeline import Pipeline, Result
from tests.faults.test_hub_faults import QUICK
from tests.faults.universe import Sandbox, differences, expected


def _texts(folder: Path) -> list[tuple[str, str]]:
    """What lies below a folder, as text."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            if path.name.endswith(".gz"):
                data = gzip.decompress(data)
            elif path.name.endswith(".zst"):
                data = b"".join(unpacked(data, 100_000))
            # Parts of thousands of records take the search too long; tests/faults/conftest.py looks for the plain forms
            # there.
            found.append((str(path), data[:200_000].decode("latin-1")))
    return found


def assert_clean(pipeline: Pipeline, result: Result, *secrets: str) -> None:
    for name, text in [*_texts(pipeline.folder), ("message", result.message)]:
        for line in text.splitlines():
            assert not repeats(line, ACCESS_KEY, SECRET_KEY, AWS_SECRET_KEY, *secrets), f"{name}: {line}"


@pytest.mark.parametrize("operation", ["vulns_export", "vulns_status", "vulns_chunk", "assets_status"])
def test_keys_that_tenable_repeats_stay_out_of_everything(pipeline: Pipeline, sandbox: Sandbox, operation: str) -> None:
    sandbox.fault(*({"on": operation, "do": "repeat_secrets", "status": 500, "form": form} for form in FORMS))
    result = pipeline.succeed()
    assert_clean(pipeline, result)
    assert pipeline.log.count("***") >= len(FORMS)
    assert differences(sandbox.held(), expected(sandbox.truth(), sandbox.accounts)) == {}


@pytest.mark.parametrize("place", [place for place in PLACES if place != "body"])
def test_keys_in_the_head_of_an_answer_stay_out_of_everything(pipeline: Pipeline, sandbox: Sandbox, place: str) -> None:
    status = 302 if place == "location" else 500
    sandbox.fault(
        *(
            {"on": "vulns_status", "do": "repeat_secrets", "status": status, "form": form, "place": place}
            for form in FORMS
        )
    )
    assert_clean(pipeline, pipeline.run())


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 409, 429])
@pytest.mark.parametrize("operation", ["session", "vulns_export", "vulns_chunk"])
def test_keys_in_an_answer_of_any_status_stay_out_of_everything(
    pipeline: Pipeline, sandbox: Sandbox, operation: str, status: int
) -> None:
    forms = ("json", "html", "base64")
    sandbox.fault(*({"on": operation, "do": "repeat_secrets", "status": status, "form": form} for form in forms))
    assert_clean(pipeline, pipeline.run(tenable_retries=0))


@pytest.mark.parametrize("form", ["chunk", "json"])
def test_keys_in_a_chunk_are_not_staged(pipeline: Pipeline, sandbox: Sandbox, form: str) -> None:
    """An array that holds the request is a chunk, and its record goes to rejected/; anything else is fetched again."""
    sandbox.fault({"on": "vulns_chunk", "do": "repeat_secrets", "status": 200, "form": form})
    result = pipeline.succeed(params={"max_rejected_ratio": 1.0})
    assert_clean(pipeline, result)
    if form == "chunk":
        assert pipeline.ledger()["skipped"] == {"unreadable_record": 1}
        assert any(
            "accessKey=***; secretKey=***" in text for name, text in _texts(pipeline.run_folder()) if "rejected" in name
        )


@pytest.mark.parametrize(
    ("operation", "code", "status"),
    [
        ("GetCallerIdentity", "SignatureDoesNotMatch", 403),
        ("AssumeRole", "SignatureDoesNotMatch", 403),
        ("AssumeRole", "InternalFailure", 500),
        ("DescribeHub", "InvalidSignatureException", 403),
        ("ListEnabledProductsForImport", "InternalException", 500),
        ("BatchImportFindings", "InvalidSignatureException", 403),
        ("BatchImportFindings", "InternalException", 500),
        ("BatchImportFindings", "InvalidInputException", 400),
    ],
)
def test_secrets_that_aws_repeats_stay_out_of_everything(
    pipeline: Pipeline, sandbox: Sandbox, operation: str, code: str, status: int
) -> None:
    """AWS quotes the canonical request, session token included, where a signature does not match."""
    # No XML can hold an escape character: such an answer of STS cannot be read.
    forms = (
        ("json", "percent", "base64", "html")
        if operation in ("AssumeRole", "GetCallerIdentity")
        else ("lines", "json", "percent", "base64")
    )
    sandbox.hub_fault(
        *(
            {"on": operation, "do": "repeat_secrets", "status": status, "form": form, "code": code, "times": 2}
            for form in forms
        )
    )
    result = pipeline.run(patches=QUICK)
    # What rejects a finding is quoted beside it; everything else in the log or the error.
    rejected = "".join(text for name, text in _texts(pipeline.run_folder()) if "rejected" in name)
    quoted = rejected if code == "InvalidInputException" else pipeline.log + result.message
    assert "***" in quoted, "the control: the answer was quoted"
    assert_clean(pipeline, result, *sandbox.aws("secrets"))


def test_answer_of_sts_that_is_cut_off_is_not_quoted(pipeline: Pipeline, sandbox: Sandbox) -> None:
    """botocore's error would quote it, with credentials that nobody has read yet."""
    sandbox.hub_fault({"on": "AssumeRole", "do": "truncate", "keep_bytes": 700, "times": None})
    result = pipeline.run(patches=QUICK)
    assert "Cannot assume the role" in result.message
    assert "the response is not from AWS" in result.message
    assert_clean(pipeline, result, *sandbox.aws("secrets"))
