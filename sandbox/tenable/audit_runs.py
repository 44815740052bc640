"""What completed audits of AWS accounts leave behind: results that the compliance export has."""

from __future__ import annotations

from dataclasses import replace

from sandbox.tenable.audit_results import Audits, Result
from sandbox.tenable.audits import RESULTS
from sandbox.tenable.scan_book import ScanBook, ScanConfig, ScanRun

#: Statuses by the severity that the result has in the scan.
_STATUSES = {3: "FAILED", 2: "WARNING", 1: "PASSED"}


def settle(scans: ScanBook, audits: Audits, now: float) -> None:
    """Add the results of audits that have been completed since the last call."""
    for config in scans.scans.values():
        for run in config.runs:
            if run.audit_asset and not run.is_settled and run.status(now) == "completed":
                run.is_settled = True
                if run.hosts:
                    _add(audits, config, run, run.audit_asset, now)


def _add(audits: Audits, config: ScanConfig, run: ScanRun, asset: str, now: float) -> None:
    ended = float(run.ended(now) or now)
    statuses = [_STATUSES[each["severity"]] for each in RESULTS for _ in range(each["count"])]
    for audit in config.body["audits"].get("feed", {}).get("add", []):
        audit_file = audit["id"].partition("_")[2]
        for number, status in enumerate(statuses):
            key = (asset, audit_file, number)
            found = audits.results.get(key) or Result(asset, audit_file, number, status, True, ended, ended, ended)
            audits.results[key] = replace(found, status=status, state="OPEN", last_seen=ended, indexed=ended)
