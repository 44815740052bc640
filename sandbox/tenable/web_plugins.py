"""The plugins of Tenable Web App Scanning that the simulated applications have findings of, and their form in a record
(API docs: was_plugin; the quirks are those of Tenable's example).
"""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

RISKS = ("INFO", "LOW", "MEDIUM", "HIGH", "CRITICAL")


@dataclass(frozen=True, slots=True)
class WebPlugin:
    """:ivar is_injection: whether an attack on an input of a page proves it; else it is seen on the page as it is"""

    id: int
    name: str
    family: str
    severity_id: int
    cwe: tuple[str, ...] = ()
    wasc: tuple[str, ...] = ()
    owasp_2021: tuple[str, ...] = ()
    cves: tuple[str, ...] = ()
    cvss3: float | None = None
    vpr: float | None = None
    is_injection: bool = False


def _injection(number: int, name: str, severity: int, cwe: str, cvss3: float, wasc: str = "") -> WebPlugin:
    return WebPlugin(
        number, name, "Injection", severity, (cwe,), (wasc or name,), ("A3",), cvss3=cvss3, is_injection=True
    )


WEB_PLUGINS = (
    _injection(98115, "SQL Injection", 4, "89", 9.8),
    _injection(98104, "Cross-Site Scripting (XSS)", 2, "79", 6.1, "Cross-Site Scripting"),
    _injection(98100, "Local File Inclusion", 3, "22", 7.5, "Path Traversal"),
    _injection(98114, "XPath Injection", 3, "643", 8.6),
    _injection(98123, "Operating System Command Injection", 4, "78", 9.8, "OS Commanding"),
    WebPlugin(98056, "Missing HTTP Strict Transport Security Policy", "HTTP Security Header", 2, ("319",), (), ("A5",),
              cvss3=6.5),
    WebPlugin(98060, "Missing 'X-Frame-Options' Header", "HTTP Security Header", 1, ("693",), ("Clickjacking",),
              ("A5",), cvss3=3.1),
    WebPlugin(98063, "Cookie Without HttpOnly Flag Detected", "Web Applications", 1, ("1004",), (), ("A5",)),
    WebPlugin(98000, "Scan Information", "General", 0),
    WebPlugin(98009, "Web Application Sitemap", "General", 0),
    WebPlugin(98024, "HTTP Server Authentication Detected", "Authentication & Session", 0, ("200",)),
    WebPlugin(112435, "jQuery 1.12.4 < 3.0.0 Cross-Site Scripting", "Component Vulnerability", 2, ("79",),
              ("Cross-Site Scripting",), ("A3", "A6"), ("CVE-2015-9251",), 6.1, 3.0),
    WebPlugin(113075, "Apache Log4j Remote Code Execution (Log4Shell)", "Component Vulnerability", 4,
              ("20", "400", "502", "917"), ("OS Commanding",), ("A3", "A6", "A8"), ("CVE-2021-44228",), 10.0, 10.0),
    WebPlugin(114103, "Apache Tomcat 9.0.0-M1 < 9.0.83", "Component Vulnerability", 3, ("444",),
              ("HTTP Request Smuggling",), ("A6",), ("CVE-2023-46589",), 7.5, 5.2),
)  # fmt: skip


@cache
def plugin_json(plugin: WebPlugin) -> str:
    """The plugin as JSON text, rendered once for all records. What is empty is left out, but for some lists."""
    vector = "AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
    record: dict[str, Any] = {
        "bid": ["105658"] if plugin.cves else None,
        "id": plugin.id,
        "risk_factor": RISKS[plugin.severity_id],
        "original_risk_factor_num": plugin.severity_id,
        "locale": "en",
        "type": "REMOTE",
        "intel_type": "SENSOR",
        "family": plugin.family,
        "name": plugin.name,
        "publication_date": "2018-11-05T00:00:00Z",
        "modification_date": "2023-03-14T00:00:00Z",
        "see_also": ["https://owasp.org/www-project-top-ten/", "https://www.example.com/?a=1&b=<2>"],
        "solution": f"Correct what leads to: {plugin.name}." if plugin.severity_id else None,
        "synopsis": plugin.name,
        "description": f"The scanner has found &quot;{plugin.name}&quot;.\n\nNote that it <b>may</b> be elsewhere too.",
        "patch_publication_date": "2018-01-18T00:00:00Z" if plugin.cves else None,
        "exploitability_ease": "Exploits are available" if plugin.severity_id == 4 and plugin.cves else None,
        "public_display": plugin.id,
        "policy": [],
        "xrefs": [
            {"type": "capec", "id": ["209", "588", "591"]},
            {"type": "pci_dss", "id": ["3.2-6.2", "3.2-6.5.7"]},
            {"type": "nist", "id": ["sp800_53-CM-6b"]},
        ]
        if plugin.severity_id
        else [],
        "cpe": ["cpe:2.3:a:jquery:jquery:*:*:*:*:*:*:*:*"] if plugin.cves else None,
        "cve": list(plugin.cves) or None,
        "cwe": list(plugin.cwe) or None,
        "wasc": list(plugin.wasc) or None,
        "in_the_news": plugin.severity_id == 4,
        "exploited_by_malware": False,
        "exploit_frameworks": [
            {"type": "canvas", "ids": []},
            {"type": "metasploit", "ids": ["exploit/multi/http/log4shell"] if plugin.vpr == 10 else []},
        ],
        "vpr": {"score": plugin.vpr, "drivers": {"age_of_vuln": {"lower_bound": 731}}} if plugin.vpr else None,
        "epss_score": 10.647 if plugin.cves else None,
        "cvss3_base_score": plugin.cvss3,
        "cvss3_temporal_vector": {},
        "cvss3_vector": {"raw": f"CVSS:3.0/{vector}"} if plugin.cvss3 else None,
        "owasp_2021": list(plugin.owasp_2021) or None,
        "owasp_2017": ["A1"] if plugin.is_injection else None,
        "owasp_api_2019": ["API8"] if plugin.is_injection else None,
    }
    return json.dumps({name: value for name, value in record.items() if value is not None})
