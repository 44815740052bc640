"""The simulated quarter can be lived through, and its figures are those of its days."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_nine_days_end_with_nothing_wrong_that_tenable_had_reported(tmp_path: Path) -> None:
    file = tmp_path / "days.json"
    command = [sys.executable, "-W", "ignore", "scripts/quarter.py", "--days", "9", "--estate", "tiny"]
    done = subprocess.run([*command, "--json", str(file)], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    days = json.loads(file.read_text())
    assert [day["full"] for day in days].count(True) == 2
    assert days[0]["full"]
    assert [day["unexplained"] for day in days] == [{}] * 9
    assert "9 days, 2 full runs" in done.stdout
    assert "0 unexplained, on 0 days" in done.stdout
    assert 0 < days[-1]["events"]["ours"] < days[-1]["events"]["rescanned"]
