"""`make demo`: its two runs and their figures, with an Airflow that only remembers what it was asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sandbox.standalone import demo

REPORT = "Tenable to Security Hub CSPM.\n| Exported records | {} |"


class Airflow:
    """Two runs with the given counts of exported records; ``states`` are how they end."""

    home = Path("/nowhere")

    def __init__(self, *counts: str, states: tuple[str, ...] = ("success", "success")) -> None:
        self.reports = dict(zip(("first", "second"), (REPORT.format(count) for count in counts), strict=True))
        self.states = dict(zip(self.reports, states, strict=True))
        self.asked: list[str] = []

    def unpause(self) -> None:
        self.asked.append("unpause")

    def first_run(self) -> str:
        self.asked.append("first run")
        return "first"

    def trigger(self) -> str:
        self.asked.append("trigger")
        return "second"

    def wait_for(self, run_id: str, *, progress: Callable[[str], None]) -> str:
        self.asked.append(f"wait for {run_id}")
        progress("report: success")
        return self.states[run_id]

    def report_of(self, run_id: str) -> str:
        return self.reports[run_id]


@pytest.fixture
def run_twice(monkeypatch: pytest.MonkeyPatch) -> Callable[[Airflow], None]:
    """The demo's two runs."""

    def run(airflow: Airflow) -> None:
        def post(url: str, *, json: dict[str, Any], timeout: float) -> Any:
            airflow.asked.append(f"{url} {json}")
            return SimpleNamespace(raise_for_status=lambda: None)

        monkeypatch.setattr(demo.httpx, "post", post)
        monkeypatch.setattr(demo.commands, "hub", lambda aws: f"findings of {aws}")
        demo.run_twice(SimpleNamespace(tenable="http://tenable", aws="http://aws"), airflow)  # type: ignore[arg-type]

    return run


def test_second_run_follows_a_day_later_and_the_figures_are_those_of_the_reports(
    run_twice: Callable[[Airflow], None], capsys: pytest.CaptureFixture[str]
) -> None:
    airflow = Airflow("12,345", "678")
    run_twice(airflow)
    assert airflow.asked == [
        "unpause",
        "first run",
        "wait for first",
        "http://tenable/_sandbox/clock {'advance_seconds': 86400}",
        "trigger",
        "wait for second",
    ]
    said = capsys.readouterr().out
    assert said.count("findings of http://aws") == 2
    assert airflow.reports["first"] in said
    last = said.splitlines()[-1]
    assert last.endswith("The first run exported 12,345 vulnerabilities, the second only the 678 that changed.")


@pytest.mark.parametrize("counts", [("100", "100"), ("100", "0"), ("100", "101")])
def test_a_second_run_that_is_not_smaller_fails_the_demo(
    run_twice: Callable[[Airflow], None], counts: tuple[str, str]
) -> None:
    with pytest.raises(SystemExit, match=f"less than the first, but exported {counts[1]} after {counts[0]}"):
        run_twice(Airflow(*counts))


@pytest.mark.parametrize("states", [("failed", "success"), ("success", "failed")])
def test_a_run_that_fails_fails_the_demo(run_twice: Callable[[Airflow], None], states: tuple[str, str]) -> None:
    airflow = Airflow("100", "10", states=states)
    with pytest.raises(SystemExit, match=r"The run failed. Its logs are in /nowhere/logs"):
        run_twice(airflow)
    assert ("trigger" in airflow.asked) == (states[0] == "success")


def test_a_report_without_the_figure_counts_nothing() -> None:
    assert demo.exported(REPORT.format("1,234,567")) == 1_234_567
    assert demo.exported("The run has no report:") == 0
