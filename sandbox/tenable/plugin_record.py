"""A plugin as it appears in every vulnerability record (API docs: GET /vulns/export/{uuid}/chunks/{id}, `plugin`).

What is empty is left out. The quirks that real data has are spread over the catalogue by a plugin's number.
"""

import json
import random
from functools import cache
from typing import Any

from sandbox.tenable.catalogue import PARTS, RISK_FACTORS, WEAKNESSES
from sandbox.tenable.plugin_scores import ratings_of, scores_of
from sandbox.tenable.plugins import Plugin

_ADVISORY = (
    "Note that Nessus has not tested for these issues but has instead relied only on the application's self-reported "
    "version number. Tenable extracted the preceding description block directly from the security advisory."
)


@cache
def plugin_json(plugin: Plugin) -> str:
    """The plugin as JSON text, rendered once and shared by all records."""
    return json.dumps(plugin_record(plugin))


def checks_for_default_account(plugin: Plugin) -> bool:
    return "Default Community" in plugin.name


def plugin_record(plugin: Plugin) -> dict[str, Any]:
    """The plugin as a dict of JSON values."""
    rng = random.Random(f"plugin record {plugin.id}")
    exploit = bool(plugin.cves) and plugin.number % 4 == 1
    year = 2017 + plugin.number % 7
    record: dict[str, Any] = {
        "bid": [rng.randint(10_000, 110_000)] if plugin.number % 3 == 0 else None,
        "checks_for_default_account": checks_for_default_account(plugin),
        "checks_for_malware": False,
        "cpe": [plugin.product.cpe] if plugin.product else ([] if plugin.number % 2 else None),
        **scores_of(plugin),
        "description": _description(plugin, rng),
        "exploit_available": exploit,
        "exploit_framework_canvas": False,
        "exploit_framework_core": exploit and plugin.number % 8 == 1,
        "exploit_framework_d2_elliot": False,
        "exploit_framework_exploithub": False,
        "exploit_framework_metasploit": exploit,
        "metasploit_name": f"{plugin.name.split(' ')[0]} module" if exploit else None,
        "exploitability_ease": ("Exploits are available" if exploit else "No known exploits are available")
        if plugin.cves
        else None,
        "exploited_by_malware": exploit and plugin.severity_id == 4,
        "exploited_by_nessus": False,
        "family": plugin.family,
        "family_id": plugin.family_id,
        "has_patch": plugin.product is not None and plugin.severity_id > 0,
        "id": plugin.id,
        "in_the_news": plugin.severity_id == 4 and plugin.number % 2 == 0,
        "ms_bulletin": _bulletin(plugin, rng),
        "name": plugin.name,
        "patch_publication_date": f"{year}-03-12T00:00:00Z" if plugin.product and plugin.severity_id else None,
        "modification_date": f"{year + 1}-05-0{1 + plugin.number % 9}T00:00:00Z",
        "publication_date": f"{year}-03-1{plugin.number % 10}T00:00:00Z",
        "risk_factor": RISK_FACTORS[plugin.severity_id][plugin.number % 3],
        "see_also": _see_also(plugin, rng),
        "solution": _solution(plugin),
        "stig_severity": "I" if plugin.severity_id >= 3 and plugin.number % 5 == 0 else None,
        "synopsis": _synopsis(plugin),
        "unsupported_by_vendor": "Unsupported" in plugin.name,
        "usn": [plugin.name.split("(USN-")[1].rstrip(")")] if "(USN-" in plugin.name else None,
        "version": f"1.{2 + plugin.number % 30}",
        "vuln_publication_date": f"{year}-02-20T00:00:00Z" if plugin.cves else None,
        "xrefs": _xrefs(plugin),
        **ratings_of(plugin, rng),
        **_workaround(plugin),
        "cve": list(plugin.cves) or None,
        "type": plugin.kind,
    }
    return {name: value for name, value in record.items() if value is not None}


def _description(plugin: Plugin, rng: random.Random) -> str:
    subject = plugin.product.name if plugin.product else "service"
    if plugin.severity_id == 0:
        return f"Nessus was able to obtain information about the {subject} of the remote host."
    lines = [f"The version of {subject} on the remote host is affected by issues as referenced in the advisory."]
    # Every fifth description is longer than 1,024 characters, which is what Security Hub takes.
    for index in range(rng.randint(14, 22) if plugin.number % 5 == 0 else rng.randint(2, 7)):
        weakness = WEAKNESSES[(plugin.number + index) % len(WEAKNESSES)].format(part=rng.choice(PARTS))
        lines.append(f"  - {weakness}" + (f" ({plugin.cves[index % len(plugin.cves)]})" if plugin.cves else ""))
    return "\n\n".join([*lines, _ADVISORY])


def _synopsis(plugin: Plugin) -> str:
    if plugin.product and plugin.severity_id:
        return f"The remote {plugin.platform.title()} host is missing security updates for {plugin.product.name}."
    return f"It is possible to learn something about the remote host: {plugin.name}."


def _solution(plugin: Plugin) -> str | None:
    if plugin.severity_id == 0:
        return "n/a" if plugin.number % 2 else None
    if plugin.number % 11 == 3:
        return None
    target = (
        f"{plugin.product.name} version {plugin.product.fixed} or later"
        if plugin.product
        else "a configuration that is not affected"
    )
    steps = [f"Upgrade to {target}."]
    if plugin.number % 6 == 0:
        steps += [
            f"Step {n}: restart the services that use it, and check with the vendor's tool that the new version runs."
            for n in range(1, 8)
        ]
    return "\n".join(steps)


def _see_also(plugin: Plugin, rng: random.Random) -> list[str] | str | None:
    if plugin.number % 4 == 2:
        return None
    links = [f"http://www.nessus.org/u?{rng.getrandbits(32):08x}" for _ in range(rng.randint(1, 4))]
    links += [f"https://nvd.nist.gov/vuln/detail/{cve}" for cve in plugin.cves[:3]]
    # Old records hold one string instead of a list.
    return links[0] if plugin.number % 17 == 0 else links


def _bulletin(plugin: Plugin, rng: random.Random) -> list[str] | str | None:
    if not plugin.name.startswith("KB"):
        return None
    number = plugin.name[2:9]
    return number if rng.random() < 0.3 else [number]


def _xrefs(plugin: Plugin) -> list[dict[str, str]] | None:
    xrefs = [{"type": "CVE", "id": cve.removeprefix("CVE-")} for cve in plugin.cves]
    if plugin.severity_id >= 3 and plugin.cves:
        xrefs.append({"type": "IAVA", "id": f"2024-A-{plugin.number:04d}"})
    if plugin.severity_id == 4 and plugin.cves:
        xrefs.append({"type": "CISA-KNOWN-EXPLOITED", "id": "2024/04/15"})
    return xrefs or ([] if plugin.number % 2 else None)


def _workaround(plugin: Plugin) -> dict[str, Any]:
    if plugin.number % 15:
        return {}
    text = "The vendor lists a workaround:\n\n    1. Disable the affected module\n    2. Restart the service"
    return {
        "workaround": text,
        "workaround_type": "disable service",
        "workaround_published": "2024-02-14T00:00:00Z",
        "has_workaround": True,
        "vendor_unpatched": False,
        "vendor_severity": "Important",
    }
