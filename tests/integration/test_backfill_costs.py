"""What a backfill exports in comparison with one run over the same days: the figures of docs/operating.md."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox

ROOT = Path(__file__).resolve().parents[2]
DAY = 86400
DAYS = 7


def test_a_backfill_of_days_exports_several_times_what_one_window_does(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Tenable has no upper bound for a time: each run of a backfill exports everything from its day on."""
    caplog.set_level(logging.INFO)
    now = float(sandbox.tenable("clock")["now"])
    begin = int(now // DAY - DAYS) * DAY
    exported = []
    for day in range(DAYS):
        start = datetime.fromtimestamp(begin + day * DAY, UTC)
        end = datetime.fromtimestamp(begin + (day + 1) * DAY, UTC)
        run = Run(run_type="backfill", interval=(start, end), defaults=defaults)
        run.execute()
        exported.append(run.ledger["exported"])
    one = Run(params={"since": begin, "until": begin + DAYS * DAY}, defaults=defaults)
    one.execute()
    # The later a day, the less there is from it on.
    assert exported == sorted(exported, reverse=True)
    ratio = sum(exported) / one.ledger["exported"]
    assert ratio == pytest.approx((DAYS + 1) / 2, rel=0.2)
    text = " ".join((ROOT / "docs" / "operating.md").read_text().split())
    assert f"about (N + 1) / 2 times what one run over the same days does: {ratio:.0f} times for 7 days" in text
    assert "since and until exports far less than a backfill" in caplog.text
