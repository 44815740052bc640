"""Assets that have an instance id but no AWS account or Region: usually found by an agent that cannot reach the
instance's metadata service, or before Tenable's AWS connector has synchronised.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_tenable.assets.account import NO_ACCOUNT, NO_REGION, skip_reason
from airflow_provider_tenable.assets.parquet import read_table
from airflow_provider_tenable.assets.placement import CONTRADICTS_TENABLE, Place
from airflow_provider_tenable.aws import ACCOUNT, region_of
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath


def unplaced_assets(parts: Iterable[ObjectStoragePath]) -> dict[str, AssetRow]:
    """The assets that EC2 could place, by id. If several parts contain an asset, its last row counts, as everywhere.

    :raises StagingError: a part is missing or damaged.
    """
    import pyarrow.compute as pc

    found: dict[str, AssetRow] = {}
    for part in parts:
        table = read_table(part)
        last = {asset: number for number, asset in enumerate(table["id"].to_pylist())}
        for asset in found.keys() & last.keys():
            del found[asset]
        named = pc.and_(pc.is_valid(table["instance_id"]), pc.invert(_is_complete(table)))
        numbers = pc.indices_nonzero(named).to_pylist()
        for number, values in zip(numbers, table.take(numbers).to_pylist(), strict=True) if numbers else ():
            row = AssetRow(**values)
            if last[row.id] == number and can_be_placed(row):
                found[row.id] = row
    return found


def _is_complete(table: object) -> object:
    """Whether a row names an account, and a Region or zone: what nearly all instances do, so that it must be quick."""
    import pyarrow.compute as pc

    def named(column: str) -> object:
        return pc.not_equal(pc.fill_null(table[column], ""), "")  # type: ignore[index]

    return pc.and_(named("owner_id"), pc.or_(named("region"), named("availability_zone")))


def can_be_placed(row: AssetRow) -> bool:
    """Whether EC2 may complete what Tenable says of an asset. What Tenable does say is never replaced, not even a text
    that is no account or Region.
    """
    if row.gone or skip_reason(row) not in (NO_ACCOUNT, NO_REGION):
        return False
    has_region = bool(row.region or row.availability_zone)
    return (not row.owner_id or ACCOUNT.fullmatch(row.owner_id) is not None) and (
        not has_region or region_of(row.region, row.availability_zone) is not None
    )


def placed(row: AssetRow, place: Place) -> AssetRow | str:
    """The row with its account and Region, or the reason why they cannot be its own."""
    region = region_of(row.region, row.availability_zone)
    if row.owner_id not in (None, "", place.account) or region not in (None, place.region):
        return CONTRADICTS_TENABLE
    return msgspec.structs.replace(row, owner_id=place.account, region=region or place.region)


class Question(msgspec.Struct, frozen=True):
    """Where an instance may be, as far as Tenable says: the account and the Region; empty: unknown."""

    account: str
    region: str

    def allows(self, place: Place) -> bool:
        """Whether the instance may be at a place."""
        return self.account in ("", place.account) and self.region in ("", place.region)


def questions(assets: Mapping[str, AssetRow]) -> dict[str, Question]:
    """What to ask EC2, by instance id. Of several assets of an instance, only what all of them say counts."""
    found: dict[str, Question] = {}
    for row in assets.values():
        instance, region = row.instance_id or "", region_of(row.region, row.availability_zone) or ""
        before = found.get(instance)
        account = row.owner_id or ""
        if before is not None:
            account = account if account == before.account else ""
            region = region if region == before.region else ""
        found[instance] = Question(account, region)
    return found


__all__ = ["Question", "can_be_placed", "placed", "questions", "unplaced_assets"]
