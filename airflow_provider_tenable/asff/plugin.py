"""The part of a finding that comes from the plugin: the same for all records of a plugin, so built once and kept as
bytes.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Struct

from airflow_provider_tenable.asff import limits, product_fields, row
from airflow_provider_tenable.asff.plugin_output import shows_output
from airflow_provider_tenable.asff.severity import severities_by_score, vpr_of
from airflow_provider_tenable.asff.threat import DRIFTING, is_known_exploited, threat_product_fields
from airflow_provider_tenable.asff.vulnerabilities import CveEntries, cve_entries, vulnerabilities_json
from airflow_provider_tenable.tenable_vm.lenient import salvage
from airflow_provider_tenable.tenable_vm.plugin_traits import PluginTraits
from airflow_provider_tenable.tenable_vm.records import Plugin

#: Families of passive plugins have ids from here on (Tenable's public plugin lists).
_FIRST_PASSIVE_FAMILY = 1_000_000
_TYPE = "Software and Configuration Checks/Vulnerabilities"
#: With and without a CVE. The same objects for all plugins, because they are part of a key that each record looks up.
_CVE_TYPES, _TYPES = (f"{_TYPE}/CVE",), (_TYPE,)
#: Where a band of VPR begins (Tenable's documentation: low, medium, high, critical).
_VPR_BANDS = (0.0, 4.0, 7.0, 9.0)
_decoder = msgspec.json.Decoder(Plugin)


class PluginParts(Struct):
    """What a plugin gives to each of its findings.

    :ivar encoded_vulnerabilities: the JSON of ``Vulnerabilities`` without packages; None where there is no CVE.
    :ivar severities: the severity of each source that has a score (:mod:`~airflow_provider_tenable.asff.severity`).
    :ivar traits: what a scope asks of it.
    :ivar shows_output: whether the plugin's output may stand in a finding.
    :ivar material: a digest of what counts as content of its findings, but for the packages.
    :ivar facts: its advice, and its ratings in the steps in which they count as content.
    :ivar row_number: the id as its findings' rows hold it.
    :ivar serial: a number that no other object has.

    The fields of type bytes are pieces of its findings' lines, encoded once.
    """

    id: int
    generator_id: str
    title: str
    description: str
    types: tuple[str, ...]
    source_url: str
    remediation: msgspec.Raw
    cve_entries: CveEntries
    encoded_vulnerabilities: msgspec.Raw | None
    product_fields: dict[str, str]
    severities: dict[str, int] = {}
    traits: PluginTraits = PluginTraits(0)
    shows_output: bool = True
    facts: bytes = b""
    encoded_product_fields: bytes = b""
    id_text: bytes = b""
    id_field: bytes = b""
    text_fields: bytes = b""
    link_fields: bytes = b""
    material: bytes = b""
    row_number: int = 0
    serial: int = msgspec.field(default_factory=itertools.count().__next__)

    def __post_init__(self) -> None:
        self.encoded_product_fields, lasting = product_fields.pieces(self.product_fields, without=DRIFTING)
        self.row_number = row.plugin_number(self.id)
        self.id_text = b"%d" % self.id
        self.id_field = b',"GeneratorId":' + msgspec.json.encode(self.generator_id)
        self.text_fields = (
            msgspec.json.encode({"Title": self.title, "Description": self.description})[1:-1]
            + b',"FindingProviderFields":'
        )
        self.link_fields = b'"SourceUrl":%b,"Remediation":%b' % (
            msgspec.json.encode(self.source_url),
            bytes(self.remediation),
        )
        self.material = row.digest(
            self.id_field,
            self.text_fields,
            self.source_url.encode("utf-8", "replace"),
            lasting,
            self.cve_entries.material,
            self.facts,
        )


def decode_plugin(data: bytes) -> Plugin:
    """Read a plugin, field by field where it does not fit its types. :raises ValueError: it has no usable id."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return salvage(data, Plugin)


def plugin_parts(
    plugin: Plugin,
    *,
    page: str = "",
    generator_id: str = "",
    more: Mapping[str, str] = MappingProxyType({}),
    hides_output: bool = False,
) -> PluginParts:
    """Build a plugin's part of its findings.

    :param page: the plugin's public page, where it is not among those of Nessus.
    :param generator_id: ``GeneratorId``; empty: the plugin's id.
    :param more: further entries of ``ProductFields``.
    :param hides_output: whether its output never appears, whatever else is known of it.
    """
    page = page or _page(plugin)
    title = limits.prose(plugin.name, limits.TITLE) or f"Tenable plugin {plugin.id}"
    see_also = [plugin.see_also] if isinstance(plugin.see_also, str) else plugin.see_also or []
    # Old data has several addresses in one text, one per line.
    urls = list(dict.fromkeys(address for item in see_also for line in item.split() if (address := limits.url(line))))
    recommendation = {
        "Text": limits.advice(plugin.solution, limits.RECOMMENDATION_TEXT),
        "Url": urls[0] if urls else page,
    }
    entries = cve_entries(plugin, urls, page)
    return PluginParts(
        id=plugin.id,
        generator_id=generator_id or str(plugin.id),
        title=title,
        description=limits.advice(plugin.description, limits.DESCRIPTION)
        or limits.advice(plugin.synopsis, limits.DESCRIPTION)
        or title,
        types=_CVE_TYPES if entries.openings else _TYPES,
        source_url=page,
        remediation=_encoded({"Recommendation": {name: value for name, value in recommendation.items() if value}}),
        cve_entries=entries,
        encoded_vulnerabilities=vulnerabilities_json(entries.pieces([])),
        product_fields={**_product_fields(plugin, len(entries.openings)), **more},
        severities=severities_by_score(plugin),
        traits=PluginTraits(plugin.id, plugin.family or "", is_known_exploited(plugin), vpr_of(plugin)),
        shows_output=not hides_output and shows_output(plugin),
        facts=msgspec.json.encode(
            [
                recommendation["Text"],
                # Without a CVE a finding has the first address only, and Tenable does not promise their order.
                urls[:1] if not entries.openings and len(urls) == 1 else [],
                _band(plugin.vpr),
                _band(plugin.vpr_v2),
            ]
        ),
    )


def _band(vpr: Any) -> int | None:
    """The number of a rating's band, None where there is no rating."""
    return None if vpr is None or vpr.score is None else bisect_right(_VPR_BANDS, vpr.score)


def _page(plugin: Plugin) -> str:
    """The plugin's public page. Plugins of Nessus Network Monitor, which are known by their families, have theirs
    elsewhere.
    """
    kind = "nnm" if plugin.family_id is not None and plugin.family_id >= _FIRST_PASSIVE_FAMILY else "nessus"
    return f"https://www.tenable.com/plugins/{kind}/{plugin.id}"


def _product_fields(plugin: Plugin, cves: int) -> dict[str, str]:
    return {
        **threat_product_fields(plugin),
        "plugin_family": plugin.family or "",
        "plugin_type": plugin.type or "",
        "cvss3_base_score": "" if plugin.cvss3_base_score is None else f"{plugin.cvss3_base_score:g}",
        "cve_count": str(cves) if cves else "",
    }


def _encoded(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
