"""The assets that a complete import and a completed scan update."""

from __future__ import annotations

from airflow_provider_tenable.run.asset_event import (
    announce,
    announce_audits,
    announce_scan,
    completed_audits,
    completed_scan,
    event_extra,
    imported_findings,
    scans_from_option,
    triggering_imports,
)

__all__ = [
    "announce",
    "announce_audits",
    "announce_scan",
    "completed_audits",
    "completed_scan",
    "event_extra",
    "imported_findings",
    "scans_from_option",
    "triggering_imports",
]
