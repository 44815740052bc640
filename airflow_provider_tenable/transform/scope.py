"""Which vulnerabilities a DAG imports, beyond their severities and states: by their plugins, assets, sources and
packages.

What Tenable can filter is filtered there (:meth:`Scope.filters`); the rest is left out by the transform
(:class:`~airflow_provider_tenable.transform.scoped.ScopedTransform`), and counted under a reason.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from airflow_provider_tenable.tenable_vm.plugin_traits import PluginTraits
from airflow_provider_tenable.tenable_vm.records import NetworkedVulnerability
from airflow_provider_tenable.tenable_vm.software import is_only_potential

# Why a record is left out.
PLUGIN = "plugin_not_chosen"
FAMILY = "plugin_family_not_chosen"
NOT_EXPLOITED = "not_known_exploited"
VPR = "vpr_below_minimum"
TAGS = "asset_tags_not_chosen"
SOURCE = "source_not_chosen"
NETWORK = "network_not_chosen"
POTENTIAL = "only_potential_packages"
REASONS = (PLUGIN, FAMILY, NOT_EXPLOITED, VPR, TAGS, SOURCE, NETWORK, POTENTIAL)

# Values of potential_packages.
IMPORT, SKIP = "import", "skip"


class Scope(Struct, frozen=True, omit_defaults=True):
    """A scope. What is empty leaves nothing out.

    :ivar plugin_families: as Tenable writes them; its filter distinguishes upper and lower case, and so do we.
    :ivar min_vpr: plugins without a rating are below any minimum.
    :ivar asset_tags: Tenable's tags: category -> values. An asset has one of the values of each category.
    :ivar sources: what has found it, in upper case, as Tenable names it.
    :ivar network_ids: uuids in lower case.
    :ivar potential_packages: :data:`SKIP` leaves out what was found in packages of none of which Tenable is certain.
    """

    plugin_ids: tuple[int, ...] = ()
    exclude_plugin_ids: tuple[int, ...] = ()
    plugin_families: tuple[str, ...] = ()
    exclude_plugin_families: tuple[str, ...] = ()
    known_exploited_only: bool = False
    min_vpr: float | None = None
    asset_tags: dict[str, tuple[str, ...]] = {}
    sources: tuple[str, ...] = ()
    network_ids: tuple[str, ...] = ()
    potential_packages: str = IMPORT

    def filters(self) -> dict[str, Any]:
        """What Tenable is asked to leave out (API docs: POST /vulns/export). It has no filter for the opposite of ids
        and families, nor for CISA's catalogue, and one for a single network. What its filter of potential findings
        takes it does not say.
        """
        found: dict[str, Any] = {}
        if self.plugin_ids:
            found["plugin_id"] = list(self.plugin_ids)
        if self.plugin_families:
            found["plugin_family"] = list(self.plugin_families)
        if self.min_vpr is not None:
            # Since July 2026 this is the rating's second version, which `vpr` of a record has as well.
            found["vpr_score"] = {"gte": self.min_vpr}
        if self.sources:
            found["source"] = list(self.sources)
        if len(self.network_ids) == 1:
            found["network_id"] = self.network_ids[0]
        return {**found, **{f"tag.{category}": list(values) for category, values in self.asset_tags.items()}}

    def rest(self) -> Scope:
        """The scope without what :meth:`filters` says: what is left to do with records that Tenable has filtered.

        Tenable's own answer counts there. It is not judged again, because it may see more than a record says.
        """
        several = self.network_ids if len(self.network_ids) > 1 else ()
        return msgspec.structs.replace(
            self, plugin_ids=(), plugin_families=(), min_vpr=None, asset_tags={}, sources=(), network_ids=several
        )

    def leaves_out_plugin(self, plugin: int) -> bool:
        """Whether no finding of a plugin is in the scope, as far as its id says."""
        return plugin in self.exclude_plugin_ids or (bool(self.plugin_ids) and plugin not in self.plugin_ids)

    def why_not(self, plugin: PluginTraits) -> str:
        """Why the findings of a plugin are left out, one of :data:`REASONS`; empty if they are not."""
        if self.leaves_out_plugin(plugin.id):
            return PLUGIN
        family = plugin.family
        if family in self.exclude_plugin_families or (self.plugin_families and family not in self.plugin_families):
            return FAMILY
        if self.known_exploited_only and not plugin.is_known_exploited:
            return NOT_EXPLOITED
        if self.min_vpr is not None and (plugin.vpr is None or plugin.vpr < self.min_vpr):
            return VPR
        return ""

    def why_not_found(self, record: NetworkedVulnerability) -> str:
        """Why a record is left out, whatever its plugin is; empty if it is not."""
        if self.leaves_out_source(record.source):
            return SOURCE
        if self.network_ids and (record.asset.network_id or "").lower() not in self.network_ids:
            return NETWORK
        if self.potential_packages == SKIP and is_only_potential(bytes(record.software_vulns)):
            return POTENTIAL
        return ""

    def leaves_out_source(self, source: str | None) -> bool:
        """Whether what a source has found is left out."""
        return bool(self.sources) and (source or "").strip().upper() not in self.sources

    def leaves_out_tags(self, tags: Mapping[str, Collection[str]]) -> bool:
        """Whether an asset with these tags, category -> values, is left out."""
        return any(not set(values) & set(tags.get(category, ())) for category, values in self.asset_tags.items())


#: Leaves nothing out.
EVERYTHING = Scope()


def has_scope(settings: Any, destinations: Iterable[Any]) -> bool:
    """Whether anything is left out by the settings and the destinations in a run's plan."""
    return bool(settings.get("scope")) or any(each.get("scope") for each in destinations)


def scope_in(settings: Any) -> Scope:
    """The scope of the settings in a run's plan; those of an older release have none."""
    return msgspec.convert(settings.get("scope") or {}, Scope)


__all__ = ["EVERYTHING", "FAMILY", "NOT_EXPLOITED", "PLUGIN", "REASONS", "VPR", "Scope", "has_scope", "scope_in"]
