"""A run whose params send elsewhere, or map otherwise, leaves the watermark to the runs that the DAG's defaults
describe.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox


@pytest.mark.parametrize("params", [{"region_routing": "fixed"}, {"accepted_risks": "import"}], ids=str)
def test_complete_run_that_delivers_otherwise_leaves_the_watermark(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], params: dict[str, Any]
) -> None:
    run = Run(params=params, defaults=defaults)
    assert (
        run.execute()["why"]
        == "stays: the run's params deliver less than the DAG's own defaults, or deliver it differently"
    )
    assert run.ledger["complete"]
    assert run.ledger["accepted"] > 0
    assert variables.writes == []


def test_complete_run_with_one_more_destination_at_the_end_moves_it(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    usual = defaults["destinations"]
    run = Run(defaults={**defaults, "destinations": usual[:1]}, params={"destinations": usual})
    assert run.execute()["why"].startswith("moves")
