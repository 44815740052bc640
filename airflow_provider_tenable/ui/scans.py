"""The last scans of ``tenable_scan``, and the AWS accounts that audits examine: what their tasks have recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from airflow_provider_tenable.exceptions import ConfigurationError, StagingError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.scan.run_state import RunState
from airflow_provider_tenable.staging.files import names, read_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.location import open_path
from airflow_provider_tenable.ui.facts import DagRunFacts

SCAN_DAG, AUDIT_DAG = "tenable_scan", "tenable_aws_audit"
#: Runs, and audits, on the page: each is a file.
MOST_SCANS, MOST_AUDITS = 5, 10
_TASK = "run_scan"
_LONGEST = 120


@dataclass(frozen=True)
class Scanned:
    """A run of a scan, as far as its task got.

    :ivar name: of the scan; empty until the run has ended.
    :ivar status: Tenable's last status of it; empty if it was not launched.
    :ivar compliance: result -> checks of audits; empty for a scan without.
    :ivar severities: severity -> vulnerabilities.
    """

    run: DagRunFacts
    name: str
    status: str
    compliance: dict[str, int]
    severities: dict[str, int]


@dataclass(frozen=True)
class Audit:
    """An AWS account, and what audits it."""

    account: str
    name: str
    audits: tuple[str, ...]


@dataclass(frozen=True)
class Scans:
    """What is on record; ``more_audits``: audits that are not shown."""

    scans: list[Scanned]
    audits: list[Audit]
    more_audits: int
    problems: list[str]


def read_scans(staging: str, runs: list[DagRunFacts], *, audits: bool) -> Scans:
    """Read the records of runs of :data:`SCAN_DAG`, and those of audits.

    :param staging: URI of the staging area.
    :param runs: the latest first.
    :param audits: whether the user may see those of audits.
    """
    found = Scans([], [], 0, [])
    try:
        found.scans.extend(_scanned(staging, run) for run in runs[:MOST_SCANS])
        folder = open_path(staging) / RunFolder.AUDITS
        files = names(folder) if audits else []
        for name in files[:MOST_AUDITS]:
            found.audits.append(_audit(read_json(folder / name, advice="")))
        return Scans(found.scans, found.audits, max(len(files) - MOST_AUDITS, 0), [])
    except (StagingError, ConfigurationError, OSError, msgspec.MsgspecError) as error:
        return Scans(found.scans, found.audits, 0, [safe(error, 600)])
    except Exception as error:  # noqa: BLE001 - a file system, and the connection it uses, raise errors of their own.
        return Scans(found.scans, found.audits, 0, [f"The staging area cannot be read: {safe(error, 600)}"])


def _scanned(staging: str, run: DagRunFacts) -> Scanned:
    value = read_json(RunFolder(staging, SCAN_DAG, run.run_id).job(_TASK))
    state = RunState.from_json(value) if isinstance(value, dict) else RunState()
    result: dict[str, Any] = state.result if isinstance(state.result, dict) else {}
    status = result.get("status") or state.failure or state.status or ""
    name = safe(result.get("name") or "", _LONGEST)
    return Scanned(
        run, name, safe(status, _LONGEST), _counts(result.get("compliance")), _counts(result.get("severities"))
    )


def _counts(value: Any) -> dict[str, int]:
    entries = value.items() if isinstance(value, dict) else ()
    # Booleans are integers to Python, and no count.
    return {safe(name, 40): count for name, count in list(entries)[:10] if type(count) is int and count}


def _audit(value: Any) -> Audit:
    entry: dict[str, Any] = value if isinstance(value, dict) else {}
    audits = entry.get("audits")
    return Audit(
        account=safe(entry.get("account") or "", _LONGEST),
        name=safe(entry.get("name") or "", _LONGEST),
        audits=tuple(safe(each, _LONGEST) for each in audits[:10]) if isinstance(audits, list) else (),
    )


__all__ = ["AUDIT_DAG", "MOST_AUDITS", "MOST_SCANS", "SCAN_DAG", "Audit", "Scanned", "Scans", "read_scans"]
