"""Cuts a finding that is larger than Security Hub accepts (240 KB)."""

from __future__ import annotations

import msgspec

from airflow_provider_tenable.asff import limits
from airflow_provider_tenable.asff.plugin import PluginParts
from airflow_provider_tenable.asff.vulnerabilities import vulnerabilities_json

#: The keys around a finding's resources, as they stand in its line.
RESOURCES = b'},"Resources":'
VULNERABILITIES = b',"Vulnerabilities":'
#: Bytes left free in a finding that was cut.
_SPARE = 100


def cut_to_fit(line: bytes, found: msgspec.Raw | None, plugin: PluginParts) -> bytes:
    """A finding without packages, and with as many CVEs as fit. It may still be too large, if its other fields are.

    :param found: the JSON of its ``Vulnerabilities``.
    """
    bare = line[: -1 - (len(VULNERABILITIES) + len(found) if found else 0)]
    room = limits.FINDING_BYTES - len(bare) - 1 - _SPARE
    fitting: list[bytes] = []
    for entry in plugin.vulnerabilities.values():
        # With its closing brace and a comma.
        room -= len(entry) + 2
        if room < 0:
            break
        fitting.append(entry)
    return bare + (VULNERABILITIES + bytes(vulnerabilities_json(fitting)) if fitting else b"") + b"}"
