"""Which archived findings are out of the DAG's scope: what Tenable was asked to leave out is in no export, so the
finding itself says it, as it was when it was sent last.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from airflow_provider_tenable.asff.packages import POTENTIAL
from airflow_provider_tenable.asff.product_fields import PREFIX
from airflow_provider_tenable.run.plan_file import RunPlan, kind_of_plan
from airflow_provider_tenable.state.gone import NOT_REPORTED, OUT_OF_SCOPE
from airflow_provider_tenable.tenable_vm.kinds import VULNERABILITIES
from airflow_provider_tenable.tenable_vm.plugin_traits import PluginTraits
from airflow_provider_tenable.transform.destinations import Destination
from airflow_provider_tenable.transform.routing import Router
from airflow_provider_tenable.transform.scope import EVERYTHING, SKIP, Scope, scope_in


class _Package(Struct):
    Remediation: str = ""


class _Vulnerability(Struct):
    VulnerablePackages: list[_Package] = []


def scopes_of(plan: RunPlan, account: str, region: str) -> tuple[Scope, ...]:
    """The scopes that findings in an account and Region must be in: the DAG's, and its destination's."""
    if kind_of_plan(plan) != VULNERABILITIES.name:
        # Destinations may be those of an import of vulnerabilities as well.
        return ()
    destinations = msgspec.convert(plan["destinations"], list[Destination])
    route = Router(destinations, plan["settings"]["region_routing"]).route(account, region)
    own = None if isinstance(route, str) else route[0].scope
    found = (scope_in(plan["settings"]), own or EVERYTHING)
    return tuple(scope for scope in found if scope != EVERYTHING)


def reason_of(scopes: Iterable[Scope], reason: str, finding: dict[str, Any]) -> str:
    """Why a finding is archived.

    :param scopes: of :func:`scopes_of`.
    :param reason: as planned, without having seen the finding.
    :param finding: as GetFindings returns it.
    """
    if reason != NOT_REPORTED:
        return reason
    traits = _traits_of(finding)
    if traits is None:
        return reason
    source = finding["ProductFields"].get(f"{PREFIX}source")
    left_out = any(
        scope.why_not(traits)
        or scope.leaves_out_source(source if isinstance(source, str) else "")
        or (scope.potential_packages == SKIP and _is_only_potential(finding))
        for scope in scopes
    )
    return OUT_OF_SCOPE if left_out else reason


def _is_only_potential(finding: dict[str, Any]) -> bool:
    """Whether a finding names packages, and says of each that Tenable is not certain of it."""
    try:
        entries = msgspec.convert(finding.get("Vulnerabilities"), list[_Vulnerability])
    except msgspec.ValidationError:
        return False
    packages = [package for entry in entries for package in entry.VulnerablePackages]
    return bool(packages) and all(package.Remediation.startswith(POTENTIAL) for package in packages)


def _traits_of(finding: dict[str, Any]) -> PluginTraits | None:
    """The plugin of a finding; None where that is not known."""
    fields, plugin = finding.get("ProductFields"), finding.get("GeneratorId")
    if not isinstance(fields, dict) or not isinstance(plugin, str) or not plugin.isascii() or not plugin.isdigit():
        return None
    rating = fields.get(f"{PREFIX}vpr_score") or fields.get(f"{PREFIX}vpr_v2_score")
    try:
        return PluginTraits(
            # An id of Tenable's has few digits; more of them could not be read as a number.
            int(plugin[:20]),
            str(fields.get(f"{PREFIX}plugin_family", "")),
            fields.get(f"{PREFIX}cisa_kev") == "true",
            float(rating) if rating else None,
        )
    except (TypeError, ValueError):
        return None


__all__ = ["reason_of", "scopes_of"]
