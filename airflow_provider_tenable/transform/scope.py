"""Which vulnerabilities a DAG imports, beyond their severities and states: by their plugins.

What Tenable can filter is filtered there (:meth:`Scope.filters`); the rest is left out by the transform
(:class:`~airflow_provider_tenable.transform.scoped.ScopedTransform`), and counted under a reason.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from airflow_provider_tenable.tenable_vm.plugin_traits import PluginTraits

# Why a record is left out.
PLUGIN = "plugin_not_chosen"
FAMILY = "plugin_family_not_chosen"
NOT_EXPLOITED = "not_known_exploited"
VPR = "vpr_below_minimum"
REASONS = (PLUGIN, FAMILY, NOT_EXPLOITED, VPR)


class Scope(Struct, frozen=True, omit_defaults=True):
    """A scope. What is empty leaves nothing out.

    :ivar plugin_families: as Tenable writes them; its filter distinguishes upper and lower case, and so do we.
    :ivar min_vpr: plugins without a rating are below any minimum.
    """

    plugin_ids: tuple[int, ...] = ()
    exclude_plugin_ids: tuple[int, ...] = ()
    plugin_families: tuple[str, ...] = ()
    exclude_plugin_families: tuple[str, ...] = ()
    known_exploited_only: bool = False
    min_vpr: float | None = None

    def filters(self) -> dict[str, Any]:
        """What Tenable is asked to leave out (API docs: POST /vulns/export). It has no filter for the opposite of ids
        and families, nor for CISA's catalogue.
        """
        found: dict[str, Any] = {}
        if self.plugin_ids:
            found["plugin_id"] = list(self.plugin_ids)
        if self.plugin_families:
            found["plugin_family"] = list(self.plugin_families)
        if self.min_vpr is not None:
            # Since July 2026 this is the rating's second version, which `vpr` of a record has as well.
            found["vpr_score"] = {"gte": self.min_vpr}
        return found

    def rest(self) -> Scope:
        """The scope without what :meth:`filters` says: what is left to do with records that Tenable has filtered.

        Tenable's own answer counts there. It is not judged again, because it may see more than a record says.
        """
        return msgspec.structs.replace(self, plugin_ids=(), plugin_families=(), min_vpr=None)

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


#: Leaves nothing out.
EVERYTHING = Scope()


def scope_in(settings: Any) -> Scope:
    """The scope of the settings in a run's plan; those of an older release have none."""
    return msgspec.convert(settings.get("scope") or {}, Scope)


__all__ = ["EVERYTHING", "FAMILY", "NOT_EXPLOITED", "PLUGIN", "REASONS", "VPR", "Scope", "scope_in"]
