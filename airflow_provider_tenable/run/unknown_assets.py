"""Fails a run most of whose records belong to assets that Tenable does not export.

A few records always wait for assets that Tenable publishes later. But a run whose asset export is empty or short, or
whose API user may not see the assets, would park nearly everything, succeed, and give all of it up after a week. It
fails before anything is sent, parked or moved, and the next run exports all assets again.
"""

from __future__ import annotations

import logging

from airflow_provider_tenable import config
from airflow_provider_tenable.assets import index
from airflow_provider_tenable.exceptions import StagingError, UnknownAssetsError
from airflow_provider_tenable.export.store import StagedExport
from airflow_provider_tenable.run.plan_file import RunPlan
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.transform.manifest import ShardManifest

log = logging.getLogger(__name__)

#: Missing assets that never fail a run, whatever their share of its records: a run may be little more than a new host.
TOLERATED_ASSETS = 10


def check_assets(run: RunFolder, plan: RunPlan, manifests: list[ShardManifest]) -> None:
    """Fail a run that parked most of the records that it exported. Records that earlier runs parked do not count.

    :raises UnknownAssetsError: how many of how many records, the usual causes, and what to do.
    """
    ratio = config.get("max_parked_ratio")
    exported = [each for each in manifests if not each["from_pool"]]
    parked, read = sum(each["parked"] for each in exported), sum(each["read"] for each in exported)
    # The last manifest, which chooses among duplicates, has read nothing.
    if ratio >= 1 or not parked or parked / read <= ratio:
        return
    # A shard that an older release transformed did not count its missing assets: they pass for few.
    missing, known = sum(each.get("missing_assets", 0) for each in exported), _known_assets(run, plan)
    if missing <= TOLERATED_ASSETS and known:
        log.warning(
            "%d of %d records are parked: Tenable does not export their %d assets. This is tolerated for up to %d "
            "assets.",
            parked,
            read,
            missing,
            TOLERATED_ASSETS,
        )
        return
    index.require_full_export(run)
    raise UnknownAssetsError(
        f"{parked:,} of {read:,} exported records belong to {missing:,} assets that Tenable does not export, more than "
        f"[tenable] max_parked_ratio {ratio:g} allows. It exports {known or 0:,} assets. Nothing was sent or parked, "
        "and the watermark stays. Usual causes: the API user lacks 'Can View' on all or some of the assets, and "
        "Tenable omits what a user may not see; or the asset export was empty or short, which happens at Tenable "
        "from time to time. Correct the permissions if necessary, then start another run: it exports all assets "
        "again, which a cleared run does not. If these assets are missing on purpose, set [tenable] max_parked_ratio "
        "= 1."
    )


def _known_assets(run: RunFolder, plan: RunPlan) -> int | None:
    """How many assets the run had to look in; None where that is not on record."""
    assets = plan.get("assets")
    base = assets["base"] if assets else None
    try:
        state = StagedExport(run.export("assets"), "assets").state()
    except StagingError as error:
        log.warning("Cannot determine how many assets Tenable exports: %s", error)
        return None
    if state is None:
        return None
    return (base["records"] if base else 0) + sum(part.records for part in state.parts.values())


__all__ = ["TOLERATED_ASSETS", "check_assets"]
