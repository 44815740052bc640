"""The scores in a plugin's record: CVSS in three versions, VPR in two, EPSS."""

import random
from typing import Any

from sandbox.tenable.plugins import Plugin

_SOURCES = (["No recorded events"], ["Mainstream News", "Dark Web"], ["Security Research"])
_RECENCIES = ({"lower_bound": 366, "upper_bound": 0}, {"lower_bound": 7, "upper_bound": 30}, {"lower_bound": 121})
_EVENTS = ("0_7_DAYS", "14_30_DAYS", *("NO_RECORDED_EVENTS",) * 5)


def scores_of(plugin: Plugin) -> dict[str, Any]:
    level = ("None", "None", "Partial", "Complete", "Complete")[plugin.severity_id]
    short = {"None": "N", "Partial": "P", "Complete": "C"}[level]
    level3 = "High" if plugin.severity_id >= 3 else "Low"
    scores: dict[str, Any] = {}
    if plugin.cvss2 is not None:
        scores["cvss_base_score"] = plugin.cvss2
        scores["cvss_temporal_score"] = round(plugin.cvss2 * 0.74, 1)
        scores["cvss_temporal_vector"] = {
            "exploitability": "Unproven",
            "remediation_level": "Official Fix",
            "report_confidence": "Confirmed",
            "raw": "E:U/RL:OF/RC:C",
        }
        scores["cvss_vector"] = {
            "access_complexity": "Low",
            "access_vector": "Network",
            "authentication": "None required",
            "availability_impact": level,
            "confidentiality_impact": level,
            "integrity_impact": level,
            "raw": f"AV:N/AC:L/Au:N/C:{short}/I:{short}/A:{short}",
        }
    if plugin.cvss3 is not None:
        scores["cvss3_base_score"] = plugin.cvss3
        scores["cvss3_temporal_score"] = round(plugin.cvss3 * 0.87, 1)
        scores["cvss3_vector"] = {
            "access_complexity": "Low",
            "access_vector": "Network",
            "availability_impact": level3,
            "confidentiality_impact": level3,
            "integrity_impact": level3,
            "privileges_required": "None",
            "scope": "Unchanged",
            "user_interaction": "None",
            "raw": f"AV:N/AC:L/PR:N/UI:N/S:U/C:{level3[0]}/I:{level3[0]}/A:{level3[0]}",
        }
        scores["cvss3_temporal_vector"] = {
            "exploitability": "Unproven",
            "remediation_level": "Official Fix",
            "report_confidence": "Confirmed",
            "raw": "E:U/RL:O/RC:C",
        }
    if plugin.cvss4 is not None:
        scores["cvss4_base_score"] = plugin.cvss4
        scores["cvss4_vector"] = {
            "attack_vector": "Network",
            "attack_complexity": "Low",
            "attack_requirements": "None",
            "privileges_required": "None",
            "user_interaction": "None",
            "vulnerable_system_confidentiality": level3,
            "vulnerable_system_integrity": level3,
            "vulnerable_system_availability": level3,
            "subsequent_system_confidentiality": "None",
            "subsequent_system_integrity": "None",
            "subsequent_system_availability": "None",
            "raw": f"AV:N/AC:L/AT:N/PR:N/UI:N/VC:{level3[0]}/VI:{level3[0]}/VA:{level3[0]}/SC:N/SI:N/SA:N",
        }
        scores["cvss4_threat_vector"] = {
            "threat_score": round(plugin.cvss4 * 0.5, 1),
            "exploit_maturity": "Unreported",
            "raw": "CVSS:4.0/E:U",
        }
    return scores


def ratings_of(plugin: Plugin, rng: random.Random) -> dict[str, Any]:
    ratings: dict[str, Any] = {}
    maturity = rng.choice(("UNPROVEN", "POC", "FUNCTIONAL", "HIGH"))
    if plugin.vpr is not None:
        age = {"lower_bound": 731} if plugin.number % 2 else {"lower_bound": 366, "upper_bound": 730}
        ratings["vpr"] = {
            "score": plugin.vpr,
            "drivers": {
                "age_of_vuln": age,
                "exploit_code_maturity": maturity,
                "cvss_impact_score_predicted": False,
                "cvss3_impact_score": 5.9,
                "threat_intensity_last28": ("VERY_LOW", "Low", "HIGH")[plugin.number % 3],
                "threat_sources_last28": _SOURCES[plugin.number % 3],
                "product_coverage": "LOW",
                "threat_recency": _RECENCIES[plugin.number % 3],
            },
            "updated": "2024-02-04T06:03:56Z",
        }
    if plugin.vpr_v2 is not None:
        ratings["vpr_v2"] = {
            "score": plugin.vpr_v2,
            "vpr_percentile": round(plugin.vpr_v2 * 9.7, 2),
            "vpr_severity": _vpr_severity(plugin.vpr_v2),
            "exploit_probability": 0.001,
            "cve_id": plugin.cves[0],
            "exploit_code_maturity": maturity,
            "on_cisa_kev": plugin.severity_id == 4 and plugin.number % 3 == 0,
            "in_the_news_intensity_last30": "VERY_LOW",
            "in_the_news_recency": _EVENTS[plugin.number % 5],
            "malware_observations_intensity_last30": "VERY_LOW",
            "malware_observations_recency": _EVENTS[plugin.number % 7],
        }
    ratings["epss_score"] = plugin.epss
    return ratings


def _vpr_severity(score: float) -> str:
    return next(name for name, first in (("CRITICAL", 9), ("HIGH", 7), ("MEDIUM", 4), ("LOW", 0)) if score >= first)
