"""The interface of an output format: it turns a record, its plugin and its resource into the bytes of a finding.

The transform reads, joins, routes, counts and writes; only the format knows what a finding looks like. To add a format,
write a class with these methods and pass it in an operator (the existing one is
:class:`airflow_provider_tenable.asff.mapper.AsffMapper`).
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from airflow_provider_tenable.guards.arns import Arn
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow
from airflow_provider_tenable.tenable_vm.plugin_traits import PluginTraits
from airflow_provider_tenable.tenable_vm.records import Vulnerability


class Mapped(Protocol):
    """A resource that a format has prepared for all its findings. The transform uses these attributes for routing."""

    account: str
    region: str
    is_ec2: bool
    is_typed: bool


PluginT = TypeVar("PluginT")
ResourceT = TypeVar("ResourceT", bound=Mapped)


class Mapper(Protocol[PluginT, ResourceT]):
    """An output format. Prepared plugins and resources are cached and passed in again for the next records."""

    def plugin(self, data: bytes) -> PluginT:
        """Prepare a plugin. :raises ValueError, RecursionError: it cannot be read; the text says why."""

    def weight(self, plugin: PluginT) -> int:
        """The approximate memory of a prepared plugin in bytes, without the JSON that it was read from."""

    def traits(self, plugin: PluginT) -> PluginTraits:
        """What a scope asks of a plugin."""

    def shows_output(self, plugin: PluginT) -> bool:
        """Whether findings of the plugin may show its output; if not, its stored records must not contain it either."""

    def without_output(self, record: bytes) -> bytes:
        """An unreadable record, without anything that may be its output."""

    def ec2_resource(self, row: AssetRow) -> ResourceT:
        """Prepare an EC2 instance whose account and Region are known."""

    def other_resource(self, row: AssetRow, *, account: str, region: str) -> ResourceT:
        """Prepare an asset that is not an EC2 instance, to be reported in the given account and Region."""

    def aws_resource(self, row: AssetRow, arn: Arn) -> ResourceT:
        """Prepare an asset that is another AWS resource, to be reported in its own account and Region."""

    def product(self, resource: ResourceT, *, region: str) -> str:
        """The ARN of the product under which a resource's findings are reported in the hub of a Region."""

    def precedence(self, finding: bytes) -> tuple[str, str]:
        """The id of a finding, and a string that orders findings with the same id: the greatest one is sent."""

    def finding(
        self, record: Vulnerability, plugin: PluginT, resource: ResourceT, product: str, severity: int | None
    ) -> tuple[bytes, bytes]:
        """The finding of a record, and what is compared of it between runs
        (:mod:`airflow_provider_tenable.asff.row`); without the latter (``b""``), it is sent by every run.

        :raises UnmappableError: the record cannot be mapped; the message contains the reason.
        """
