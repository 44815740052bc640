"""``software_vulns`` of a vulnerability record: the packages that it was found in."""

from __future__ import annotations

import msgspec

from airflow_provider_tenable.tenable_vm.lenient import salvage_items
from airflow_provider_tenable.tenable_vm.records import SoftwareVuln

_decoder = msgspec.json.Decoder(list[SoftwareVuln] | None)


def decode_software(data: bytes) -> list[SoftwareVuln]:
    """Decode ``software_vulns`` of a record, without invalid items."""
    try:
        return _decoder.decode(data) or []
    except (msgspec.DecodeError, UnicodeDecodeError):
        return salvage_items(data, SoftwareVuln)
    except RecursionError:
        # Nested deeper than any real record: the finding is sent without its packages.
        return []


def is_only_potential(data: bytes) -> bool:
    """Whether a record names packages, and Tenable is certain of none of them."""
    if b"potential" not in data:
        return False
    packages = decode_software(data)
    return bool(packages) and all(package.potential for package in packages)


__all__ = ["decode_software", "is_only_potential"]
