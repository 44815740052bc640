"""The page's tables as CSV, and all of what it knows as JSON, for spreadsheets and scripts."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.tenable_vm.times import utc
from airflow_provider_tenable.ui.page import SEVERITIES
from airflow_provider_tenable.ui.reasons import explained
from airflow_provider_tenable.ui.snapshot import Snapshot

#: With one of these, a spreadsheet takes a cell for a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_LONGEST_CELL = 1_000


def as_json(snapshot: Snapshot) -> bytes:
    """Everything that was read, as JSON. Moments are unix seconds."""
    return msgspec.json.format(msgspec.json.encode(snapshot), indent=1)


def as_csv(snapshot: Snapshot, table: str) -> bytes:
    """One table, with a header, for spreadsheets.

    :param table: one of :data:`TABLES`.
    :raises KeyError: there is no such table.
    """
    header, rows = TABLES[table]
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(header)
    writer.writerows([cell(value) for value in row] for row in rows(snapshot))
    return out.getvalue().encode()


def cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula. Numbers stay what they are."""
    if value is None or isinstance(value, (int, float)):
        return value
    text = safe(value, _LONGEST_CELL)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _runs(snapshot: Snapshot) -> Iterator[Iterable[Any]]:
    for entry in snapshot.history:
        counts: dict[str, Any] = dict(entry.get("counts") or {})
        yield (
            entry["run_id"],
            utc(entry["at"]),
            "yes" if entry["complete"] else "no",
            "yes" if entry["dry_run"] else "no",
            entry["title"],
            *(counts.get(name) for name in _COUNTS),
            *(None if name not in counts else sum(counts[name].values()) for name in _SUMS),
        )


_COUNTS = ("exported", "unparked", "parked", "findings", "accepted", "unchanged", "superseded", "never_imported")
_SUMS = ("skipped", "rejected", "archived", "not_archived")


def _places(snapshot: Snapshot) -> Iterator[Iterable[Any]]:
    hubs = snapshot.status.get("hubs") if snapshot.status else None
    for name, active in hubs["places"].items() if hubs else ():
        account, _, region = name.partition("/")
        counts = [active["by_severity"].get(severity, 0) for severity in SEVERITIES]
        yield account, region, *counts, active["median_days"], active["oldest_days"], sum(active["overdue"].values())


def _unserved(snapshot: Snapshot) -> Iterator[Iterable[Any]]:
    for account, reasons in snapshot.status["unserved"].items() if snapshot.status else ():
        for reason, records in reasons.items():
            yield account, reason, records, explained(reason)[1]


def _rejected(snapshot: Snapshot) -> Iterator[Iterable[Any]]:
    for line in snapshot.rejected:
        yield line.run_id, line.account, line.region, line.code, line.message, line.title, line.id


#: Name -> (header, rows).
TABLES: dict[str, tuple[tuple[str, ...], Any]] = {
    "runs": (("run_id", "at", "complete", "dry_run", "title", *_COUNTS, *_SUMS), _runs),
    "places": (("account", "region", *SEVERITIES, "median_days", "oldest_days", "overdue"), _places),
    "unserved": (("account", "reason", "records", "what_to_do"), _unserved),
    "rejected": (("run_id", "account", "region", "code", "message", "title", "id"), _rejected),
}


__all__ = ["TABLES", "as_csv", "as_json", "cell"]
