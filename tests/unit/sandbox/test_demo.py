"""`make demo`: its three runs and their figures, with an Airflow that only remembers what it was asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sandbox.standalone import demo

REPORT = "Tenable to Security Hub CSPM.\n| Exported records                  | {}     |"
THIRD = """
| Findings                          | {}    |
| Accepted by Security Hub          | {}       |
| Archived, not in Tenable any more | {}       |
"""
SUCCESS = ("success",) * 3


class Airflow:
    """Three runs: the first two with the given counts of exported records, the third one with those of findings, sent
    and archived ones; ``states`` are how they end.
    """

    home = Path("/nowhere")

    def __init__(
        self, *counts: str, third: tuple[str, str, str] = ("7,000", "12", "34"), states: tuple[str, ...] = SUCCESS
    ) -> None:
        self.reports = dict(zip(("first", "second"), (REPORT.format(count) for count in counts), strict=True))
        self.reports["third"] = THIRD.format(*third)
        self.states = dict(zip(self.reports, states, strict=True))
        self.asked: list[str] = []

    def unpause(self) -> None:
        self.asked.append("unpause")

    def first_run(self) -> str:
        self.asked.append("first run")
        return "first"

    def trigger(self, conf: dict[str, Any] | None = None) -> str:
        self.asked.append(f"trigger {conf}")
        return "third" if conf else "second"

    def wait_for(self, run_id: str, *, progress: Callable[[str], None]) -> str:
        self.asked.append(f"wait for {run_id}")
        progress("report: success")
        return self.states[run_id]

    def report_of(self, run_id: str) -> str:
        return self.reports[run_id]


@pytest.fixture
def run_demo(monkeypatch: pytest.MonkeyPatch) -> Callable[[Airflow], None]:
    """The demo's runs."""

    def run(airflow: Airflow) -> None:
        def post(url: str, *, json: dict[str, Any], timeout: float) -> Any:
            airflow.asked.append(f"{url} {json}")
            return SimpleNamespace(raise_for_status=lambda: None)

        monkeypatch.setattr(demo.httpx, "post", post)
        monkeypatch.setattr(demo.third_day, "begin", lambda tenable, aws: airflow.asked.append(f"{tenable} {aws}"))
        monkeypatch.setattr(demo.commands, "hub", lambda aws: f"findings of {aws}")
        demo.run_three_days(SimpleNamespace(tenable="http://tenable", aws="http://aws"), airflow)  # type: ignore[arg-type]

    return run


def test_second_run_follows_a_day_later_and_the_figures_are_those_of_the_reports(
    run_demo: Callable[[Airflow], None], capsys: pytest.CaptureFixture[str]
) -> None:
    airflow = Airflow("12,345", "678")
    run_demo(airflow)
    assert airflow.asked == [
        "unpause",
        "first run",
        "wait for first",
        "http://tenable/_sandbox/clock {'advance_seconds': 86400}",
        "trigger None",
        "wait for second",
        "http://tenable http://aws",
        "trigger {'full': True}",
        "wait for third",
    ]
    said = capsys.readouterr().out
    assert said.count("findings of http://aws") == 3
    assert airflow.reports["first"] in said
    last = said.splitlines()[-1]
    assert last.endswith(
        "The first run exported 12,345 vulnerabilities, the second only the 678 that changed. The third looked at "
        "7,000 findings, sent 12 of them, and archived 34 that are gone."
    )


@pytest.mark.parametrize("counts", [("100", "100"), ("100", "0"), ("100", "101")])
def test_a_second_run_that_is_not_smaller_fails_the_demo(
    run_demo: Callable[[Airflow], None], counts: tuple[str, str]
) -> None:
    with pytest.raises(SystemExit, match=f"less than the first, but exported {counts[1]} after {counts[0]}"):
        run_demo(Airflow(*counts))


@pytest.mark.parametrize("third", [("7,000", "700", "34"), ("7,000", "12", "0"), ("0", "0", "0")])
def test_a_third_run_that_sends_much_or_archives_nothing_fails_the_demo(
    run_demo: Callable[[Airflow], None], third: tuple[str, str, str]
) -> None:
    with pytest.raises(SystemExit, match=f"but sent {third[1]} and archived {third[2]}"):
        run_demo(Airflow("100", "10", third=third))


@pytest.mark.parametrize(
    "states", [("failed", *SUCCESS[1:]), ("success", "failed", "success"), (*SUCCESS[1:], "failed")]
)
def test_a_run_that_fails_fails_the_demo(run_demo: Callable[[Airflow], None], states: tuple[str, str]) -> None:
    airflow = Airflow("100", "10", states=states)
    with pytest.raises(SystemExit, match=r"The run failed. Its logs are in /nowhere/logs"):
        run_demo(airflow)
    assert ("trigger None" in airflow.asked) == (states[0] == "success")
    assert ("trigger {'full': True}" in airflow.asked) == (states[:2] == SUCCESS[:2])


def test_a_report_without_the_figure_counts_nothing() -> None:
    assert demo.exported(REPORT.format("1,234,567")) == 1_234_567
    assert demo.exported("The run has no report:") == 0
