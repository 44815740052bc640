"""Threats in ``ProductFields`` and ``ExploitAvailable``: what Tenable says, in one spelling, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_tenable.asff import threat
from airflow_provider_tenable.asff.plugin import PluginParts, decode_plugin, plugin_parts
from tests.plain_ids import plain
from tests.unit.asff.mapping import finding_of, plugin_record

KEV = "CISA-KNOWN-EXPLOITED"
EMPTY = dict.fromkeys(
    (
        "cisa_kev",
        "cisa_kev_due_date",
        "exploit_maturity",
        "exploited_by_malware",
        "exploit_frameworks",
        "in_the_news",
        "vpr_score",
        "vpr_v2_score",
        "vpr_v2_severity",
        "vpr_v2_percentile",
        "malware_recency",
        "news_recency",
        "vpr_threat_intensity",
        "vpr_threat_recency_days",
        "vpr_threat_sources",
        "vpr_vulnerability_age_days",
        "vpr_product_coverage",
        "vpr_impact_score",
    ),
    "",
)


def parts_of(**plugin: Any) -> PluginParts:
    return plugin_parts(decode_plugin(json.dumps({"id": 1, "name": "n", **plugin}).encode()))


def of(**plugin: Any) -> dict[str, str]:
    """The fields that have a value."""
    return {name: text for name, text in threat.threat_product_fields(decode_plugin(_data(plugin))).items() if text}


def _data(plugin: dict[str, Any]) -> bytes:
    return json.dumps({"id": 1, **plugin}).encode()


def xrefs(*ids: Any) -> list[dict[str, Any]]:
    return [{"type": "CVE", "id": "2024-1"}, *({"type": KEV, "id": each} for each in ids)]


def test_everything_that_tenable_says_of_threats():
    assert of(
        xrefs=xrefs("2024/06/18", "2024/06/03"),
        exploited_by_malware=True,
        exploit_framework_metasploit=True,
        exploit_framework_core=True,
        in_the_news=True,
        vpr={
            "score": 9.4,
            "drivers": {
                "age_of_vuln": {"lower_bound": 731, "upper_bound": 0},
                "exploit_code_maturity": "PoC",
                "cvss3_impact_score": 5.9,
                "threat_intensity_last28": "Very High",
                "threat_sources_last28": ["Mainstream News", "Dark Web", "No recorded events"],
                "product_coverage": "LOW",
                "threat_recency": {"lower_bound": 7, "upper_bound": 30},
            },
        },
        vpr_v2={
            "score": 9.1,
            "vpr_percentile": 99.95,
            "vpr_severity": "critical",
            "exploit_code_maturity": "HIGH",
            "malware_observations_recency": "0_7_DAYS",
            "in_the_news_recency": "14_30_DAYS",
        },
    ) == {
        "cisa_kev": "true",
        "cisa_kev_due_date": "2024-06-03",
        "exploit_maturity": "PROOF_OF_CONCEPT",
        "exploited_by_malware": "true",
        "exploit_frameworks": "core, metasploit",
        "in_the_news": "true",
        "vpr_score": "9.4",
        "vpr_v2_score": "9.1",
        "vpr_v2_severity": "CRITICAL",
        "vpr_v2_percentile": "99.95",
        "malware_recency": "0_7_DAYS",
        "news_recency": "14_30_DAYS",
        "vpr_threat_intensity": "VERY_HIGH",
        "vpr_threat_recency_days": "7-30",
        "vpr_threat_sources": "Dark Web, Mainstream News",
        "vpr_vulnerability_age_days": "731+",
        "vpr_product_coverage": "LOW",
        "vpr_impact_score": "5.9",
    }


def test_what_tenable_does_not_say_is_empty():
    assert threat.threat_product_fields(decode_plugin(_data({}))) == EMPTY
    nothing = {
        "exploited_by_malware": False,
        "exploit_framework_metasploit": False,
        "in_the_news": False,
        "vpr": {"drivers": {"threat_sources_last28": ["No recorded events"]}},
        "vpr_v2": {
            "on_cisa_kev": False,
            "in_the_news_recency": "NO_RECORDED_EVENTS",
            "malware_observations_recency": "No recorded events",
        },
        "xrefs": [{"type": "CVE", "id": "2024-1"}],
    }
    assert of(**nothing) == {}


@pytest.mark.parametrize(
    ("plugin", "expected"),
    [
        ({"vpr_v2": {"on_cisa_kev": True}}, {"cisa_kev": "true"}),
        ({"xrefs": xrefs("2024/06/18")}, {"cisa_kev": "true", "cisa_kev_due_date": "2024-06-18"}),
        # In the catalogue, whatever has become of the date.
        ({"xrefs": xrefs("2024/13/45")}, {"cisa_kev": "true"}),
        ({"xrefs": xrefs(20240618, None, "soon", "2024/6/3")}, {"cisa_kev": "true", "cisa_kev_due_date": "2024-06-03"}),
        (
            {"xrefs": [{"type": f" {KEV} ", "id": "2024/06/18"}, 5, None]},
            {"cisa_kev": "true", "cisa_kev_due_date": "2024-06-18"},
        ),
        # Only the type of a reference says so.
        ({"xrefs": [{"type": "CVE", "id": KEV}]}, {}),
        ({"xrefs": f"{KEV}"}, {}),
        ({"xrefs": {"type": KEV}}, {}),
    ],
)
def test_known_exploited(plugin, expected):
    assert of(**plugin) == expected


@pytest.mark.parametrize(
    ("plugin", "expected"),
    [
        ({}, None),
        ({"exploit_available": None}, None),
        ({"exploit_available": False}, "NO"),
        ({"exploit_available": True}, "YES"),
        ({"exploit_available": None, "exploited_by_malware": True}, "YES"),
        ({"exploit_available": False, "exploited_by_nessus": True}, "YES"),
        ({"xrefs": xrefs("2024/06/18")}, "YES"),
        ({"vpr_v2": {"on_cisa_kev": True}}, "YES"),
        *(({f"exploit_framework_{name}": True}, "YES") for name in threat.FRAMEWORKS),
        ({"exploit_available": False, **{f"exploit_framework_{name}": False for name in threat.FRAMEWORKS}}, "NO"),
        ({"in_the_news": True}, None),
    ],
)
def test_any_sign_of_an_exploit_counts(plugin, expected):
    finding = finding_of(plugin_record(cve=["CVE-2024-0001"], **plugin))
    assert finding["Vulnerabilities"][0].get("ExploitAvailable") == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"lower_bound": 0, "upper_bound": 7}, "0-7"),
        ({"lower_bound": 731}, "731+"),
        ({"lower_bound": 731, "upper_bound": 0}, "731+"),
        ({"lower_bound": 7, "upper_bound": 7}, "7+"),
        ({"upper_bound": 7}, ""),
        ({"lower_bound": -1, "upper_bound": 7}, ""),
        ({"lower_bound": 2**62}, ""),
        ({"lower_bound": 7, "upper_bound": 2**62}, "7+"),
        (None, ""),
    ],
)
def test_days(found, expected):
    fields = of(vpr={"drivers": {"age_of_vuln": found, "threat_recency": found}})
    assert fields.get("vpr_vulnerability_age_days", "") == fields.get("vpr_threat_recency_days", "") == expected


def test_the_maturity_is_that_of_vpr_or_else_of_its_second_version():
    second = {"vpr_v2": {"exploit_code_maturity": "functional"}}
    assert of(**second)["exploit_maturity"] == "FUNCTIONAL"
    assert of(vpr={"drivers": {"exploit_code_maturity": "High"}}, **second)["exploit_maturity"] == "HIGH"


#: Names that are read of a plugin's threats, with the place where each stands.
PLACES = [
    *((name,) for name in ("exploited_by_malware", "in_the_news", "exploit_framework_core", "xrefs", "vpr", "vpr_v2")),
    ("vpr", "drivers"),
    *(("vpr", "drivers", name) for name in ("age_of_vuln", "exploit_code_maturity", "cvss3_impact_score")),
    *(("vpr", "drivers", name) for name in ("threat_intensity_last28", "threat_sources_last28", "threat_recency")),
    *(("vpr_v2", name) for name in ("vpr_percentile", "vpr_severity", "on_cisa_kev", "in_the_news_recency")),
]


@pytest.mark.parametrize(
    "junk",
    [
        "",
        " ",
        5,
        -1,
        2**70,
        1e308,
        True,
        [],
        {},
        [[]],
        [None, 5],
        {"raw": 1},
        "x" * 100_000,
        ["a\x00\u202e" * 500] * 500,
    ],
    ids=plain,
)
@pytest.mark.parametrize("place", PLACES, ids="/".join)
def test_junk_costs_its_own_field_only(place, junk):
    plugin: dict[str, Any] = {
        "cve": ["CVE-2024-0001"],
        "family": "Windows",
        "vpr": {"score": 6.7, "drivers": {"product_coverage": "LOW"}},
        "vpr_v2": {"score": 9.1},
        "exploit_framework_metasploit": True,
    }
    inner = plugin
    for name in place[:-1]:
        inner = inner.setdefault(name, {})
    inner[place[-1]] = junk
    fields = finding_of(plugin_record(**plugin))["ProductFields"]
    short = {name.rpartition("/")[2]: text for name, text in fields.items()}
    assert short["plugin_family"] == "Windows"
    assert "metasploit" in short["exploit_frameworks"]
    if place[0] != "vpr":
        assert (short["vpr_score"], short["vpr_product_coverage"]) == ("6.7", "LOW")
    if place[0] != "vpr_v2":
        assert short["vpr_v2_score"] == "9.1"
    assert all(len(text) <= 2048 and "\x00" not in text for text in fields.values())
    # An endless text is no word of Tenable's.
    assert all(len(short.get(name, "")) <= 64 for name in ("exploit_maturity", "vpr_v2_severity", "news_recency"))


def test_only_those_fields_drift_that_nobody_has_to_act_on():
    """Changing what drifts changes digests: see ``MATERIAL_VERSION``."""
    lasting = {"cisa_kev", "cisa_kev_due_date", "exploit_maturity", "exploited_by_malware", "exploit_frameworks"}
    assert set(EMPTY) - threat.DRIFTING == lasting | {"in_the_news", "vpr_v2_severity"}
    assert set(EMPTY) >= threat.DRIFTING
