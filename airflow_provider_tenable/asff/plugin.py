"""The part of a finding that comes from the plugin: the same for all records of a plugin, so built once and kept as bytes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from airflow_provider_tenable.asff import limits, product_fields
from airflow_provider_tenable.asff.plugin_output import shows_output
from airflow_provider_tenable.tenable_vm import times
from airflow_provider_tenable.tenable_vm.lenient import salvage, salvage_items
from airflow_provider_tenable.tenable_vm.records import Plugin, SoftwareVuln

_TYPE = "Software and Configuration Checks/Vulnerabilities"
_decoder = msgspec.json.Decoder(Plugin)
_software_decoder = msgspec.json.Decoder(list[SoftwareVuln] | None)

#: Bytes of findings' parts with packages that are kept.
PACKAGES_BYTES = 16_000_000


class PluginParts(Struct):
    """What a plugin gives to each of its findings.

    :ivar vulnerabilities: by CVE, the JSON of its entry without packages, up to its closing brace; ``encoded_vulnerabilities`` is the JSON of them all, None where
        there is no CVE.

    :ivar shows_output: whether the plugin's output may stand in a finding.
    :ivar serial: no two have the same.

    Bytes of its findings' lines are built with it.
    """

    id: int
    generator_id: str
    title: str
    description: str
    types: tuple[str, ...]
    source_url: str
    remediation: msgspec.Raw
    vulnerabilities: dict[str, bytes]
    encoded_vulnerabilities: msgspec.Raw | None
    product_fields: dict[str, str]
    shows_output: bool = True
    encoded_product_fields: bytes = b""
    id_text: bytes = b""
    id_field: bytes = b""
    text_fields: bytes = b""
    link_fields: bytes = b""
    serial: int = msgspec.field(default_factory=itertools.count().__next__)

    def __post_init__(self) -> None:
        self.encoded_product_fields = product_fields.piece(self.product_fields)
        self.id_text = b"%d" % self.id
        self.id_field = b',"GeneratorId":' + msgspec.json.encode(self.generator_id)
        self.text_fields = msgspec.json.encode({"Title": self.title, "Description": self.description})[1:-1] + b',"FindingProviderFields":'
        self.link_fields = b'"SourceUrl":%b,"Remediation":%b' % (msgspec.json.encode(self.source_url), bytes(self.remediation))


def decode_plugin(data: bytes) -> Plugin:
    """Read a plugin, field by field where it does not fit its types. :raises ValueError: it has no usable id."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return salvage(data, Plugin)


def plugin_parts(plugin: Plugin) -> PluginParts:
    """Build a plugin's part of its findings."""
    page = f"https://www.tenable.com/plugins/nessus/{plugin.id}"
    title = limits.prose(plugin.name, limits.TITLE) or f"Tenable plugin {plugin.id}"
    see_also = [plugin.see_also] if isinstance(plugin.see_also, str) else plugin.see_also or []
    # Old data has several addresses in one text, a line each.
    urls = list(dict.fromkeys(address for item in see_also for line in item.split() if (address := limits.url(line))))
    recommendation = {
        "Text": limits.prose(plugin.solution, limits.RECOMMENDATION_TEXT),
        "Url": urls[0] if urls else page,
    }
    vulnerabilities = _vulnerabilities(plugin, urls[: limits.REFERENCE_URLS], page)
    return PluginParts(
        id=plugin.id,
        generator_id=str(plugin.id),
        title=title,
        description=limits.prose(plugin.description, limits.DESCRIPTION) or limits.prose(plugin.synopsis, limits.DESCRIPTION) or title,
        types=(f"{_TYPE}/CVE" if vulnerabilities else _TYPE,),
        source_url=page,
        remediation=_encoded({"Recommendation": {name: value for name, value in recommendation.items() if value}}),
        vulnerabilities=vulnerabilities,
        encoded_vulnerabilities=vulnerabilities_json(vulnerabilities.values()) if vulnerabilities else None,
        product_fields=_product_fields(plugin, len(vulnerabilities)),
        shows_output=shows_output(plugin),
    )


def decode_software(data: bytes) -> list[SoftwareVuln]:
    """Read ``software_vulns`` of a record, without the items that cannot be used."""
    try:
        return _software_decoder.decode(data) or []
    except (msgspec.DecodeError, UnicodeDecodeError):
        return salvage_items(data, SoftwareVuln)
    except RecursionError:
        # Nested as nothing of Tenable's is: the finding goes without its packages.
        return []


def with_packages(parts: PluginParts, software: msgspec.Raw) -> msgspec.Raw | None:
    """``Vulnerabilities`` with the packages of one record: each CVE gets the packages it was found in.

    :param software: ``software_vulns`` of the record, undecoded.
    """
    if not parts.vulnerabilities:
        return None
    # Hosts have the same package again and again.
    return _packages.get(parts, bytes(software))


