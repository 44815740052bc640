"""What the staging area says about a DAG's imports: status, history, and the last rejected findings.

The number of files that one page reads is bounded, however many runs, accounts and rejected findings there are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from airflow_provider_tenable.exceptions import ConfigurationError, StagingError
from airflow_provider_tenable.guards.foreign_text import LONGEST_CODE, LONGEST_ID, safe
from airflow_provider_tenable.run.ledger import Ledger
from airflow_provider_tenable.run.manifests import destinations_of, shard_manifests
from airflow_provider_tenable.run.status import HistoryEntry, Status, read_history, read_status
from airflow_provider_tenable.security_hub.receipts import Receipts
from airflow_provider_tenable.staging.files import names, read_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import read_lines

#: Rejected findings on the page, runs and accounts with Regions in which they are looked for, and files of each.
MOST_REJECTED, MOST_RUNS, MOST_PLACES, MOST_FILES = 20, 3, 5, 3
#: Lines of a file that are decoded in search of what is still rejected.
_MOST_LINES = 500
_LONGEST_TITLE, _LONGEST_MESSAGE = 256, 500


@dataclass(frozen=True)
class Rejected:
    """A finding that Security Hub CSPM rejected, or a record that could not become one. All texts are bounded and have
    no control characters.
    """

    run_id: str
    account: str
    region: str
    code: str
    message: str
    title: str
    id: str


@dataclass(frozen=True)
class Snapshot:
    """What is known about a DAG.

    :ivar status: of the last complete run that was not a dry run.
    :ivar history: the last runs, the latest first.
    :ivar rejected: the last findings that were rejected, the latest first.
    :ivar owed: ``account/region`` whose findings are outstanding, because it refused them.
    :ivar problems: what could not be read, with the reason.
    """

    dag_id: str
    status: Status | None = None
    history: list[HistoryEntry] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    owed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_snapshot(staging: str, dag_id: str) -> Snapshot:
    """Read what is on record. What cannot be read is named in the result: a page with a part missing helps more than
    an error.

    :param staging: URI of the staging area.
    """
    snapshot = Snapshot(dag_id)
    try:
        # Any name will do: only files next to the runs are read through it.
        folder = RunFolder(staging, dag_id, "page")
        status, history = read_status(folder), read_history(folder)[::-1]
    except (StagingError, ConfigurationError, OSError) as error:
        return Snapshot(dag_id, problems=[_words(error)])
    except Exception as error:  # noqa: BLE001 - a file system, and the connection it uses, raise errors of their own.
        return Snapshot(dag_id, problems=[f"The staging area cannot be read: {safe(error, 600)}"])
    owed, rejected = snapshot.owed, snapshot.rejected
    try:
        owed.extend(_owed(folder))
        rejected.extend(last_rejected(folder, history))
    except (StagingError, ConfigurationError, OSError, *_MALFORMED) as error:
        snapshot.problems.append(_words(error))
    return Snapshot(dag_id, status, history, rejected, owed, snapshot.problems)


#: What the content of a file that is not what it should be raises.
_MALFORMED = (msgspec.MsgspecError, KeyError, TypeError, ValueError, AttributeError)


def _words(error: Exception) -> str:
    return safe(f"{type(error).__name__}: {error}" if not str(error) else error, 600)


def _owed(folder: RunFolder) -> list[str]:
    """The places whose findings are outstanding, by the names of their files: reading each would be a request each."""
    found = []
    for name in names(folder.owed_places):
        account, dash, region = name.removesuffix(".json").partition("-")
        if dash and name.endswith(".json"):
            found.append(f"{safe(account, 20)}/{safe(region, 40)}")
    return found


def last_rejected(folder: RunFolder, history: list[HistoryEntry]) -> Iterator[Rejected]:
    """The last rejected findings, of the latest runs that have any.

    :param history: the latest run first.
    :raises StagingError: a file is damaged.
    """
    with_any = (entry["run_id"] for entry in history if _has_rejected(entry))
    found = 0
    for run_id in itertools.islice(with_any, MOST_RUNS):
        for line in itertools.islice(_rejected_of(folder.beside(run_id)), MOST_REJECTED - found):
            found += 1
            yield _rejected(run_id, line)


def _has_rejected(entry: HistoryEntry) -> bool:
    counts = entry.get("counts")
    return bool(counts and (counts["rejected"] or any(reason in _BROKEN for reason in counts["skipped"])))


#: Records that are in ``rejected/`` without having become findings.
_BROKEN = frozenset({"unreadable_record", "unmappable_record", "asset_missing_given_up"})


def _rejected_of(run: RunFolder) -> Iterator[dict[str, Any]]:
    """Lines of ``rejected/`` that still count: those of earlier attempts of a cleared run do not.

    None if the run's files have been removed.
    """
    ledger: Ledger | None = read_json(run.ledger)
    if ledger is None:
        return
    manifests = shard_manifests(run)
    with_any = [manifest["rejected_part"] for manifest in manifests if manifest["rejected_part"]]
    for part in with_any[:MOST_FILES]:
        yield from _decoded(run, part)
    refused = [name for name, counts in ledger["destinations"].items() if counts["rejected"]][:MOST_PLACES]
    for entry in destinations_of(manifests):
        if f"{entry['account']}/{entry['region']}" in refused:
            receipts = Receipts(run, entry["account"], entry["region"], entry["parts"])
            for part in receipts.rejected_names[-MOST_FILES:]:
                for line in _decoded(run, part):
                    if line["part"] in entry["parts"]:
                        yield line


def _decoded(run: RunFolder, part: str) -> Iterator[dict[str, Any]]:
    for line in itertools.islice(read_lines(run.rejected / part), _MOST_LINES):
        yield msgspec.json.decode(line, type=dict)


def _rejected(run_id: str, line: dict[str, Any]) -> Rejected:
    finding = line.get("finding")
    title = finding.get("Title") if isinstance(finding, dict) else None
    return Rejected(
        run_id=run_id,
        account=_text(line, "account", 20),
        region=_text(line, "region", 40),
        code=_text(line, "code", LONGEST_CODE),
        message=_text(line, "message", _LONGEST_MESSAGE),
        title=safe(title, _LONGEST_TITLE) if isinstance(title, str) else "",
        id=_text(line, "id", LONGEST_ID),
    )


def _text(line: dict[str, Any], name: str, limit: int) -> str:
    value = line.get(name)
    return "" if value is None else safe(value, limit)


__all__ = ["MOST_FILES", "MOST_PLACES", "MOST_REJECTED", "MOST_RUNS", "Rejected", "Snapshot", "read_snapshot"]
