"""``Vulnerabilities`` of a finding: an entry per CVE of the plugin, with the packages of the record."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from airflow_provider_tenable.asff import limits, row
from airflow_provider_tenable.asff.packages import Package, packages_of
from airflow_provider_tenable.asff.threat import is_exploit_available
from airflow_provider_tenable.tenable_vm import times
from airflow_provider_tenable.tenable_vm.records import Plugin, Vector
from airflow_provider_tenable.tenable_vm.software import decode_software

if TYPE_CHECKING:
    from airflow_provider_tenable.asff.plugin import PluginParts

#: Maximum bytes of encoded ``Vulnerabilities`` with packages that are cached.
PACKAGES_BYTES = 16_000_000

#: An entry in three pieces of JSON, up to its closing brace: its id; its scores, URLs and vendor; its packages.
EntryPieces = tuple[bytes, bytes, bytes]
_SEPARATORS = re.compile(r"[\s,;]+")


class CveEntries(Struct):
    """The entries of a plugin's CVEs. All have the same details, but only the first has the URLs.

    :ivar openings: for each CVE, the JSON of its id, including the opening brace.
    :ivar first: the details of the first entry, from the plugin, and with a fix that only the record names.
    :ivar later: the same for the other entries.
    :ivar material: a digest of what is material: EPSS in steps, without the date on which Tenable changed the plugin;
        CVEs and URLs as sets. Empty where there is no CVE.
    """

    openings: dict[str, bytes]
    first: tuple[bytes, bytes]
    later: tuple[bytes, bytes]
    material: bytes = b""

    def pieces(self, packages: list[Package]) -> list[EntryPieces]:
        """The entries with the packages of a record: each CVE with the packages in which it was found."""
        entries: list[EntryPieces] = []
        for cve, opening in self.openings.items():
            # A package that names no CVE belongs to all of the plugin's.
            own = [package for package in packages if not package.cves or cve in package.cves]
            details = (self.later if entries else self.first)[any(package.has_fix for package in own)]
            shown = b",".join(package.encoded for package in own[: limits.PACKAGES])
            entries.append((opening, details, b',"VulnerablePackages":[%b]' % shown if shown else b""))
        return entries


def cve_entries(plugin: Plugin, urls: list[str], page: str) -> CveEntries:
    """The entries of a plugin's CVEs.

    :param urls: all of the plugin's URLs.
    :param page: the plugin's page.
    """
    texts = [plugin.cve] if isinstance(plugin.cve, str) else plugin.cve or []
    ids = [
        cve
        for text in texts
        for cve in _SEPARATORS.split(text)
        if cve and limits.length(cve) <= limits.VULNERABILITY_ID
    ]
    own_fix, exploit = _yes_no(plugin.has_patch), _yes_no(is_exploit_available(plugin))
    cvss, vendor = _cvss(plugin), _vendor(plugin, page)

    def details(reference_urls: list[str], fix: str | None) -> bytes:
        fields = {
            "Cvss": cvss,
            "ReferenceUrls": reference_urls,
            "Vendor": vendor,
            "FixAvailable": fix,
            "ExploitAvailable": exploit,
            "EpssScore": _epss(plugin.epss_score),
        }
        return (
            b"," + msgspec.json.encode({name: value for name, value in fields.items() if value not in (None, [])})[1:-1]
        )

    def both(reference_urls: list[str]) -> tuple[bytes, bytes]:
        own = details(reference_urls, own_fix)
        return own, own if own_fix == "YES" else details(reference_urls, "YES")

    first = both(urls[: limits.REFERENCE_URLS])
    openings = {cve: b'{"Id":' + msgspec.json.encode(cve) for cve in ids}
    return CveEntries(
        openings=openings,
        first=first,
        # Most plugins have one CVE, or none.
        later=both([]) if len(openings) > 1 else first,
        material=row.digest(
            msgspec.json.encode(
                [
                    sorted(set(ids)),
                    cvss,
                    sorted(set(urls)),
                    {name: text for name, text in vendor.items() if name != "VendorUpdatedAt"},
                    own_fix,
                    exploit,
                    _epss_step(plugin.epss_score),
                ]
            )
        )
        # Without a CVE a finding has none of these.
        if ids
        else b"",
    )


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
        raw = _raw(vector)
        version = raw[5:8] if raw and raw.startswith("CVSS:3.") else usual_version
        scores.append(
            {"Version": version, "BaseScore": float(score), **({"BaseVector": raw} if raw else {}), "Source": "Tenable"}
        )
    return scores


def _raw(vector: Vector | str | None) -> str | None:
    """A vector's text, without Tenable's own prefix."""
    raw = vector.raw if isinstance(vector, Vector) else vector
    return limits.text(raw.strip().removeprefix("CVSS2#") if raw else None, limits.PRODUCT_FIELD_VALUE)


def _vendor(plugin: Plugin, page: str) -> dict[str, str]:
    """The vendor in ASFF: the issuer of the vulnerability report."""
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
    """Tenable's percentage as a probability, which EPSS is."""
    return round(percentage / 100, 7) if percentage is not None and 0 <= percentage <= 100 else None


def _epss_step(percentage: float | None) -> int | None:
    """The tenth of a probability that a score lies in."""
    score = _epss(percentage)
    return None if score is None else int(score * 10)


def _yes_no(value: bool | None) -> str | None:
    return None if value is None else "YES" if value else "NO"


def vulnerabilities_json(entries: Sequence[tuple[bytes, ...]]) -> msgspec.Raw | None:
    """The JSON of ``Vulnerabilities`` from entries given in pieces up to the closing brace; None without entries."""
    return msgspec.Raw(b"[%b}]" % b"},".join(map(b"".join, entries))) if entries else None


#: ``Vulnerabilities`` with the packages of a record, and a digest of the packages.
WithPackages = tuple[msgspec.Raw | None, bytes]


def with_packages(parts: PluginParts, software: msgspec.Raw) -> WithPackages:
    """``Vulnerabilities`` with the packages of one record, and a digest of the packages.

    :param software: ``software_vulns`` of the record, undecoded.
    """
    # The same packages occur on many hosts.
    return _memo.get(parts, bytes(software)) if parts.cve_entries.openings else (None, b"")


class _PackagesMemo:
    """A bounded cache of ``Vulnerabilities`` with packages: a tenant may have as many paths and versions of a package
    as hosts.
    """

    def __init__(self) -> None:
        self._built: dict[tuple[int, bytes], WithPackages] = {}
        self._bytes = 0

    def get(self, parts: PluginParts, software: bytes) -> WithPackages:
        key = (parts.serial, software)
        if key in self._built:
            return self._built[key]
        built = _with_packages(parts, software)
        self._bytes += len(software) + (len(bytes(built[0])) if built[0] else 0)
        if self._bytes > PACKAGES_BYTES:
            self._built.clear()
            self._bytes = 0
        else:
            self._built[key] = built
        return built


_memo = _PackagesMemo()


def _with_packages(parts: PluginParts, software: bytes) -> WithPackages:
    packages = packages_of(decode_software(software))
    if not packages:
        return parts.encoded_vulnerabilities, b""
    return vulnerabilities_json(parts.cve_entries.pieces(packages)), row.digest(*sorted(set(map(_fact, packages))))


def _fact(package: Package) -> bytes:
    """What counts as content of a package. Tenable does not promise any order of packages or of their CVEs."""
    cves = sorted(cve.encode("utf-8", "replace") for cve in package.cves)
    return b"\n".join((package.encoded, b"fix" if package.has_fix else b"", *cves))
