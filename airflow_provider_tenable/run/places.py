"""Records which accounts and hub Regions ("places") runs have reached, and which of them lack findings.

Both are small files in ``{staging}/{dag_id}/deployment/``, which no clean-up removes:

``reached/{account}-{region}.json``
    Security Hub has accepted a finding there. Written once, by the first import that succeeds.
``owed/{account}-{region}.json``
    Runs have left out findings because the place permanently refused them: those of the windows from ``since`` to
    ``until``. ``since`` is a separate watermark for the place, which stays while the DAG's own moves. No findings are
    stored. Once the place accepts findings again, the next run starts its window there and exports them again. Only a
    run whose window covers all of this removes the entry: one that was planned before the last refusal does not.

One file per place: a backfill and a scheduled run may write at the same time without losing each other's entries. A
damaged entry counts as if everything was missing there, so it never stops a run, and nothing is forgotten.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, NotRequired, TypedDict

from airflow_provider_tenable.aws import ACCOUNT, REGION
from airflow_provider_tenable.exceptions import DamagedFileError, StagingError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.run.watermark import EVERYTHING
from airflow_provider_tenable.staging.files import names, read_json, remove_file, write_json
from airflow_provider_tenable.staging.layout import RunFolder

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

log = logging.getLogger(__name__)

_DAY = 86_400
#: Maximum number of days between two recovery attempts for a place that passes every check before the export but
#: refuses the import: half a day after the first attempt, doubled after each further one.
_MOST_DAYS = 16
#: The numbers of an entry, and what those that may be missing count as.
_NUMBERS = {"since": None, "first": None, "until": 0, "attempts": 0, "attempted": 0}


class Owed(TypedDict):
    """The missing findings of a place.

    :ivar since: unix seconds; everything published since then may be missing there.
    :ivar until: end of the latest window of which findings are missing, unix seconds. Older entries do not have it.
    :ivar first: when it was first refused, unix seconds.
    :ivar why: the error of the last refusal.
    :ivar attempts: recovery attempts since it last accepted findings: runs that started their window at ``since``
        because it had passed the checks before the export, and whose import it then refused.
    :ivar attempted: the time of the last of these, unix seconds.
    :ivar attempted_by: the run of the last of these, which counts once, however often its tasks are retried.
    """

    since: int
    until: NotRequired[int]
    first: int
    why: str
    attempts: NotRequired[int]
    attempted: NotRequired[int]
    attempted_by: NotRequired[str]


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

    :raises StagingError: an entry cannot be read, or a newer version has written it; the message names it.
    """
    found = {}
    for name in names(run.owed_places):
        if (place := _place(name)) and (entry := _read(run.owed_places / name)) is not None:
            found[place] = entry
    return found


def note_owed(run: RunFolder, place: str, *, since: int, until: int, why: str, attempted: bool) -> None:
    """Record that a run has left out the findings that a place refused. May be repeated.

    :param since: the start of the run's window, unix seconds. An earlier one is kept.
    :param until: the end of the run's window, unix seconds. A later one is kept.
    :param attempted: whether the run had started its window earlier to deliver the missing findings of the place.
    """
    path, now = run.owed_places / _name(place), int(time.time())
    before = _read(path)
    entry: Owed = {
        "since": min(since, before["since"]) if before else since,
        "until": max(until, _until(before)) if before else until,
        "first": before["first"] if before else now,
        "why": why,
        "attempts": before.get("attempts", 0) if before else 0,
        "attempted": before.get("attempted", 0) if before else 0,
        "attempted_by": before.get("attempted_by", "") if before else "",
    }
    if attempted and entry["attempted_by"] != run.run_id:
        entry["attempts"], entry["attempted"], entry["attempted_by"] = entry["attempts"] + 1, now, run.run_id
    write_json(path, entry)


def settle_owed(run: RunFolder, place: str, *, since: int, until: int) -> bool:
    """Remove the entry of a place, unless findings are missing from before that window or after it.

    A run may settle long after a later one has noted a refusal: the end of its window shows that it did not deliver
    what the later run has left out.

    :param since: the start of the window of the run that delivered them.
    :param until: the time up to which its export certainly is complete.
    :return: whether the entry was removed.
    """
    path = run.owed_places / _name(place)
    entry = _read(path)
    if entry is None or entry["since"] < since or _until(entry) > until:
        return False
    remove_file(path)
    return True


def reset_attempts(run: RunFolder, place: str) -> None:
    """Let the next run retry a place: it has accepted findings again, so the attempts before no longer matter."""
    path = run.owed_places / _name(place)
    entry = _read(path)
    if entry is not None and entry.get("attempts"):
        write_json(path, {**entry, "attempts": 0, "attempted": 0, "attempted_by": ""})


def _read(path: ObjectStoragePath) -> Owed | None:
    """An entry; None if there is none. If it is damaged, everything counts as missing there."""
    try:
        entry: Owed | None = read_json(path, advice="")
        if entry is None or _is_entry(entry):
            return entry
        cause: object = "it is not an entry of this file"
    except DamagedFileError as error:
        cause = error.__cause__ or error
    log.warning(
        "%s is damaged (%s). Do not remove it, or the DAG forgets that findings are missing there. Everything now "
        "counts as missing: once the account and Region accepts findings, a run delivers it. No other action is "
        "needed.",
        path,
        safe(cause),
    )
    return {"since": EVERYTHING, "until": 0, "first": 0, "why": "not known: its record was damaged"}


def _is_entry(value: object) -> bool:
    return isinstance(value, dict) and all(type(value.get(name, default)) is int for name, default in _NUMBERS.items())


def _until(entry: Owed) -> int:
    """The end of the latest window of which findings are missing. Without it: the first refusal, which was later than
    the end of its window.
    """
    return entry.get("until", entry["first"])


def is_due(entry: Owed, now: float) -> bool:
    """Whether to retry a place that passes the checks: at once, unless earlier attempts failed because it passed them
    and then refused the import. Each attempt exports everything since ``since``.
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
    "reset_attempts",
    "settle_owed",
]
