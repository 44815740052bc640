"""How many checks of audits have failed, are warnings or have passed, by account and audit file: Tenable's *View Audit
Details*, for the report, the status file and the page.

An ordinary run exports the results that have changed, so its counts say little about the present. Those of a full run
are the present state: ``status.json`` keeps them until the next one.
"""

from __future__ import annotations

from typing import Any, TypedDict

from airflow_provider_tenable.aws import ACCOUNT
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.run.ledger import Ledger

#: Account -> audit file -> result (``failed``, ``warning``, ``passed``, ``not_available``) -> checks.
Audits = dict[str, dict[str, dict[str, int]]]
#: Audits in ``status.json``; the ledger has all of them.
MOST_AUDITS = 500
_LONGEST_NAME = 200
#: In the order in which people are told of them.
RESULTS = ("failed", "warning", "passed", "not_available")


class AuditsEntry(TypedDict):
    """The audits of the last full run. ``accounts`` has those with the most failed checks; ``left_out`` is the number
    of the others.
    """

    run_id: str
    at: int
    accounts: Audits
    left_out: int


def rows_of(audits: Audits) -> list[tuple[str, str, dict[str, int]]]:
    """``(account, audit file, result -> checks)``, those with the most failed checks first."""
    rows = [(account, audit, counts) for account, found in audits.items() for audit, counts in found.items()]
    return sorted(rows, key=lambda row: (-row[2].get("failed", 0), row[0], row[1]))


def audits_now(ledger: Ledger, before: AuditsEntry | None, *, run_id: str, at: int) -> AuditsEntry | None:
    """The counts to keep after a run: its own if it was a full one, otherwise those from before.

    :param ledger: complete, and not of a dry run.
    :param before: what is kept now.
    :param at: unix seconds.
    :return: None: no full run has seen an audit.
    """
    if not ledger.get("full"):
        return before
    rows = rows_of(ledger.get("audits", {}))
    accounts: Audits = {}
    for account, audit, counts in rows[:MOST_AUDITS]:
        # Names that differ in what cannot be shown are one.
        shown = accounts.setdefault(account, {}).setdefault(safe(audit, _LONGEST_NAME), {})
        for name, count in counts.items():
            shown[name] = shown.get(name, 0) + count
    return {"run_id": run_id, "at": at, "accounts": accounts, "left_out": len(rows[MOST_AUDITS:])} if rows else None


def is_valid(entry: Any) -> bool:
    """Whether an entry with the right types can be one of ours: accounts are accounts, and counts are counts."""
    counts = [entry["left_out"], entry["at"]]
    for audits in entry["accounts"].values():
        for results in audits.values():
            if not results.keys() <= set(RESULTS):
                return False
            counts += results.values()
    return all(map(ACCOUNT.fullmatch, entry["accounts"])) and min(counts) >= 0


__all__ = ["MOST_AUDITS", "RESULTS", "Audits", "AuditsEntry", "audits_now", "is_valid", "rows_of"]
