"""``status.json`` and ``history.json``: what a status page, or a person's own script, reads about a DAG's imports
without asking Tenable or AWS. Both are in ``{staging}/{dag_id}/deployment/``.
"""

from __future__ import annotations

import logging
import time
from typing import Any, NotRequired, TypedDict

import msgspec

from airflow_provider_tenable.exceptions import DamagedFileError, StagingError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.run.ages import ActiveEntry, HubsEntry
from airflow_provider_tenable.run.audit_counts import AuditsEntry, audits_now, is_valid
from airflow_provider_tenable.run.ledger import Ledger
from airflow_provider_tenable.run.plan_file import RunPlan
from airflow_provider_tenable.run.resolving import ResolvedCounts
from airflow_provider_tenable.staging.files import read_json, write_json
from airflow_provider_tenable.staging.layout import RunFolder

log = logging.getLogger(__name__)

VERSION = 1
#: Runs in ``history.json``: some 600 kB.
LONGEST_HISTORY = 1_000
#: Accounts without a destination in ``status.json``; the ledger has all of them.
_MOST_ACCOUNTS = 100


class RunCounts(TypedDict):
    """The counts of a run, as in its ledger; ``archived``: reason -> findings, ``rejected``: code -> findings."""

    exported: int
    unparked: int
    skipped: dict[str, int]
    parked: int
    findings: int
    accepted: int
    rejected: dict[str, int]
    sent: dict[str, int]
    unchanged: int
    superseded: int
    never_imported: int
    reopened: int
    archived: dict[str, int]
    not_archived: dict[str, int]


class Status(TypedDict):
    """``status.json``: the last complete run that was not a dry run. Moments are unix seconds.

    ``stopped``: ``account/region`` -> findings that were too many to be archived. ``refused``: ``account/region`` ->
    why it refused its findings. ``unserved``: account without a destination -> reason -> records, for the accounts with
    the most records. ``hubs``: what the hubs hold; missing after a run that an older release has planned.
    ``rejected_at``: the folder of what was rejected. ``audits``: results of audits by account and audit file, as the
    last full run has seen them; only of a DAG that imports audits. ``resolved``: assets that EC2 has placed, as in the
    ledger; only with ``[tenable] resolve_unplaced_instances``.
    """

    version: int
    dag_id: str
    run_id: str
    at: int
    watermark: int | None
    window: dict[str, Any]
    full: bool
    counts: RunCounts
    stopped: dict[str, int]
    refused: dict[str, str]
    unserved: dict[str, dict[str, int]]
    unserved_accounts: int
    rejected_at: str
    hubs: NotRequired[HubsEntry]
    audits: NotRequired[AuditsEntry]
    resolved: NotRequired[ResolvedCounts]


class HistoryEntry(TypedDict):
    """A run in ``history.json``. ``counts`` and ``watermark`` are missing where the run got no ledger; ``active`` where
    it did not complete, or was a dry run. ``title``: how it ended, in words.
    """

    run_id: str
    at: int
    complete: bool
    dry_run: bool
    title: str
    kind: NotRequired[str]
    full: NotRequired[bool]
    watermark: NotRequired[int | None]
    counts: NotRequired[RunCounts]
    active: NotRequired[ActiveEntry]


def counts_of(ledger: Ledger) -> RunCounts:
    """The counts of a ledger, for people and for charts."""
    gone = ledger.get("gone")
    return {
        "exported": ledger["exported"],
        "unparked": ledger["unparked"],
        "skipped": ledger["skipped"],
        "parked": ledger["parked"],
        "findings": ledger["findings"],
        "accepted": ledger["accepted"],
        "rejected": ledger["rejected"],
        "sent": ledger.get("sent", {}),
        "unchanged": ledger.get("unchanged", 0),
        "superseded": ledger.get("superseded", 0),
        "never_imported": ledger.get("never_imported", 0),
        "reopened": ledger.get("reopened", 0),
        "archived": archived_of(ledger),
        "not_archived": gone["not_archived"] if gone else {},
    }


def archived_of(ledger: Ledger) -> dict[str, int]:
    """Reason -> findings that a run archived: because Tenable says so in their records, or does not report them."""
    found = dict(ledger.get("archived", {}))
    if "gone" in ledger:
        for reason, count in ledger["gone"]["archived"].items():
            found[reason] = found.get(reason, 0) + count
    return dict(sorted(found.items()))


