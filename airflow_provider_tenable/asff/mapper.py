"""ASFF as an output format of the transform (``transform/mapper.py`` says what one is)."""

from __future__ import annotations

import msgspec

from airflow_provider_tenable import aws
from airflow_provider_tenable.asff import compliance, plugin_output, resource, was
from airflow_provider_tenable.asff.application import application_resource
from airflow_provider_tenable.asff.finding import MappingOptions, finding_and_row
from airflow_provider_tenable.asff.owner import OwnerRule, with_owner
from airflow_provider_tenable.asff.plugin import PluginParts, decode_plugin, plugin_parts
from airflow_provider_tenable.asff.resource import Resource
from airflow_provider_tenable.asff.was_plugin import decode_was_plugin, was_plugin_parts
from airflow_provider_tenable.guards.arns import Arn
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow
from airflow_provider_tenable.tenable_vm.compliance import Compliance
from airflow_provider_tenable.tenable_vm.plugin_traits import PluginTraits
from airflow_provider_tenable.tenable_vm.records import Vulnerability
from airflow_provider_tenable.tenable_vm.was import WasFinding


class _Rank(msgspec.Struct, rename="pascal"):
    id: str
    record_state: str
    updated_at: str


_rank_of = msgspec.json.Decoder(_Rank).decode


class AsffMapper:
    """Maps records to AWS Security Finding Format.

    :param options: what the user can choose about the mapping.
    :param product: ``company/product`` or ``default``.
    :param owners: by which rule findings get an owner; None: they have none.
    """

    def __init__(self, options: MappingOptions, product: str, owners: OwnerRule | None = None) -> None:
        self._options = options
        self._product = product
        self._owners = owners

    def plugin(self, data: bytes) -> PluginParts:
        return plugin_parts(decode_plugin(data))

    def weight(self, plugin: PluginParts) -> int:
        # Four times the CVEs as JSON.
        found = plugin.encoded_vulnerabilities
        return 4 * len(bytes(found)) if found else 0

    def traits(self, plugin: PluginParts) -> PluginTraits:
        return plugin.traits

    def shows_output(self, plugin: PluginParts) -> bool:
        return self._options.plugin_output and plugin.shows_output

    def without_output(self, record: bytes) -> bytes:
        return plugin_output.without_output(record)

    def ec2_resource(self, row: AssetRow) -> Resource:
        return self._owned(resource.ec2_resource(row), row)

    def other_resource(self, row: AssetRow, *, account: str, region: str) -> Resource:
        return self._owned(resource.other_resource(row, account=account, region=region), row)

    def aws_resource(self, row: AssetRow, arn: Arn) -> Resource:
        return self._owned(resource.aws_resource(row, arn), row)

    def _owned(self, found: Resource, row: AssetRow | None) -> Resource:
        return found if self._owners is None else with_owner(found, self._owners.owner_of(row, found.account))

    def product(self, resource: Resource, *, region: str) -> str:
        return aws.product_arn(self._product, region=region, account=resource.account)

    def precedence(self, finding: bytes) -> tuple[str, str]:
        # Open before fixed: what one asset of an instance still has must not be archived by another one. Then the later
        # one;
        # times have three or six digits of a second, and sort as texts once they are padded.
        rank = _rank_of(finding)
        return rank.id, f"{int(rank.record_state == 'ACTIVE')}{rank.updated_at.removesuffix('Z').ljust(26, '0')}"

    def finding(
        self, record: Vulnerability, plugin: PluginParts, resource: Resource, product: str, severity: int | None
    ) -> tuple[bytes, bytes]:
        return finding_and_row(record, plugin, resource, product, self._options, severity)


class AsffComplianceMapper(AsffMapper):
    """Maps compliance records (:class:`~airflow_provider_tenable.transform.compliance.ComplianceMapper`)."""

    def __init__(self, options: compliance.AuditOptions, product: str, owners: OwnerRule | None = None) -> None:
        super().__init__(MappingOptions(latest=options.latest), product, owners)
        self._audit_options = options
        self._checks = compliance.Checks()

    def account_resource(self, account: str, *, region: str, partition: str, asset: str, gone: str = "") -> Resource:
        found = resource.account_resource(account, region=region, partition=partition, asset=asset, gone=gone)
        return self._owned(found, None)

    def compliance(self, record: Compliance, resource: Resource, product: str) -> tuple[bytes, bytes, int]:
        return compliance.finding_and_row(record, self._checks, resource, product, self._audit_options)


class AsffWasMapper(AsffMapper):
    """Maps web application findings (:class:`~airflow_provider_tenable.transform.was.WasMapper`)."""

    def plugin(self, data: bytes) -> PluginParts:
        return was_plugin_parts(decode_was_plugin(data))

    def without_output(self, record: bytes) -> bytes:
        return plugin_output.without_output(record, ("output", "proof", "payload"))

    def application(self, row: AssetRow, host: str, *, account: str, region: str, arn: Arn | None) -> Resource:
        return self._owned(application_resource(row, host, account=account, region=region, arn=arn), row)

    def was(
        self, record: WasFinding, plugin: PluginParts, resource: Resource, product: str, severity: int | None
    ) -> tuple[bytes, bytes]:
        return was.finding_and_row(record, plugin, resource, product, self._options, severity)
