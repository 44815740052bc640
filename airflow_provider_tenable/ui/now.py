"""The first section of the page: what happens now, and what waits for a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_tenable.tenable_vm.times import utc
from airflow_provider_tenable.ui.facts import DagFacts
from airflow_provider_tenable.ui.snapshot import Snapshot
from airflow_provider_tenable.ui.urls import Urls

#: Schedule intervals after which a watermark is too old.
_LATE = 2


@dataclass(frozen=True)
class Attention:
    """Something that waits for a person: what, what to do, and where."""

    kind: str
    what: str
    advice: str
    link: str = ""
    label: str = ""


def span(seconds: float) -> str:
    """A span of time for people, in its two largest units."""
    minutes = int(abs(seconds)) // 60
    if minutes < 1:
        return "less than a minute"
    for large, unit, small in ((1440, "day", "hour"), (60, "hour", "minute")):
        if minutes >= large:
            whole, rest = minutes // large, minutes % large // (60 if unit == "day" else 1)
            return f"{_some(whole, unit)} {_some(rest, small)}" if rest else _some(whole, unit)
    return _some(minutes, "minute")


def _some(number: int, unit: str) -> str:
    return f"{number:,} {unit}{'' if number == 1 else 's'}"


def now_of(snapshot: Snapshot, facts: DagFacts | None, urls: Urls, now: float) -> dict[str, Any]:
    """The last run, the watermark and the next run."""
    watermark = watermark_of(snapshot)
    age = None if watermark is None else max(now - watermark, 0.0)
    interval = facts.interval if facts else None
    return {
        "last": _last_run(snapshot, facts, urls),
        "watermark_text": utc(watermark),
        "age": "" if age is None else span(age),
        "intervals": None if age is None or not interval else age / interval,
        "late": bool(age is not None and interval and age > _LATE * interval),
        "next": _next_run(facts, now),
        "schedule": facts.schedule if facts else "",
    }


def _last_run(snapshot: Snapshot, facts: DagFacts | None, urls: Urls) -> dict[str, str] | None:
    """The last run for people: Airflow's, or the last one in the history where Airflow's database has been cleaned."""
    last, history = facts.last_run if facts else None, snapshot.history
    if last is None and not history:
        return None
    run_id = last.run_id if last else history[0]["run_id"]
    entry = next((each for each in history if each["run_id"] == run_id), None)
    at = (last.ended or last.started) if last else history[0]["at"]
    return {
        "run_id": run_id,
        "state": last.state if last else ("complete" if history[0]["complete"] else "not complete"),
        "link": urls.run(snapshot.dag_id, run_id),
        "when": utc(at or None),
        "outcome": entry["title"] if entry else "",
    }


def watermark_of(snapshot: Snapshot) -> int | None:
    """The watermark after the latest run that has a ledger; None if it was not set then."""
    return next((entry["watermark"] for entry in snapshot.history if "watermark" in entry), None)


def _next_run(facts: DagFacts | None, now: float) -> str:
    if facts is None:
        return "the DAG is not known to Airflow"
    if facts.paused:
        return "none: the DAG is paused"
    if facts.next_run is None:
        return "none: the DAG has no schedule"
    return utc(facts.next_run) if facts.next_run > now else "due now"


def attention_of(snapshot: Snapshot, facts: DagFacts | None, urls: Urls, now: float) -> list[Attention]:
    """What waits for a person, the most urgent first."""
    found = []
    dag_id, last = snapshot.dag_id, facts.last_run if facts else None
    if last and last.state == "failed":
        for task, index in last.failed[:3] or [("report", -1)]:
            link = urls.task(dag_id, last.run_id, task, index)
            advice = "Read the end of its log: it says what happened and what to do."
            found.append(Attention("bad", f"The last run failed in the task {task}.", advice, link, "Open the task"))
    status = snapshot.status
    run_id = status["run_id"] if status else ""
    stopped, refused = (status["stopped"], status["refused"]) if status else ({}, {})
    for place, count in list(stopped.items())[:5]:
        found.append(
            Attention(
                "bad",
                f"{count:,} findings of {place} were not archived, because they are too many.",
                "Check that Tenable still sees these hosts. If they are gone, trigger a run with the params full and "
                "max_archived_ratio = 1.",
                urls.task(dag_id, run_id, "check_archived"),
                "Open check_archived",
            )
        )
    for place in sorted({*refused, *snapshot.owed})[:5]:
        advice = f"{refused[place]} " if place in refused else ""
        link = urls.task(dag_id, run_id, "settle") if run_id else ""
        advice += "The missing findings are delivered once it accepts them."
        found.append(Attention("warn", f"{place} refuses its findings.", advice, link, "Open settle"))
    state = now_of(snapshot, facts, urls, now)
    if state["late"]:
        what = f"The watermark is {state['age']} old, more than {_LATE} intervals of the schedule."
        advice = "Switch the DAG on, or repair what makes its runs fail."
        found.append(Attention("warn", what, advice, urls.dag(dag_id), "Open the DAG"))
    return found


__all__ = ["Attention", "attention_of", "now_of", "span", "watermark_of"]
