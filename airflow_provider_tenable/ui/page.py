"""What the page shows, worked out from what is on record. No request, no file, no markup here."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

import msgspec

from airflow_provider_tenable.aws import ACCOUNT, REGION
from airflow_provider_tenable.links.security_hub import console_url
from airflow_provider_tenable.run.ages import ActiveEntry
from airflow_provider_tenable.run.audit_counts import rows_of
from airflow_provider_tenable.run.status import HistoryEntry, RunCounts
from airflow_provider_tenable.tenable_vm.times import utc
from airflow_provider_tenable.ui import charts
from airflow_provider_tenable.ui.facts import DEFAULT_DAG, REPLAY_DAG, DagFacts
from airflow_provider_tenable.ui.now import attention_of, now_of
from airflow_provider_tenable.ui.reasons import explained
from airflow_provider_tenable.ui.scans import SCAN_DAG, Scans
from airflow_provider_tenable.ui.snapshot import Rejected, Snapshot
from airflow_provider_tenable.ui.urls import Urls

SEVERITIES = ("critical", "high", "medium", "low", "info")
#: Runs in the charts, and rows of a table; the export has all of them.
SHOWN_RUNS, SHOWN_PLACES, SHOWN_ACCOUNTS = 30, 200, 100
#: The state of a run that sent nothing on purpose.
DRY = "dry run"


@dataclass(frozen=True)
class Place:
    """Active findings of an account and Region."""

    name: str
    account: str
    region: str
    active: ActiveEntry
    bar: list[charts.Box]
    total: int
    overdue: int
    console: str


@dataclass(frozen=True)
class RunRow:
    """A run in the table of the last runs."""

    run_id: str
    at: int
    state: str
    title: str
    link: str
    created: int
    updated: int
    archived: dict[str, int]
    unchanged: int
    rejected: int
    counts: RunCounts | None


@dataclass(frozen=True)
class RejectedRow:
    """A rejected finding, and how to send those of its run again."""

    line: Rejected
    link: str
    again: Again


@dataclass(frozen=True)
class Again:
    """How to send the rejected findings of one or several runs again.

    :ivar conf: the configuration of :data:`REPLAY_DAG`, as JSON.
    :ivar form: address of its trigger form, filled in; empty if there is none.
    """

    conf: str
    command: str
    form: str


def build(snapshot: Snapshot, facts: DagFacts | None, urls: Urls, *, now: float) -> dict[str, Any]:
    """The page's content by section, for the template.

    :param facts: None if Airflow does not know the DAG.
    :param now: unix seconds.
    """
    runs = [_run_row(entry, snapshot.dag_id, urls) for entry in snapshot.history[:SHOWN_RUNS]]
    places = _places(snapshot)
    has_replay = bool(facts and facts.has_replay)
    run_ids = list(dict.fromkeys(line.run_id for line in snapshot.rejected))
    return {
        "dag_id": snapshot.dag_id,
        "facts": facts,
        "status": snapshot.status,
        "problems": snapshot.problems,
        "now": now_of(snapshot, facts, urls, now),
        "attention": attention_of(snapshot, facts, urls, now),
        "runs": runs,
        "columns": charts.columns(
            [(utc(run.at or None), _parts(run)) for run in reversed(runs) if run.counts and run.state != DRY]
        ),
        "more_runs": max(len(snapshot.history) - SHOWN_RUNS, 0),
        "findings": _findings(snapshot, places),
        "places": places[:SHOWN_PLACES],
        "more_places": max(len(places) - SHOWN_PLACES, 0),
        "coverage": _coverage(snapshot, urls),
        "audits": _audits(snapshot),
        "rejected": [
            RejectedRow(
                line,
                urls.task(snapshot.dag_id, line.run_id, "settle"),
                _again(snapshot.dag_id, [line.run_id], urls, has_form=has_replay),
            )
            for line in snapshot.rejected
        ],
        "replay": urls.dag(REPLAY_DAG) if has_replay else "",
        "replay_all": _again(snapshot.dag_id, run_ids, urls, has_form=has_replay) if len(run_ids) > 1 else None,
    }


def _places(snapshot: Snapshot) -> list[Place]:
    hubs = snapshot.status.get("hubs") if snapshot.status else None
    if not hubs:
        return []
    totals = {name: sum(active["by_severity"].values()) for name, active in hubs["places"].items()}
    most = max(totals.values(), default=0)
    found = []
    for name, active in hubs["places"].items():
        account, _, region = name.partition("/")
        known = ACCOUNT.fullmatch(account) and REGION.fullmatch(region)
        found.append(
            Place(
                name=name,
                account=account,
                region=region,
                active=active,
                bar=charts.bar(_by_severity(active), most=most),
                total=totals[name],
                overdue=sum(active["overdue"].values()),
                console=(console_url(account=account, region=region) or "") if known else "",
            )
        )
    return sorted(found, key=_worst_first)


def _worst_first(place: Place) -> tuple[Any, ...]:
    return (*(-place.active["by_severity"].get(name, 0) for name in SEVERITIES), place.name)


def _by_severity(active: ActiveEntry) -> list[tuple[str, str, int]]:
    return [(name, name, active["by_severity"].get(name, 0)) for name in SEVERITIES]


def _findings(snapshot: Snapshot, places: list[Place]) -> dict[str, Any]:
    hubs = snapshot.status.get("hubs") if snapshot.status else None
    if not hubs:
        return {}
    total = hubs["total"]
    most = max(total["by_severity"].values(), default=0)
    return {
        "total": sum(total["by_severity"].values()),
        "places": len(places),
        "active": total,
        "rows": [
            (name, count, charts.bar([(name, name, count)], most=most), total["overdue"].get(name, 0))
            for name in SEVERITIES
            if (count := total["by_severity"].get(name, 0))
        ],
        "unknown": hubs["unknown"],
    }


def _run_row(entry: HistoryEntry, dag_id: str, urls: Urls) -> RunRow:
    counts = entry.get("counts")
    state = DRY if entry["dry_run"] else "complete" if entry["complete"] else "not complete"
    sent = counts["sent"] if counts else {}
    return RunRow(
        run_id=entry["run_id"],
        at=entry["at"],
        state=state,
        title=entry["title"],
        link=urls.run(dag_id, entry["run_id"]),
        created=sent.get("created", 0),
        updated=sum(count for name, count in sent.items() if name not in ("created", "archived")),
        archived=counts["archived"] if counts else {},
        unchanged=counts["unchanged"] if counts else 0,
        rejected=sum(counts["rejected"].values()) if counts else 0,
        counts=counts,
    )


def _parts(run: RunRow) -> list[tuple[str, str, int]]:
    archived = sum(run.archived.values())
    return [
        ("created", "created", run.created),
        ("updated", "updated", run.updated),
        ("archived", "archived", archived),
        ("rejected", "rejected", run.rejected),
    ]


def _coverage(snapshot: Snapshot, urls: Urls) -> dict[str, Any]:
    """What became of the records of the last run that has counts."""
    entry = next((each for each in snapshot.history if each.get("counts")), None)
    counts = entry["counts"] if entry else snapshot.status["counts"] if snapshot.status else None
    if counts is None:
        return {}
    run_id = entry["run_id"] if entry else snapshot.status["run_id"]  # type: ignore[index]
    skipped = sum(counts["skipped"].values())
    above = {"findings": counts["findings"], "parked": counts["parked"], "skipped": skipped}
    rejected = sum(counts["rejected"].values())
    below = {
        "accepted": counts["accepted"],
        "unchanged": counts["unchanged"],
        "superseded": counts["superseded"],
        "never imported": counts["never_imported"],
        "rejected": rejected,
    }
    dry = bool(entry and entry["dry_run"])
    if dry:
        below["not sent"] = max(counts["findings"] - sum(below.values()), 0)
    first, second, streams = charts.flow(above, below, through="findings")
    unserved = snapshot.status["unserved"] if snapshot.status else {}
    return {
        "run_id": run_id,
        "link": urls.run(snapshot.dag_id, run_id),
        "dry": dry,
        "counts": counts,
        "total": counts["exported"] + counts["unparked"],
        "first": first,
        "second": second,
        "streams": streams,
        "reasons": [(name, count, *explained(name)) for name, count in _largest(counts["skipped"])],
        "codes": _largest(counts["rejected"]),
        "unserved": [
            (account, sum(reasons.values()), [(reason, *explained(reason)) for reason in reasons])
            for account, reasons in list(unserved.items())[:SHOWN_ACCOUNTS]
        ],
        "unserved_accounts": snapshot.status["unserved_accounts"] if snapshot.status else 0,
    }


def _audits(snapshot: Snapshot) -> dict[str, Any]:
    entry = snapshot.status.get("audits") if snapshot.status else None
    if not entry:
        return {}
    rows = rows_of(entry["accounts"])
    more = len(rows[SHOWN_ACCOUNTS:]) + entry["left_out"]
    return {"rows": rows[:SHOWN_ACCOUNTS], "more": more, "at": entry["at"], "run_id": entry["run_id"]}


def _largest(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def scans_of(scans: Scans | None, urls: Urls) -> dict[str, Any]:
    """The section about scans and audits; empty where there are none, or none that the user may see."""
    if scans is None or not (scans.scans or scans.audits or scans.problems):
        return {}
    rows = [(scan, urls.task(SCAN_DAG, scan.run.run_id, "run_scan")) for scan in scans.scans]
    return {"rows": rows, "audits": scans.audits, "more_audits": scans.more_audits, "problems": scans.problems}


def _again(dag_id: str, run_ids: list[str], urls: Urls, *, has_form: bool) -> Again:
    of_runs: dict[str, Any] = {"run_id": run_ids[0]} if len(run_ids) == 1 else {"run_ids": run_ids}
    conf = msgspec.json.encode({"dag_id": dag_id, **of_runs}).decode()
    # In the address of Airflow 2's form, dag_id and run_id are those of the run that is triggered: the form's own
    # default names the DAG, so there is no such address for another one.
    form = urls.form(REPLAY_DAG, {"run_ids": run_ids}) if has_form and dag_id == DEFAULT_DAG else ""
    return Again(conf, f"airflow dags trigger {REPLAY_DAG} --conf {shlex.quote(conf)}", form)


__all__ = ["SEVERITIES", "SHOWN_PLACES", "SHOWN_RUNS", "build", "scans_of"]
