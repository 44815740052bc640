"""The severity of a finding: Tenable's, or that of a score of the plugin."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from airflow_provider_tenable.tenable_vm.records import Plugin, Rated
from airflow_provider_tenable.tenable_vm.severities import CVSS3, VPR

if TYPE_CHECKING:
    from airflow_provider_tenable.asff.plugin import PluginParts

#: From which score on a severity (1 to 4) applies: the bands of VPR (Tenable's documentation) and those of CVSS v3
#: (specification, section 5) are the same. A score of 0 is severity 0.
BANDS = (0.1, 4.0, 7.0, 9.0)
_LARGEST_SCORE = 10.0


def severities_by_score(plugin: Plugin) -> dict[str, int]:
    """The severity of each source that has a score, 0 to 4."""
    by_source = {VPR: _severity(vpr_of(plugin)), CVSS3: _severity(plugin.cvss3_base_score)}
    return {source: severity for source, severity in by_source.items() if severity is not None}


def vpr_of(plugin: Plugin) -> float | None:
    """VPR, 0 to 10: the current one, otherwise its second version, which some plugins have alone."""
    scores = [rating.score for rating in (plugin.vpr, plugin.vpr_v2) if rating]
    return next((score for score in scores if score is not None and 0 <= score <= _LARGEST_SCORE), None)


def shown_severity(record: Rated, plugin: PluginParts, severity: int, source: str) -> int:
    """The severity that a finding shows, 0 to 4.

    Tenable's stays where the source has no score, and where a user of Tenable has recast it: that is a decision about
    this finding, and a score is not.

    :param severity: Tenable's.
    """
    if (record.severity_modification_type or "").strip().upper() == "RECASTED":
        return severity
    return plugin.severities.get(source, severity)


def _severity(score: float | None) -> int | None:
    return None if score is None or not 0 <= score <= _LARGEST_SCORE else bisect_right(BANDS, score)
