"""The suite's own tools: a sunny run is a success, and the search for secrets finds them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tests.faults import canary
from tests.faults.pipeline import Pipeline
from tests.faults.universe import Sandbox, differences, expected


def test_sunny_run_brings_the_hub_to_what_the_oracle_says(pipeline: Pipeline, sandbox: Sandbox) -> None:
    pipeline.succeed()
    wanted = expected(sandbox.truth(), sandbox.accounts)
    assert len(wanted) > 5
    assert differences(sandbox.held(), wanted) == {}
    assert pipeline.watermark
    assert pipeline.ledger()["complete"]
    assert "findings accepted" in pipeline.log


def test_oracle_sees_what_is_lost_invented_and_changed(pipeline: Pipeline, sandbox: Sandbox) -> None:
    pipeline.succeed()
    wanted, held = expected(sandbox.truth(), sandbox.accounts), sandbox.held()
    first, second, third, *_ = sorted(each for each in wanted if wanted[each].record_state == "ACTIVE")
    held["invented"] = held.pop(first)
    held[second] = held[second]._replace(record_state="OTHER")
    held[third] = held[third]._replace(severity="OTHER")
    found = differences(held, wanted)
    assert (found["lost"], found["invented"], sorted(found["other"])) == ([first], ["invented"], [second, third])


@pytest.mark.parametrize("secret", [canary.ACCESS_KEY, canary.SECRET_KEY, canary.AWS_SECRET_KEY])
def test_search_for_secrets_finds_them(tmp_path: Path, secret: str) -> None:
    assert canary.leaks(tmp_path) == []
    (tmp_path / "plain.log").write_text(f"headers: accessKey={secret};")
    (tmp_path / "part.gz").write_bytes(gzip.compress(f"..{secret}..".encode()))
    (tmp_path / "torn.gz").write_bytes(gzip.compress(f"{secret}{'x' * 2000}".encode())[:-8])
    damaged = bytearray(gzip.compress(f"{secret}{'x' * 2000}".encode()))
    damaged[-6] ^= 1
    (tmp_path / "damaged.gz").write_bytes(damaged)
    assert len(canary.leaks(tmp_path)) == 4