class _Packages:
    """What was built with packages, some MB of it: a tenant may have as many paths and versions of a package as it has hosts."""

    def __init__(self) -> None:
        self._built: dict[tuple[int, bytes], msgspec.Raw | None] = {}
        self._bytes = 0

    def get(self, parts: PluginParts, software: bytes) -> msgspec.Raw | None:
        key = (parts.serial, software)
        if key in self._built:
            return self._built[key]
        built = _with_packages(parts, decode_software(software))
        self._bytes += len(key[1]) + (len(bytes(built)) if built else 0)
        if self._bytes > PACKAGES_BYTES:
            self._built.clear()
            self._bytes = 0
        else:
            self._built[key] = built
        return built


_packages = _Packages()


def _with_packages(parts: PluginParts, software: list[SoftwareVuln]) -> msgspec.Raw | None:
    packages = [(frozenset(item.vulnerabilities or ()), msgspec.json.encode(package)) for item in software if (package := _package(item))]
    if not packages:
        return parts.encoded_vulnerabilities
    vulnerabilities = []
    for cve, entry in parts.vulnerabilities.items():
        # A package that names no CVE belongs to all of the plugin's.
        own = [package for cves, package in packages if not cves or cve in cves][: limits.PACKAGES]
        vulnerabilities.append(b'%b,"VulnerablePackages":[%b]' % (entry, b",".join(own)) if own else entry)
    return vulnerabilities_json(vulnerabilities)


def vulnerabilities_json(entries: Iterable[bytes]) -> msgspec.Raw:
    """``Vulnerabilities`` of the JSON of its entries, each up to its closing brace; there is one at least."""
    return msgspec.Raw(b"[%b}]" % b"},".join(entries))


def _vulnerabilities(plugin: Plugin, urls: list[str], page: str) -> dict[str, bytes]:
    shared = {
        "Cvss": _cvss(plugin),
        "ReferenceUrls": urls,
        "Vendor": _vendor(plugin, page),
        "FixAvailable": _yes_no(plugin.has_patch),
        "ExploitAvailable": _yes_no(plugin.exploit_available),
        "EpssScore": _epss(plugin.epss_score),
    }
    # There is a vendor in any case.
    tail = msgspec.json.encode({name: value for name, value in shared.items() if value not in (None, [], {})})[1:-1]
    ids = [stripped for cve in plugin.cve or [] if (stripped := cve.strip()) and len(stripped) <= limits.VULNERABILITY_ID]
    return {cve: b'{"Id":%b,%b' % (msgspec.json.encode(cve), tail) for cve in ids}


def _cvss(plugin: Plugin) -> list[dict[str, Any]]:
    versions = (
        ("2.0", plugin.cvss_base_score, plugin.cvss_vector),
        ("3.0", plugin.cvss3_base_score, plugin.cvss3_vector),
        ("4.0", plugin.cvss4_base_score, plugin.cvss4_vector),
    )
    scores = []
    for usual_version, score, vector in versions:
        if score is None or not 0 <= score <= 10:
            continue
        raw = limits.text(vector.raw if vector else None, limits.PRODUCT_FIELD_VALUE)
        version = raw[5:8] if raw and raw.startswith("CVSS:3.") else usual_version
        scores.append({"Version": version, "BaseScore": float(score), **({"BaseVector": raw} if raw else {}), "Source": "Tenable"})
    return scores


def _vendor(plugin: Plugin, page: str) -> dict[str, str]:
    """ASFF's vendor is who issued the vulnerability report."""
    created, updated = times.parse(plugin.publication_date), times.parse(plugin.modification_date)
    severity = limits.text(plugin.risk_factor, limits.VENDOR_SEVERITY)
    return {
        "Name": "Tenable",
        "Url": page,
        **({"VendorSeverity": severity} if severity else {}),
        **({"VendorCreatedAt": times.rfc3339(created)} if created else {}),
        **({"VendorUpdatedAt": times.rfc3339(updated)} if updated else {}),
    }


def _package(item: SoftwareVuln) -> dict[str, str]:
    fixed_in = next((fix.value for fix in item.fixes or [] if fix.fix_type == "version" and fix.value), None)
    facts = {"Name": item.product, "Version": item.version, "FilePath": item.path, "FixedInVersion": fixed_in}
    return {name: text for name, value in facts.items() if (text := limits.text(value, limits.PACKAGE_TEXT))}


def _epss(percentage: float | None) -> float | None:
    """Tenable's percentage as the probability that EPSS is."""
    return round(percentage / 100, 7) if percentage is not None and 0 <= percentage <= 100 else None


def _yes_no(value: bool | None) -> str | None:
    return None if value is None else "YES" if value else "NO"


def _product_fields(plugin: Plugin, cves: int) -> dict[str, str]:
    vpr = plugin.vpr.score if plugin.vpr and plugin.vpr.score is not None else None
    vpr_v2 = plugin.vpr_v2.score if plugin.vpr_v2 and plugin.vpr_v2.score is not None else None
    return {
        "plugin_family": plugin.family or "",
        "plugin_type": plugin.type or "",
        "vpr_score": "" if vpr is None else f"{vpr:g}",
        "vpr_v2_score": "" if vpr_v2 is None else f"{vpr_v2:g}",
        "cvss3_base_score": "" if plugin.cvss3_base_score is None else f"{plugin.cvss3_base_score:g}",
        "cve_count": str(cves) if cves else "",
    }


def _encoded(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
