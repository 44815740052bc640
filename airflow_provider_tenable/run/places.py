"""Records which accounts and hub Regions ("places") runs have reached, and which of them lack findings.

Both are small files in ``{staging}/{dag_id}/deployment/``, which no clean-up removes:

``reached/{account}-{region}.json``
    Security Hub has accepted a finding there. Written once, by the first import that succeeds.
``owed/{account}-{region}.json``
    A run has left out findings because the place permanently refused them. ``since`` is the start of that run's
    window: a separate watermark for the place, which stays while the DAG's own moves. No findings are stored. Once the
    place accepts findings again, the next run starts its window there and exports them again.

One file per place: a backfill and a scheduled run may write at the same time without losing each other's entries.
"""

from __future__ import annotations

import logging
import time
from typing import NotRequired, TypedDict

from airflow_provider_tenable.aws import ACCOUNT, REGION
from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.staging.files import names, read_json, remove_file, write_json
from airflow_provider_tenable.staging.layout import RunFolder

log = logging.getLogger(__name__)

_DAY = 86_400
#: Maximum number of days between two attempts for a place that passes every check before the export but refuses the
#: import: half a day after the first attempt, doubled after each further one.
_MOST_DAYS = 16


class Owed(TypedDict):
    """The missing findings of a place.

    :ivar since: unix seconds; everything published since then may be missing there.
    :ivar first: when it was first refused, unix seconds.
    :ivar why: the error of the last refusal.
    :ivar attempts: imports that it refused although it had passed the checks before the export.
    :ivar attempted: the time of the last of these, unix seconds.
    """

    since: int
    first: int
    why: str
    attempts: NotRequired[int]
    attempted: NotRequired[int]


def note_acceptance(run: RunFolder, account: str, region: str) -> None:
    """Record that Security Hub has accepted findings of a place. An error here does not fail the import."""
    path = run.reached_places / _name(f"{account}/{region}")
    try:
        if not path.exists():
            write_json(path, {"run_id": run.run_id, "at": int(time.time())})
    except (StagingError, OSError) as error:
        log.warning("Cannot record that %s/%s was reached: %s", account, region, safe(error))


def accepted_before(run: RunFolder) -> set[str]:
    """The places that any run has reached."""
    return {place for name in names(run.reached_places) if (place := _place(name))}


def learn_from_ledgers(run: RunFolder) -> None:
    """Determine which places were reached from the ledgers of runs of earlier releases, which did not have this record.

    Does nothing if the record exists.
    """
    if names(run.reached_places):
        return
    for name in names(run.dag_root):
        if name == run.run_id or name in RunFolder.RESERVED:
            continue
        try:
            ledger = read_json(run.beside(name).ledger) or {}
            for place, counts in ledger.get("destinations", {}).items():
                if counts.get("accepted") and _place(_name(place)):
                    note_acceptance(run, *place.split("/", 1))
        except (StagingError, OSError, AttributeError) as error:
            log.warning("Cannot determine which accounts run %s has reached: %s", name, safe(error))


def owed(run: RunFolder) -> dict[str, Owed]:
    """The missing findings by ``account/region``.

    :raises StagingError: an entry is damaged; the message names it.
    """
    found = {}
    for name in names(run.owed_places):
        entry: Owed | None = read_json(run.owed_places / name)
        if entry is not None and (place := _place(name)):
            found[place] = entry
    return found


def note_owed(run: RunFolder, place: str, *, since: int, why: str, attempted: bool) -> None:
    """Record that a run has left out the findings that a place refused.

    :param since: the start of the run's window, unix seconds. An earlier one is kept.
    :param attempted: whether the place had passed the checks before the export.
    """
    path, now = run.owed_places / _name(place), int(time.time())
    before: Owed | None = read_json(path)
    entry: Owed = {
        "since": min(since, before["since"]) if before else since,
        "first": before["first"] if before else now,
        "why": why,
        "attempts": before.get("attempts", 0) if before else 0,
        "attempted": before.get("attempted", 0) if before else 0,
    }
    if attempted:
        entry["attempts"], entry["attempted"] = entry["attempts"] + 1, now
    write_json(path, entry)


def settle_owed(run: RunFolder, place: str, *, since: int) -> bool:
    """Remove the entry of a place, unless it has findings missing from before that window.

    :param since: the start of the window of the run that delivered them.
    :return: whether the entry was removed.
    """
    path = run.owed_places / _name(place)
    entry: Owed | None = read_json(path)
    if entry is None or entry["since"] < since:
        return False
    remove_file(path)
    return True


def is_due(entry: Owed, now: float) -> bool:
    """Whether to retry a place that passes the checks: at once, unless it has passed them before and then refused the
    import. Each attempt exports everything since ``since``.
    """
    attempts = entry.get("attempts", 0)
    days = min(2.0 ** min(attempts - 2, 10), _MOST_DAYS) if attempts else 0.0
    return now >= entry.get("attempted", 0) + days * _DAY


def _name(place: str) -> str:
    account, _, region = place.partition("/")
    return f"{account}-{region}.json"


def _place(name: str) -> str | None:
    account, region = name[:12], name[13:].removesuffix(".json")
    if not ACCOUNT.fullmatch(account) or not REGION.fullmatch(region):
        return None
    return f"{account}/{region}"


__all__ = [
    "Owed",
    "accepted_before",
    "is_due",
    "learn_from_ledgers",
    "note_acceptance",
    "note_owed",
    "owed",
    "settle_owed",
]