def write_status(run: RunFolder, plan: RunPlan, ledger: Ledger, hubs: HubsEntry | None, *, now: float) -> None:
    """Replace ``status.json``. May be repeated.

    :param ledger: complete, and not of a dry run.
    :param hubs: what the hubs hold now; None where that is not known.
    :param now: unix seconds.
    """
    unserved = sorted(ledger.get("unserved", {}).items(), key=lambda item: (-sum(item[1].values()), item[0]))
    status: Status = {
        "version": VERSION,
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "at": int(now),
        "watermark": ledger["watermark"].get("after"),
        "window": dict(plan["window"]),
        "full": bool(ledger.get("full")),
        "counts": counts_of(ledger),
        "stopped": ledger["gone"]["stopped"] if "gone" in ledger else {},
        "refused": {place: safe(entry["why"], 500) for place, entry in ledger.get("refused", {}).items()},
        "unserved": dict(unserved[:_MOST_ACCOUNTS]),
        "unserved_accounts": len(unserved),
        "rejected_at": str(run.rejected),
    }
    if hubs is not None:
        status["hubs"] = hubs
    if "resolved" in ledger:
        status["resolved"] = ledger["resolved"]
    # An ordinary run does not see all results of audits.
    known = None if status["full"] else read_status(run)
    before = known.get("audits") if known else None
    if (audits := audits_now(ledger, before, run_id=run.run_id, at=int(now))) is not None:
        status["audits"] = audits
    write_json(run.status, status)


def note_in_history(run: RunFolder, plan: RunPlan | None, ledger: Ledger | None, title: str, *, complete: bool) -> None:
    """Put a run into ``history.json``, in place of what was noted of it before. Never fails: the report has it all.

    Of two runs of the same DAG that end within the same second, one may be missing.
    """
    entry: HistoryEntry = {
        "run_id": run.run_id,
        "at": int(time.time()),
        "complete": complete,
        "dry_run": bool(plan and plan["settings"]["dry_run"]),
        "title": safe(title, 300),
    }
    if plan is not None:
        entry["kind"] = plan["window"]["kind"]
    if ledger is not None:
        entry["full"] = bool(ledger.get("full"))
        entry["watermark"] = ledger["watermark"].get("after", ledger["watermark"]["before"])
        entry["counts"] = counts_of(ledger)
        if complete and "active" in ledger:
            entry["active"] = ledger["active"]
    try:
        others = [each for each in read_history(run) if each["run_id"] != run.run_id]
        write_json(run.history, {"version": VERSION, "runs": [*others, entry][-LONGEST_HISTORY:]})
    except (StagingError, OSError) as error:
        log.warning("The run is not in the history of %s: %s", safe(run.dag_id), safe(error))


def read_history(run: RunFolder) -> list[HistoryEntry]:
    """The runs in ``history.json``, oldest first; none where it is missing, damaged, or of a newer release.

    :raises StagingError: the staging area does not answer.
    """
    try:
        value = read_json(run.history, advice="")
        if value is None or value["version"] != VERSION:
            return []
        entries: list[HistoryEntry] = msgspec.convert(value["runs"], list[HistoryEntry])
    except (DamagedFileError, msgspec.ValidationError, KeyError, TypeError) as error:
        log.warning("The history of %s cannot be read, and begins again: %s", safe(run.dag_id), safe(error))
        return []
    return entries


def read_status(run: RunFolder) -> Status | None:
    """``status.json``; None where it is missing, damaged, or of a newer release.

    :raises StagingError: the staging area does not answer.
    """
    try:
        value = read_json(run.status, advice="")
        if value is None or value["version"] != VERSION:
            return None
        status: Status = msgspec.convert(value, Status)
        if "audits" in status and not is_valid(status["audits"]):
            raise DamagedFileError("its audits cannot be counts of checks by account")
    except (DamagedFileError, msgspec.ValidationError, KeyError, TypeError) as error:
        log.warning("The status of %s cannot be read: %s", safe(run.dag_id), safe(error))
        return None
    return status


__all__ = [
    "HistoryEntry",
    "RunCounts",
    "Status",
    "archived_of",
    "counts_of",
    "note_in_history",
    "read_history",
    "read_status",
    "write_status",
]
