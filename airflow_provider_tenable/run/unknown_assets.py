"""Fails a run if most of its records belong to assets that Tenable does not export.

A few records always wait for assets that Tenable publishes later. But if the asset export is empty or incomplete, or
the API user cannot see the assets, a run would park nearly everything, succeed, and give up all of it after a week.
Such a run fails before anything is sent, parked or moved, and the next run exports all assets again.
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

#: Number of missing assets that never fails a run, whatever the share of records: a run may contain little more than a
#: new host.
TOLERATED_ASSETS = 10


def check_assets(run: RunFolder, plan: RunPlan, manifests: list[ShardManifest]) -> None:
    """Fail a run that parked most of the records that it exported. Records that earlier runs parked do not count.

    :raises UnknownAssetsError: the message contains the numbers of records, the usual causes, and what to do.
    """
    ratio = config.get("max_parked_ratio")
    exported = [manifest for manifest in manifests if not manifest["from_pool"]]
    parked, read = sum(manifest["parked"] for manifest in exported), sum(manifest["read"] for manifest in exported)
    # The last manifest, which selects among duplicates, has not read any records.
    if not parked or parked / read <= ratio:
        return
    # Shards that an older release transformed did not count their missing assets, so they count as few.
    missing, known = sum(manifest.get("missing_assets", 0) for manifest in exported), _known_assets(run, plan)
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
    """The number of assets available to the run; None if it is not recorded."""
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
