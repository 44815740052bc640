"""What the transform asks of an output format: a record, its plugin and its resource in, the bytes of a finding out.

The transform reads, joins, routes, counts and writes; the format alone knows what a finding looks like. Another format
is another class with these methods, which the operator hands over
(:class:`airflow_provider_tenable.asff.mapper.AsffMapper` is the one that exists).
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from airflow_provider_tenable.tenable_vm.asset_row import AssetRow
from airflow_provider_tenable.tenable_vm.records import Vulnerability


class Mapped(Protocol):
    """A resource as a format has prepared it, for all findings about it. The transform routes by these."""

    account: str
    region: str
    is_ec2: bool


PluginT = TypeVar("PluginT")
ResourceT = TypeVar("ResourceT", bound=Mapped)


class Mapper(Protocol[PluginT, ResourceT]):
    """An output format. What it prepares, a plugin or a resource, is kept and handed in again for the next record."""

    def plugin(self, data: bytes) -> PluginT:
        """Prepare a plugin. :raises ValueError, RecursionError: it cannot be read; the text says why."""

    def weight(self, plugin: PluginT) -> int:
        """About how many bytes of memory a prepared plugin takes besides the JSON that it was read from."""

    def shows_output(self, plugin: PluginT) -> bool:
        """Whether findings of the plugin may show its output; else no record of it that is kept may have it either."""

    def without_output(self, record: bytes) -> bytes:
        """A record that could not be read, without what may be its output."""

    def ec2_resource(self, row: AssetRow) -> ResourceT:
        """Prepare an EC2 instance whose account and Region are known."""

    def other_resource(self, row: AssetRow, *, account: str, region: str) -> ResourceT:
        """Prepare an asset that is not one, to be reported in the given account and Region."""

    def product(self, resource: ResourceT, *, region: str) -> str:
        """Under which product a resource's findings are reported in the hub of a Region."""

    def precedence(self, finding: bytes) -> tuple[str, str]:
        """The id of a finding, and a text by which findings of one id are ordered: the greatest is to be sent."""

    def finding(
        self, record: Vulnerability, plugin: PluginT, resource: ResourceT, product: str, severity: int | None
    ) -> bytes:
        """The finding of a record.

        :raises UnmappableError: there can be none; the text says why.
        """
