"""Removes unneeded parts of the asset index: parts that it no longer contains, and parts of updates that were killed
before they were added.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable.assets.index_parts import files_of
from airflow_provider_tenable.exceptions import DamagedFileError, StagingError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.staging.files import names, read_json
from airflow_provider_tenable.staging.index_files import MANIFEST
from airflow_provider_tenable.staging.layout import RunFolder

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

log = logging.getLogger(__name__)


def remove_unneeded_parts(run: RunFolder) -> list[str]:
    """Remove the parts that neither the index nor the plan of any run names. Complete runs count too: they can be
    replayed as long as their folders exist.

    :return: their names.
    """
    try:
        manifest = read_json(run.asset_index / MANIFEST) or {}
        needed = {
            part["name"] for kind in ("full", "merged", "updates") for part in manifest.get(kind, [])
        } | _named_by_runs(run)
        retired = manifest.get("retired", {})
    except (StagingError, OSError, TypeError, KeyError, AttributeError) as error:
        log.warning(
            "No part of the asset index is removed, because it is unknown which parts are needed: %s", safe(error)
        )
        return []
    return files_of(run).remove_unneeded(needed, retired)


def _named_by_runs(run: RunFolder) -> set[str]:
    named: set[str] = set()
    for name in names(run.dag_root):
        if name in RunFolder.RESERVED:
            continue
        other = run.beside(name)
        plan = _undamaged(other.plan)
        # The chunks of a complete run may be removed before its rejected findings; then nothing can be transformed
        # again.
        if plan and (_undamaged(other.ledger).get("complete") is not True or names(other.export("assets"))):
            named.update(((plan.get("assets") or {}).get("base") or {}).get("parts", []))
    return named


def _undamaged(path: ObjectStoragePath) -> dict[str, Any]:
    """A file of a run; empty if it is damaged or missing: a run without a readable plan cannot be continued, and a
    damaged ledger does not make it complete.
    """
    try:
        value = read_json(path) or {}
    except DamagedFileError as error:
        log.warning("The asset index is cleaned up without considering that run: %s", error)
        return {}
    return value if isinstance(value, dict) else {}
