"""What Tenable knows of attacks on a vulnerability, from its plugin: known exploited, exploits, malware, ratings.

Only what an export contains becomes a field. Tenable's category "ransomware" is not part of it: exports can be filtered
by it (``cve_category``), but a record does not say so.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import msgspec

from airflow_provider_tenable.asff import limits
from airflow_provider_tenable.tenable_vm.lenient import salvage_items
from airflow_provider_tenable.tenable_vm.records import DayRange, Plugin, Vpr, VprDrivers, VprV2, Xref

#: The type of a cross-reference to CISA's catalogue of known exploited vulnerabilities; its id is the due date, as in
#: ``2024/06/18``. A plugin of several CVEs may have several.
KNOWN_EXPLOITED = "CISA-KNOWN-EXPLOITED"
#: ``exploit_framework_{name}`` of a plugin.
FRAMEWORKS = ("canvas", "core", "d2_elliot", "exploithub", "metasploit")
#: Entries of ``ProductFields`` that move by themselves, without anybody having to act. What they add up to is the
#: rating, which counts as content by its band.
DRIFTING = frozenset(
    {
        "vpr_score",
        "vpr_v2_score",
        "vpr_v2_percentile",
        "malware_recency",
        "news_recency",
        "vpr_threat_intensity",
        "vpr_threat_recency_days",
        "vpr_threat_sources",
        "vpr_vulnerability_age_days",
        "vpr_product_coverage",
        "vpr_impact_score",
    }
)

_DUE_DATE = re.compile(r"(\d{4})[/-](\d{1,2})[/-](\d{1,2})", re.ASCII)
_BETWEEN_WORDS = re.compile(r"[\s_-]+")
#: Longest word of Tenable's that is a value of ours, most cross-references that are read, and most sources that are
#: shown.
_WORD, _MOST_XREFS, _MOST_SOURCES = 64, 10_000, 20
#: Nothing is older than this: the range would not be one of days.
_MOST_DAYS = 100_000
#: Two spellings of one word.
_SYNONYMS = {"POC": "PROOF_OF_CONCEPT"}
#: Not events, but their absence.
_NO_EVENTS = frozenset({"NO_RECORDED_EVENTS"})
_xrefs = msgspec.json.Decoder(list[Xref] | None)


def threat_product_fields(plugin: Plugin) -> dict[str, str]:
    """The entries of ``ProductFields`` about threats; what Tenable does not say is empty. Flags are ``true`` or empty:
    for nearly all plugins they are not set.
    """
    vpr, vpr_v2 = plugin.vpr or Vpr(), plugin.vpr_v2 or VprV2()
    drivers = vpr.drivers or VprDrivers()
    due_dates = _due_dates(plugin)
    return {
        "cisa_kev": _flag(is_known_exploited(plugin)),
        "cisa_kev_due_date": min(filter(None, due_dates or ()), default=""),
        "exploit_maturity": _word(drivers.exploit_code_maturity) or _word(vpr_v2.exploit_code_maturity),
        "exploited_by_malware": _flag(plugin.exploited_by_malware),
        "exploit_frameworks": ", ".join(_frameworks(plugin)),
        "in_the_news": _flag(plugin.in_the_news),
        "vpr_score": _score(vpr.score),
        "vpr_v2_score": _score(vpr_v2.score),
        "vpr_v2_severity": _word(vpr_v2.vpr_severity),
        "vpr_v2_percentile": _score(vpr_v2.vpr_percentile),
        "malware_recency": _event(vpr_v2.malware_observations_recency),
        "news_recency": _event(vpr_v2.in_the_news_recency),
        "vpr_threat_intensity": _word(drivers.threat_intensity_last28),
        "vpr_threat_recency_days": _days(drivers.threat_recency),
        "vpr_threat_sources": _sources(drivers.threat_sources_last28),
        "vpr_vulnerability_age_days": _days(drivers.age_of_vuln),
        "vpr_product_coverage": _word(drivers.product_coverage),
        "vpr_impact_score": _score(drivers.cvss3_impact_score),
    }


def is_known_exploited(plugin: Plugin) -> bool:
    """Whether a CVE of the plugin is in CISA's catalogue of known exploited vulnerabilities."""
    return bool(plugin.vpr_v2 and plugin.vpr_v2.on_cisa_kev) or _due_dates(plugin) is not None


def is_exploit_available(plugin: Plugin) -> bool | None:
    """Whether there is an exploit: by any sign of one, otherwise as Tenable says. None: unknown."""
    if plugin.exploited_by_malware or plugin.exploited_by_nessus or _frameworks(plugin) or is_known_exploited(plugin):
        return True
    return plugin.exploit_available


def _frameworks(plugin: Plugin) -> list[str]:
    return [name for name in FRAMEWORKS if getattr(plugin, f"exploit_framework_{name}")]


def _due_dates(plugin: Plugin) -> list[str] | None:
    """The due dates of the catalogue, ``YYYY-MM-DD``, empty where one cannot be read; None: the plugin is not in it."""
    raw = bytes(plugin.xrefs)
    if KNOWN_EXPLOITED.encode() not in raw:
        return None
    try:
        xrefs = _xrefs.decode(raw) or []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            xrefs = salvage_items(raw, Xref)
        except (ValueError, RecursionError):
            xrefs = []
    dates = [_due_date(xref.id) for xref in xrefs[:_MOST_XREFS] if (xref.type or "").strip() == KNOWN_EXPLOITED]
    return dates or None


def _due_date(text: Any) -> str:
    found = _DUE_DATE.fullmatch(text.strip()) if isinstance(text, str) and len(text) <= _WORD else None
    try:
        return date(*map(int, found.groups())).isoformat() if found else ""
    except ValueError:
        return ""


def _flag(value: bool | None) -> str:
    return "true" if value else ""


def _word(value: str | None) -> str:
    """A word of Tenable's in one spelling: it writes ``VERY_LOW``, ``Very Low`` and ``very low``."""
    text = limits.text(value, limits.PRODUCT_FIELD_VALUE)
    if not text or len(text) > _WORD:
        return ""
    word = _BETWEEN_WORDS.sub("_", text).upper()
    return _SYNONYMS.get(word, word)


def _event(value: str | None) -> str:
    word = _word(value)
    return "" if word in _NO_EVENTS else word


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _days(found: DayRange | None) -> str:
    """``366-730``; ``731+`` without an upper bound, for which Tenable also writes 0."""
    low, high = (found.lower_bound, found.upper_bound) if found else (None, None)
    if low is None or not 0 <= low <= _MOST_DAYS:
        return ""
    return f"{low}-{high}" if high is not None and low < high <= _MOST_DAYS else f"{low}+"


def _sources(names: list[str] | None) -> str:
    """Where the events of the last 28 days came from, in alphabetical order: Tenable does not promise any."""
    known = {text for name in (names or [])[:_MOST_XREFS] if _event(name) and (text := limits.text(name, _WORD))}
    return ", ".join(sorted(known)[:_MOST_SOURCES])
