"""Whether a full asset export has fewer assets than the one before: usually a sign that the API user sees less.

Tenable silently omits what a user may not see. A run over the rest would move the watermark past findings that were
not exported. So before anything is mapped, the number of assets is compared with the last full export
(``{staging}/{dag_id}/deployment/assets.json``), and so is whether any of them has an AWS account.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypedDict

from airflow_provider_tenable import config
from airflow_provider_tenable.assets.parquet import read_table
from airflow_provider_tenable.exceptions import FewerAssetsError, StagingError
from airflow_provider_tenable.export.store import StagedExport, staged_parts
from airflow_provider_tenable.run.plan_file import RunPlan
from airflow_provider_tenable.staging.files import read_json, write_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.tenable_vm.times import utc

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

log = logging.getLogger(__name__)

#: Number of missing assets that is tolerated whatever their share, unless ``max_shrink_ratio`` is 0: in a small estate,
#: a few hosts are a large share.
TOLERATED = 10


_WHAT_TO_DO = (
    "Nothing was mapped or imported, and the watermark stays. Usual causes: the API user lost 'Can View' on assets "
    "(Tenable omits what a user may not see), a permission, tag or network of these assets changed, or a connector or "
    "scanner was removed. Restore it and clear the run with all of its tasks, which exports again. If the assets are "
    "gone on purpose, trigger the DAG once with accept_fewer_assets on; later runs then compare with what that run has "
    "exported."
)


class FullExport(TypedDict):
    """The last full asset export.

    :ivar source: the Tenable instance and API user.
    :ivar records: assets.
    :ivar aws: those with an AWS account.
    :ivar at: when it was asked for, unix seconds.
    """

    source: str
    records: int
    aws: int
    at: float
    run_id: str


def check_assets(run: RunFolder, plan: RunPlan) -> None:
    """Compare a run's full asset export with the last one, and keep its numbers for the next. May be repeated.

    Does nothing where the run has exported only the assets that changed.

    :raises FewerAssetsError: more than ``[tenable] max_shrink_ratio`` fewer assets, or no AWS account any more.
    """
    assets = plan.get("assets")
    if assets is None or assets["base"] is not None:
        return
    state = StagedExport(run.export("assets"), "assets").state()
    if state is None:
        return
    now: FullExport = {
        "source": assets["source"],
        "records": sum(part.records for part in state.parts.values()),
        "aws": _with_account(staged_parts(str(run.export("assets")), "assets")),
        "at": assets["planned_at"],
        "run_id": run.run_id,
    }
    before = _last(run)
    if before is not None and before["source"] == now["source"] and not plan["settings"].get("accept_fewer_assets"):
        try:
            _compare(before, now)
        except FewerAssetsError:
            # What is staged lacks the same assets: the run, cleared, exports again.
            write_json(run.fewer_assets, now)
            raise
    if before is None or before["source"] != now["source"] or before["at"] <= now["at"]:
        write_json(run.full_export, now)


def _compare(before: FullExport, now: FullExport) -> None:
    ratio = config.get("max_shrink_ratio")
    fewer = before["records"] - now["records"]
    of = f"the last full export, of {utc(before['at'])}, had {before['records']:,}"
    if fewer > ratio * before["records"] and (fewer > TOLERATED or not ratio or not now["records"]):
        raise FewerAssetsError(
            f"Tenable exported {now['records']:,} assets; {of}: {fewer / before['records']:.0%} fewer, more than "
            f"[tenable] max_shrink_ratio {ratio:g} allows. {_WHAT_TO_DO}"
        )
    if ratio < 1 and before["aws"] and not now["aws"]:
        raise FewerAssetsError(
            f"None of the {now['records']:,} assets that Tenable exported has an AWS account; {of}, {before['aws']:,} "
            f"of them with one. {_WHAT_TO_DO}"
        )


def _with_account(parts: Iterable[ObjectStoragePath]) -> int:
    owners = (read_table(part, ("owner_id",)).column("owner_id") for part in parts)
    return sum(len(column) - column.null_count for column in owners)


def _last(run: RunFolder) -> FullExport | None:
    try:
        last: FullExport | None = read_json(run.full_export, advice="")
    except StagingError as error:
        log.warning("%s So nothing is compared, and this full export replaces it.", error)
        return None
    return last


__all__ = ["check_assets"]
