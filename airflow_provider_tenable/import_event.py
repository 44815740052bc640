"""The asset that a complete import updates."""

from __future__ import annotations

from airflow_provider_tenable.run.asset_event import announce, event_extra, imported_findings, triggering_imports

__all__ = ["announce", "event_extra", "imported_findings", "triggering_imports"]
