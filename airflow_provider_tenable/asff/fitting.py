"""Reduces a finding that is larger than Security Hub accepts (240 KB).

Only ``Vulnerabilities`` can be that large: the other fields have their own limits. The least valuable parts are removed
first: the packages of later CVEs, then their scores, which repeat those of the first one, then the packages of the
first CVE, and finally CVE ids.
"""

from __future__ import annotations

import msgspec

from airflow_provider_tenable.asff import limits, product_fields
from airflow_provider_tenable.asff.packages import packages_of
from airflow_provider_tenable.asff.plugin import PluginParts
from airflow_provider_tenable.asff.vulnerabilities import EntryPieces, vulnerabilities_json
from airflow_provider_tenable.tenable_vm.software import decode_software

#: The keys around a finding's resources in its line.
RESOURCES = b'},"Resources":'
VULNERABILITIES = b',"Vulnerabilities":'
#: Bytes left free for the key of ``Vulnerabilities``, its brackets, and ``cve_kept``.
_SPARE = 100


def cut_to_fit(line: bytes, found: msgspec.Raw | None, plugin: PluginParts, software: msgspec.Raw) -> bytes:
    """A finding with as much of its ``Vulnerabilities`` as fits. It may still be too large, because of its other
    fields.

    If some CVEs had to be removed, ``cve_kept`` in ``ProductFields`` contains the number of the remaining ones.

    :param found: the JSON of its ``Vulnerabilities``.
    :param software: ``software_vulns`` of the record, undecoded.
    """
    bare = line[: -1 - (len(VULNERABILITIES) + len(found) if found else 0)]
    entries = plugin.cve_entries.pieces(packages_of(decode_software(bytes(software))))
    fitting = _most_worth(entries, limits.FINDING_BYTES - len(bare) - 1 - _SPARE)
    if 0 < len(fitting) < len(entries):
        # Strings cannot contain this key, because their quotes are escaped.
        before, after = bare.split(RESOURCES, 1)
        bare = before + _cut_product_fields(len(fitting)) + RESOURCES + after
    fitted = vulnerabilities_json(fitting)
    return bare + (VULNERABILITIES + bytes(fitted) if fitted else b"") + b"}"


def _most_worth(entries: list[EntryPieces], room: int) -> list[tuple[bytes, ...]]:
    """The most valuable pieces of the entries that fit into ``room`` bytes."""
    first, later = range(min(1, len(entries))), range(1, len(entries))
    opening, details, packages = range(3)
    worth = (
        (first, opening),
        (first, details),
        (later, opening),
        (first, packages),
        (later, details),
        (later, packages),
    )
    fitting: list[list[bytes]] = [[] for _ in entries]
    for number, piece in ((number, piece) for numbers, piece in worth for number in numbers):
        # An entry has a closing brace and a comma, too.
        room -= len(entries[number][piece]) + (2 if piece == opening else 0)
        if room < 0:
            break
        fitting[number].append(entries[number][piece])
    return [tuple(pieces) for pieces in fitting if pieces]


def _cut_product_fields(remaining: int) -> bytes:
    return product_fields.piece({"cve_kept": str(remaining)})
