"""``VulnerablePackages``: from Tenable's ``software_vulns`` to ASFF's packages."""

from __future__ import annotations

from urllib.parse import unquote

import msgspec
from msgspec import Struct

from airflow_provider_tenable.asff import limits
from airflow_provider_tenable.tenable_vm.records import SoftwareVuln

#: What the remediation of a package begins with of which Tenable is not certain.
POTENTIAL = "Potential finding"
#: Package managers whose versions end with the release: ``version-release``.
_WITH_RELEASE = frozenset({"rpm", "deb"})


class Package(Struct):
    """A package of a finding.

    :ivar cves: the CVEs that it was found with; empty: all of the plugin's CVEs.
    :ivar encoded: its JSON.
    :ivar has_fix: whether Tenable names a fix.
    """

    cves: frozenset[str]
    encoded: bytes
    has_fix: bool


class Purl(Struct):
    """The parts that we need of a package URL, ``pkg:type/namespace/name@version?qualifiers``."""

    type: str
    version: str | None
    qualifiers: dict[str, str]


def packages_of(software: list[SoftwareVuln]) -> list[Package]:
    """The packages in their order, without empty ones."""
    return [package for item in software if (package := _package(item))]


def _package(item: SoftwareVuln) -> Package | None:
    fixes = [fix for fix in item.fixes or [] if fix.value]
    facts = {
        "Name": item.product,
        "Version": item.version,
        **_managed(item),
        "FilePath": item.path,
        "FixedInVersion": next(
            (version for fix in fixes if (version := _fixed_in(fix.fix_type, fix.value or ""))), None
        ),
        "Remediation": _doubt(item) if item.potential else None,
    }
    texts = {name: text for name, value in facts.items() if (text := limits.text(value, limits.PACKAGE_TEXT))}
    return Package(frozenset(item.vulnerabilities or ()), msgspec.json.encode(texts), bool(fixes)) if texts else None


def _fixed_in(fix_type: str | None, value: str) -> str | None:
    purl = parse_purl(value)
    return purl.version if purl else value if fix_type == "version" else None


def _managed(item: SoftwareVuln) -> dict[str, str | None]:
    """The facts of a package manager about a package. ASFF's fields describe the installed package, so its own purl is
    preferred.

    The purl of a fix often has qualifiers that the package's own purl lacks. The release changes with a fix, so it is
    always taken from the installed version.
    """
    fix_type, fix = next(
        ((fix.fix_type, purl) for fix in item.fixes or [] if (purl := parse_purl(fix.value))), (None, None)
    )
    own = parse_purl(item.identifier)
    if own is None and fix is None:
        return {}
    # A fix of type ``version`` is an application's version, and names a package manager only in its purl.
    manager = fix_type if fix_type and fix_type != "version" else (own or fix or Purl("", None, {})).type
    qualifiers = {**(fix.qualifiers if fix else {}), **(own.qualifiers if own else {})}
    version = (own.version if own else None) or item.version or ""
    release = version.rpartition("-")[2] if manager.lower() in _WITH_RELEASE and "-" in version else None
    return {
        "Epoch": qualifiers.get("epoch"),
        "Release": release,
        "Architecture": qualifiers.get("arch"),
        "PackageManager": manager,
    }


def _doubt(item: SoftwareVuln) -> str:
    reasons = ", ".join(item.potential_reasons or [])
    return (
        f"{POTENTIAL}{f' ({reasons})' if reasons.strip() else ''}: confirm that this package is affected "
        f"before you change it."
    )


def parse_purl(value: str | None) -> Purl | None:
    """Parse a package URL; None if it is not one."""
    if not value or not value.startswith("pkg:"):
        return None
    path, _, query = value.partition("#")[0].partition("?")
    kind, _, rest = path.removeprefix("pkg:").lstrip("/").partition("/")
    _, at, version = rest.rpartition("@")
    qualifiers = dict(pair.split("=", 1) for pair in query.split("&") if "=" in pair)
    # Slashes are escaped in a version, so the text after the @ of a namespace such as @scope/name is not a version.
    return Purl(
        kind,
        unquote(version) if at and "/" not in version else None,
        {name: unquote(text) for name, text in qualifiers.items()},
    )
