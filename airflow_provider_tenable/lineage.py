"""The handlers of the asset URI scheme `tenable`."""

from __future__ import annotations

from airflow_provider_tenable.observability.lineage import convert_asset_to_openlineage, sanitize_tenable_uri

__all__ = ["convert_asset_to_openlineage", "sanitize_tenable_uri"]
