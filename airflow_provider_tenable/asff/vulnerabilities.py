"""``Vulnerabilities`` of a finding: an entry per CVE of the plugin, with the packages of the record."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_tenable.asff import limits
from airflow_provider_tenable.tenable_vm import times
from airflow_provider_tenable.tenable_vm.lenient import salvage_items
from airflow_provider_tenable.tenable_vm.records import Plugin, SoftwareVuln

if TYPE_CHECKING:
    from airflow_provider_tenable.asff.plugin import PluginParts

_software_decoder = msgspec.json.Decoder(list[SoftwareVuln] | None)

#: Bytes of encoded ``Vulnerabilities`` with packages that are kept for reuse.
PACKAGES_BYTES = 16_000_000


def cve_entries(plugin: Plugin, urls: list[str], page: str) -> dict[str, bytes]:
    """By CVE, the JSON of its entry without packages, up to its closing brace."""
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


def _epss(percentage: float | None) -> float | None:
    """Tenable's percentage as the probability that EPSS is."""
    return round(percentage / 100, 7) if percentage is not None and 0 <= percentage <= 100 else None


def _yes_no(value: bool | None) -> str | None:
    return None if value is None else "YES" if value else "NO"


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


def _package(item: SoftwareVuln) -> dict[str, str]:
    fixed_in = next((fix.value for fix in item.fixes or [] if fix.fix_type == "version" and fix.value), None)
    facts = {"Name": item.product, "Version": item.version, "FilePath": item.path, "FixedInVersion": fixed_in}
    return {name: text for name, value in facts.items() if (text := limits.text(value, limits.PACKAGE_TEXT))}
