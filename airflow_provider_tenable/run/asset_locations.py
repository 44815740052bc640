"""Where the staged assets are: their AWS accounts and Regions, counted. A few thousand locations stand for millions of
assets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_tenable.assets.account import skip_reason
from airflow_provider_tenable.assets.parquet import read_table
from airflow_provider_tenable.aws import INSTANCE, region_of
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

_COLUMNS = ("owner_id", "region", "availability_zone", "instance_id")
#: Stands for every valid instance id.
_ANY_INSTANCE = "i-00000000"


class Location(NamedTuple):
    """The account, Region and availability zone of assets as Tenable reports them, and whether the assets are EC2
    instances.
    """

    owner_id: str | None
    region: str | None
    availability_zone: str | None
    is_instance: bool

    @property
    def skip_reason(self) -> str | None:
        """Why records of these assets are skipped; None if they are EC2 instances with a known account and Region."""
        return skip_reason(
            AssetRow(
                id="",
                owner_id=self.owner_id,
                region=self.region,
                availability_zone=self.availability_zone,
                instance_id=_ANY_INSTANCE if self.is_instance else None,
            )
        )

    @property
    def resource_region(self) -> str:
        """The Region of the assets; empty if unknown."""
        return region_of(self.region, self.availability_zone) or ""


def count_locations(parts: Iterable[ObjectStoragePath]) -> Counter[Location]:
    """The number of assets by location. An asset that changed since the last full export counts twice, which hardly
    affects a share.

    :raises StagingError: a part is missing or damaged.
    """
    counts = Counter[Location]()
    for part in parts:
        columns = read_table(part, _COLUMNS).to_pydict()
        *places, instances = (columns[name] for name in _COLUMNS)
        valid = (INSTANCE.fullmatch(instance or "") is not None for instance in instances)
        counts.update(map(Location._make, zip(*places, valid, strict=True)))
    return counts


__all__ = ["Location", "count_locations"]
