"""What we read of the findings of Tenable Web App Scanning (API docs: was-export-findings, download of a chunk).

As with vulnerabilities, every key may be absent or null, and what does not fit its type is left out
(:mod:`airflow_provider_tenable.tenable_vm.lenient`). Fields that a vulnerability record has too have the same names
here, so that one mapping reads both.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import datetime
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from airflow_provider_tenable.tenable_vm import times
from airflow_provider_tenable.tenable_vm.records import NULL, Integer, Number, Vector, Vpr, VprV2

#: A list of texts. Documented as texts; ids of them are numbers in some data, and a single one may stand alone.
Texts = list[str | Integer] | str | None


class WasXref(Struct, gc=False):
    """Cross-references of a plugin: a catalogue, and the ids in it. The schema has texts instead."""

    type: str | None = None
    id: list[str | Integer] | str | Integer | None = None


class WasExploitFramework(Struct, gc=False):
    """A framework, and the exploits that it has for a plugin; many of them have none."""

    type: str | None = None
    ids: list[str | Integer] | None = None


class WasPlugin(Struct, kw_only=True):
    """The plugin of a finding. The same for every record of a plugin, so decoded once for all of them."""

    id: Integer
    name: str | None = None
    family: str | None = None
    family_id: Integer | None = None
    type: str | None = None
    synopsis: str | None = None
    description: str | None = None
    solution: str | None = None
    see_also: list[str] | str | None = None
    cve: list[str] | str | None = None
    # "79", without the letters.
    cwe: Texts = None
    # Names: "Cross-Site Scripting".
    wasc: Texts = None
    # Chapters of the edition: "A3", "API7".
    owasp_2010: Texts = None
    owasp_2013: Texts = None
    owasp_2017: Texts = None
    owasp_2021: Texts = None
    owasp_api_2019: Texts = None
    # A list of WasXref.
    xrefs: msgspec.Raw = NULL
    risk_factor: str | None = None
    cvss2_base_score: Number | None = None
    cvss2_vector: Vector | str | None = None
    cvss3_base_score: Number | None = None
    cvss3_vector: Vector | str | None = None
    cvss4_base_score: Number | None = None
    cvss4_vector: Vector | str | None = None
    # A percentage, 0 to 100.
    epss_score: Number | None = None
    vpr: Vpr | None = None
    vpr_v2: VprV2 | None = None
    exploit_available: bool | None = None
    exploitability_ease: str | None = None
    exploit_frameworks: list[WasExploitFramework] | None = None
    exploit_framework_canvas: bool | None = None
    exploit_framework_core: bool | None = None
    exploit_framework_d2_elliot: bool | None = None
    exploit_framework_exploithub: bool | None = None
    exploit_framework_metasploit: bool | None = None
    exploited_by_malware: bool | None = None
    exploited_by_nessus: bool | None = None
    in_the_news: bool | None = None
    # A text or a number counts as yes unless it says no, so these are read too.
    checks_for_default_account: bool | str | Number | None = None
    has_patch: bool | None = None
    publication_date: str | None = None
    modification_date: str | None = None
    patch_publication_date: str | None = None


class WasAsset(Struct, gc=False):
    """The web application inside a finding. The rest of it comes from the asset export."""

    uuid: str | None = None
    fqdn: str | None = None


class WasFinding(Struct, kw_only=True):
    """A record of an export of web application findings. ``plugin`` stays undecoded, to be decoded once for all records
    that share it.

    The fields are in the order in which Tenable returns them: the decoder searches for a key after the previous one.

    ``proof`` and ``payload`` are text of the application and of the attack, and ``url`` may have been read from a page:
    all of them are hostile.
    """

    finding_id: str | None = None
    url: str | None = None
    input_type: str | None = None
    input_name: str | None = None
    http_method: str | None = None
    output: str | None = None
    proof: str | None = None
    payload: str | None = None
    state: str | None = None
    severity: str | None = None
    severity_id: Integer | None = None
    severity_default_id: Integer | None = None
    severity_modification_type: str | None = None
    recast_reason: str | None = None
    first_found: str | Integer | None = None
    last_found: str | Integer | None = None
    last_fixed: str | Integer | None = None
    last_observed: str | Integer | None = None
    # Not documented for web applications; vulnerability records have them.
    resurfaced_date: str | Integer | None = None
    indexed: str | Integer | None = None
    # A text in the example, a number in the schema.
    indexed_at: str | Integer | None = None
    plugin: msgspec.Raw
    asset: WasAsset | None = None


def asset_of(record: WasFinding) -> str:
    """The id of a record's web application, as the asset export has it; empty where it has none."""
    return ((record.asset.uuid if record.asset else None) or "").strip()


def is_fixed(record: WasFinding) -> bool:
    """Whether Tenable says that the finding is gone."""
    return (record.state or "").strip().upper() == "FIXED"


def own_time(record: WasFinding) -> datetime | None:
    """The time that ``since`` looks at (API docs: was-export-findings): last_fixed of a fixed record, else last_found;
    where the record has neither, when it was indexed.

    A time after the index time, which only a scanner whose clock is ahead reports, counts as the index time.
    """
    moment = (times.parse(record.last_fixed) if is_fixed(record) else None) or times.parse(record.last_found)
    indexed = times.parse(record.indexed_at) or times.parse(record.indexed)
    return min(moment, indexed) if moment and indexed else moment or indexed


# RFC 1035's limits on the name of a host. Underscores are not allowed in one, but occur in DNS.
_LONGEST_HOST = 253
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)


def host_of(record: WasFinding) -> str:
    """The host of a record's web application: the name of its asset, else that of the finding's URL. In lower case,
    without scheme, user, port and path; an internationalised name in its ASCII form; an IPv6 address in brackets. Empty
    where there is none, or what there is cannot be the name of a host.
    """
    name = record.asset.fqdn if record.asset else None
    return _host(name or "") or _host(record.url or "")


def _host(text: str) -> str:
    """The host of a URL or of an authority such as ``www.example.com:8443``; empty if it has none."""
    text = text.strip()
    # A URL's parser leaves out line breaks, which would make another name.
    if not text.isprintable():
        return ""
    try:
        # Without slashes it takes the name for a path, or for a scheme.
        address = urlsplit(text if "//" in text else f"//{text}")
        host = (address.hostname or "").removesuffix(".")
        # Reading it checks it: what follows `javascript:` is not a port.
        _ = address.port
    except ValueError:
        return ""
    if ":" in host:
        try:
            return f"[{ipaddress.IPv6Address(host)}]"
        except ValueError:
            return ""
    if len(host) > _LONGEST_HOST:
        return ""
    try:
        host = host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return ""
    return host if len(host) <= _LONGEST_HOST and _HOST.fullmatch(host) else ""


__all__ = [
    "WasAsset",
    "WasExploitFramework",
    "WasFinding",
    "WasPlugin",
    "WasXref",
    "asset_of",
    "host_of",
    "is_fixed",
    "own_time",
]
